//! Results whose every pixel is one pixel of the source: nearest neighbour, and regions that are copied. Knows nothing of weights, light
//! or alpha: bytes stay as they are.

use crate::axis::Axis;

/// Which pixels are taken.
pub(crate) struct Pick {
    channels: usize,
    down: Axis,
    /// First byte of each result column's pixel within the region's part of a source row; empty where the row is copied.
    places: Vec<usize>,
}

impl Pick {
    pub(crate) fn working_bytes(across: &Axis) -> u64 {
        if across.is_copy() { 0 } else { u64::from(across.target) * size_of::<usize>() as u64 }
    }

    pub(crate) fn new(across: &Axis, down: Axis, channels: usize) -> Self {
        let places = if across.is_copy() {
            Vec::new()
        } else {
            (0..across.target).map(|result| (across.nearest(result) - across.source.start) as usize * channels).collect()
        };
        Self { channels, down, places }
    }

    /// The source row that a result row is of.
    pub(crate) fn source_row(&self, result: u32) -> u32 {
        self.down.nearest(result)
    }

    /// `row` is the region's part of the source row.
    pub(crate) fn produce(&self, row: &[u8], out: &mut [u8]) {
        if self.places.is_empty() {
            out.copy_from_slice(row);
            return;
        }
        match self.channels {
            1 => copy::<1>(&self.places, row, out),
            3 => copy::<3>(&self.places, row, out),
            _ => copy::<4>(&self.places, row, out),
        }
    }
}

fn copy<const CHANNELS: usize>(places: &[usize], row: &[u8], out: &mut [u8]) {
    for (out, &place) in out.as_chunks_mut::<CHANNELS>().0.iter_mut().zip(places) {
        out.copy_from_slice(&row[place..][..CHANNELS]);
    }
}
