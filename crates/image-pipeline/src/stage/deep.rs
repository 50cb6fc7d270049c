//! Cutting, scaling and turning of pictures of 16 bits, by `fast_image_resize` and with the whole picture in memory: such results are rare,
//! and what they are for is exactness.

use super::geometry::Region;
use super::orient::place_before;
use crate::deep::{Deep, deep_bytes};
use crate::error::{Error, ErrorKind};
use crate::probe::Orientation;
use crate::spec::Kernel;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};

impl Deep {
    /// The region at another size.
    ///
    /// # Errors
    /// As [`blank`](Self::blank); `Internal` if the region is not inside the picture.
    pub(crate) fn resized(&self, region: Region, width_px: u32, height_px: u32, kernel: Kernel) -> Result<Self, Error> {
        let mut made = Self::blank(width_px, height_px, self.channels())?;
        let algorithm = match kernel {
            Kernel::Lanczos3 => ResizeAlg::Convolution(FilterType::Lanczos3),
            Kernel::Cubic => ResizeAlg::Convolution(FilterType::CatmullRom),
            Kernel::Linear => ResizeAlg::Convolution(FilterType::Bilinear),
            Kernel::Nearest => ResizeAlg::Nearest,
        };
        // What rounding added beyond the picture's edges is not there.
        let (left, top) = (region.left_px.max(0.0), region.top_px.max(0.0));
        let width = region.width_px.min(f64::from(self.width_px()) - left);
        let height = region.height_px.min(f64::from(self.height_px()) - top);
        let options = ResizeOptions::new().resize_alg(algorithm).crop(left, top, width, height);
        let resized = Resizer::new().resize(&self.image, &mut made.image, &options);
        resized.map_err(|cause| Error::new(ErrorKind::Internal, "resize", "the picture could not be resized").caused_by(cause))?;
        Ok(made)
    }

    /// Most bytes held beside this picture and the result while a picture of these sides is resized.
    pub(crate) fn resizing_bytes((width_px, height_px): (u32, u32), to_width_px: u32, channels: usize) -> u64 {
        /// Weights of columns and rows.
        const FIXED: u64 = 64 << 10;
        let weighted = if channels.is_multiple_of(2) { deep_bytes(width_px, height_px, channels) } else { 0 };
        let weights = (u64::from(width_px) + u64::from(height_px) + u64::from(to_width_px)) * 64;
        FIXED + weights + weighted + deep_bytes(to_width_px, height_px, channels)
    }

    /// Turned and mirrored.
    ///
    /// # Errors
    /// As [`blank`](Self::blank).
    pub(crate) fn oriented(self, orientation: Orientation) -> Result<Self, Error> {
        if orientation == Orientation::Upright {
            return Ok(self);
        }
        let (width_px, height_px) = (self.width_px(), self.height_px());
        let sides = if orientation.swaps_sides() { (height_px, width_px) } else { (width_px, height_px) };
        let mut made = Self::blank(sides.0, sides.1, self.channels())?;
        match self.channels() {
            1 => turn::<2>(self.bytes(), (width_px, height_px), made.bytes_mut(), sides.0, orientation),
            2 => turn::<4>(self.bytes(), (width_px, height_px), made.bytes_mut(), sides.0, orientation),
            3 => turn::<6>(self.bytes(), (width_px, height_px), made.bytes_mut(), sides.0, orientation),
            _ => turn::<8>(self.bytes(), (width_px, height_px), made.bytes_mut(), sides.0, orientation),
        }
        Ok(made)
    }
}

