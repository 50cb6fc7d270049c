//! What the written formats are called, and which one a spec comes to.

use super::model::{FormatChoice, OutputFormat, Padding, Spec};
use crate::probe::Format;

/// Quality of JPEG and WebP where none is said.
pub const DEFAULT_QUALITY: u8 = 80;

/// libwebp's method where none is said: two fifths of the work of 4, its own default, for 4 percent more bytes at the same score
/// (record 0031).
pub const DEFAULT_EFFORT: u8 = 2;

impl OutputFormat {
    /// Whether it can hold the frames of an animation; of others the first is written.
    pub const fn can_move(self) -> bool {
        matches!(self, Self::WebP | Self::Gif)
    }

    /// `image/jpeg`, `image/png`, …
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
            Self::WebP => "image/webp",
            Self::Gif => "image/gif",
            Self::Avif => "image/avif",
        }
    }

    /// `jpg`, `png`, …
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Jpeg => "jpg",
            Self::Png => "png",
            Self::WebP => "webp",
            Self::Gif => "gif",
            Self::Avif => "avif",
        }
    }

    /// `jpeg`, `png`, …
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Jpeg => "jpeg",
            Self::Png => "png",
            Self::WebP => "webp",
            Self::Gif => "gif",
            Self::Avif => "avif",
        }
    }

    /// Whether files of this format, as they are written here, can hold a colour profile.
    pub(crate) const fn has_profiles(self) -> bool {
        matches!(self, Self::Jpeg | Self::Png | Self::WebP)
    }

    /// The format of `jpg`, `jpeg`, `png`, `webp`, `avif` or `gif`, lower case.
    pub fn from_extension(extension: &str) -> Option<Self> {
        match extension {
            "jpg" | "jpeg" => Some(Self::Jpeg),
            "png" => Some(Self::Png),
            "webp" => Some(Self::WebP),
            "gif" => Some(Self::Gif),
            "avif" => Some(Self::Avif),
            _ => None,
        }
    }
}

impl Spec {
    /// What is written for a source of this format: the one asked for; else the source's if this version writes it; else JPEG, or PNG
    /// where there is transparency to keep. `None`: the result's pixels decide (`f:auto`).
    pub fn output_format(&self, source: Format, has_alpha: bool) -> Option<OutputFormat> {
        Some(match (self.output.format, source) {
            (FormatChoice::Auto, _) => return None,
            (FormatChoice::Fixed(format), _) => format,
            (FormatChoice::Keep, Format::Jpeg) => OutputFormat::Jpeg,
            (FormatChoice::Keep, Format::Png) => OutputFormat::Png,
            (FormatChoice::Keep, Format::WebP) => OutputFormat::WebP,
            (FormatChoice::Keep, Format::Gif) => OutputFormat::Gif,
            (FormatChoice::Keep, Format::Avif) => OutputFormat::Avif,
            (FormatChoice::Keep, _) if self.leaves_alpha(has_alpha) => OutputFormat::Png,
            (FormatChoice::Keep, _) => OutputFormat::Jpeg,
        })
    }

    /// Whether the last pass may leave something transparent, of a source that is so or not.
    pub(crate) fn leaves_alpha(&self, has_alpha: bool) -> bool {
        std::iter::once(&self.first).chain(&self.then).fold(has_alpha, |has_alpha, pass| {
            let adds = pass.frame.round_px > 0 || pass.extend.is_some() || pass.frame.padding != Padding::default();
            (has_alpha || adds) && pass.background.is_none()
        })
    }
}
