//! The walk over a picture: MCU after MCU, blocks in the order a baseline scan has them, transformed and quantised.
//!
//! Knows nothing of coding. Beyond an edge the last sample is repeated inside a block that has samples (T.81, A.2.4 leaves it open);
//! blocks without any are left to who takes them, since what costs least there is theirs to know. Invariant: the same picture gives
//! the same blocks each time.

use crate::{
    error::Error,
    frame::Frame,
    picture::{Picture, Plane, Sampling},
    quantise::Quantiser,
    simd::{self, Avx2, Work},
    strip::Strip,
    transform::{self, Pair, Tile},
};

/// Who takes blocks.
pub(crate) trait Take {
    /// The next block of a component, in the MCU's order; `column` and `row` are in its grid.
    fn block(&mut self, component: usize, column: usize, row: usize, values: &[i16; 64], mask: u64);

    /// One that an MCU needs and the component does not have.
    fn padding(&mut self, component: usize);
}

/// What is walked over.
pub(crate) struct Walk<'a> {
    pub(crate) picture: &'a Picture<'a>,
    pub(crate) frame: &'a Frame,
    pub(crate) quantisers: &'a [Quantiser; 2],
    pub(crate) keep_going: &'a dyn Fn() -> bool,
}

impl Walk<'_> {
    /// Gives all blocks to `taker`, as long as that is wanted.
    pub(crate) fn run<T: Take>(&self, taker: &mut T) -> Result<(), Error> {
        let rows = self.frame.mcu_rows_px();
        let shrink = if self.frame.sampling == Some(Sampling::Half) { 2 } else { 1 };
        let mut strip = Strip::new(self.picture, self.frame);
        for mcu_row in 0..self.frame.mcus_high {
            if !(self.keep_going)() {
                return Err(Error::Interrupted);
            }
            let planes = match *self.picture {
                Picture::Grey(luma) => luma.rows(mcu_row * rows, rows).map(|luma| [luma; 3]),
                Picture::YCbCr { luma, blue, red } => {
                    let (first, few) = (mcu_row * rows / shrink, rows / shrink);
                    // Chroma has rows wherever luma has.
                    luma.rows(mcu_row * rows, rows)
                        .zip(blue.rows(first, few))
                        .zip(red.rows(first, few))
                        .map(|((luma, blue), red)| [luma, blue, red])
                }
                Picture::Rgb { .. } | Picture::Rgba { .. } => Some(strip.converted(mcu_row * rows)),
            };
            let Some(planes) = planes else { return Ok(()) };
            simd::run(Row { frame: self.frame, quantisers: self.quantisers, planes: &planes, mcu_row, taker });
        }
        Ok(())
    }
}

/// One row of MCUs; the planes hold it and no more.
struct Row<'a, T> {
    frame: &'a Frame,
    quantisers: &'a [Quantiser; 2],
    planes: &'a [Plane<'a>; 3],
    mcu_row: usize,
    taker: &'a mut T,
}

