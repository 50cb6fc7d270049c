//! The one picture buffer every stage and codec speaks. Knows nothing of formats or options.

/// How samples lie in memory: 8 bits each, sRGB-encoded, straight (not premultiplied) alpha. Planes lie one after another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Lightness alone.
    Grey8,
    /// Red, green, blue.
    Rgb8,
    /// Red, green, blue, alpha.
    Rgba8,
    /// Planes of luma and both chroma, JFIF's YCbCr, all of the picture's size.
    Ycc444,
    /// The same; chroma has half the sides, rounded up.
    Ycc420,
}

impl Layout {
    /// Bytes of one pixel of a plane.
    pub(crate) const fn channels(self) -> usize {
        match self {
            Self::Rgb8 => 3,
            Self::Rgba8 => 4,
            Self::Grey8 | Self::Ycc444 | Self::Ycc420 => 1,
        }
    }

    /// Number of planes.
    pub(crate) const fn planes(self) -> usize {
        match self {
            Self::Grey8 | Self::Rgb8 | Self::Rgba8 => 1,
            Self::Ycc444 | Self::Ycc420 => 3,
        }
    }

    /// Sides of plane `index` of a picture of these sides.
    pub(crate) const fn plane_px(self, index: usize, width_px: u32, height_px: u32) -> (u32, u32) {
        match (self, index) {
            (Self::Ycc420, 1..) => (width_px.div_ceil(2), height_px.div_ceil(2)),
            _ => (width_px, height_px),
        }
    }

    /// Name in a plan's text.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Grey8 => "grey",
            Self::Rgb8 => "rgb",
            Self::Rgba8 => "rgba",
            Self::Ycc444 => "ycc 4:4:4",
            Self::Ycc420 => "ycc 4:2:0",
        }
    }
}

/// Sides and layout of a picture on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) width_px: u32,
    pub(crate) height_px: u32,
    pub(crate) layout: Layout,
}

impl Shape {
    /// Bytes of its samples.
    pub(crate) fn bytes(self) -> u64 {
        let plane = |index| {
            let (width_px, height_px) = self.layout.plane_px(index, self.width_px, self.height_px);
            u64::from(width_px).saturating_mul(u64::from(height_px)).saturating_mul(self.layout.channels() as u64)
        };
        (0..self.layout.planes()).map(plane).fold(0, u64::saturating_add)
    }

    /// Width times height.
    pub(crate) fn pixels(self) -> u64 {
        u64::from(self.width_px) * u64::from(self.height_px)
    }
}

/// Rows of samples, tightly packed, top-left origin; exactly as many bytes as its shape has, both sides at least 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pixels {
    pub(crate) width_px: u32,
    pub(crate) height_px: u32,
    pub(crate) layout: Layout,
    pub(crate) bytes: Vec<u8>,
}

/// One plane of what is to be resampled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct SourcePlane {
    pub(crate) width_px: u32,
    pub(crate) height_px: u32,
    /// Its samples for each pixel of the picture, across and down.
    pub(crate) share: (f64, f64),
}

/// One plane of a picture.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PlaneRows<'p> {
    pub(crate) bytes: &'p [u8],
    pub(crate) width_px: u32,
    pub(crate) height_px: u32,
    /// Bytes from a row to the next.
    pub(crate) stride: usize,
}

impl Pixels {
    /// Wraps `bytes`; `None` unless their number is exactly what the sides and the layout ask for.
    pub(crate) fn new(width_px: u32, height_px: u32, layout: Layout, bytes: Vec<u8>) -> Option<Self> {
        let wanted = Self::byte_count(width_px, height_px, layout)?;
        (width_px > 0 && height_px > 0 && wanted == bytes.len()).then_some(Self { width_px, height_px, layout, bytes })
    }

    /// All samples 0; `None` if that passes the address space.
    pub(crate) fn blank(shape: Shape) -> Option<Self> {
        let Shape { width_px, height_px, layout } = shape;
        let bytes = vec![0; Self::byte_count(width_px, height_px, layout)?];
        Self::new(width_px, height_px, layout, bytes)
    }

    /// Bytes of an image of this size, `None` if that passes the address space.
    pub(crate) fn byte_count(width_px: u32, height_px: u32, layout: Layout) -> Option<usize> {
        let bytes = Shape { width_px, height_px, layout }.bytes();
        usize::try_from(bytes).ok().filter(|&bytes| bytes <= isize::MAX as usize)
    }

    /// Sides and layout.
    pub(crate) fn shape(&self) -> Shape {
        Shape { width_px: self.width_px, height_px: self.height_px, layout: self.layout }
    }

    /// Bytes of one row; of layouts of one plane.
    pub(crate) fn stride(&self) -> usize {
        self.width_px as usize * self.layout.channels()
    }

    /// Its planes in order.
    pub(crate) fn planes(&self) -> impl Iterator<Item = PlaneRows<'_>> {
        let mut rest = self.bytes.as_slice();
        (0..self.layout.planes()).map(move |index| {
            let (width_px, height_px) = self.layout.plane_px(index, self.width_px, self.height_px);
            let stride = width_px as usize * self.layout.channels();
            let bytes;
            (bytes, rest) = rest.split_at(stride * height_px as usize);
            PlaneRows { bytes, width_px, height_px, stride }
        })
    }

    /// The bytes of plane `index`, to be written; none where there is no such plane.
    pub(crate) fn plane_mut(&mut self, index: usize) -> &mut [u8] {
        let Shape { width_px, height_px, layout } = self.shape();
        let bytes = |index| {
            let (width_px, height_px) = layout.plane_px(index, width_px, height_px);
            width_px as usize * height_px as usize * layout.channels()
        };
        if index >= layout.planes() {
            return &mut [];
        }
        let start = (0..index).map(bytes).sum::<usize>();
        &mut self.bytes[start..start + bytes(index)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planes_share_the_bytes_out() {
        let shape = Shape { width_px: 5, height_px: 3, layout: Layout::Ycc420 };
        let mut pixels = Pixels::blank(shape).unwrap();
        assert_eq!((shape.bytes(), pixels.bytes.len()), (15 + 6 + 6, 27));
        let sides: Vec<_> = pixels.planes().map(|plane| (plane.width_px, plane.height_px, plane.bytes.len())).collect();
        assert_eq!(sides, [(5, 3, 15), (3, 2, 6), (3, 2, 6)]);
        for index in 0..3 {
            pixels.plane_mut(index).fill(index as u8 + 1);
        }
        assert!(pixels.plane_mut(3).is_empty());
        assert_eq!((pixels.bytes[14], pixels.bytes[15], pixels.bytes[20], pixels.bytes[21], pixels.bytes[26]), (1, 2, 2, 3, 3));
        assert!(Pixels::new(5, 3, Layout::Ycc444, vec![0; 44]).is_none());
    }
}
