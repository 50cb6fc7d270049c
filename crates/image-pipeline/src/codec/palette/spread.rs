//! What a palette cannot show, spread over the neighbours that are still to come (Floyd and Steinberg, 1976), rows to and fro.

use super::Palette;

/// Errors on their way from row to row.
pub(in crate::codec) struct Spread {
    /// In sixteenths of a step, with a place on either side.
    here: Vec<[i32; 4]>,
    below: Vec<[i32; 4]>,
    /// How much of an error is passed on, of 255.
    share: i32,
    backwards: bool,
}

/// Bytes held for a picture of this width.
pub(in crate::codec) const fn spread_bytes(width_px: u32) -> u64 {
    (width_px as u64 + 2) * 32
}

impl Spread {
    pub(in crate::codec) fn new(width: usize, share: u8) -> Self {
        Self { here: vec![[0; 4]; width + 2], below: vec![[0; 4]; width + 2], share: i32::from(share), backwards: false }
    }

    /// Puts the indices of a row where `colour` has one for the place, weighted with alpha; where it has none, nothing changes and errors
    /// end.
    pub(in crate::codec) fn row(&mut self, palette: &mut Palette, indices: &mut [u8], colour: impl Fn(usize) -> Option<[u8; 4]>) {
        let width = indices.len();
        let mut ahead = [0_i32; 4];
        for step in 0..width {
            let x = if self.backwards { width - 1 - step } else { step };
            let Some(wanted) = colour(x) else {
                ahead = [0; 4];
                continue;
            };
            if self.share == 0 {
                indices[x] = palette.nearest(wanted);
                continue;
            }
            let error = self.here[x + 1];
            let wanted: [i32; 4] =
                std::array::from_fn(|channel| (i32::from(wanted[channel]) + ((error[channel] + ahead[channel]) >> 4)).clamp(0, 255));
            let index = palette.nearest(wanted.map(|value| value as u8));
            indices[x] = index;
            let shown = palette.colours[usize::from(index)];
            let (next, behind) = if self.backwards { (x, x + 2) } else { (x + 2, x) };
            for channel in 0..4 {
                let left = (wanted[channel] - i32::from(shown[channel])) * self.share / 255;
                ahead[channel] = left * 7;
                self.below[behind][channel] += left * 3;
                self.below[x + 1][channel] += left * 5;
                self.below[next][channel] += left;
            }
        }
        std::mem::swap(&mut self.here, &mut self.below);
        self.below.fill([0; 4]);
        self.backwards = !self.backwards;
    }
}
