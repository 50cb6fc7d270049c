//! A picture of 16 bits a sample, for results that keep them. All other work is on 8 bits (`pixels`), where a picture takes half the memory
//! and the loops twice as many samples at a time. What is done to one is `stage/deep.rs`.

use crate::error::{Error, ErrorKind};
use fast_image_resize::PixelType;
use fast_image_resize::images::Image;

/// Samples in this machine's byte order, rows tightly packed, top-left origin, straight alpha as the last of 2 or 4 channels.
#[derive(Debug)]
pub(crate) struct Deep {
    pub(crate) image: Image<'static>,
    channels: usize,
}

/// Bytes of such a picture.
pub(crate) fn deep_bytes(width_px: u32, height_px: u32, channels: usize) -> u64 {
    u64::from(width_px) * u64::from(height_px) * 2 * channels as u64
}

impl Deep {
    /// All samples 0.
    ///
    /// # Errors
    /// `LimitExceeded` if it passes the address space; `Internal` if a side is 0 or `channels` are not 1 to 4.
    pub(crate) fn blank(width_px: u32, height_px: u32, channels: usize) -> Result<Self, Error> {
        let kind = match channels {
            1 => PixelType::U16,
            2 => PixelType::U16x2,
            3 => PixelType::U16x3,
            4 => PixelType::U16x4,
            _ => return Err(Error::new(ErrorKind::Internal, "resize", "a picture has channels that there are not")),
        };
        if width_px == 0 || height_px == 0 {
            return Err(Error::new(ErrorKind::Internal, "resize", "a picture has no pixels"));
        }
        if usize::try_from(deep_bytes(width_px, height_px, channels)).is_err() {
            return Err(Error::new(ErrorKind::LimitExceeded, "resize", "image does not fit the memory of this machine"));
        }
        Ok(Self { image: Image::new(width_px, height_px, kind), channels })
    }

    pub(crate) fn width_px(&self) -> u32 {
        self.image.width()
    }

    pub(crate) fn height_px(&self) -> u32 {
        self.image.height()
    }

    pub(crate) fn channels(&self) -> usize {
        self.channels
    }

    /// Bytes of a row.
    pub(crate) fn stride(&self) -> usize {
        self.width_px() as usize * 2 * self.channels
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.image.buffer()
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        self.image.buffer_mut()
    }

    /// Its bytes are those of big-endian samples: makes them this machine's.
    pub(crate) fn make_native(&mut self) {
        self.bytes_mut().as_chunks_mut::<2>().0.iter_mut().for_each(|sample| *sample = u16::from_be_bytes(*sample).to_ne_bytes());
    }

    /// Its bytes become those of big-endian samples.
    pub(crate) fn make_big_endian(&mut self) {
        self.bytes_mut().as_chunks_mut::<2>().0.iter_mut().for_each(|sample| *sample = u16::from_ne_bytes(*sample).to_be_bytes());
    }
}
