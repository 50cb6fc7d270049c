//! Who made a picture, who owns it, whom to thank: from wherever the source says it. Exif comes before IPTC and that before XMP, as the
//! Metadata Working Group's guidelines of 2010 have it for these properties.

use super::{exif, iptc, xmp};

/// Longest text kept, in bytes.
const MAX_TEXT_BYTES: usize = 1024;

/// Texts without control characters, none empty.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(super) struct Credit {
    /// Exif Copyright, IPTC 2:116, dc:rights.
    pub(super) copyright: Option<String>,
    /// Exif Artist, IPTC 2:80, dc:creator; several are joined by `; `.
    pub(super) artist: Option<String>,
    /// IPTC 2:110, photoshop:Credit.
    pub(super) credit: Option<String>,
}

impl Credit {
    pub(super) fn of(exif: Option<&exif::Source<'_>>, iptc: Option<&[u8]>, xmp: Option<&[u8]>) -> Self {
        let exif = exif.map(exif::read_credit).unwrap_or_default();
        let iptc = iptc.map(iptc::read).unwrap_or_default();
        let xmp = xmp.map(xmp::read).unwrap_or_default();
        Self {
            copyright: exif.copyright.or(iptc.copyright).or(xmp.copyright),
            artist: exif.artist.or(iptc.artist).or(xmp.artist),
            credit: iptc.credit.or(xmp.credit),
        }
    }
}

/// Text as stored: UTF-8, or else Latin-1, which programs write where ASCII is asked for.
pub(super) fn text(bytes: &[u8]) -> Option<String> {
    let whole = match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().map(|&byte| char::from(byte)).collect(),
    };
    clean(&whole)
}

/// The same without what cannot be seen, cut to what is kept; `None` if nothing is left.
pub(super) fn clean(text: &str) -> Option<String> {
    let seen: String = text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    let seen = seen.trim();
    let end = (0..=MAX_TEXT_BYTES.min(seen.len())).rev().find(|&at| seen.is_char_boundary(at)).unwrap_or(0);
    Some(seen[..end].trim_end().to_owned()).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cleaned_and_cut() {
        assert_eq!(text(b"  Jos\xc3\xa9\0\0").as_deref(), Some("Jos\u{e9}"));
        assert_eq!(text(b"\xa9 Jos\xe9").as_deref(), Some("\u{a9} Jos\u{e9}"));
        assert_eq!(text(b"\0 \n"), None);
        let long = "\u{e9}".repeat(MAX_TEXT_BYTES);
        assert_eq!(clean(&long).map(|text| text.len()), Some(MAX_TEXT_BYTES));
        assert_eq!(clean(&format!("a{long}")).map(|text| text.len()), Some(MAX_TEXT_BYTES - 1));
    }
}
