//! One component at the size wanted: its geometry, its strips of samples, its coefficients where they must wait.
//!
//! Knows nothing of entropy coding. A strip is one row of MCUs. Two are held, and the last row of the one before, so that the triangle
//! filter has its neighbours; the picture is never held whole as samples.

use crate::{
    block::Kept,
    header::{Component, Frame},
    idct,
    options::{Chroma, Corners},
    rows::Upsampling,
    simd::{self, Avx2},
    strip::Samples,
};

/// What all components share.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Geometry {
    /// Output samples per side of a luma block: 1, 2, 4 or 8.
    pub(crate) side: usize,
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) mcus_wide: usize,
    pub(crate) mcus_high: usize,
    horizontal_max: usize,
    vertical_max: usize,
    /// Full size.
    full_width: usize,
    full_height: usize,
}

impl Geometry {
    pub(crate) fn new(frame: &Frame, height: u32, side: usize) -> Self {
        let largest = |of: fn(&Component) -> u8| frame.components.iter().map(of).max().map_or(1, usize::from);
        let (horizontal_max, vertical_max) = (largest(|component| component.horizontal), largest(|component| component.vertical));
        let (full_width, full_height) = (frame.width as usize, height as usize);
        Self {
            side,
            width: (full_width * side).div_ceil(8),
            height: (full_height * side).div_ceil(8),
            mcus_wide: full_width.div_ceil(8 * horizontal_max),
            mcus_high: full_height.div_ceil(8 * vertical_max),
            horizontal_max,
            vertical_max,
            full_width,
            full_height,
        }
    }

    /// Output rows of a strip.
    pub(crate) fn strip_rows(&self) -> usize {
        self.vertical_max * self.side
    }
}

/// One component.
pub(crate) struct Plane {
    pub(crate) horizontal: usize,
    pub(crate) vertical: usize,
    /// Samples per side of its blocks; larger than luma's where that saves upsampling, as libjpeg does.
    pub(crate) side: usize,
    pub(crate) kept: Kept,
    /// Natural order, the kept part; set at the component's first scan.
    pub(crate) quantisers: Option<[u16; 64]>,
    /// Blocks across and down, whole MCUs.
    pub(crate) blocks_wide: usize,
    pub(crate) blocks_high: usize,
    /// Blocks that a scan of this component alone has.
    pub(crate) own_wide: usize,
    pub(crate) own_high: usize,
    pub(crate) stride: usize,
    /// Rows of a strip.
    pub(crate) strip_rows: usize,
    /// Samples that belong to the picture.
    pub(crate) real_width: usize,
    pub(crate) real_height: usize,
    pub(crate) upsampling: Upsampling,
    /// The strip being filled, the one being shown, and the last row of the one before that.
    pub(crate) filling: Vec<u8>,
    showing: Vec<u8>,
    above: Vec<u8>,
    /// Kept coefficients, block by block, where scans are several.
    pub(crate) coefficients: Vec<i16>,
    /// Which coefficients are not zero, by zigzag index, where refinements are read.
    pub(crate) masks: Vec<u64>,
}

impl Plane {
    pub(crate) fn new(component: &Component, geometry: &Geometry, chroma: Chroma, corners: Corners) -> Self {
        let (horizontal, vertical) = (usize::from(component.horizontal), usize::from(component.vertical));
        let (across, down) = (geometry.horizontal_max * geometry.side, geometry.vertical_max * geometry.side);
        let mut side = geometry.side;
        let large = chroma == Chroma::Large;
        let large_enough = |side: usize| match chroma {
            Chroma::Large => false,
            Chroma::Small => across <= 2 * horizontal * side && down <= 2 * vertical * side,
            Chroma::Native => true,
        };
        while !large_enough(side) && side < 8 && across.is_multiple_of(horizontal * side * 2) && down.is_multiple_of(vertical * side * 2) {
            side *= 2;
        }
        let blocks_wide = geometry.mcus_wide * horizontal;
        let real = |full: usize, factor: usize, largest: usize| (full * factor * side).div_ceil(8 * largest);
        let own = |full: usize, factor: usize, largest: usize| (full * factor).div_ceil(8 * largest);
        let real_width = real(geometry.full_width, horizontal, geometry.horizontal_max);
        let fancy = geometry.side > 1 || !large;
        let ratio = |of: usize, to: usize| if to.is_multiple_of(of) { to / of } else { 0 };
        let upsampling = match (ratio(horizontal * side, across), ratio(vertical * side, down)) {
            (1, 1) => Upsampling::None,
            (2, 1) if fancy && real_width > 2 => Upsampling::Wide,
            (2, 2) if fancy && real_width > 2 => Upsampling::Both,
            (1, 2) if fancy => Upsampling::High,
            _ => Upsampling::Nearest { width: reduced(horizontal * side, across), height: reduced(vertical * side, down) },
        };
        Self {
            horizontal,
            vertical,
            side,
            kept: Kept::new(side, corners == Corners::LeaveOut),
            quantisers: None,
            blocks_wide,
            blocks_high: geometry.mcus_high * vertical,
            own_wide: own(geometry.full_width, horizontal, geometry.horizontal_max),
            own_high: own(geometry.full_height, vertical, geometry.vertical_max),
            stride: blocks_wide * side,
            strip_rows: vertical * side,
            real_width,
            real_height: real(geometry.full_height, vertical, geometry.vertical_max),
            upsampling,
            filling: Vec::new(),
            showing: Vec::new(),
            above: Vec::new(),
            coefficients: Vec::new(),
            masks: Vec::new(),
        }
    }

