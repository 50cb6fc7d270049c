//! What a spec mostly is, in one word: for figures, where a word for each spec would be too many.

use super::options::{Id, OPTIONS};

/// The dearest kind of work a spec asks for. A later one covers those before it: a blurred thumbnail is a `Filter`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// Another format, quality, or way up.
    Convert,
    /// A part of the picture.
    Crop,
    /// Another size.
    Resize,
    /// Something around or under it.
    Canvas,
    /// Other pixel values.
    Filter,
    /// Something on top.
    Overlay,
}

impl Operation {
    /// Every kind, the cheap ones first.
    pub const ALL: &[Self] = &[Self::Convert, Self::Crop, Self::Resize, Self::Canvas, Self::Filter, Self::Overlay];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Convert => "convert",
            Self::Crop => "crop",
            Self::Resize => "resize",
            Self::Canvas => "canvas",
            Self::Filter => "filter",
            Self::Overlay => "overlay",
        }
    }

    /// Of a spec's canonical text, also one of another version: options that are not known count for nothing.
    pub fn of_canonical(text: &str) -> Self {
        let name = |option: &str| option.split(':').next().unwrap_or_default().to_owned();
        let kinds = text.split('/').map(name).filter_map(|name| {
            let row = OPTIONS.iter().find(|row| row.spellings().any(|spelling| spelling == name))?;
            Some(of_option(row.id))
        });
        kinds.max().unwrap_or(Self::Convert)
    }
}

fn of_option(id: Id) -> Operation {
    match id {
        Id::Trim | Id::Crop | Id::Gravity | Id::Align | Id::FocusX | Id::FocusY => Operation::Crop,
        Id::Resize
        | Id::Size
        | Id::ResizingType
        | Id::Width
        | Id::Height
        | Id::Enlarge
        | Id::Fit
        | Id::MinWidth
        | Id::MinHeight
        | Id::Dpr
        | Id::Zoom
        | Id::Kernel
        | Id::Linear => Operation::Resize,
        Id::Extend | Id::Border | Id::RoundCorner | Id::Padding | Id::Background => Operation::Canvas,
        Id::Median
        | Id::Normalize
        | Id::Gamma
        | Id::Hue
        | Id::Tint
        | Id::Duotone
        | Id::Blur
        | Id::Sharpen
        | Id::Pixelate
        | Id::Brightness
        | Id::Contrast
        | Id::Saturation
        | Id::Grayscale
        | Id::Sepia
        | Id::Invert
        | Id::Filt => Operation::Filter,
        Id::Watermark | Id::Text => Operation::Overlay,
        Id::AutoRotate
        | Id::Rotate
        | Id::Flip
        | Id::FlipVertical
        | Id::FlipHorizontal
        | Id::MaxBytes
        | Id::Format
        | Id::Quality
        | Id::Progressive
        | Id::Effort
        | Id::Lossless
        | Id::Colors
        | Id::Dither
        | Id::MaxFrames
        | Id::StripMetadata
        | Id::KeepCopyright
        | Id::StripColorProfile
        | Id::Preset => Operation::Convert,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Presets, Spec};

    #[test]
    fn the_dearest_option_names_the_work() {
        for (options, wanted) in [
            ("f:webp/q:70", "convert"),
            ("rot:90", "convert"),
            ("c:100:100/f:png", "crop"),
            ("rs:fill:320:320:0/g:so", "resize"),
            ("w:320/pd:10", "canvas"),
            ("w:320/gray:1", "filter"),
            ("w:320/-/wm:1:soea/-/bl:3", "overlay"),
            ("wmt:SGVsbG8", "overlay"),
        ] {
            let canonical = Spec::parse(options, &Presets::builtin()).expect("valid").canonical();
            assert_eq!(Operation::of_canonical(&canonical).as_str(), wanted, "{options} = {canonical}");
        }
        assert_eq!(Operation::of_canonical("of:a:later/version"), Operation::Convert);
        assert_eq!(Operation::of_canonical(""), Operation::Convert);
    }
}
