//! Option text or query pairs -> [`Spec`]. Everything is bounded: bytes, options, preset depth; nothing is ignored in silence.

use std::str::FromStr;

use super::args::Args;
use super::error::{Fault, SpecError};
use super::model::{Crop, FormatChoice, Gravity, Length, OutputFormat, ResizeMode, Rotation, Spec};
use super::options::{Id, OptionRow, QUERY_FLIP, not_supported, row_named};
use super::presets::Presets;

/// Longest option text (or sum of query names and values), in bytes.
const MAX_TEXT_BYTES: usize = 4096;
/// Most options of one spec, those of presets counted.
const MAX_OPTIONS: usize = 128;
/// How deep presets may refer to presets.
const MAX_PRESET_DEPTH: usize = 8;

impl Spec {
    /// Reads `rs:fit:320:320/f:webp`. Empty text is the identity: orient and encode again. A preset is expanded where it stands;
    /// a later option overrides an earlier one of the same meaning, otherwise order does not matter.
    ///
    /// # Errors
    /// An unknown or unsupported option, a value out of its range, too much text.
    pub fn parse(text: &str, presets: &Presets) -> Result<Self, SpecError> {
        let mut draft = Draft::new(presets);
        draft.take_text(text, 0)?;
        Ok(draft.finish())
    }

    /// Reads query parameters or form fields: any spelling as name, the arguments as value: `("w", "320")`, `("fit", "cover")`,
    /// `("rs", "fit:320:320")`, `("flop", "")`.
    ///
    /// # Errors
    /// As [`Spec::parse`].
    pub fn from_pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>, presets: &Presets) -> Result<Self, SpecError> {
        let mut draft = Draft::new(presets);
        let mut total_bytes = 0_usize;
        for (name, value) in pairs {
            total_bytes = total_bytes.saturating_add(name.len()).saturating_add(value.len());
            if total_bytes > MAX_TEXT_BYTES {
                return Err(Fault::TooLong { found: total_bytes, allowed: MAX_TEXT_BYTES }.into());
            }
            if name == "flip" && !value.contains(':') {
                draft.count_option()?;
                draft.apply(&QUERY_FLIP, value, 0)?;
            } else {
                draft.take_option(name, Some(value), 0)?;
            }
        }
        Ok(draft.finish())
    }
}

impl FromStr for Spec {
    type Err = SpecError;

    /// [`Spec::parse`] with the built-in presets.
    fn from_str(text: &str) -> Result<Self, SpecError> {
        Self::parse(text, &Presets::builtin())
    }
}

/// A spec being read.
struct Draft<'p> {
    spec: Spec,
    presets: &'p Presets,
    options: usize,
    /// What was said of enlarging, if anything was.
    enlarge: Option<bool>,
    /// sharp's `fit` was used: enlarge unless told not to.
    fit_enlarges: bool,
}

impl<'p> Draft<'p> {
    fn new(presets: &'p Presets) -> Self {
        Self { spec: Spec::default(), presets, options: 0, enlarge: None, fit_enlarges: false }
    }

    fn finish(mut self) -> Spec {
        self.spec.resize.enlarge = self.enlarge.unwrap_or(self.fit_enlarges);
        self.spec.normalised()
    }

    fn count_option(&mut self) -> Result<(), SpecError> {
        self.options += 1;
        if self.options > MAX_OPTIONS { Err(Fault::TooManyOptions { allowed: MAX_OPTIONS }.into()) } else { Ok(()) }
    }

    fn take_text(&mut self, text: &str, depth: usize) -> Result<(), SpecError> {
        if text.len() > MAX_TEXT_BYTES {
            return Err(Fault::TooLong { found: text.len(), allowed: MAX_TEXT_BYTES }.into());
        }
        for segment in text.split('/').filter(|segment| !segment.is_empty()) {
            match segment.split_once(':') {
                Some((name, value)) => self.take_option(name, Some(value), depth)?,
                None => self.take_option(segment, None, depth)?,
            }
        }
        Ok(())
    }

