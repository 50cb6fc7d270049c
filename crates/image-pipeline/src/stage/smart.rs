//! Where to look: the part of a given size that is most worth keeping (`g:sm`). Deciding is one thing, cutting another: frames of an animation are
//! cut alike.
//!
//! 1. The picture is reduced to means of square cells, at most [`CELLS`] along the longer side, transparent parts weighing by their alpha.
//! 2. Each cell gets a score, the sum of four things people look at (record 0044 has sources and weights): how far its colour is from the
//!    picture's mean, detail (the Laplacian of luma), how near its hue is to that of skin, and strong colours.
//! 3. Every place the part can have, cell by cell, is given the sum of what it shows, cells near its middle weighing more than those near its
//!    edges, so that what is worth looking at is not cut through. The best place wins, of equal ones the one nearest to the picture's middle.

use super::geometry::Rect;
use crate::{
    error::Error,
    pixels::{Layout, Pixels},
    watch::Watch,
};

/// In errors.
const STAGE: &str = "smart crop";
/// Cells along the longer side.
const CELLS: usize = 96;
/// Weights of the four scores, each 0 to 1.
const DISTANCE: f32 = 1.0;
const DETAIL: f32 = 0.8;
const SKIN: f32 = 1.2;
const SATURATION: f32 = 0.3;
/// Skin, as a direction in red, green and blue: smartcrop.js' (0.78, 0.57, 0.44).
const SKIN_COLOUR: [f32; 3] = [0.78, 0.57, 0.44];
/// How much less a cell at the edge of the part weighs than one in its middle.
const FALL: f32 = 0.7;

/// Most bytes held beside the picture: cells and their scores.
pub(crate) fn scratch_bytes(height_px: u32) -> u64 {
    (CELLS * CELLS) as u64 * 40 + 4096 + u64::from(height_px) * 16
}

/// Where a part of `width_px` x `height_px`, nowhere larger than what it lies `within`, shows most. The picture has one plane.
///
/// # Errors
/// As [`Watch::check`].
pub(crate) fn find(pixels: &Pixels, within: Rect, width_px: u32, height_px: u32, watch: Watch<'_>) -> Result<Rect, Error> {
    let cell_px = (within.width_px.max(within.height_px) as usize).div_ceil(CELLS);
    let cells = Cells::of(pixels, within, cell_px, watch)?;
    let scores = cells.scores();
    let along = |full: u32, part: u32| Axis::new(full, part, cell_px);
    let (across, down) = (along(within.width_px, width_px), along(within.height_px, height_px));
    // Rows first: for each place across, what each row of cells shows there; then the places down of those.
    let mut best = (f32::MIN, 0_u32, across.middle(), down.middle());
    let mut shown = vec![0.0_f32; cells.height];
    for left_px in across.places() {
        watch.check(STAGE)?;
        for (row, sum) in scores.chunks_exact(cells.width).zip(&mut shown) {
            *sum = across.weighted(left_px, row);
        }
        for top_px in down.places() {
            let score = down.weighted(top_px, &shown);
            let off = across.off_middle(left_px) + down.off_middle(top_px);
            // Less than a thousandth is chance.
            let margin = best.0.abs() * 1e-3;
            if score > best.0 + margin || (score >= best.0 - margin && off < best.1) {
                best = (score.max(best.0), off, left_px, top_px);
            }
        }
    }
    Ok(Rect { left_px: within.left_px + best.2, top_px: within.top_px + best.3, width_px, height_px })
}

/// One direction: where the part can lie, and what its cells weigh.
struct Axis {
    full_px: u32,
    part_px: u32,
    cell_px: usize,
}

impl Axis {
    fn new(full_px: u32, part_px: u32, cell_px: usize) -> Self {
        Self { full_px, part_px: part_px.min(full_px), cell_px }
    }

    fn middle(&self) -> u32 {
        (self.full_px - self.part_px).div_ceil(2)
    }

    fn off_middle(&self, start_px: u32) -> u32 {
        start_px.abs_diff(self.middle())
    }

    /// From the start on a cell apart, the middle and the end.
    fn places(&self) -> impl Iterator<Item = u32> + use<> {
        let last = self.full_px - self.part_px;
        (0..last).step_by(self.cell_px).chain([self.middle(), last])
    }

    /// The sum of those `values`, one a cell, that lie in the part, each with its weight.
    fn weighted(&self, start_px: u32, values: &[f32]) -> f32 {
        let (start, length) = (start_px as f32, self.part_px as f32);
        let cell = self.cell_px as f32;
        let first = start_px as usize / self.cell_px;
        let end = ((start_px + self.part_px) as usize).div_ceil(self.cell_px).min(values.len());
        let mut sum = 0.0;
        for (index, value) in values.iter().enumerate().take(end).skip(first) {
            let from = (index as f32 * cell).max(start);
            let to = ((index + 1) as f32 * cell).min(start + length);
            let off = ((from + to) / 2.0 - start) / length * 2.0 - 1.0;
            sum += value * (to - from).max(0.0) / cell * (1.0 - FALL * off * off);
        }
        sum
    }
}

