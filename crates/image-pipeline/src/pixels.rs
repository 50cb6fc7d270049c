//! The one pixel buffer every stage and codec speaks. Knows nothing of formats or options.

/// How a pixel lies in memory: 8 bits a channel, sRGB-encoded, straight (not premultiplied) alpha.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Red, green, blue.
    Rgb8,
    /// Red, green, blue, alpha.
    Rgba8,
}

impl Layout {
    /// Bytes of one pixel.
    pub(crate) const fn channels(self) -> usize {
        match self {
            Self::Rgb8 => 3,
            Self::Rgba8 => 4,
        }
    }
}

/// Rows of pixels, tightly packed, top-left origin; exactly `channels * width_px * height_px` bytes, both sides at least 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pixels {
    pub(crate) width_px: u32,
    pub(crate) height_px: u32,
    pub(crate) layout: Layout,
    pub(crate) bytes: Vec<u8>,
}

impl Pixels {
    /// Wraps `bytes`; `None` unless their number is exactly what the sides and the layout ask for.
    pub(crate) fn new(width_px: u32, height_px: u32, layout: Layout, bytes: Vec<u8>) -> Option<Self> {
        let wanted = Self::byte_count(width_px, height_px, layout)?;
        (width_px > 0 && height_px > 0 && wanted == bytes.len()).then_some(Self { width_px, height_px, layout, bytes })
    }

    /// Bytes of an image of this size, `None` if that passes the address space.
    pub(crate) fn byte_count(width_px: u32, height_px: u32, layout: Layout) -> Option<usize> {
        (width_px as usize).checked_mul(height_px as usize)?.checked_mul(layout.channels())
    }

    /// Bytes of one row.
    pub(crate) fn stride(&self) -> usize {
        self.width_px as usize * self.layout.channels()
    }
}
