//! [`Spec`] -> its one text, and the words of its enums. The text uses short names, a fixed order, no defaults.

use std::fmt::{self, Write as _};

use sha2::{Digest, Sha256};

use super::format::DEFAULT_QUALITY;
use super::model::{Crop, Filters, FormatChoice, Gravity, Length, Output, Resize, ResizeMode, Rotation, Spec};
use super::options::{MAX_BLOCK_PX, MAX_FACTOR, MAX_SHARE, MAX_SIDE_PX, MAX_SIGMA, MIN_SHARE};

impl Default for Spec {
    /// The identity: orient and encode again.
    fn default() -> Self {
        Self {
            auto_rotate: true,
            rotate: Rotation::Deg0,
            flip_horizontal: false,
            flip_vertical: false,
            crop: None,
            resize: Resize::default(),
            gravity: Gravity::Centre,
            filters: Filters::default(),
            background: None,
            output: Output { format: FormatChoice::Keep, quality: None },
        }
    }
}

impl Default for Resize {
    /// No resizing.
    fn default() -> Self {
        Self { mode: ResizeMode::Fit, width_px: 0, height_px: 0, enlarge: false }
    }
}

impl Spec {
    /// One spelling for specs that ask for the same work; it parses back to an equal spec. Short names, fixed order, defaults omitted.
    pub fn canonical(&self) -> String {
        let spec = self.clone().normalised();
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = spec.write(&mut text);
        text
    }

    /// SHA-256 of the canonical text.
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(self.canonical().as_bytes()).into()
    }

    /// The same wish in its one form: what does nothing becomes the default, what is out of range goes to the range's end.
    pub(super) fn normalised(mut self) -> Self {
        let side_max = MAX_SIDE_PX.unsigned_abs() as u32;
        let resize = &mut self.resize;
        resize.width_px = resize.width_px.min(side_max);
        resize.height_px = resize.height_px.min(side_max);
        if resize.width_px == 0 && resize.height_px == 0 {
            *resize = Resize::default();
        }
        self.gravity = self.gravity.normalised();
        self.crop = self.crop.and_then(|crop| {
            let crop = Crop {
                width: crop.width.normalised(side_max),
                height: crop.height.normalised(side_max),
                gravity: crop.gravity.map(Gravity::normalised),
            };
            (crop.width != Length::Full || crop.height != Length::Full).then_some(crop)
        });
        let filters = &mut self.filters;
        filters.blur_sigma = clamp(filters.blur_sigma, 0.0, MAX_SIGMA, 0.0);
        filters.sharpen_sigma = clamp(filters.sharpen_sigma, 0.0, MAX_SIGMA, 0.0);
        filters.pixelate_px = match filters.pixelate_px.min(MAX_BLOCK_PX.unsigned_abs() as u32) {
            1 => 0,
            block => block,
        };
        filters.brightness = filters.brightness.clamp(-255, 255);
        filters.contrast = filters.contrast.map(|factor| clamp(factor, 0.0, MAX_FACTOR, 1.0)).filter(|factor| *factor != 1.0);
        filters.saturation = filters.saturation.map(|factor| clamp(factor, 0.0, MAX_FACTOR, 1.0)).filter(|factor| *factor != 1.0);
        self.output.quality = self.output.quality.map(|quality| quality.clamp(1, 100)).filter(|quality| *quality != DEFAULT_QUALITY);
        self
    }

    fn write(&self, out: &mut String) -> fmt::Result {
        let mut option = |args: fmt::Arguments<'_>| {
            if !out.is_empty() {
                out.push('/');
            }
            out.write_fmt(args)
        };
        if !self.auto_rotate {
            option(format_args!("ar:0"))?;
        }
        if self.rotate != Rotation::Deg0 {
            option(format_args!("rot:{}", self.rotate.degrees()))?;
        }
        if self.flip_horizontal || self.flip_vertical {
            option(format_args!("fl:{}:{}", u8::from(self.flip_horizontal), u8::from(self.flip_vertical)))?;
        }
        if let Some(crop) = self.crop {
            match crop.gravity {
                Some(gravity) => option(format_args!("c:{}:{}:{gravity}", crop.width, crop.height))?,
                None => option(format_args!("c:{}:{}", crop.width, crop.height))?,
            }
        }
        if self.gravity != Gravity::Centre {
            option(format_args!("g:{}", self.gravity))?;
        }
        let resize = self.resize;
        if resize != Resize::default() {
            let enlarge = if resize.enlarge { ":1" } else { "" };
            option(format_args!("rs:{}:{}:{}{enlarge}", resize.mode.word(), resize.width_px, resize.height_px))?;
        }
        let filters = self.filters;
        if filters.brightness != 0 {
            option(format_args!("br:{}", filters.brightness))?;
        }
        if let Some(factor) = filters.contrast {
            option(format_args!("co:{factor}"))?;
        }
        if let Some(factor) = filters.saturation {
            option(format_args!("sa:{factor}"))?;
        }
        for (on, name) in [(filters.grayscale, "gray"), (filters.sepia, "sepia"), (filters.invert, "invert")] {
            if on {
                option(format_args!("{name}:1"))?;
            }
        }
        if filters.blur_sigma != 0.0 {
            option(format_args!("bl:{}", filters.blur_sigma))?;
        }
        if filters.sharpen_sigma != 0.0 {
            option(format_args!("sh:{}", filters.sharpen_sigma))?;
        }
        if filters.pixelate_px != 0 {
            option(format_args!("pix:{}", filters.pixelate_px))?;
        }
        if let Some(colour) = self.background {
            let [r, g, b] = colour.0;
            option(format_args!("bg:{r:02x}{g:02x}{b:02x}"))?;
        }
        if let FormatChoice::Fixed(format) = self.output.format {
            option(format_args!("f:{}", format.extension()))?;
        }
        if let Some(quality) = self.output.quality {
            option(format_args!("q:{quality}"))?;
        }
        Ok(())
    }
}