    fn take_option(&mut self, name: &str, value: Option<&str>, depth: usize) -> Result<(), SpecError> {
        self.count_option()?;
        let Some(row) = row_named(name) else {
            return Err(match not_supported(name) {
                Some("-") => Fault::NotSupported { name: "/-/ (a second pass)" },
                Some(name) => Fault::NotSupported { name },
                None => Fault::UnknownOption { found: SpecError::clip(name), nearest: Spec::nearest_option(name) },
            }
            .into());
        };
        if value.is_none() && !row.is_switch() {
            return Err(Fault::NoValue { subject: row.name.to_owned(), allowed: row.range_text() }.into());
        }
        self.apply(row, value.unwrap_or_default(), depth)
    }

    /// Puts the option into the spec.
    fn apply(&mut self, row: &'static OptionRow, value: &str, depth: usize) -> Result<(), SpecError> {
        let args = Args::split(row, value)?;
        let spec = &mut self.spec;
        let filters = &mut spec.filters;
        match row.id {
            Id::Resize => {
                set(&mut spec.resize.mode, args.word(0)?.and_then(ResizeMode::from_word));
                set(&mut spec.resize.width_px, args.side(1)?);
                set(&mut spec.resize.height_px, args.side(2)?);
                self.enlarge = args.switch(3)?.or(self.enlarge);
            }
            Id::Size => {
                set(&mut spec.resize.width_px, args.side(0)?);
                set(&mut spec.resize.height_px, args.side(1)?);
                self.enlarge = args.switch(2)?.or(self.enlarge);
            }
            Id::ResizingType => set(&mut spec.resize.mode, args.word(0)?.and_then(ResizeMode::from_word)),
            Id::Width => set(&mut spec.resize.width_px, args.side(0)?),
            Id::Height => set(&mut spec.resize.height_px, args.side(0)?),
            Id::Enlarge => self.enlarge = args.switch(0)?,
            Id::Fit => {
                let mode = match value {
                    "contain" => return Err(Fault::NotSupported { name: "fit=contain (it pads; use inside or cover)" }.into()),
                    "outside" => return Err(Fault::NotSupported { name: "fit=outside (use inside or cover)" }.into()),
                    _ => match args.word(0)? {
                        Some("inside") => Some(ResizeMode::Fit),
                        Some("cover") => Some(ResizeMode::Fill),
                        Some("fill") => Some(ResizeMode::Force),
                        _ => None,
                    },
                };
                self.fit_enlarges |= mode.is_some();
                set(&mut spec.resize.mode, mode);
            }
            Id::Crop => {
                let mut crop = spec.crop.unwrap_or(Crop { width: Length::Full, height: Length::Full, gravity: None });
                set(&mut crop.width, args.length(0)?);
                set(&mut crop.height, args.length(1)?);
                crop.gravity = args.gravity(2)?.or(crop.gravity);
                spec.crop = Some(crop);
            }
            Id::Gravity => set(&mut spec.gravity, args.gravity(0)?),
            Id::Align => spec.gravity = alignment(&args, value, spec.gravity)?,
            Id::FocusX => {
                if let Some(x) = args.decimal(0)? {
                    spec.gravity = Gravity::FocusPoint { x, y: focus(spec.gravity).1 };
                }
            }
            Id::FocusY => {
                if let Some(y) = args.decimal(0)? {
                    spec.gravity = Gravity::FocusPoint { x: focus(spec.gravity).0, y };
                }
            }
            Id::AutoRotate => set(&mut spec.auto_rotate, args.switch(0)?),
            Id::Rotate => set(&mut spec.rotate, args.integer(0)?.map(Rotation::from_degrees)),
            Id::Flip => {
                set(&mut spec.flip_horizontal, args.switch(0)?);
                set(&mut spec.flip_vertical, args.switch(1)?);
            }
            Id::FlipVertical => set(&mut spec.flip_vertical, args.switch(0)?),
            Id::FlipHorizontal => set(&mut spec.flip_horizontal, args.switch(0)?),
            Id::Blur => set(&mut filters.blur_sigma, args.decimal(0)?),
            Id::Sharpen => set(&mut filters.sharpen_sigma, args.decimal(0)?),
            Id::Pixelate => set(&mut filters.pixelate_px, args.side(0)?),
            Id::Brightness => set(&mut filters.brightness, args.integer(0)?.and_then(|amount| i16::try_from(amount).ok())),
            Id::Contrast => filters.contrast = args.decimal(0)?.or(filters.contrast),
            Id::Saturation => filters.saturation = args.decimal(0)?.or(filters.saturation),
            Id::Grayscale => set(&mut filters.grayscale, args.switch(0)?),
            Id::Sepia => set(&mut filters.sepia, args.switch(0)?),
            Id::Invert => set(&mut filters.invert, args.switch(0)?),
            Id::Filt => {
                for word in args.words(0)? {
                    match word {
                        "sepia" => filters.sepia = true,
                        "negate" => filters.invert = true,
                        _ => filters.grayscale = true,
                    }
                }
            }
            // imgproxy: an empty background takes an earlier one away.
            Id::Background => spec.background = args.colour()?,
            Id::Format => {
                if let Some(word) = args.word(0)? {
                    spec.output.format = OutputFormat::from_extension(word).map_or(FormatChoice::Keep, FormatChoice::Fixed);
                }
            }
            Id::Quality => spec.output.quality = args.integer(0)?.and_then(|quality| u8::try_from(quality).ok()).or(spec.output.quality),
            Id::Preset => return self.take_presets(&args, depth),
        }
        Ok(())
    }

