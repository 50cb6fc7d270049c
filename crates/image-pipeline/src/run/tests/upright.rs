//! The eight orientations in formats that keep every sample: upright to the last bit, told as shown, and told once.

use super::*;
use crate::{codec::webp, metadata::Written, stage::orient};
use ::tiff::{encoder::TiffEncoder, encoder::colortype, tags::Tag};

/// An Exif block of an orientation alone.
fn exif(orientation: Orientation) -> Vec<u8> {
    let mut block = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x00\0\0\0\0\0\0".to_vec();
    block[19] = orientation.exif();
    block
}

fn png_turned(stored: &Pixels, orientation: Orientation) -> Vec<u8> {
    let (mut bytes, mut info) = (Vec::new(), ::png::Info::with_size(stored.width_px, stored.height_px));
    info.exif_metadata = Some(exif(orientation).into());
    let mut encoder = ::png::Encoder::with_info(&mut bytes, info).unwrap();
    encoder.set_color(::png::ColorType::Rgb);
    encoder.write_header().unwrap().write_image_data(&stored.bytes).unwrap();
    bytes
}

fn webp_turned(stored: &Pixels, orientation: Orientation) -> Vec<u8> {
    let mut bytes = Vec::new();
    let encoder = image::codecs::webp::WebPEncoder::new_lossless(&mut bytes);
    encoder.encode(&stored.bytes, stored.width_px, stored.height_px, image::ExtendedColorType::Rgb8).unwrap();
    let written = Written { exif: Some(exif(orientation)), ..Written::default() };
    webp::with_blocks(bytes, stored.shape(), &written)
}

fn tiff_turned(stored: &Pixels, orientation: Orientation) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    let mut encoder = TiffEncoder::new(&mut bytes).unwrap();
    let mut image = encoder.new_image::<colortype::RGB8>(stored.width_px, stored.height_px).unwrap();
    image.encoder().write_tag(Tag::Orientation, u16::from(orientation.exif())).unwrap();
    image.write_data(&stored.bytes).unwrap();
    bytes.into_inner()
}

#[test]
fn every_orientation_is_upright_to_the_last_bit() {
    let upright = picture_of(61, 40, Layout::Rgb8);
    let mut compared = 0;
    for orientation in Orientation::ALL {
        let stored = orient::orient(upright.clone(), orient::inverse(orientation), crate::watch::Watch::NEVER).unwrap();
        let sources = [
            ("png", png_turned(&stored, orientation)),
            ("webp", webp_turned(&stored, orientation)),
            ("tiff", tiff_turned(&stored, orientation)),
        ];
        for (name, source) in sources {
            let case = format!("{name} {orientation:?}");
            let found = probe(&mut Cursor::new(&source), &Limits::default()).unwrap();
            assert_eq!((found.orientation, found.display_size()), (orientation, (61, 40)), "{case}");
            for options in ["f:png", "f:webp/lossless:1"] {
                let made = one(&source, options);
                assert_eq!((made.width_px, made.height_px), (61, 40), "{case}");
                assert!(rgb(&made.bytes).as_raw() == &upright.bytes, "{case} {options}");
                let again = probe(&mut Cursor::new(&made.bytes), &Limits::default()).unwrap();
                assert_eq!(again.orientation, Orientation::Upright, "{case} {options}");
                compared += 1;
            }
            // A region is one of the picture as it is shown.
            let part = one(&source, "c:20:10:noea/f:png");
            let wanted = one(&png(&upright), "c:20:10:noea/f:png");
            assert!(rgb(&part.bytes) == rgb(&wanted.bytes), "{case}: a region");
        }
    }
    assert_eq!(compared, 8 * 3 * 2);
}
