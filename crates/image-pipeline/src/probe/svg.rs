//! SVG: told by its content, measured by its root element's `width`, `height` and `viewBox` (SVG 2, 8.2), as the renderer measures it.
//!
//! Reads the text up to the end of the root's start tag, no further; nothing is resolved, no entity is expanded.

use super::{Parts, Probe, Reader, check_area};
use crate::{
    error::{Error, ErrorKind},
    limits::Limits,
    probe::Format,
};
use std::io::{BufRead, Read, Seek};

/// How much of a file is looked through for the root element's start tag: editors put licences and tables of entities before it.
const MAX_HEAD_BYTES: u64 = 64 << 10;
/// Bytes of a whole file: what it unfolds to in memory is charged by them.
pub(crate) const MAX_BYTES: u64 = 8 << 20;
/// Sides without a size of their own, as the renderer has them.
const DEFAULT_PX: f64 = 100.0;
/// CSS: pixels of an inch.
const DPI: f64 = 96.0;

/// What follows a byte-order mark, blanks, the XML declaration, instructions, comments and a document type; `None` where one of them does not end.
fn root(text: &[u8]) -> Option<&[u8]> {
    let mut rest = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    loop {
        rest = rest.trim_ascii_start();
        if rest.starts_with(b"<?") {
            rest = behind(rest, b"?>")?;
        } else if rest.starts_with(b"<!--") {
            rest = behind(&rest[4..], b"-->")?;
        } else if rest.get(..9).is_some_and(|word| word.eq_ignore_ascii_case(b"<!doctype")) {
            rest = behind_doctype(rest)?;
        } else {
            return Some(rest);
        }
    }
}

fn behind<'t>(text: &'t [u8], end: &[u8]) -> Option<&'t [u8]> {
    text.windows(end.len()).position(|found| found == end).map(|at| &text[at + end.len()..])
}

/// A document type ends at the first `>` outside quotes and outside brackets.
fn behind_doctype(text: &[u8]) -> Option<&[u8]> {
    let (mut quote, mut brackets) = (None, 0_u32);
    for (at, &byte) in text.iter().enumerate() {
        match (quote, byte) {
            (Some(open), _) if open == byte => quote = None,
            (Some(_), _) => {}
            (None, b'"' | b'\'') => quote = Some(byte),
            (None, b'[') => brackets += 1,
            (None, b']') => brackets = brackets.saturating_sub(1),
            (None, b'>') if brackets == 0 => return Some(&text[at + 1..]),
            _ => {}
        }
    }
    None
}

/// Whether text begins as an SVG does.
pub(super) fn is_svg(head: &[u8]) -> bool {
    let Some(root) = root(head) else { return false };
    let name = root.strip_prefix(b"<svg:svg").or_else(|| root.strip_prefix(b"<svg"));
    name.and_then(|rest| rest.first()).is_some_and(|&byte| byte.is_ascii_whitespace() || matches!(byte, b'>' | b'/'))
}

/// Reads the file from its first byte.
pub(super) fn probe<R: BufRead + Seek>(reader: &mut Reader<'_, R>, limits: &Limits) -> Result<Probe, Error> {
    let bytes = reader.rest_bytes()?;
    let mut head = Vec::new();
    reader.source.by_ref().take(MAX_HEAD_BYTES).read_to_end(&mut head).map_err(|error| reader.failed(error))?;
    let broken = |text: &'static str| Error::new(ErrorKind::Malformed, super::STAGE, text).in_format(Format::Svg);
    let tag = root(&head).and_then(start_tag);
    let Some(tag) = tag else {
        let is_cut = (head.len() as u64) < MAX_HEAD_BYTES;
        return Err(if is_cut {
            reader.error(ErrorKind::Truncated, "image ends inside its header")
        } else {
            broken("svg has no root element in its first 65536 bytes")
        });
    };
    let (width, height) = sides(tag).ok_or_else(|| broken("svg has a size that is none"))?;
    let side = |side: f64| if side > f64::from(u32::MAX) { u32::MAX } else { side.round().max(1.0) as u32 };
    let (width_px, height_px) = (side(width), side(height));
    check_area(Format::Svg, width_px, height_px, limits)?;
    let mut probe = Probe::still(Format::Svg, width_px, height_px);
    (probe.has_alpha, probe.channels) = (true, 4);
    probe.parts = Parts::Vector { bytes };
    Ok(probe)
}

/// The start tag, `<svg` to `>`, outside quotes.
fn start_tag(root: &[u8]) -> Option<&[u8]> {
    let mut quote = None;
    for (at, &byte) in root.iter().enumerate() {
        match (quote, byte) {
            (Some(open), _) if open == byte => quote = None,
            (Some(_), _) => {}
            (None, b'"' | b'\'') => quote = Some(byte),
            (None, b'>') => return Some(&root[..at]),
            _ => {}
        }
    }
    None
}