    fn take_presets(&mut self, args: &Args<'_>, depth: usize) -> Result<(), SpecError> {
        let presets = self.presets;
        for name in args.all() {
            // Counted one by one, or a preset naming itself many times would be read many times.
            self.count_option()?;
            let Some(text) = presets.get(name) else {
                let known = presets.iter().map(|(name, _)| name).take(16).collect::<Vec<_>>().join(", ");
                return Err(Fault::UnknownPreset { found: SpecError::clip(name), known }.into());
            };
            if depth == MAX_PRESET_DEPTH {
                return Err(Fault::PresetTooDeep { found: SpecError::clip(name), allowed: MAX_PRESET_DEPTH }.into());
            }
            self.take_text(text, depth + 1)?;
        }
        Ok(())
    }
}

/// An argument that was given replaces the value; one that was not leaves it.
fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

fn focus(gravity: Gravity) -> (f32, f32) {
    match gravity {
        Gravity::FocusPoint { x, y } => (x, y),
        _ => (0.5, 0.5),
    }
}

/// weserv's alignment: `top`, `top-left`, `left top`; words in either order, joined by `-`, `_` or a blank.
fn alignment(args: &Args<'_>, value: &str, before: Gravity) -> Result<Gravity, SpecError> {
    if value.is_empty() {
        return Ok(before);
    }
    if value == "focal" {
        let (x, y) = focus(before);
        return Ok(Gravity::FocusPoint { x, y });
    }
    let (mut across, mut down) = (None, None);
    for (index, word) in value.split(['-', '_', ' ']).enumerate() {
        let place = match word {
            "left" | "right" => &mut across,
            "top" | "bottom" => &mut down,
            "center" | "centre" if index < 2 => continue,
            _ => return Err(args.refuse(0, value)),
        };
        if place.replace(word).is_some() {
            return Err(args.refuse(0, value));
        }
    }
    Ok(match (across, down) {
        (None, Some("top")) => Gravity::North,
        (None, Some(_)) => Gravity::South,
        (Some("left"), None) => Gravity::West,
        (Some(_), None) => Gravity::East,
        (Some("left"), Some("top")) => Gravity::NorthWest,
        (Some("left"), Some(_)) => Gravity::SouthWest,
        (Some(_), Some("top")) => Gravity::NorthEast,
        (Some(_), Some(_)) => Gravity::SouthEast,
        (None, None) => Gravity::Centre,
    })
}
