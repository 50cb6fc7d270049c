//! A small picture of the rows that go by: each of its pixels is the mean of up to sixteen points of what it covers.
//!
//! Points, not all pixels: what it costs is the same for every size of source. Where it is small it is the source itself.

use crate::pixels::{Layout, Pixels, SourcePlane};

/// Longest side of the small picture.
const SIDE_PX: u32 = 48;

/// Most points across and down for each of its pixels.
const POINTS: u32 = 4;

/// A small picture being made of rows that come in order.
pub(crate) struct Sampler {
    width_px: u32,
    height_px: u32,
    layout: Layout,
    planes: Vec<Plane>,
}

/// One plane of it.
struct Plane {
    channels: usize,
    /// Pixels of a row of the source that are looked at: `points_across` for each of the small picture's.
    columns: Vec<usize>,
    points_across: usize,
    /// How many points a pixel of the small picture has in all.
    points: u32,
    /// Rows of the source that are looked at, and the row each is part of; ascending.
    rows: Vec<(u32, u32)>,
    next: usize,
    /// Sums of samples, a pixel's channels one after another; of colours times alpha where there is alpha.
    sums: Vec<u32>,
}

impl Sampler {
    /// For planes of a layout, as they will be pushed.
    pub(crate) fn new(planes: &[SourcePlane], layout: Layout) -> Self {
        let (width_px, height_px) = planes.first().map_or((1, 1), |plane| (plane.width_px, plane.height_px));
        let longest = width_px.max(height_px);
        let side = |px: u32| if longest <= SIDE_PX { px } else { (px * SIDE_PX / longest).max(1) };
        let (width_px, height_px) = (side(width_px), side(height_px));
        let planes = planes.iter().map(|plane| Plane::new(plane, layout.channels(), width_px, height_px)).collect();
        Self { width_px, height_px, layout, planes }
    }

    /// Takes the next rows of plane `index`, `first_row` and on, `stride` bytes from one to the next.
    pub(crate) fn push(&mut self, index: usize, first_row: u32, rows: &[u8], stride: usize) {
        if let Some(plane) = self.planes.get_mut(index) {
            plane.push(first_row, rows, stride);
        }
    }

    /// The picture, of the layout that was pushed, planes all of one size.
    pub(crate) fn finish(self) -> Option<Pixels> {
        let bytes = self.planes.iter().flat_map(Plane::means).collect();
        Pixels::new(self.width_px, self.height_px, self.layout, bytes)
    }
}

/// The points of `to` pixels across `from`: `(pixel, place)`, and how many for each.
fn points(from: u32, to: u32) -> (u32, impl Iterator<Item = (u32, u32)>) {
    let each = (from / to).clamp(1, POINTS);
    let all = u64::from(to * each);
    let place = move |at: u64| (at as u32 / each, ((2 * at + 1) * u64::from(from) / (2 * all)) as u32);
    (each, (0..all).map(place))
}

impl Plane {
    fn new(plane: &SourcePlane, channels: usize, width_px: u32, height_px: u32) -> Self {
        let (points_across, columns) = points(plane.width_px, width_px);
        let (points_down, rows) = points(plane.height_px, height_px);
        Self {
            channels,
            columns: columns.map(|(_, place)| place as usize).collect(),
            points_across: points_across as usize,
            points: points_across * points_down,
            rows: rows.map(|(pixel, place)| (place, pixel)).collect(),
            next: 0,
            sums: vec![0; width_px as usize * height_px as usize * channels],
        }
    }

    fn push(&mut self, first_row: u32, bytes: &[u8], stride: usize) {
        while let Some(&(row, pixel_row)) = self.rows.get(self.next) {
            let Some(row) = row.checked_sub(first_row).and_then(|row| bytes.get(row as usize * stride..)) else { return };
            if row.is_empty() {
                return;
            }
            self.next += 1;
            let samples = self.columns.len() / self.points_across * self.channels;
            let sums = &mut self.sums[pixel_row as usize * samples..][..samples];
            let cells = self.columns.chunks_exact(self.points_across);
            match self.channels {
                4 => add_weighted(row, cells, sums),
                3 => add::<3>(row, cells, sums),
                _ => add::<1>(row, cells, sums),
            }
        }
    }

