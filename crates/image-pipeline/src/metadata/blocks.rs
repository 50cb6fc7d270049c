//! Where metadata lies in a file, format by format. Knows nothing of what the blocks say; what is broken, or longer than
//! [`MAX_BLOCK_BYTES`], is not there.

use super::{Carry, MAX_BLOCK_BYTES};
use crate::{
    codec,
    probe::{Format, Probe},
    spec::KeptMetadata,
};
use std::borrow::Cow;

/// Blocks of a source, as far as they were asked for.
#[derive(Debug, Default)]
pub(crate) struct Blocks<'s> {
    /// Exif, with or without a prefix.
    pub(super) exif: Option<Cow<'s, [u8]>>,
    /// An XMP packet.
    pub(super) xmp: Option<Cow<'s, [u8]>>,
    /// IPTC-IIM records or the Photoshop resources around them.
    pub(super) iptc: Option<Cow<'s, [u8]>>,
    /// A colour profile that can be used for red, green and blue.
    pub(super) profile: Option<Vec<u8>>,
}

impl<'s> Blocks<'s> {
    /// What of these is carried anywhere.
    pub(crate) fn of(probe: &Probe, source: &'s [u8], carried: impl Iterator<Item = Carry> + Clone) -> Self {
        let mut blocks = Self::default();
        if carried.clone().any(|carry| carry.metadata != KeptMetadata::None) {
            match probe.format {
                Format::Jpeg => blocks.read_jpeg(source),
                Format::Png => blocks.read_png(source),
                Format::WebP => blocks.read_webp(source),
                _ => {}
            }
            let few = |block: &Cow<'_, [u8]>| block.len() <= MAX_BLOCK_BYTES;
            blocks.exif = blocks.exif.filter(few);
            blocks.xmp = blocks.xmp.filter(few);
            blocks.iptc = blocks.iptc.filter(few);
            // A TIFF is a block of its own kind: its directory is the one that Exif borrowed.
            if probe.format == Format::Tiff {
                blocks.exif = Some(Cow::Borrowed(source));
            }
        }
        if carried.into_iter().any(|carry| carry.profile) {
            blocks.profile = codec::profile(probe, source);
        }
        blocks
    }

    /// Segments (T.81, B.1.1.4) up to the first scan: APP1 holds Exif and XMP, APP13 Photoshop's resources.
    fn read_jpeg(&mut self, source: &'s [u8]) {
        let mut at = 2;
        while let Some([0xff, marker, high, low]) = source.get(at..).and_then(|rest| rest.first_chunk::<4>()) {
            if *marker == 0xff {
                at += 1;
                continue;
            }
            // A picture begins, or there is no length.
            if matches!(marker, 0xd8..=0xda | 0x00 | 0x01) {
                return;
            }
            let end = at + 2 + usize::from(u16::from_be_bytes([*high, *low]));
            let Some(body) = source.get(at + 4..end) else { return };
            at = end;
            let place = match marker {
                0xe1 if body.starts_with(b"Exif\0\0") => Some((&mut self.exif, body)),
                0xe1 => body.strip_prefix(b"http://ns.adobe.com/xap/1.0/\0").map(|packet| (&mut self.xmp, packet)),
                0xed => body.strip_prefix(b"Photoshop 3.0\0").map(|resources| (&mut self.iptc, resources)),
                _ => None,
            };
            if let Some((place, body)) = place {
                place.get_or_insert(Cow::Borrowed(body));
            }
        }
    }

    /// Chunks before the pixels: eXIf, XMP as text (XMP specification, part 3, 1.1.5), and the hexadecimal texts of ImageMagick.
    fn read_png(&mut self, source: &'s [u8]) {
        let texts = codec::png_texts(source, MAX_BLOCK_BYTES);
        self.exif = texts.exif.or(texts.raw_exif).map(Cow::Owned);
        self.xmp = texts.xmp.map(|packet| Cow::Owned(packet.into_bytes()));
        self.iptc = texts.raw_iptc.map(Cow::Owned);
    }

    /// Chunks `EXIF` and `XMP ` (RFC 9649, 2.7.1.5).
    fn read_webp(&mut self, source: &'s [u8]) {
        for (kind, body) in codec::webp_chunks(source) {
            let place = match kind {
                b"EXIF" => &mut self.exif,
                b"XMP " => &mut self.xmp,
                _ => continue,
            };
            place.get_or_insert(Cow::Borrowed(body));
        }
    }
}
