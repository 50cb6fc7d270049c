//! What a file is, told by its first bytes and by nothing else; and the pipeline's errors in the contract's words.
//!
//! It must not know names or declared types. Invariant: whatever is refused here says what was found.

use image_pipeline::{Error, ErrorKind, Format, sniff};

use crate::domain::{Code, Refusal};

/// Bytes after which a file's format is judged, unless it ends sooner.
pub(super) const HEAD_BYTES: usize = 64;

/// The same where text goes before what tells it: XML's declaration, comments, a document type, as in SVG.
const MARKUP_HEAD_BYTES: usize = 4096;

/// Bytes after which a file that begins with `head` is judged. What is there may be enough before more came.
pub(super) fn head_bytes(head: &[u8]) -> usize {
    let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
    let starts = |word: &[u8]| text.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
    let may_be_svg = starts(b"<?xml") || starts(b"<!--") || starts(b"<!doctype svg");
    if head.len() >= HEAD_BYTES && may_be_svg && sniff(head).is_none() { MARKUP_HEAD_BYTES } else { HEAD_BYTES }
}

/// The format of a file that begins with `head` ([`HEAD_BYTES`], or all there is).
///
/// # Errors
/// `unsupported_format` when it is no image we read, with what the bytes look like.
pub(super) fn judge_head(head: &[u8]) -> Result<Format, Refusal> {
    sniff(head).ok_or_else(|| {
        let detail = format!("file is no image we read: first bytes look like {}", describe(head));
        Refusal::new(Code::UnsupportedFormat, detail)
    })
}

/// Names what else the bytes may be; the last resort is their hexadecimal form.
fn describe(head: &[u8]) -> String {
    const MAGIC: &[(&[u8], &str)] = &[
        (b"%PDF", "PDF"),
        (b"PK\x03\x04", "a ZIP archive (or an office document)"),
        (b"\x1f\x8b", "gzip data"),
        (b"\x7fELF", "a program"),
        (b"MZ", "a program"),
        (b"8BPS", "a Photoshop document"),
        (b"\0\0\0\x0cjP  ", "JPEG 2000"),
        (b"\x89PNG", "a PNG cut short or damaged"),
        (b"\xff\xd8", "a JPEG cut short or damaged"),
        (b"GIF8", "a GIF cut short or damaged"),
        (b"RIFF", "a RIFF file that is no WebP"),
        (b"\x1aE\xdf\xa3", "a Matroska or WebM video"),
        (b"ID3", "MP3"),
    ];
    if head.is_empty() {
        return "nothing".to_owned();
    }
    if head.get(4..8) == Some(b"ftyp") {
        return match head.get(8..12) {
            Some(b"mif1" | b"msf1") => "pictures in a container (HEIF) of a kind that is not read",
            _ => "an MP4 or MOV video",
        }
        .to_owned();
    }
    if let Some((_, name)) = MAGIC.iter().find(|(magic, _)| head.starts_with(magic)) {
        return (*name).to_owned();
    }
    let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
    let starts = |word: &[u8]| text.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
    if starts(b"<svg") {
        "SVG cut short or in capitals".to_owned()
    } else if starts(b"<!doctype html") || starts(b"<html") {
        "HTML".to_owned()
    } else if starts(b"<?xml") {
        "XML (perhaps SVG)".to_owned()
    } else if head.iter().all(|&b| b.is_ascii_graphic() || b.is_ascii_whitespace())
        || std::str::from_utf8(text).is_ok_and(|t| !t.chars().any(char::is_control))
    {
        "text".to_owned()
    } else {
        head.iter().take(8).map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(" ")
    }
}

/// An error of the pipeline about a file's head, in the words of the contract.
#[must_use]
pub fn refusal_of(error: &Error) -> Refusal {
    let code = match error.kind() {
        ErrorKind::Malformed | ErrorKind::Truncated => Code::MalformedImage,
        ErrorKind::Unsupported => Code::UnsupportedFormat,
        ErrorKind::TooManyPixels => Code::TooManyPixels,
        ErrorKind::TooManyFrames => Code::TooManyFrames,
        ErrorKind::LimitExceeded => Code::TooCostly,
        ErrorKind::InvalidSpec => Code::BadOption,
        ErrorKind::TimedOut | ErrorKind::Cancelled | ErrorKind::Internal => Code::Internal,
    };
    Refusal::new(code, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{domain::media, ingest::fixtures::noise_png};

    #[test]
    fn images_are_told_by_their_bytes() {
        assert_eq!(judge_head(&noise_png(8, 8)[..HEAD_BYTES]), Ok(Format::Png));
    }

    #[test]
    fn every_format_has_its_row_in_the_list_of_what_is_sent() {
        for format in Format::ALL {
            let row = (media::media_type(format.as_str()), media::extension(format.as_str()));
            assert_eq!(row, (format.media_type(), format.extension()), "{format}");
            assert_eq!(media::of_extension(format.extension()), Some(format.as_str()));
            assert_eq!(Format::from_name(format.extension()), Some(format));
        }
    }

    #[test]
    fn others_are_refused_with_what_they_look_like() {
        for (head, want) in [
            (&b"%PDF-1.7"[..], "PDF"),
            (b"\xef\xbb\xbf <SVG xmlns", "SVG"),
            (b"<!DOCTYPE html><html>", "HTML"),
            (b"hello", "text"),
            ("grüße".as_bytes(), "text"),
            (b"\0\0\0\x1cftypisom\0\0\0\0isomavc1mp41", "an MP4"),
            (b"\x89PNG", "a PNG cut short"),
            (b"\x01\x02\x03", "01 02 03"),
            (b"", "nothing"),
        ] {
            let refusal = judge_head(head).expect_err(want);
            assert_eq!(refusal.code, Code::UnsupportedFormat);
            assert!(refusal.detail.contains(want), "{refusal}");
        }
    }
}
