//! Which format finished pixels are best kept in, where the choice was left to us: by what they are, never by whom they are for.
//!
//! | pixels | opaque | with transparency |
//! |---|---|---|
//! | of a photo | JPEG | WebP |
//! | drawn: few colours, or large areas of one and hard edges | PNG | PNG |
//!
//! Invariant: the same pixels come to the same format.

use super::{Output, longest_side_px};
use crate::{
    pixels::{Layout, Pixels},
    spec::OutputFormat,
};

/// Colours that a picture may have to be taken for drawn whatever their places: as many as a palette holds.
const FEW_COLOURS: usize = 256;

/// The same where all of them are grey: a photo has no more than 256 then.
const FEW_GREYS: usize = 32;

/// A step of each channel that a photo's neighbours do not pass, mostly.
const GENTLE: u8 = 8;

/// All formats that pixels may come to, of which each is planned for.
pub(super) const CANDIDATES: [OutputFormat; 3] = [OutputFormat::Jpeg, OutputFormat::Png, OutputFormat::WebP];

/// How these pixels are written: as `output` says, with the format filled in where that was left to them.
pub(crate) fn choose(pixels: &Pixels, output: Output) -> Output {
    if !output.by_content {
        return output;
    }
    let seen = match pixels.layout {
        Layout::Rgba8 => Seen::of(pixels.bytes.as_chunks::<4>().0, pixels.width_px),
        Layout::Rgb8 => Seen::of(pixels.bytes.as_chunks::<3>().0, pixels.width_px),
        Layout::Grey8 => Seen::of(pixels.bytes.as_chunks::<1>().0, pixels.width_px),
        // What is chosen for by content is red, green and blue, or grey; of planes luma says enough.
        Layout::Ycc444 | Layout::Ycc420 => Seen::of(pixels.bytes[..pixels.shape().pixels() as usize].as_chunks::<1>().0, pixels.width_px),
    };
    let format = match (seen.is_drawn(), seen.is_transparent) {
        (false, false) => OutputFormat::Jpeg,
        (false, true) if pixels.width_px.max(pixels.height_px) <= longest_side_px(OutputFormat::WebP) => OutputFormat::WebP,
        _ => OutputFormat::Png,
    };
    Output { format, by_content: false, ..output }
}

/// How pixels are written whose `chosen` format has no quality to lower and passes a bound: as a lossy WebP, where the format was left to them.
pub(crate) fn second_choice(pixels: &Pixels, asked: Output, chosen: Output) -> Option<Output> {
    let is_open = asked.by_content && chosen.told_quality().is_none() && !asked.lossless;
    let fits = pixels.width_px.max(pixels.height_px) <= longest_side_px(OutputFormat::WebP);
    (is_open && fits).then_some(Output { format: OutputFormat::WebP, ..chosen })
}

/// What was counted.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    /// Pixels beside a left neighbour.
    pairs: usize,
    /// Of these, the ones that are the same.
    same: usize,
    /// And those that differ by [`GENTLE`] in each channel at the most.
    gentle: usize,
    /// At most one more than [`FEW_COLOURS`].
    colours: usize,
    is_transparent: bool,
    has_hues: bool,
}

impl Seen {
    fn of<const C: usize>(pixels: &[[u8; C]], width_px: u32) -> Self {
        let mut seen = Self::default();
        let mut colours = Colours::default();
        for row in pixels.chunks_exact((width_px as usize).max(1)) {
            let mut before: Option<[u8; C]> = None;
            for &pixel in row {
                seen.is_transparent |= C == 4 && pixel[C - 1] < 255;
                if let Some(before) = before {
                    seen.pairs += 1;
                    if before == pixel {
                        seen.same += 1;
                        continue;
                    }
                    seen.gentle += usize::from(before.iter().zip(&pixel).all(|(a, b)| a.abs_diff(*b) <= GENTLE));
                }
                seen.has_hues |= C >= 3 && (pixel[0] != pixel[1] || pixel[1] != pixel[2]);
                colours.add(pixel.iter().fold(0, |all, &byte| all << 8 | u32::from(byte)));
                before = Some(pixel);
            }
        }
        seen.colours = colours.count;
        seen
    }