    pub(crate) fn blocks(&self) -> usize {
        self.blocks_wide * self.blocks_high
    }

    /// Bytes of its strips.
    pub(crate) fn strip_bytes(&self) -> usize {
        (2 * self.strip_rows + 1) * self.stride
    }

    pub(crate) fn allocate_strips(&mut self) {
        self.filling = vec![0; self.strip_rows * self.stride];
        // Not a copy: where strips are read as they are, its pages are never touched.
        self.showing = vec![0; self.strip_rows * self.stride];
        self.above = vec![0; self.stride];
    }

    /// The filled strip is shown next, and the shown one may be filled.
    pub(crate) fn turn(&mut self) {
        let last = (self.strip_rows - 1) * self.stride;
        self.above.copy_from_slice(&self.showing[last..]);
        std::mem::swap(&mut self.filling, &mut self.showing);
    }

    /// Row `row` of the component while strip `shown` is shown; it may be one above or below that strip.
    pub(crate) fn row(&self, row: usize, shown: usize) -> &[u8] {
        let row = row.min(self.real_height.saturating_sub(1));
        let start = shown * self.strip_rows;
        let line = if row < start {
            &self.above[..]
        } else if row < start + self.strip_rows {
            &self.showing[(row - start) * self.stride..]
        } else {
            &self.filling[..]
        };
        &line[..self.real_width]
    }

    /// The strip that was filled last, `strip` of the picture.
    pub(crate) fn samples(&self, strip: usize) -> Samples<'_> {
        let first = strip * self.strip_rows;
        let rows = self.real_height.saturating_sub(first).min(self.strip_rows);
        let bytes = if rows == 0 { 0 } else { (rows - 1) * self.stride + self.real_width };
        Samples {
            bytes: &self.filling[..bytes],
            stride: self.stride,
            width_px: self.real_width as u32,
            height_px: rows as u32,
            first_row: first as u32,
        }
    }

    /// Turns a strip's waiting coefficients into samples.
    pub(crate) fn transform_strip(&mut self, strip: usize) {
        simd::run(WholeStrip { plane: self, strip });
    }
}

/// What [`Plane::transform_strip`] does.
struct WholeStrip<'p> {
    plane: &'p mut Plane,
    strip: usize,
}

impl simd::Work for WholeStrip<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self, avx2: Option<Avx2>) {
        let Self { plane, strip } = self;
        let Some(quantisers) = plane.quantisers else {
            plane.filling.fill(128);
            return;
        };
        let count = plane.side * plane.side;
        let row_blocks = plane.blocks_wide * count;
        for down in 0..plane.vertical {
            let from = (strip * plane.vertical + down) * row_blocks;
            let blocks = plane.coefficients[from..from + row_blocks].chunks_exact(count);
            let samples = &mut plane.filling[down * plane.side * plane.stride..];
            for (across, block) in blocks.enumerate() {
                let flat = plane.side == 8 && block[1..].iter().fold(0, |all, &value| all | value) == 0;
                transform(plane.side, block, &quantisers, &mut samples[across * plane.side..], plane.stride, flat, avx2);
            }
        }
    }
}

/// One kept block to samples; a block of another length than its side needs is left out. `flat` says that it has DC alone; who does
/// not know may say that it is not.
#[inline(always)]
pub(crate) fn transform(side: usize, block: &[i16], quantisers: &[u16; 64], out: &mut [u8], stride: usize, flat: bool, avx2: Option<Avx2>) {
    match side {
        1 => {
            if let ([dc], Some(place)) = (block, out.first_mut()) {
                *place = idct::one(*dc, quantisers[0]);
            }
        }
        2 => {
            if let (Ok(block), Some(quantisers)) = (block.try_into(), quantisers.first_chunk()) {
                idct::two(block, quantisers, out, stride);
            }
        }
        4 => {
            if let (Ok(block), Some(quantisers)) = (block.try_into(), quantisers.first_chunk()) {
                idct::four(block, quantisers, out, stride);
            }
        }
        _ => {
            if let Ok(block) = block.try_into() {
                let block: &[i16; 64] = block;
                if flat {
                    let value = idct::one(block[0], quantisers[0]);
                    for row in out.chunks_mut(stride).take(8) {
                        row[..8].fill(value);
                    }
                } else {
                    idct::eight(block, quantisers, out, stride, avx2);
                }
            }
        }
    }
}

/// A fraction in lowest terms.
fn reduced(numerator: usize, denominator: usize) -> (usize, usize) {
    let (mut a, mut b) = (numerator, denominator);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    (numerator / a, denominator / a)
}