impl<T: Take> Work for Row<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self, avx2: Option<Avx2>) {
        let [luma, blue, red] = self.planes;
        let [fine, coarse] = self.quantisers;
        let taker = self.taker;
        let tile = &mut [0; 128];
        let mut pair = Pair::EMPTY;
        let mut chroma = Pair::EMPTY;
        let columns = self.frame.components()[0].blocks_wide;
        match self.frame.sampling {
            None => {
                for column in (0..columns).step_by(2) {
                    let (samples, stride) = two_blocks(luma, 8 * column, 0, tile);
                    transform::pair(avx2, samples, stride, fine, &mut pair);
                    taker.block(0, column, self.mcu_row, &pair.values[0], pair.masks[0]);
                    if column + 1 < columns {
                        taker.block(0, column + 1, self.mcu_row, &pair.values[1], pair.masks[1]);
                    }
                }
            }
            Some(Sampling::Full) => {
                for column in (0..columns).step_by(2) {
                    let (samples, stride) = two_blocks(luma, 8 * column, 0, tile);
                    transform::pair(avx2, samples, stride, fine, &mut pair);
                    for half in 0..2.min(columns - column) {
                        let column = column + half;
                        load(blue, 8 * column, tile, 0);
                        load(red, 8 * column, tile, 8);
                        transform::pair(avx2, tile, 16, coarse, &mut chroma);
                        taker.block(0, column, self.mcu_row, &pair.values[half], pair.masks[half]);
                        taker.block(1, column, self.mcu_row, &chroma.values[0], chroma.masks[0]);
                        taker.block(2, column, self.mcu_row, &chroma.values[1], chroma.masks[1]);
                    }
                }
            }
            Some(Sampling::Half) => {
                for mcu in 0..self.frame.mcus_wide {
                    for y in 0..2 {
                        if luma.height_px as usize <= 8 * y {
                            taker.padding(0);
                            taker.padding(0);
                            continue;
                        }
                        let (samples, stride) = two_blocks(luma, 16 * mcu, 8 * y, tile);
                        transform::pair(avx2, samples, stride, fine, &mut pair);
                        let row = 2 * self.mcu_row + y;
                        taker.block(0, 2 * mcu, row, &pair.values[0], pair.masks[0]);
                        if 2 * mcu + 1 < columns {
                            taker.block(0, 2 * mcu + 1, row, &pair.values[1], pair.masks[1]);
                        } else {
                            taker.padding(0);
                        }
                    }
                    load(blue, 8 * mcu, tile, 0);
                    load(red, 8 * mcu, tile, 8);
                    transform::pair(avx2, tile, 16, coarse, &mut chroma);
                    taker.block(1, mcu, self.mcu_row, &chroma.values[0], chroma.masks[0]);
                    taker.block(2, mcu, self.mcu_row, &chroma.values[1], chroma.masks[1]);
                }
            }
        }
    }
}

/// Eight rows of sixteen samples from `(x, y)` on, and the bytes from one to the next: where they are or, with the last ones repeated
/// beyond the plane's edges, in `tile`. There must be a sample at `(x, y)`.
#[inline(always)]
fn two_blocks<'a>(plane: &Plane<'a>, x: usize, y: usize, tile: &'a mut Tile) -> (&'a [u8], usize) {
    if x + 16 <= plane.width_px as usize && y + 8 <= plane.height_px as usize {
        (&plane.samples[y * plane.stride + x..], plane.stride)
    } else {
        at_an_edge(plane, x, y, tile, 0..16);
        (tile, 16)
    }
}

/// Eight rows of eight samples from `(x, 0)` on to column `to` of a tile, repeated as above.
#[inline(always)]
fn load(plane: &Plane<'_>, x: usize, tile: &mut Tile, to: usize) {
    if x + 8 <= plane.width_px as usize && plane.height_px >= 8 {
        let samples = &plane.samples[x..];
        for (row, tile) in tile.as_chunks_mut::<16>().0.iter_mut().enumerate() {
            tile[to..to + 8].copy_from_slice(&samples[row * plane.stride..][..8]);
        }
    } else {
        at_an_edge(plane, x, 0, tile, to..to + 8);
    }
}

#[cold]
#[inline(never)]
fn at_an_edge(plane: &Plane<'_>, x: usize, y: usize, tile: &mut Tile, to: std::ops::Range<usize>) {
    let (width, height) = (plane.width_px as usize, plane.height_px as usize);
    for (row, tile) in tile.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        let samples = &plane.samples[(y + row).min(height - 1) * plane.stride..][..width];
        let there = &samples[x..width.min(x + to.len())];
        let (inside, beyond) = tile[to.clone()].split_at_mut(there.len());
        inside.copy_from_slice(there);
        beyond.fill(samples[width - 1]);
    }
}