/// Mean colours of cells, 0 to 1, and how opaque each is.
struct Cells {
    width: usize,
    height: usize,
    colours: Vec<[f32; 3]>,
    alphas: Vec<f32>,
}

impl Cells {
    fn of(pixels: &Pixels, within: Rect, cell_px: usize, watch: Watch<'_>) -> Result<Self, Error> {
        let width = (within.width_px as usize).div_ceil(cell_px);
        let height = (within.height_px as usize).div_ceil(cell_px);
        let channels = pixels.layout.channels();
        let part = within.left_px as usize * channels..(within.left_px + within.width_px) as usize * channels;
        let mut cells = Self { width, height, colours: Vec::with_capacity(width * height), alphas: Vec::with_capacity(width * height) };
        let rows = pixels.bytes.chunks_exact(pixels.stride()).skip(within.top_px as usize).take(within.height_px as usize);
        let rows: Vec<&[u8]> = rows.map(|row| &row[part.clone()]).collect();
        for band in rows.chunks(cell_px) {
            watch.check(STAGE)?;
            for cell in 0..width {
                let (mut sums, mut alpha, mut count) = ([0_u64; 3], 0_u64, 0_u64);
                for row in band {
                    let end = ((cell + 1) * cell_px * channels).min(row.len());
                    for pixel in row[cell * cell_px * channels..end].chunks_exact(channels) {
                        let weight = if pixels.layout == Layout::Rgba8 { u64::from(pixel[3]) } else { 255 };
                        for (channel, sum) in sums.iter_mut().enumerate() {
                            *sum += u64::from(pixel[if channels < 3 { 0 } else { channel }]) * weight;
                        }
                        alpha += weight;
                        count += 1;
                    }
                }
                let mean = |sum: u64| if alpha == 0 { 0.0 } else { sum as f32 / alpha as f32 / 255.0 };
                cells.colours.push(sums.map(mean));
                cells.alphas.push(alpha as f32 / (count.max(1) * 255) as f32);
            }
        }
        Ok(cells)
    }

    fn scores(&self) -> Vec<f32> {
        let total: f32 = self.alphas.iter().sum();
        let mean: [f32; 3] = std::array::from_fn(|channel| {
            let sum: f32 = self.colours.iter().zip(&self.alphas).map(|(colour, alpha)| colour[channel] * alpha).sum();
            if total > 0.0 { sum / total } else { 0.0 }
        });
        let luma: Vec<f32> = self.colours.iter().map(|[r, g, b]| 0.2126 * r + 0.7152 * g + 0.0722 * b).collect();
        let at = |x: usize, y: usize| luma[y.min(self.height - 1) * self.width + x.min(self.width - 1)];
        let mut scores = Vec::with_capacity(luma.len());
        for y in 0..self.height {
            for x in 0..self.width {
                let index = y * self.width + x;
                let around = at(x.saturating_sub(1), y) + at(x + 1, y) + at(x, y.saturating_sub(1)) + at(x, y + 1);
                let detail = (4.0 * luma[index] - around).abs().min(1.0);
                let colour = self.colours[index];
                let distance = (0..3).map(|channel| (colour[channel] - mean[channel]).powi(2)).sum::<f32>().sqrt().min(1.0);
                let score =
                    DISTANCE * distance + DETAIL * detail + SKIN * skin(colour, luma[index]) + SATURATION * saturation(colour, luma[index]);
                scores.push(score * self.alphas[index]);
            }
        }
        scores
    }
}

/// How near a colour is to skin, 0 to 1; what is nearly black has no hue.
fn skin(colour: [f32; 3], luma: f32) -> f32 {
    let length = |colour: [f32; 3]| (colour[0] * colour[0] + colour[1] * colour[1] + colour[2] * colour[2]).sqrt();
    let own = length(colour);
    if own == 0.0 || !(0.2..=0.95).contains(&luma) {
        return 0.0;
    }
    let skin = length(SKIN_COLOUR);
    let apart = length(std::array::from_fn(|channel| colour[channel] / own - SKIN_COLOUR[channel] / skin));
    // smartcrop.js' threshold is a likeness of 0.8; the likeness of grey is 0.72.
    ((1.0 - apart - 0.8) / 0.2).max(0.0)
}

