//! What the pictures show: a landscape with a face in it, made up here, and what some options need beside it. Knows nothing of options.

use image::{DynamicImage, ExtendedColorType, Frame, ImageEncoder, ImageFormat, Rgb, RgbImage, Rgba, RgbaImage, codecs, imageops};
use std::{error::Error, io::Cursor};

/// Sides of the landscape.
const WIDTH_PX: u32 = 480;
const HEIGHT_PX: u32 = 320;

/// A source that options are applied to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The landscape.
    Photo,
    /// The same, small, on white paper that is not quite even.
    Framed,
    /// The same with specks.
    Specked,
    /// The same in a haze.
    Hazy,
    /// Fine bright lines on black.
    Lines,
    /// A drawing with transparency.
    Logo,
    /// The landscape as a camera held upright stores it, with Exif that says so, and who made it.
    Turned,
    /// A ball on its way, in eight frames.
    Moving,
}

impl Source {
    pub(crate) const ALL: [Self; 8] =
        [Self::Photo, Self::Framed, Self::Specked, Self::Hazy, Self::Lines, Self::Logo, Self::Turned, Self::Moving];

    /// Name of its file.
    pub(crate) const fn file_name(self) -> &'static str {
        match self {
            Self::Photo => "source-photo.png",
            Self::Framed => "source-framed.png",
            Self::Specked => "source-specked.png",
            Self::Hazy => "source-hazy.png",
            Self::Lines => "source-lines.png",
            Self::Logo => "source-logo.png",
            Self::Turned => "source-turned.jpg",
            Self::Moving => "source-moving.gif",
        }
    }

    /// Its file.
    pub(crate) fn file(self) -> Result<Vec<u8>, Box<dyn Error>> {
        match self {
            Self::Photo => png(landscape()),
            Self::Framed => {
                let mut paper = RgbImage::from_fn(WIDTH_PX, HEIGHT_PX, |x, y| Rgb([252 + (hash(x, y) & 3) as u8; 3]));
                imageops::replace(&mut paper, &imageops::thumbnail(&landscape(), 300, 200), 110, 40);
                png(paper)
            }
            Self::Specked => {
                let mut photo = landscape();
                for (x, y, pixel) in photo.enumerate_pixels_mut() {
                    match hash(x, y) % 25 {
                        0 => *pixel = Rgb([0; 3]),
                        1 => *pixel = Rgb([255; 3]),
                        _ => {}
                    }
                }
                png(photo)
            }
            Self::Hazy => {
                let mut photo = landscape();
                photo.pixels_mut().for_each(|pixel| pixel.0 = pixel.0.map(|value| 90 + value / 3));
                png(photo)
            }
            Self::Lines => png(RgbImage::from_fn(WIDTH_PX, HEIGHT_PX, |x, y| {
                let is_lit = if x < WIDTH_PX / 2 { (x + y).is_multiple_of(4) } else { x.is_multiple_of(8) || y.is_multiple_of(8) };
                Rgb(if is_lit { [255, 240, 200] } else { [0; 3] })
            })),
            Self::Logo => png(logo()),
            Self::Turned => {
                let stored = imageops::rotate270(&landscape());
                let mut file = Vec::new();
                codecs::jpeg::JpegEncoder::new_with_quality(&mut file, 90).write_image(
                    stored.as_raw(),
                    stored.width(),
                    stored.height(),
                    ExtendedColorType::Rgb8,
                )?;
                Ok(with_exif(&file))
            }
            Self::Moving => {
                let mut file = Vec::new();
                let mut encoder = codecs::gif::GifEncoder::new(&mut file);
                encoder.set_repeat(codecs::gif::Repeat::Infinite)?;
                for index in 0..8_u32 {
                    let (ball_x, ball_y) = (20.0 + index as f32 * 28.0, 120.0 - (index as f32 * 0.45).sin().abs() * 90.0);
                    let frame = RgbaImage::from_fn(240, 160, |x, y| {
                        let is_ball = (x as f32 - ball_x).hypot(y as f32 - ball_y) < 16.0;
                        Rgba(if is_ball {
                            [220, 60, 40, 255]
                        } else if y < 136 {
                            [210, 230, 245, 255]
                        } else {
                            [90, 140, 70, 255]
                        })
                    });
                    encoder.encode_frame(Frame::from_parts(frame, 0, 0, image::Delay::from_numer_denom_ms(100, 1)))?;
                }
                drop(encoder);
                Ok(file)
            }
        }
    }
}

/// The image that `watermark` lays on top.
pub(crate) fn watermark() -> Result<Vec<u8>, Box<dyn Error>> {
    png(imageops::thumbnail(&logo(), 120, 80))
}

fn png(picture: impl Into<DynamicImage>) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut file = Cursor::new(Vec::new());
    picture.into().write_to(&mut file, ImageFormat::Png)?;
    Ok(file.into_inner())
}

