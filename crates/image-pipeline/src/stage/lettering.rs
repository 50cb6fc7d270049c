//! A line of text as a picture with alpha, in the one font that is built in (Ubuntu Light). No other font is ever looked for.
//!
//! Text is put into the drawing as what it is, escaped, so that it is never read as markup.

use crate::{
    error::{Error, ErrorKind},
    pixels::{Layout, Pixels},
    spec::TextMark,
};
use resvg::{tiny_skia, usvg};
use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, Ordering},
};

/// Stage name in errors.
const STAGE: &str = "text";

/// Held for outlines, whatever the text.
const FIXED_BYTES: u64 = 512 << 10;

/// The font, read once.
fn fonts() -> &'static (Arc<usvg::fontdb::Database>, String) {
    static FONTS: OnceLock<(Arc<usvg::fontdb::Database>, String)> = OnceLock::new();
    FONTS.get_or_init(|| {
        let mut fonts = usvg::fontdb::Database::new();
        fonts.load_font_source(usvg::fontdb::Source::Binary(Arc::new(epaint_default_fonts::UBUNTU_LIGHT)));
        let family = fonts.faces().next().and_then(|face| face.families.first()).map_or_else(String::new, |(name, _)| name.clone());
        (Arc::new(fonts), family)
    })
}

/// Whether the font has every character.
///
/// # Errors
/// `InvalidSpec` if it has not.
pub(crate) fn check(text: &str) -> Result<(), Error> {
    drawing(text, 16.0, "000000").map(|_| ())
}

/// Most bytes held to make the line for a picture of these sides.
pub(crate) fn held_bytes(mark: &TextMark, dpr: f64, width_px: u32, height_px: u32) -> u64 {
    let size = f64::from(mark.size_px) * dpr;
    // No letter of the font is as wide, nor any with its accents as high.
    let (wide, high) = (size * 1.3 * mark.text.chars().count() as f64, size * 1.7);
    let (wide, high) = ((wide as u64 + 2).min(u64::from(width_px)), (high as u64 + 2).min(u64::from(height_px)));
    // The line as it is drawn, and as it is given out.
    FIXED_BYTES + 8 * wide * high
}

/// The line with alpha, no larger than a picture of these sides: what is too wide or too high is made smaller.
///
/// # Errors
/// `InvalidSpec` if the font has not every character, `Internal` if nothing can be drawn.
pub(crate) fn line(mark: &TextMark, dpr: f64, width_px: u32, height_px: u32) -> Result<Pixels, Error> {
    let internal = || Error::new(ErrorKind::Internal, STAGE, "the text could not be drawn");
    let tree = drawing(&mark.text, f64::from(mark.size_px) * dpr, &mark.colour.hex())?;
    let area = tree.root().abs_bounding_box();
    let fits = |own: f32, side: u32| (side as f32 / own.max(1.0)).min(1.0);
    let scale = fits(area.width(), width_px).min(fits(area.height(), height_px));
    let side = |own: f32, most: u32| ((own * scale).ceil() as u32).clamp(1, most);
    let (line_width, line_height) = (side(area.width(), width_px), side(area.height(), height_px));
    let mut drawn = tiny_skia::Pixmap::new(line_width, line_height).ok_or_else(internal)?;
    let to_corner = tiny_skia::Transform::from_translate(-area.x(), -area.y()).post_scale(scale, scale);
    resvg::render(&tree, to_corner, &mut drawn.as_mut());
    let mut bytes = Vec::with_capacity(drawn.pixels().len() * 4);
    for pixel in drawn.pixels() {
        let colour = pixel.demultiply();
        bytes.extend_from_slice(&[colour.red(), colour.green(), colour.blue(), colour.alpha()]);
    }
    Pixels::new(line_width, line_height, Layout::Rgba8, bytes).ok_or_else(internal)
}