/// The value of an attribute of a start tag.
fn attribute<'t>(tag: &'t [u8], name: &str) -> Option<&'t str> {
    let mut rest = tag;
    while let Some(equals) = rest.iter().position(|&byte| byte == b'=') {
        let (before, after) = rest.split_at(equals);
        let found = before.trim_ascii_end();
        let after = after[1..].trim_ascii_start();
        let (&quote, value) = after.split_first()?;
        if !matches!(quote, b'"' | b'\'') {
            return None;
        }
        let end = value.iter().position(|&byte| byte == quote)?;
        let start = found.len() - found.iter().rev().take_while(|byte| !byte.is_ascii_whitespace()).count();
        if &found[start..] == name.as_bytes() {
            return std::str::from_utf8(&value[..end]).ok();
        }
        rest = &value[end + 1..];
    }
    None
}

/// A length in pixels, or a share of a whole.
enum Length {
    Px(f64),
    Share(f64),
}

fn length(text: &str) -> Option<Length> {
    let text = text.trim();
    let unit_at = text.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '+' | '-' | 'e' | 'E'))).unwrap_or(text.len());
    // `em` and `ex` begin with a letter of numbers.
    let unit_at = if text.ends_with("em") || text.ends_with("ex") { text.len() - 2 } else { unit_at };
    let (number, unit) = text.split_at(unit_at);
    let number: f64 = number.parse().ok().filter(|number: &f64| number.is_finite() && *number > 0.0)?;
    // The renderer's font has 12 pixels, `ex` is half of it.
    let px = match unit.trim() {
        "" | "px" => number,
        "in" => number * DPI,
        "cm" => number * DPI / 2.54,
        "mm" => number * DPI / 25.4,
        "pt" => number * DPI / 72.0,
        "pc" => number * DPI / 6.0,
        "em" => number * 12.0,
        "ex" => number * 6.0,
        "%" => return Some(Length::Share(number / 100.0)),
        _ => return None,
    };
    Some(Length::Px(px))
}

/// Both sides; `None` where one is no length, or not above 0.
fn sides(tag: &[u8]) -> Option<(f64, f64)> {
    let side = |name| attribute(tag, name).map(|text| length(text).ok_or(())).transpose().ok();
    let (width, height) = (side("width")?, side("height")?);
    let view = attribute(tag, "viewBox").and_then(|text| {
        let mut numbers = text.split([' ', ',', '\t', '\r', '\n']).filter(|word| !word.is_empty()).map(str::parse::<f64>);
        let [_, _, w, h] = [(); 4].map(|()| numbers.next().and_then(Result::ok));
        Some((w?, h?)).filter(|(w, h)| *w > 0.0 && *h > 0.0 && w.is_finite() && h.is_finite())
    });
    let (whole_width, whole_height) = view.unwrap_or((DEFAULT_PX, DEFAULT_PX));
    let of = |side: &Length, whole: f64| match side {
        Length::Px(px) => *px,
        Length::Share(share) => whole * share,
    };
    Some(match (width, height) {
        (Some(width), Some(height)) => (of(&width, whole_width), of(&height, whole_height)),
        // The view's proportions give the other side.
        (Some(width), None) if view.is_some() => {
            let width = of(&width, whole_width);
            (width, whole_height * width / whole_width)
        }
        (None, Some(height)) if view.is_some() => {
            let height = of(&height, whole_height);
            (whole_width * height / whole_height, height)
        }
        (Some(width), None) => (of(&width, whole_width), whole_height),
        (None, Some(height)) => (whole_width, of(&height, whole_height)),
        (None, None) => (whole_width, whole_height),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn svg_is_told_by_its_content() {
        for yes in [
            "<svg>",
            "<svg xmlns='http://www.w3.org/2000/svg'/>",
            "\u{feff}  <?xml version='1.0'?>\n<!-- <html> > --> <!DOCTYPE svg PUBLIC \"-//W3C//DTD SVG 1.1//EN\" \"x>y\" [ <!ENTITY a 'b>'> ]>\n<svg\n",
            "<svg:svg xmlns:svg='http://www.w3.org/2000/svg'>",
        ] {
            assert!(is_svg(yes.as_bytes()), "{yes}");
        }
        for no in ["", "<svgx>", "<html><svg>", "<?xml version='1.0'?><rss>", "<!-- <svg> ", "svg", "<!DOCTYPE html><html>", "<svg"] {
            assert!(!is_svg(no.as_bytes()), "{no}");
        }
    }

    #[test]
    fn sides_are_those_of_the_root_element() {
        let of = |attributes: &str| sides(start_tag(format!("<svg {attributes}>").as_bytes()).unwrap());
        for (attributes, wanted) in [
            ("width='24' height=\"12\"", (24.0, 12.0)),
            ("width = '1in' height='72pt'", (96.0, 96.0)),
            ("data-width='9' viewBox='0 0 30 40'", (30.0, 40.0)),
            ("viewBox='0,0,30,40' width='50%'", (15.0, 20.0)),
            ("viewBox='0 0 30 40' height='80'", (60.0, 80.0)),
            ("width='200%' height='10' viewBox='0 0 30 40'", (60.0, 10.0)),
            ("", (100.0, 100.0)),
            ("width='2e1' title='a > b = c' height='3em'", (20.0, 36.0)),
        ] {
            let (width, height) = of(attributes).unwrap();
            assert!((width - wanted.0).abs() < 1e-9 && (height - wanted.1).abs() < 1e-9, "{attributes}: {width} {height}");
        }
        for broken in ["width='0'", "height='-3'", "width='abc'", "width='1furlong'"] {
            assert!(of(broken).is_none(), "{broken}");
        }
    }
}