/// Numbers that look like chance and are the same every time.
fn hash(x: u32, y: u32) -> u32 {
    let mut hash = x.wrapping_mul(0x85eb_ca6b) ^ y.wrapping_mul(0xc2b2_ae35);
    hash = (hash ^ (hash >> 15)).wrapping_mul(0x2c1b_3c6d);
    hash ^ (hash >> 13)
}

/// Sky and a sun, two ridges, a meadow with flowers, and to the right a face.
fn landscape() -> RgbImage {
    RgbImage::from_fn(WIDTH_PX, HEIGHT_PX, |x, y| {
        let (u, v) = (x as f32 / WIDTH_PX as f32, y as f32 / HEIGHT_PX as f32);
        let grain = (hash(x, y) % 9) as f32 - 4.0;
        let far = 0.42 + 0.06 * (u * 7.0).sin() + 0.03 * (u * 17.0 + 1.0).sin();
        let near = 0.56 + 0.07 * (u * 4.0 + 2.0).sin();
        let sun = ((u - 0.18) * 1.5).hypot(v - 0.2);
        let flower = hash(x / 6, y / 6);
        let (off_x, off_y) = ((x as f32 - 360.0) / 46.0, (y as f32 - 190.0) / 58.0);
        let face = off_x.hypot(off_y);
        let colour = if face < 1.0 {
            let eye = (off_x.abs() - 0.38).hypot((off_y + 0.18) * 1.3) < 0.12;
            let mouth = (off_x.hypot(off_y - 0.1) - 0.48).abs() < 0.05 && off_y > 0.28;
            let hair = off_y < -0.55;
            match (hair, eye, mouth) {
                (true, ..) => [70.0, 45.0, 30.0],
                (_, true, _) => [40.0, 50.0, 70.0],
                (_, _, true) => [170.0, 60.0, 60.0],
                _ => [225.0 - 40.0 * off_x, 172.0 - 34.0 * off_x, 138.0 - 30.0 * off_x],
            }
        } else if off_x.abs() < 1.3 && off_y > 0.8 && off_y < 3.0 {
            [180.0, 40.0 + 20.0 * off_x, 70.0]
        } else if sun < 0.09 {
            [255.0, 236.0, 170.0]
        } else if v < far {
            [110.0 + 130.0 * v - 40.0 * sun, 160.0 + 110.0 * v - 20.0 * sun, 225.0]
        } else if v < near {
            [92.0, 118.0 + 60.0 * (v - far), 140.0]
        } else if flower.is_multiple_of(17) && v > 0.66 {
            [[240.0, 200.0, 60.0], [230.0, 90.0, 120.0], [245.0, 245.0, 235.0]][(flower / 17 % 3) as usize]
        } else {
            [70.0 + 40.0 * (u * 30.0).sin() * (v * 40.0).cos(), 140.0 - 60.0 * (v - near), 60.0]
        };
        Rgb(colour.map(|value| (value + grain).clamp(0.0, 255.0) as u8))
    })
}

/// A triangle in a frame, soft at its edges, and nothing around.
fn logo() -> RgbaImage {
    RgbaImage::from_fn(240, 160, |x, y| {
        let (off_x, off_y) = (x as f32 - 120.0, y as f32 - 80.0);
        let frame = 66.0 - (off_x.abs() * 0.6).max(off_y.abs());
        let frame = frame.min(12.0 - frame);
        let triangle = (34.0 - off_y).min(off_y + 40.0 - off_x.abs() * 1.1);
        let cover = |inside: f32| (inside.clamp(0.0, 1.0) * 255.0) as u8;
        if triangle > 0.0 { Rgba([235, 130, 30, cover(triangle)]) } else { Rgba([20, 110, 110, cover(frame)]) }
    })
}

/// The JPEG with Exif (2.32) behind its first marker: Orientation 6, Artist and Copyright.
fn with_exif(jpeg: &[u8]) -> Vec<u8> {
    let (artist, copyright) = (b"A. Painter\0", b"(c) A. Painter\0");
    let entry = |tag: u16, kind: u16, count: usize, value: u32| {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        [&tag.to_be_bytes()[..], &kind.to_be_bytes(), &count.to_be_bytes(), &value.to_be_bytes()].concat()
    };
    // Header 8, count 2, three entries of 12, end 4: texts begin at 50.
    let second = 50 + artist.len() as u32;
    let mut tiff = b"MM\0\x2a\0\0\0\x08\0\x03".to_vec();
    tiff.extend(entry(0x0112, 3, 1, 6 << 16));
    tiff.extend(entry(0x013b, 2, artist.len(), 50));
    tiff.extend(entry(0x8298, 2, copyright.len(), second));
    tiff.extend([0; 4]);
    tiff.extend(artist);
    tiff.extend(copyright);
    let length = u16::try_from(tiff.len() + 8).unwrap_or(u16::MAX).to_be_bytes();
    [&jpeg[..2], b"\xff\xe1", &length, b"Exif\0\0", &tiff, &jpeg[2..]].concat()
}