/// The text as outlines.
fn drawing(text: &str, size_px: f64, colour: &str) -> Result<usvg::Tree, Error> {
    let (fonts, family) = fonts();
    let is_missing = Arc::new(AtomicBool::new(false));
    let missing = Arc::clone(&is_missing);
    let options = usvg::Options {
        fontdb: Arc::clone(fonts),
        font_family: family.clone(),
        font_resolver: usvg::FontResolver {
            // Asked where the font lacks a character.
            select_fallback: Box::new(move |_, _, _| {
                missing.store(true, Ordering::Relaxed);
                None
            }),
            select_font: usvg::FontResolver::default_font_selector(),
        },
        ..usvg::Options::default()
    };
    let svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"16\" height=\"16\"><text x=\"0\" y=\"0\" font-family=\"{family}\" \
         font-size=\"{size_px}\" fill=\"#{colour}\" xml:space=\"preserve\">{}</text></svg>",
        escaped(text)
    );
    let tree = usvg::Tree::from_str(&svg, &options)
        .map_err(|cause| Error::new(ErrorKind::Internal, STAGE, "the text could not be laid out").caused_by(cause))?;
    if is_missing.load(Ordering::Relaxed) {
        let text =
            "watermark_text has a character that the built-in font has not: allowed are Latin, Greek and Cyrillic letters and common signs";
        return Err(Error::new(ErrorKind::InvalidSpec, STAGE, text));
    }
    Ok(tree)
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            char => out.push(char),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Anchor, Place, Rgb};

    fn mark(text: &str, size_px: u32) -> TextMark {
        TextMark {
            text: text.to_owned(),
            size_px,
            colour: Rgb([200, 100, 50]),
            opacity: 1.0,
            place: Place::At(Anchor::Centre),
            x: 0.0,
            y: 0.0,
        }
    }

    /// Sum of alpha.
    fn ink(pixels: &Pixels) -> u64 {
        pixels.bytes.iter().skip(3).step_by(4).map(|alpha| u64::from(*alpha)).sum()
    }

    #[test]
    fn letters_are_drawn_in_their_colour_and_size() {
        let small = line(&mark("Hxg", 20), 1.0, 1000, 1000).expect("draws");
        let large = line(&mark("Hxg", 20), 2.0, 1000, 1000).expect("draws");
        assert!((15..32).contains(&small.height_px) && (20..45).contains(&small.width_px), "{:?}", small.shape());
        assert!(large.width_px.abs_diff(2 * small.width_px) <= 2 && large.height_px.abs_diff(2 * small.height_px) <= 2);
        assert!(ink(&small) > 255 * 40);
        assert!(small.bytes.chunks(4).filter(|pixel| pixel[3] == 255).all(|pixel| pixel[..3] == [200, 100, 50]));
        assert_eq!(line(&mark("Hxg", 20), 1.0, 1000, 1000).expect("draws"), small);
    }

    #[test]
    fn what_is_too_large_becomes_smaller() {
        let wide = line(&mark(&"W".repeat(120), 1000), 8.0, 300, 200).expect("draws");
        assert_eq!(wide.width_px, 300);
        assert!(wide.height_px <= 20, "{:?}", wide.shape());
        let high = line(&mark("l", 1000), 1.0, 300, 20).expect("draws");
        assert_eq!(high.height_px, 20);
        line(&mark("x", 1), 0.1, 1, 1).expect("draws");
    }

    #[test]
    fn markup_is_text() {
        let plain = line(&mark("<b>&amp;'\"</b>", 30), 1.0, 1000, 100).expect("draws");
        let bold = line(&mark("&", 30), 1.0, 1000, 100).expect("draws");
        assert!(plain.width_px > 6 * bold.width_px, "{} {}", plain.width_px, bold.width_px);
        check("]]></text><image href='file:///etc/passwd'/>").expect("letters");
        check("&#0;&bogus;%").expect("letters");
    }

    #[test]
    fn letters_that_the_font_has_not_are_refused() {
        for known in ["Grüße, Ελλάδα, Привет", "© 2026 – “naïve” €5"] {
            check(known).unwrap_or_else(|error| panic!("{known}: {error}"));
        }
        for unknown in ["漢字", "a\u{1f600}", "\u{5d0}"] {
            assert_eq!(check(unknown).expect_err(unknown).kind(), ErrorKind::InvalidSpec);
        }
    }

    #[test]
    fn no_text_is_larger_than_was_said() {
        for (text, size, dpr) in [("WWWWW@@@", 50, 1.0), ("ÅÊÇgjpq|", 100, 2.0), ("—…‰™", 31, 1.5)] {
            let mark = mark(text, size);
            let line = line(&mark, dpr, 60_000, 60_000).expect("draws");
            assert!(
                8 * u64::from(line.width_px) * u64::from(line.height_px) <= held_bytes(&mark, dpr, 60_000, 60_000) - FIXED_BYTES,
                "{text}"
            );
        }
    }
}
