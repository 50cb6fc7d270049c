//! What one image may cost. Every stage is charged against these numbers; nothing here knows formats, options or pixels.

/// Bounds of one image and of what is made from it. A value equal to a limit is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the source.
    pub max_bytes: u64,
    /// Pixels of the source, width times height as the header says it; of an animation, of one frame on its canvas.
    pub max_pixels: u64,
    /// Frames of an animation.
    pub max_frames: u32,
    /// Pixels of all frames of an animation, each counted as large as the canvas.
    pub max_animation_pixels: u64,
    /// Bytes of all buffers held at one time while an image is worked on, the source included.
    pub max_memory_bytes: u64,
    /// Longer side of a result, in pixels.
    pub max_side_px: u32,
    /// Whether SVG is read. It is drawn by rules of its own: off unless its sources are trusted.
    pub allow_svg: bool,
}

impl Default for Limits {
    /// 256 MiB, 100 megapixels, 1000 frames of 500 megapixels in all, 1 GiB of buffers, results up to 16384 pixels a side.
    fn default() -> Self {
        Self {
            max_bytes: 256 << 20,
            max_pixels: 100_000_000,
            max_frames: 1000,
            max_animation_pixels: 500_000_000,
            max_memory_bytes: 1 << 30,
            max_side_px: 16_384,
            allow_svg: false,
        }
    }
}