impl fmt::Display for Spec {
    /// [`Spec::canonical`].
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.canonical())
    }
}

/// `value` within the range; `absent` for what is no number. Never gives -0 or a number too small for its decimal text.
fn clamp(value: f32, min: f32, max: f32, absent: f32) -> f32 {
    // Below this a filter cannot change a pixel, and the text would pass the longest number the parser reads.
    const SMALLEST: f32 = 1e-6;
    if value.is_nan() {
        absent
    } else if value.abs() < SMALLEST {
        0.0_f32.clamp(min, max)
    } else {
        value.clamp(min, max)
    }
}

impl Length {
    fn normalised(self, side_max: u32) -> Self {
        match self {
            Self::Full | Self::Px(0) => Self::Full,
            Self::Px(px) => Self::Px(px.min(side_max)),
            Self::Share(share) if share.is_nan() || share >= 1.0 || share <= 0.0 => Self::Full,
            Self::Share(share) => Self::Share(share.clamp(MIN_SHARE, MAX_SHARE)),
        }
    }
}

impl fmt::Display for Length {
    /// As in `crop`: `0`, pixels, or a share.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("0"),
            Self::Px(px) => write!(f, "{px}"),
            Self::Share(share) => write!(f, "{share}"),
        }
    }
}

impl Gravity {
    /// The gravity of a word; `fp` is not among them, it needs its point.
    pub(super) fn from_word(word: &str) -> Option<Self> {
        Some(match word {
            "ce" => Self::Centre,
            "no" => Self::North,
            "so" => Self::South,
            "ea" => Self::East,
            "we" => Self::West,
            "noea" => Self::NorthEast,
            "nowe" => Self::NorthWest,
            "soea" => Self::SouthEast,
            "sowe" => Self::SouthWest,
            _ => return None,
        })
    }

    fn normalised(self) -> Self {
        match self {
            Self::FocusPoint { x, y } => Self::FocusPoint { x: clamp(x, 0.0, 1.0, 0.5), y: clamp(y, 0.0, 1.0, 0.5) },
            other => other,
        }
    }
}

impl fmt::Display for Gravity {
    /// imgproxy's words.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Centre => "ce",
            Self::North => "no",
            Self::South => "so",
            Self::East => "ea",
            Self::West => "we",
            Self::NorthEast => "noea",
            Self::NorthWest => "nowe",
            Self::SouthEast => "soea",
            Self::SouthWest => "sowe",
            Self::FocusPoint { x, y } => return write!(f, "fp:{x}:{y}"),
        })
    }
}

impl ResizeMode {
    /// The mode of a word.
    pub(super) fn from_word(word: &str) -> Option<Self> {
        Some(match word {
            "fit" => Self::Fit,
            "fill" => Self::Fill,
            "fill-down" => Self::FillDown,
            "force" => Self::Force,
            "auto" => Self::Auto,
            _ => return None,
        })
    }

    /// imgproxy's word.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Fit => "fit",
            Self::Fill => "fill",
            Self::FillDown => "fill-down",
            Self::Force => "force",
            Self::Auto => "auto",
        }
    }
}

impl Rotation {
    /// The quarter turn of any whole number of degrees; parts of a quarter are dropped.
    pub(super) const fn from_degrees(degrees: i64) -> Self {
        match degrees.rem_euclid(360) / 90 {
            1 => Self::Deg90,
            2 => Self::Deg180,
            3 => Self::Deg270,
            _ => Self::Deg0,
        }
    }

    /// 0, 90, 180 or 270, clockwise.
    pub const fn degrees(self) -> u16 {
        match self {
            Self::Deg0 => 0,
            Self::Deg90 => 90,
            Self::Deg180 => 180,
            Self::Deg270 => 270,
        }
    }
}
