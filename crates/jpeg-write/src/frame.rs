//! How a picture is cut into blocks (T.81, A.1 and A.2).
//!
//! Knows nothing of samples or coding. Invariant: a component's blocks are those that hold samples of it; what an MCU holds beyond them
//! is padding, which has no place here.

use crate::picture::Sampling;

/// One component's grid.
#[derive(Clone, Copy)]
pub(crate) struct Component {
    /// Its factors, both ways the same.
    pub(crate) factor: usize,
    pub(crate) blocks_wide: usize,
    pub(crate) blocks_high: usize,
    /// Which tables it takes: 0 luma's, 1 chroma's.
    pub(crate) class: usize,
}

/// A picture's grid.
#[derive(Clone, Copy)]
pub(crate) struct Frame {
    pub(crate) width_px: u32,
    pub(crate) height_px: u32,
    pub(crate) sampling: Option<Sampling>,
    pub(crate) mcus_wide: usize,
    pub(crate) mcus_high: usize,
    components: [Component; 3],
}

impl Frame {
    /// `sampling` is `None` for grey.
    pub(crate) fn new(width_px: u32, height_px: u32, sampling: Option<Sampling>) -> Self {
        let (width, height) = (width_px as usize, height_px as usize);
        let factor = if sampling == Some(Sampling::Half) { 2 } else { 1 };
        let component = |shrink: usize, class| Component {
            factor: factor / shrink,
            blocks_wide: width.div_ceil(shrink).div_ceil(8),
            blocks_high: height.div_ceil(shrink).div_ceil(8),
            class,
        };
        let (luma, chroma) = (component(1, 0), component(factor, 1));
        Self {
            width_px,
            height_px,
            sampling,
            mcus_wide: width.div_ceil(8 * factor),
            mcus_high: height.div_ceil(8 * factor),
            components: [luma, chroma, chroma],
        }
    }

    pub(crate) fn components(&self) -> &[Component] {
        if self.sampling.is_some() { &self.components } else { &self.components[..1] }
    }

    /// Blocks of all components, padding not counted.
    pub(crate) fn blocks(&self) -> usize {
        self.components().iter().map(|component| component.blocks_wide * component.blocks_high).sum()
    }

    /// Rows of pixels in a row of MCUs.
    pub(crate) fn mcu_rows_px(&self) -> usize {
        8 * self.components[0].factor
    }
}
