//! Samples as they lie in the decoder: what is handed out to those who need neither colour nor components of one size.
//!
//! Knows nothing of how they got there. Invariant: what is handed out belongs to the picture; what fills the last blocks up is cut off.

use crate::plane::Plane;

/// Rows of one component's samples, as they lie in the decoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Samples<'d> {
    /// Row after row; a row's first sample lies `stride` bytes behind that of the one above it. Ends with the last row's last sample.
    pub bytes: &'d [u8],
    /// Bytes from row to row, `width_px` or more.
    pub stride: usize,
    /// Samples of a row.
    pub width_px: u32,
    /// Rows in this strip, one or more.
    pub height_px: u32,
    /// Number of the first of them in this component's plane.
    pub first_row: u32,
}

impl<'d> Samples<'d> {
    /// The rows, from the top.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &'d [u8]> + use<'d> {
        let width = self.width_px as usize;
        self.bytes.chunks(self.stride.max(1)).map(move |row| &row[..width.min(row.len())])
    }
}

/// One row of MCUs of all components: up to 4 block rows of each.
#[derive(Clone, Copy)]
pub struct Strip<'d> {
    planes: &'d [Plane],
    number: usize,
}

impl<'d> Strip<'d> {
    pub(crate) fn new(planes: &'d [Plane], number: usize) -> Self {
        Self { planes, number }
    }

    /// Its samples, one component after another, in the header's order.
    pub fn components(&self) -> impl ExactSizeIterator<Item = Samples<'d>> + use<'d> {
        let number = self.number;
        self.planes.iter().map(move |plane| plane.samples(number))
    }
}

impl std::fmt::Debug for Strip<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Strip").field("number", &self.number).field("components", &self.planes.len()).finish()
    }
}