    fn means(&self) -> impl Iterator<Item = u8> {
        let pixels = self.sums.chunks_exact(self.channels);
        pixels.flat_map(move |sums| {
            // Alpha is a mean of all points, colours are means of what can be seen of them.
            let weight = if self.channels == 4 { sums[3] } else { self.points };
            sums.iter().enumerate().map(move |(index, &sum)| {
                let by = if index == 3 { self.points } else { weight };
                ((sum + by / 2) / by.max(1)) as u8
            })
        })
    }
}

/// Adds the points of a row: the pixels of each cell to the cell's sums.
fn add<'c, const C: usize>(row: &[u8], cells: impl Iterator<Item = &'c [usize]>, sums: &mut [u32]) {
    let pixels = row.as_chunks::<C>().0;
    for (cell, sums) in cells.zip(sums.as_chunks_mut::<C>().0) {
        for pixel in cell.iter().filter_map(|&column| pixels.get(column)) {
            for (sum, sample) in sums.iter_mut().zip(pixel) {
                *sum += u32::from(*sample);
            }
        }
    }
}

/// The same of red, green, blue and alpha: at most 16 times 255 times 255 of a colour.
fn add_weighted<'c>(row: &[u8], cells: impl Iterator<Item = &'c [usize]>, sums: &mut [u32]) {
    let pixels = row.as_chunks::<4>().0;
    for (cell, sums) in cells.zip(sums.as_chunks_mut::<4>().0) {
        for &[red, green, blue, alpha] in cell.iter().filter_map(|&column| pixels.get(column)) {
            let by = u32::from(alpha);
            for (sum, sample) in sums.iter_mut().zip([red, green, blue]) {
                *sum += u32::from(sample) * by;
            }
            sums[3] += by;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stage::samples::noise;

    fn sampled(pixels: &Pixels, rows_at_a_time: usize) -> Pixels {
        let planes: Vec<SourcePlane> =
            pixels.planes().map(|plane| SourcePlane { width_px: plane.width_px, height_px: plane.height_px, share: (1.0, 1.0) }).collect();
        let layout = if pixels.layout == Layout::Ycc420 { Layout::Ycc444 } else { pixels.layout };
        let mut sampler = Sampler::new(&planes, layout);
        for (index, plane) in pixels.planes().enumerate() {
            for (strip, rows) in plane.bytes.chunks(plane.stride * rows_at_a_time).enumerate() {
                sampler.push(index, (strip * rows_at_a_time) as u32, rows, plane.stride);
            }
        }
        sampler.finish().unwrap()
    }

    #[test]
    fn small_pictures_are_themselves() {
        for layout in [Layout::Grey8, Layout::Rgb8, Layout::Ycc444] {
            let small = noise(48, 17, layout, 5);
            assert_eq!(sampled(&small, 3), small, "{layout:?}");
        }
        let one = Pixels::new(1, 1, Layout::Rgba8, vec![9, 8, 7, 255]).unwrap();
        assert_eq!(sampled(&one, 1), one);
    }

    #[test]
    fn strips_of_any_height_give_the_same_and_sides_keep_their_ratio() {
        for (width, height, wanted) in [(640, 480, (48, 36)), (70_000, 1, (48, 1)), (1, 70_000, (1, 48)), (49, 50, (47, 48))] {
            let source = noise(width, height, Layout::Rgb8, 7);
            let first = sampled(&source, 1);
            assert_eq!((first.width_px, first.height_px), wanted);
            for rows in [2, 7, 100_000] {
                assert_eq!(sampled(&source, rows), first);
            }
        }
        // Chroma of half the sides comes to the size of luma.
        let planar = noise(201, 99, Layout::Ycc420, 3);
        assert_eq!(sampled(&planar, 4).shape().layout, Layout::Ycc444);
    }

    #[test]
    fn means_are_of_what_is_covered_and_transparent_colours_do_not_count() {
        // Left half red, right half a green that cannot be seen but for one column in four.
        let mut bytes = Vec::new();
        for _ in 0..96 {
            for x in 0..192_u32 {
                bytes.extend(match x {
                    0..96 => [200, 0, 0, 255],
                    _ if x % 4 == 0 => [0, 100, 0, 255],
                    _ => [0, 255, 0, 0],
                });
            }
        }
        let small = sampled(&Pixels::new(192, 96, Layout::Rgba8, bytes).unwrap(), 5);
        assert_eq!((small.width_px, small.height_px), (48, 24));
        assert_eq!(small.bytes[..4], [200, 0, 0, 255]);
        assert_eq!(small.bytes[47 * 4..48 * 4], [0, 100, 0, 64]);
    }
}