/// How strong a colour is, 0 to 1, from where it is noticed; neither what is nearly black nor what is nearly white.
fn saturation([r, g, b]: [f32; 3], luma: f32) -> f32 {
    let (most, least) = (r.max(g).max(b), r.min(g).min(b));
    if most <= 0.0 || !(0.05..=0.9).contains(&luma) {
        return 0.0;
    }
    (((most - least) / most - 0.4) / 0.6).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::super::samples::{noise, picture};
    use super::*;
    use proptest::prelude::*;

    /// A spot of this colour on a plain ground.
    fn spot(width: u32, height: u32, at: (u32, u32), radius: u32, colour: [u8; 3], ground: [u8; 3]) -> Pixels {
        picture(width, height, Layout::Rgb8, |x, y, channel| {
            if x.abs_diff(at.0).pow(2) + y.abs_diff(at.1).pow(2) <= radius * radius { colour[channel] } else { ground[channel] }
        })
    }

    fn find(pixels: &Pixels, width_px: u32, height_px: u32) -> Rect {
        super::find(pixels, Rect::whole(pixels.width_px, pixels.height_px), width_px, height_px, Watch::NEVER).expect("nobody ends it")
    }

    fn holds(rect: Rect, at: (u32, u32), radius: u32) -> bool {
        rect.left_px + radius <= at.0
            && at.0 + radius <= rect.left_px + rect.width_px
            && rect.top_px + radius <= at.1
            && at.1 + radius <= rect.top_px + rect.height_px
    }

    #[test]
    fn a_spot_is_found_wherever_it_is() {
        for (colour, ground) in [
            ([220, 40, 30], [90, 120, 90]),
            ([240, 240, 240], [20, 20, 20]),
            ([30, 30, 30], [200, 200, 205]),
            ([200, 146, 113], [60, 80, 130]),
        ] {
            for at in [(50, 60), (350, 60), (200, 250), (60, 240), (340, 240)] {
                let pixels = spot(400, 300, at, 30, colour, ground);
                let found = find(&pixels, 120, 120);
                assert!(holds(found, at, 30), "{colour:?} on {ground:?} at {at:?}: {found:?}");
                // About in the middle, where there is room.
                let (x, y) = (found.left_px + 60, found.top_px + 60);
                assert!(x.abs_diff(at.0.clamp(60, 340)) <= 12 && y.abs_diff(at.1.clamp(60, 240)) <= 12, "{at:?}: {found:?}");
                let across = find(&pixels, 300, 300);
                assert_eq!((across.top_px, across.height_px), (0, 300));
                assert!(at.0 >= across.left_px && at.0 <= across.left_px + 300);
            }
        }
    }

    #[test]
    fn skin_is_worth_more_than_other_colours() {
        let mut pixels = spot(300, 100, (60, 50), 25, [113, 200, 146], [110, 110, 115]);
        let face = spot(300, 100, (240, 50), 25, [200, 146, 113], [110, 110, 115]);
        for (index, byte) in pixels.bytes.iter_mut().enumerate() {
            if index / 3 % 300 >= 150 {
                *byte = face.bytes[index];
            }
        }
        assert!(holds(find(&pixels, 100, 100), (240, 50), 25), "{:?}", find(&pixels, 100, 100));
    }

    #[test]
    fn detail_is_worth_more_than_plain_ground() {
        let rough = noise(400, 200, Layout::Grey8, 3);
        let pixels = picture(400, 200, Layout::Grey8, |x, y, _| {
            if (260..360).contains(&x) && (40..160).contains(&y) { rough.bytes[(y / 6 * 400 + x / 6) as usize] } else { 128 }
        });
        let found = find(&pixels, 200, 200);
        assert!(found.left_px >= 150 && found.left_px <= 200, "{found:?}");
    }

    #[test]
    fn where_there_is_nothing_to_see_the_middle_stays() {
        for layout in [Layout::Grey8, Layout::Rgb8, Layout::Rgba8] {
            let flat = picture(301, 120, layout, |_, _, _| 255);
            assert_eq!(find(&flat, 100, 120), Rect { left_px: 101, top_px: 0, width_px: 100, height_px: 120 });
        }
        let clear = picture(50, 40, Layout::Rgba8, |x, _, channel| if channel == 3 { 0 } else { x as u8 * 5 });
        assert_eq!(find(&clear, 20, 20), Rect { left_px: 15, top_px: 10, width_px: 20, height_px: 20 });
    }

    proptest! {
        #[test]
        fn any_part_fits_and_is_found_again(width in 1_u32..300, height in 1_u32..300, part in (0.0_f64..=1.0, 0.0_f64..=1.0), seed in any::<u64>()) {
            let pixels = noise(width, height, Layout::Rgba8, seed);
            let (part_width, part_height) = (((f64::from(width) * part.0) as u32).max(1), ((f64::from(height) * part.1) as u32).max(1));
            let found = find(&pixels, part_width, part_height);
            prop_assert_eq!((found.width_px, found.height_px), (part_width, part_height));
            prop_assert!(found.left_px + part_width <= width && found.top_px + part_height <= height);
            prop_assert_eq!(found, find(&pixels, part_width, part_height));
        }
    }
}
