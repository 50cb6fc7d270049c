//! A flame graph (Brendan Gregg, "The Flame Graph", CACM 59(6), 2016): a box a frame, as wide as its share of the samples, on top of its caller.
//!
//! Knows nothing of how samples are taken. No scripts: what does not fit into a box is its title, which browsers show under the pointer.

use std::{collections::BTreeMap, fmt::Write as _};

use super::Profile;

const WIDTH: f64 = 1400.0;
const ROW: f64 = 17.0;
const MARGIN: f64 = 10.0;
const HEAD: f64 = 40.0;
/// A character of the 11-pixel font, at its widest.
const CHARACTER: f64 = 6.6;
/// Boxes narrower than this cannot be seen, let alone pointed at.
const NARROWEST: f64 = 0.15;

#[derive(Default)]
struct Frame<'a> {
    samples: u64,
    callees: BTreeMap<&'a str, Frame<'a>>,
}

impl Frame<'_> {
    fn depth(&self) -> usize {
        self.callees.values().map(|callee| 1 + callee.depth()).max().unwrap_or(0)
    }
}

pub(super) fn draw(profile: &Profile) -> String {
    let mut root = Frame::default();
    for (stack, count) in &profile.folded {
        let mut at = &mut root;
        at.samples += count;
        for name in stack.split(';') {
            at = at.callees.entry(name).or_default();
            at.samples += count;
        }
    }
    let rows = root.depth();
    let height = HEAD + ROW * rows.max(1) as f64 + MARGIN;
    let (width, seconds) = (WIDTH + 2.0 * MARGIN, profile.time.as_secs_f64());
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" font-family=\"monospace\" font-size=\"11\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fdf6ec\"/>\n\
         <text x=\"{MARGIN}\" y=\"18\" font-size=\"14\" fill=\"#222\">pixmill, CPU of {seconds:.1} s: {} samples</text>\n",
        root.samples
    );
    let lost = if profile.lost > 0 { format!(", {} lost", profile.lost) } else { String::new() };
    // Writing to a String cannot fail.
    let _ = writeln!(
        svg,
        "<text x=\"{MARGIN}\" y=\"33\" fill=\"#666\">{} samples a second of CPU time{lost}; point at a box for its name and share</text>",
        super::SAMPLES_PER_CPU_SECOND
    );
    if root.samples == 0 {
        let _ = writeln!(svg, "<text x=\"{MARGIN}\" y=\"{}\" fill=\"#666\">nothing used the CPU</text>", HEAD + 12.0);
    } else {
        let scale = WIDTH / root.samples as f64;
        boxes(&mut svg, &root, MARGIN, height - MARGIN - ROW, scale, root.samples);
    }
    svg.push_str("</svg>\n");
    svg
}

fn boxes(svg: &mut String, caller: &Frame<'_>, left: f64, top: f64, scale: f64, all: u64) {
    let mut x = left;
    for (name, frame) in &caller.callees {
        let width = frame.samples as f64 * scale;
        if width >= NARROWEST {
            let share = 100.0 * frame.samples as f64 / all as f64;
            let (escaped, colour) = (escape(name), colour(name));
            let _ = write!(
                svg,
                "<g><title>{escaped}: {share:.1} %, {} samples</title><rect x=\"{x:.2}\" y=\"{top}\" width=\"{width:.2}\" height=\"{}\" fill=\"{colour}\" stroke=\"#fdf6ec\" stroke-width=\".5\"/>",
                frame.samples,
                ROW - 1.0
            );
            let fits = ((width - 4.0) / CHARACTER) as usize;
            if fits >= 3 {
                let short: String =
                    if name.chars().count() <= fits { (*name).to_owned() } else { name.chars().take(fits - 1).chain(['…']).collect() };
                let _ = write!(svg, "<text x=\"{:.2}\" y=\"{}\" fill=\"#222\">{}</text>", x + 2.0, top + 12.0, escape(&short));
            }
            svg.push_str("</g>\n");
            boxes(svg, frame, x, top - ROW, scale, all);
        }
        x += width;
    }
}

/// Ours stand out; the same function has the same colour in every profile.
fn colour(name: &str) -> String {
    const OURS: [&str; 6] = ["pixmill", "image_pipeline", "jpeg_shrink", "jpeg_write", "png_rows", "row_resize"];
    let shade = name.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)) % 24;
    let hue = if OURS.iter().any(|krate| name.trim_start_matches('<').starts_with(krate)) { 16 + shade } else { 190 + shade };
    format!("hsl({hue} 75% {}%)", 68 + shade % 8)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_are_as_wide_as_their_share_and_names_cannot_break_out() {
        let folded = [("main;<a::b>;leaf".to_owned(), 3), ("main;other".to_owned(), 1)].into();
        let svg = draw(&Profile { folded, ..Profile::default() });
        assert!(svg.contains("<title>main: 100.0 %, 4 samples</title>") && svg.contains(&format!("width=\"{WIDTH:.2}\"")), "{svg}");
        assert!(svg.contains("&lt;a::b&gt;: 75.0 %, 3 samples") && svg.contains(&format!("width=\"{:.2}\"", WIDTH * 0.75)), "{svg}");
        assert!(!svg.contains("<a::b>"));
        assert!(draw(&Profile::default()).contains("nothing used the CPU"));
    }
}