    /// A photo's neighbours are rarely the same, but for what is burnt out or was cut out; where they differ, they mostly do so gently. Of
    /// a drawing a third and more are the same (as in `png`), and where they differ there is an edge.
    fn is_drawn(&self) -> bool {
        let few = if self.has_hues { FEW_COLOURS } else { FEW_GREYS };
        self.colours <= few || (3 * self.same >= self.pairs && 2 * self.gentle <= self.pairs - self.same)
    }
}

/// A set of colours that stops counting at one more than [`FEW_COLOURS`].
struct Colours {
    /// By a hash of the colour, one more than it; 0: free.
    places: Vec<u64>,
    count: usize,
}

impl Default for Colours {
    fn default() -> Self {
        Self { places: vec![0; 4 * FEW_COLOURS], count: 0 }
    }
}

impl Colours {
    fn add(&mut self, colour: u32) {
        if self.count > FEW_COLOURS {
            return;
        }
        let entry = u64::from(colour) + 1;
        // A quarter full at the most, so a free place is near.
        let mut at = (colour.wrapping_mul(0x9e37_79b9) >> 22) as usize;
        while self.places[at] != entry {
            if self.places[at] == 0 {
                self.places[at] = entry;
                self.count += 1;
                return;
            }
            at = (at + 1) % self.places.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stage::samples::{noise, picture};

    const AUTO: Output = Output { by_content: true, ..Output::plain(OutputFormat::WebP, 80) };

    fn chosen(pixels: &Pixels) -> OutputFormat {
        choose(pixels, AUTO).format
    }

    /// Light that changes slowly, and the grain of a sensor.
    fn photo(layout: Layout, background_share: u32, alpha: u8) -> Pixels {
        let grain = noise(320, 200, layout, 9);
        let channels = layout.channels();
        picture(320, 200, layout, |x, y, channel| {
            let grain = grain.bytes[(y as usize * 320 + x as usize) * channels + channel] >> 5;
            match channel {
                3 if x < 50 => alpha,
                3 => 255,
                _ if x < 320 * background_share / 100 => 255,
                _ => (x * 255 / 400) as u8 / 2 + (y * 100 / 200) as u8 + grain,
            }
        })
    }

    #[test]
    fn photos_become_jpeg_or_webp_and_drawings_png() {
        for layout in [Layout::Rgb8, Layout::Rgba8, Layout::Grey8] {
            assert_eq!(chosen(&photo(layout, 0, 255)), OutputFormat::Jpeg, "{layout:?}");
        }
        // Cut out and put on white.
        assert_eq!(chosen(&photo(Layout::Rgb8, 70, 255)), OutputFormat::Jpeg);
        assert_eq!(chosen(&photo(Layout::Rgba8, 0, 0)), OutputFormat::WebP);
        assert_eq!(chosen(&photo(Layout::Rgba8, 60, 254)), OutputFormat::WebP);
        for alpha in [0, 255] {
            // More colours than a palette, in tiles.
            let tiles = picture(320, 200, Layout::Rgba8, |x, y, channel| match channel {
                3 => alpha.max(u8::from(x > 3) * 255),
                _ => ((x / 10 * 37 + y / 10 * 91) * (channel as u32 + 3)) as u8,
            });
            assert_eq!(chosen(&tiles), OutputFormat::Png, "{alpha}");
        }
        assert_eq!(chosen(&noise(1, 1, Layout::Rgb8, 1)), OutputFormat::Png);
    }

    #[test]
    fn what_was_asked_for_stays() {
        let asked = Output { format: OutputFormat::Jpeg, by_content: false, ..AUTO };
        assert_eq!(choose(&noise(9, 9, Layout::Rgb8, 1), asked), asked);
    }

    #[test]
    fn colours_are_counted_up_to_a_palette() {
        for (many, want) in [(1, 1), (255, 255), (256, 256), (257, 257), (5000, 257)] {
            let mut colours = Colours::default();
            for _ in 0..2 {
                for colour in 0..many {
                    colours.add(colour * 0x1_0193);
                }
            }
            assert_eq!(colours.count, want);
        }
    }
}