fn turn<const BYTES: usize>(from: &[u8], sides: (u32, u32), to: &mut [u8], width_px: u32, orientation: Orientation) {
    let (from, to) = (from.as_chunks::<BYTES>().0, to.as_chunks_mut::<BYTES>().0);
    for (y, row) in to.chunks_exact_mut(width_px as usize).enumerate() {
        for (x, pixel) in row.iter_mut().enumerate() {
            let (left, top) = place_before(orientation, sides, (x, y));
            *pixel = from[top * sides.0 as usize + left];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(width_px: u32, height_px: u32, channels: usize, sample: impl Fn(u32, u32, usize) -> u16) -> Deep {
        let mut made = Deep::blank(width_px, height_px, channels).unwrap();
        for (at, to) in made.bytes_mut().as_chunks_mut::<2>().0.iter_mut().enumerate() {
            let pixel = (at / channels) as u32;
            *to = sample(pixel % width_px, pixel / width_px, at % channels).to_ne_bytes();
        }
        made
    }

    fn samples(picture: &Deep) -> Vec<u16> {
        picture.bytes().as_chunks::<2>().0.iter().map(|sample| u16::from_ne_bytes(*sample)).collect()
    }

    /// A ramp whose steps are far smaller than those of 8 bits stays one.
    #[test]
    fn what_eight_bits_cannot_tell_apart_stays_apart() {
        for channels in 1..=4 {
            let is_alpha = |channel| channels % 2 == 0 && channel == channels - 1;
            let ramp = picture(800, 40, channels, |x, _, channel| if is_alpha(channel) { u16::MAX } else { 20_000 + x as u16 });
            let small =
                ramp.resized(Region { left_px: 0.0, top_px: 0.0, width_px: 800.0, height_px: 40.0 }, 200, 10, Kernel::Lanczos3).unwrap();
            for (at, sample) in samples(&small).into_iter().enumerate() {
                let (x, channel) = (at / channels % 200, at % channels);
                let wanted = if is_alpha(channel) { 65_535.0 } else { 20_000.0 + 4.0 * x as f64 + 1.5 };
                // The first and last columns have fewer to be weighed.
                let near = if (3..197).contains(&x) || is_alpha(channel) { 1.01 } else { 4.0 };
                assert!((f64::from(sample) - wanted).abs() <= near, "{channels} {x}: {sample}, {wanted}");
            }
        }
    }

    #[test]
    fn a_part_of_the_same_size_is_cut_out_as_it_is() {
        let noise = picture(30, 20, 3, |x, y, channel| (x * 7919 + y * 104_729 + channel as u32 * 15_485_863) as u16);
        let part = noise.resized(Region { left_px: 4.0, top_px: 3.0, width_px: 9.0, height_px: 11.0 }, 9, 11, Kernel::Lanczos3).unwrap();
        let (all, cut) = (samples(&noise), samples(&part));
        for (at, sample) in cut.into_iter().enumerate() {
            let (pixel, channel) = (at / 3, at % 3);
            assert_eq!(sample, all[((pixel / 9 + 3) * 30 + pixel % 9 + 4) * 3 + channel]);
        }
    }

    /// The turns are those of 8 bits: of the upper bytes alone they make the same picture.
    #[test]
    fn turns_are_those_of_eight_bits() {
        use crate::pixels::{Layout, Pixels};
        for value in 1..=8 {
            let orientation = Orientation::from_exif(value).unwrap();
            let deep = picture(7, 5, 4, |x, y, channel| ((x * 31 + y * 17 + channel as u32 * 5) as u16) << 8 | 0x77);
            let upper = |deep: &Deep| -> Vec<u8> { samples(deep).into_iter().map(|sample| (sample >> 8) as u8).collect() };
            let shallow = Pixels::new(7, 5, Layout::Rgba8, upper(&deep)).unwrap();
            let turned = deep.oriented(orientation).unwrap();
            let wanted = crate::stage::orient::orient(shallow, orientation, crate::watch::Watch::NEVER).unwrap();
            assert_eq!(
                (turned.width_px(), turned.height_px(), upper(&turned)),
                (wanted.width_px, wanted.height_px, wanted.bytes),
                "{value}"
            );
            assert!(samples(&turned).iter().all(|sample| sample & 0xFF == 0x77));
        }
    }
}
