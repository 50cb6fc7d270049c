//! What a client may want of an image, as types. Knows nothing of text or pixels.

/// What a client wants of an image: parsed, checked, canonical.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    /// Apply the EXIF orientation (`auto_rotate`, on by default).
    pub auto_rotate: bool,
    /// Clockwise turn after the EXIF orientation.
    pub rotate: Rotation,
    /// Mirror left-right, after the turn.
    pub flip_horizontal: bool,
    /// Mirror top-bottom, after the turn.
    pub flip_vertical: bool,
    /// Cut before resizing.
    pub crop: Option<Crop>,
    /// Size of the result.
    pub resize: Resize,
    /// Where `fill` cuts and where `crop` cuts unless it says otherwise.
    pub gravity: Gravity,
    /// Pixel filters, after resizing.
    pub filters: Filters,
    /// Colour put under transparent pixels; `None` keeps transparency where the output can (white where it cannot).
    pub background: Option<Rgb>,
    /// How the result is written.
    pub output: Output,
}

/// Quarter turns, clockwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotation {
    /// None.
    Deg0,
    /// A quarter turn to the right.
    Deg90,
    /// Upside down.
    Deg180,
    /// A quarter turn to the left.
    Deg270,
}

/// A length of a crop: pixels, or a share of the image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Length {
    /// The whole side (`0`).
    Full,
    /// Pixels (1 and more).
    Px(u32),
    /// A share of the side, above 0 and below 1.
    Share(f32),
}

/// `crop:W:H:gravity`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Crop {
    /// Width of the cut.
    pub width: Length,
    /// Height of the cut.
    pub height: Length,
    /// Where; the spec's gravity when absent.
    pub gravity: Option<Gravity>,
}

/// Which part is kept when something must go.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Gravity {
    /// `ce`
    Centre,
    /// `no`
    North,
    /// `so`
    South,
    /// `ea`
    East,
    /// `we`
    West,
    /// `noea`
    NorthEast,
    /// `nowe`
    NorthWest,
    /// `soea`
    SouthEast,
    /// `sowe`
    SouthWest,
    /// `fp:x:y`: the point to keep in view, each 0 to 1 from the top left.
    FocusPoint {
        /// 0 left to 1 right.
        x: f32,
        /// 0 top to 1 bottom.
        y: f32,
    },
}

/// How the wanted box and the image are brought together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResizeMode {
    /// Keep the aspect ratio, fit inside the box.
    Fit,
    /// Keep the aspect ratio, cover the box, cut what is over.
    Fill,
    /// As `fill`; if the image is smaller than the box, keep the box's aspect ratio at the image's size.
    FillDown,
    /// Exactly the box, aspect ratio or not.
    Force,
    /// `fill` if box and image are both landscape or both portrait, else `fit`.
    Auto,
}

/// `resize:mode:W:H:enlarge`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resize {
    /// How.
    pub mode: ResizeMode,
    /// Width of the box in pixels; 0: from the height and the aspect ratio.
    pub width_px: u32,
    /// Height of the box in pixels; 0: from the width and the aspect ratio.
    pub height_px: u32,
    /// Make small images larger too.
    pub enlarge: bool,
}

/// Pixel filters; the default does nothing.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct Filters {
    /// Gaussian blur, standard deviation in pixels of the result; 0 is off.
    pub blur_sigma: f32,
    /// Unsharp mask, standard deviation in pixels of the result; 0 is off.
    pub sharpen_sigma: f32,
    /// Side of the blocks in pixels; 0 and 1 are off.
    pub pixelate_px: u32,
    /// Added to each channel, -255 to 255.
    pub brightness: i16,
    /// Factor around mid-grey; 1 is off.
    pub contrast: Option<f32>,
    /// Factor of the distance from grey; 1 is off.
    pub saturation: Option<f32>,
    /// Rec. 709 luma in all channels.
    pub grayscale: bool,
    /// Sepia tone.
    pub sepia: bool,
    /// Negative.
    pub invert: bool,
}

/// An sRGB colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rgb(pub [u8; 3]);

/// What the client asked the format to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FormatChoice {
    /// Not said, or `keep`: the source's if we write it, else JPEG, or PNG with alpha.
    Keep,
    /// This one.
    Fixed(OutputFormat),
}

/// Formats we write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OutputFormat {
    /// JPEG (ITU-T T.81), 8 bit, no alpha.
    Jpeg,
    /// PNG, 8 bit.
    Png,
    /// WebP, lossy.
    WebP,
}

/// How the result is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Output {
    /// Which format.
    pub format: FormatChoice,
    /// 1 to 100; 80 when absent. PNG has none.
    pub quality: Option<u8>,
}
