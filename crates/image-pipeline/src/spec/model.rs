//! What a client may want of an image, as types. Knows nothing of text or pixels.

use std::num::NonZeroU32;

pub use super::surround::{Border, Frame, Padding, Place, TextMark, Trim, Watermark};

/// What a client wants of an image: parsed, checked, canonical.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    /// Apply the EXIF orientation (`auto_rotate`, on by default), before anything else.
    pub auto_rotate: bool,
    /// What is done to the image.
    pub first: Pass,
    /// What is done to the result of the pass before, in order (`/-/`).
    pub then: Vec<Pass>,
    /// How the result of the last pass is written.
    pub output: Output,
}

/// One walk through the fixed order of work; the default does nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Pass {
    /// Clockwise turn; in the first pass after the EXIF orientation.
    pub rotate: Rotation,
    /// Mirror left-right, after the turn.
    pub flip_horizontal: bool,
    /// Mirror top-bottom, after the turn.
    pub flip_vertical: bool,
    /// Cut away edges of one colour.
    pub trim: Option<Trim>,
    /// Cut before resizing.
    pub crop: Option<Crop>,
    /// Size of the result.
    pub resize: Resize,
    /// Pixels of the result for each of the sizes asked for; also of paddings, borders and offsets.
    pub dpr: f32,
    /// What pixels are weighed with when the size changes.
    pub kernel: Kernel,
    /// Resample light instead of stored values.
    pub linear_light: bool,
    /// Where `fill` cuts and where `crop` cuts unless it says otherwise.
    pub gravity: Gravity,
    /// Fill the box of `resize` up with background where the picture is smaller, the picture lying there.
    pub extend: Option<Gravity>,
    /// Pixel filters, after resizing.
    pub filters: Filters,
    /// What is put around the picture.
    pub frame: Frame,
    /// Colour put under transparent pixels; `None` keeps transparency where the output can (white where it cannot).
    pub background: Option<Rgb>,
    /// An image on top.
    pub watermark: Option<Watermark>,
    /// A line of text on top.
    pub text: Option<TextMark>,
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

/// Which part is kept when something must go, and where something lies that does not fill its place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gravity {
    /// The side or corner.
    pub anchor: Anchor,
    /// Of `fp` the point, 0 left to 1 right; of sides and corners how far from there towards the middle (of the middle: to the right): pixels, or
    /// below 1 a share of the width.
    pub x: f32,
    /// The same from top to bottom.
    pub y: f32,
}

/// Sides, corners, and what is neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
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
    /// `fp:x:y`: the point to keep in view.
    FocusPoint,
    /// `sm`: what looks most worth looking at.
    Smart,
}

impl Gravity {
    /// The middle.
    pub const CENTRE: Self = Self::at(Anchor::Centre);

    /// At a side or corner, without an offset.
    pub const fn at(anchor: Anchor) -> Self {
        Self { anchor, x: 0.0, y: 0.0 }
    }

    /// A point to keep in view, each 0 to 1 from the top left.
    pub const fn focus(x: f32, y: f32) -> Self {
        Self { anchor: Anchor::FocusPoint, x, y }
    }
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
    /// As `fill`, but nothing is cut: sharp's `outside`.
    Outside,
}

/// `resize:mode:W:H:enlarge`, and what else has a say in the size.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Resize {
    /// How.
    pub mode: ResizeMode,
    /// Width of the box in pixels; 0: from the height and the aspect ratio.
    pub width_px: u32,
    /// Height of the box in pixels; 0: from the width and the aspect ratio.
    pub height_px: u32,
    /// Make small images larger too.
    pub enlarge: bool,
    /// The result is scaled to be no narrower, even if that enlarges it or passes the box; 0: no such bound.
    pub min_width_px: u32,
    /// The same of the height.
    pub min_height_px: u32,
    /// Factors of width and height, after the box.
    pub zoom: [f32; 2],
}

/// `resizing_algorithm`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernel {
    /// `lanczos3`
    Lanczos3,
    /// `cubic`
    Cubic,
    /// `linear`
    Linear,
    /// `nearest`
    Nearest,
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
    /// Degrees by which hues turn, 0 to 360.
    pub hue_deg: f32,
    /// Gamma; 1 is off.
    pub gamma: Option<f32>,
    /// Lightness as it is, hue and strength of colour of this one.
    pub tint: Option<Rgb>,
    /// The colours that black and white become.
    pub duotone: Option<[Rgb; 2]>,
    /// Stretch lightness to the whole range.
    pub normalize: bool,
    /// Side of the window whose middle value each pixel takes; 0 and 1 are off.
    pub median_px: u32,
}

/// An sRGB colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rgb(pub [u8; 3]);

/// What the client asked the format to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FormatChoice {
    /// Not said, or `keep`: the source's if we write it, else JPEG, or PNG with alpha.
    Keep,
    /// What suits the result's pixels.
    Auto,
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
    /// WebP, lossy unless asked otherwise, animated where the source is.
    WebP,
    /// GIF, animated where the source is; 256 colours at most, alpha all or nothing.
    Gif,
    /// AVIF, lossy, 8 bit, 4:4:4.
    Avif,
}

/// How the result is written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Output {
    /// Which format.
    pub format: FormatChoice,
    /// 1 to 100; 80 when absent. PNG and GIF have none.
    pub quality: Option<u8>,
    /// JPEG in several passes; means nothing to other formats.
    pub progressive: bool,
    /// Work spent on WebP (libwebp's method, 0 to 6) and AVIF (0 to 9); 2 when absent; means nothing to other formats.
    pub effort: Option<u8>,
    /// Most bytes of the result; quality is lowered to keep within them.
    pub max_bytes: Option<NonZeroU32>,
    /// Every sample as it is; means nothing but to WebP: PNG always is.
    pub lossless: bool,
    /// Most colours of a palette, 2 to 256; absent: true colour for PNG, 256 for GIF; means nothing to other formats.
    pub colors: Option<u16>,
    /// How much of a palette's error is spread to the neighbours, 0 to 1; all when absent; means nothing without a palette.
    pub dither: Option<f32>,
    /// Most frames of an animation that are written; absent: all.
    pub max_frames: Option<u32>,
    /// What of the source's metadata is written into the result.
    pub metadata: KeptMetadata,
    /// Colours stay as they are stored, and their profile is written with them; else they become sRGB, which needs none.
    pub keep_profile: bool,
}

/// What of the source's metadata is written into a result. Places, thumbnails and makers' notes never are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum KeptMetadata {
    /// Nothing.
    #[default]
    None,
    /// Who made the picture, who owns it, whom to thank.
    Copyright,
    /// That, and what the camera says of itself and the exposure.
    All,
}
