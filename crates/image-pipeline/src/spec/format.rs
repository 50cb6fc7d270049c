//! What the written formats are called, and which one a spec comes to.

use super::model::{FormatChoice, OutputFormat, Spec};
use crate::probe::Format;

/// Quality of JPEG and WebP where none is said.
pub const DEFAULT_QUALITY: u8 = 80;

impl OutputFormat {
    /// `image/jpeg`, `image/png`, `image/webp`.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
            Self::WebP => "image/webp",
        }
    }

    /// `jpg`, `png`, `webp`.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Jpeg => "jpg",
            Self::Png => "png",
            Self::WebP => "webp",
        }
    }

    /// `jpeg`, `png`, `webp`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Jpeg => "jpeg",
            Self::Png => "png",
            Self::WebP => "webp",
        }
    }

    /// The format of `jpg`, `jpeg`, `png` or `webp`, lower case.
    pub fn from_extension(extension: &str) -> Option<Self> {
        match extension {
            "jpg" | "jpeg" => Some(Self::Jpeg),
            "png" => Some(Self::Png),
            "webp" => Some(Self::WebP),
            _ => None,
        }
    }
}

impl Spec {
    /// What is written for a source of this format: the one asked for; else the source's if this version writes it; else JPEG, or PNG
    /// where there is transparency to keep.
    pub fn output_format(&self, source: Format, has_alpha: bool) -> OutputFormat {
        match (self.output.format, source) {
            (FormatChoice::Fixed(format), _) => format,
            (FormatChoice::Keep, Format::Jpeg) => OutputFormat::Jpeg,
            (FormatChoice::Keep, Format::Png) => OutputFormat::Png,
            (FormatChoice::Keep, Format::WebP) => OutputFormat::WebP,
            (FormatChoice::Keep, Format::Gif) if has_alpha && self.background.is_none() => OutputFormat::Png,
            (FormatChoice::Keep, Format::Gif) => OutputFormat::Jpeg,
        }
    }
}
