//! Option text or query pairs -> [`Spec`]. Everything is bounded: bytes, options, preset depth; nothing is ignored in silence.

use std::{num::NonZeroU32, str::FromStr};

use super::args::Args;
use super::error::{Fault, SpecError};
use super::model::{
    Anchor, Border, Crop, Filters, FormatChoice, Gravity, KeptMetadata, Kernel, Length, OutputFormat, Padding, Pass, Place, ResizeMode,
    Rgb, Rotation, Spec, TextMark, Trim, Watermark,
};
use super::options::{Id, OptionRow, QUERY_FLIP, not_supported, row_named};
use super::presets::Presets;

/// Longest option text (or sum of query names and values), in bytes.
const MAX_TEXT_BYTES: usize = 4096;
/// Most options of one spec, those of presets counted.
const MAX_OPTIONS: usize = 128;
/// Most passes of one spec.
pub(super) const MAX_PASSES: usize = 8;
/// Threshold of `trim` where another argument is given, but not this one: sharp's and weserv's default.
const TRIM_THRESHOLD: f32 = 10.0;
/// Font of `watermark_text`, in pixels, where nothing is said.
const TEXT_PX: u32 = 32;
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
    /// What was said of enlarging in this pass, if anything was.
    enlarge: Option<bool>,
    /// sharp's `fit` was used in this pass: enlarge unless told not to.
    fit_enlarges: bool,
    /// What was said of extending in this pass.
    extend: Option<Option<Gravity>>,
    /// sharp's `contain` was used in this pass: extend unless told not to.
    fit_extends: bool,
    strip_metadata: bool,
    keep_copyright: bool,
}

impl<'p> Draft<'p> {
    fn new(presets: &'p Presets) -> Self {
        Self {
            spec: Spec::default(),
            presets,
            options: 0,
            enlarge: None,
            fit_enlarges: false,
            extend: None,
            fit_extends: false,
            strip_metadata: true,
            keep_copyright: false,
        }
    }

    fn finish(mut self) -> Spec {
        self.end_pass();
        self.spec.output.metadata = match (self.strip_metadata, self.keep_copyright) {
            (false, _) => KeptMetadata::All,
            (true, true) => KeptMetadata::Copyright,
            (true, false) => KeptMetadata::None,
        };
        self.spec.normalised()
    }

    /// Settles what options of one pass say together.
    fn end_pass(&mut self) {
        let enlarge = self.enlarge.take().unwrap_or(std::mem::take(&mut self.fit_enlarges));
        let contained = std::mem::take(&mut self.fit_extends).then_some(Gravity::CENTRE);
        let extend = self.extend.take().unwrap_or(contained);
        let pass = last(&mut self.spec);
        (pass.resize.enlarge, pass.extend) = (enlarge, extend);
    }

    /// `/-/`: what follows is done to the result of what came before.
    fn next_pass(&mut self) -> Result<(), SpecError> {
        self.count_option()?;
        if self.spec.then.len() + 1 == MAX_PASSES {
            return Err(Fault::TooManyPasses { allowed: MAX_PASSES }.into());
        }
        self.end_pass();
        self.spec.then.push(Pass::default());
        Ok(())
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
                None if segment == "-" => self.next_pass()?,
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
        match row.id {
            Id::Preset => return self.take_presets(&args, depth),
            Id::AutoRotate => set(&mut self.spec.auto_rotate, args.switch(0)?),
            Id::Format
            | Id::Quality
            | Id::MaxBytes
            | Id::Progressive
            | Id::Effort
            | Id::Lossless
            | Id::Colors
            | Id::Dither
            | Id::MaxFrames
            | Id::StripMetadata
            | Id::KeepCopyright
            | Id::StripColorProfile => return self.apply_output(row.id, &args),
            Id::Enlarge => self.enlarge = args.switch(0)?,
            Id::Resize => self.enlarge = args.switch(3)?.or(self.enlarge),
            Id::Size => self.enlarge = args.switch(2)?.or(self.enlarge),
            Id::Extend => match (args.switch(0)?, args.gravity(1)?) {
                (Some(true), gravity) => self.extend = Some(Some(gravity.unwrap_or(Gravity::CENTRE))),
                (Some(false), _) => self.extend = Some(None),
                (None, Some(_)) => return Err(args.missing(0)),
                (None, None) => {}
            },
            Id::Fit => {
                let word = args.word(0)?;
                self.fit_enlarges |= word.is_some();
                set(&mut self.fit_extends, word.map(|word| word == "contain"));
            }
            _ => {}
        }
        let pass = last(&mut self.spec);
        match row.id {
            Id::Resize => {
                set(&mut pass.resize.mode, args.word(0)?.and_then(ResizeMode::from_word));
                set(&mut pass.resize.width_px, args.side(1)?);
                set(&mut pass.resize.height_px, args.side(2)?);
            }
            Id::Size => {
                set(&mut pass.resize.width_px, args.side(0)?);
                set(&mut pass.resize.height_px, args.side(1)?);
            }
            Id::ResizingType => set(&mut pass.resize.mode, args.word(0)?.and_then(ResizeMode::from_word)),
            Id::Width => set(&mut pass.resize.width_px, args.side(0)?),
            Id::Height => set(&mut pass.resize.height_px, args.side(0)?),
            Id::MinWidth => set(&mut pass.resize.min_width_px, args.side(0)?),
            Id::MinHeight => set(&mut pass.resize.min_height_px, args.side(0)?),
            Id::Dpr => set(&mut pass.dpr, args.decimal(0)?),
            Id::Zoom => {
                if let Some(factor) = args.decimal(0)? {
                    pass.resize.zoom = [factor; 2];
                }
                set(&mut pass.resize.zoom[1], args.decimal(1)?);
            }
            Id::Kernel => set(&mut pass.kernel, args.word(0)?.and_then(Kernel::from_word)),
            Id::Fit => set(
                &mut pass.resize.mode,
                args.word(0)?.map(|word| match word {
                    "cover" => ResizeMode::Fill,
                    "fill" => ResizeMode::Force,
                    "outside" => ResizeMode::Outside,
                    _ => ResizeMode::Fit,
                }),
            ),
            Id::Trim => {
                if !args.is_empty() {
                    let before = pass.trim.unwrap_or(Trim {
                        threshold: TRIM_THRESHOLD,
                        colour: None,
                        equal_horizontal: false,
                        equal_vertical: false,
                    });
                    pass.trim = Some(Trim {
                        threshold: args.decimal(0)?.unwrap_or(before.threshold),
                        colour: args.hex(1)?.or(before.colour),
                        equal_horizontal: args.switch(2)?.unwrap_or(before.equal_horizontal),
                        equal_vertical: args.switch(3)?.unwrap_or(before.equal_vertical),
                    });
                }
            }
            Id::Crop => {
                let mut crop = pass.crop.unwrap_or(Crop { width: Length::Full, height: Length::Full, gravity: None });
                set(&mut crop.width, args.length(0)?);
                set(&mut crop.height, args.length(1)?);
                crop.gravity = args.gravity(2)?.or(crop.gravity);
                pass.crop = Some(crop);
            }
            Id::Gravity => set(&mut pass.gravity, args.gravity(0)?),
            Id::Align => pass.gravity = alignment(&args, value, pass.gravity)?,
            Id::FocusX => {
                if let Some(x) = args.decimal(0)? {
                    pass.gravity = Gravity::focus(x, focus(pass.gravity).1);
                }
            }
            Id::FocusY => {
                if let Some(y) = args.decimal(0)? {
                    pass.gravity = Gravity::focus(focus(pass.gravity).0, y);
                }
            }
            Id::Rotate => set(&mut pass.rotate, args.integer(0)?.map(Rotation::from_degrees)),
            Id::Flip => {
                set(&mut pass.flip_horizontal, args.switch(0)?);
                set(&mut pass.flip_vertical, args.switch(1)?);
            }
            Id::FlipVertical => set(&mut pass.flip_vertical, args.switch(0)?),
            Id::FlipHorizontal => set(&mut pass.flip_horizontal, args.switch(0)?),
            Id::Linear => set(&mut pass.linear_light, args.switch(0)?),
            Id::Border => {
                if let Some(px) = args.side(0)? {
                    pass.frame.border = Some(Border { px, colour: args.hex(1)?.unwrap_or(Rgb([0; 3])) });
                } else if args.hex(1)?.is_some() {
                    return Err(args.missing(0));
                }
            }
            Id::RoundCorner => set(&mut pass.frame.round_px, args.side(0)?),
            Id::Padding => {
                // As in CSS: what is left out follows its opposite, and that the first.
                let [top, right, bottom, left] = [args.side(0)?, args.side(1)?, args.side(2)?, args.side(3)?];
                let padding = pass.frame.padding;
                let top_px = top.unwrap_or(padding.top_px);
                let right_px = right.or(top).unwrap_or(padding.right_px);
                pass.frame.padding = Padding {
                    top_px,
                    right_px,
                    bottom_px: bottom.or(top).unwrap_or(padding.bottom_px),
                    left_px: left.or(right).or(top).unwrap_or(padding.left_px),
                };
            }
            Id::Watermark => {
                if !args.is_empty() {
                    let before = pass.watermark.take();
                    let mut mark =
                        before.unwrap_or(Watermark { name: None, opacity: 1.0, place: Place::CENTRE, x: 0.0, y: 0.0, scale: 0.0 });
                    set(&mut mark.opacity, args.decimal(0)?);
                    set(&mut mark.place, args.place(1)?);
                    set(&mut mark.x, args.offset(2)?);
                    set(&mut mark.y, args.offset(3)?);
                    set(&mut mark.scale, args.decimal(4)?);
                    mark.name = args.name(5)?.or(mark.name);
                    pass.watermark = Some(mark);
                }
            }
            Id::Text => {
                if !args.is_empty() {
                    let text = args.text(0)?.or(pass.text.as_ref().map(|mark| mark.text.clone())).ok_or_else(|| args.missing(0))?;
                    let before = pass.text.take();
                    let fresh = TextMark {
                        text: String::new(),
                        size_px: TEXT_PX,
                        colour: Rgb([255; 3]),
                        opacity: 1.0,
                        place: Place::CENTRE,
                        x: 0.0,
                        y: 0.0,
                    };
                    let mut mark = TextMark { text, ..before.unwrap_or(fresh) };
                    set(&mut mark.size_px, args.side(1)?);
                    set(&mut mark.colour, args.hex(2)?);
                    set(&mut mark.opacity, args.decimal(3)?);
                    set(&mut mark.place, args.place(4)?);
                    set(&mut mark.x, args.offset(5)?);
                    set(&mut mark.y, args.offset(6)?);
                    pass.text = Some(mark);
                }
            }
            // imgproxy: an empty background takes an earlier one away.
            Id::Background => pass.background = args.colour()?,
            id => apply_filter(&mut pass.filters, id, &args)?,
        }
        Ok(())
    }

    /// The result has one format and one quality, in whichever pass they are said.
    fn apply_output(&mut self, id: Id, args: &Args<'_>) -> Result<(), SpecError> {
        let output = &mut self.spec.output;
        match id {
            Id::Format => {
                if let Some(word) = args.word(0)? {
                    output.format = match word {
                        "auto" => FormatChoice::Auto,
                        word => OutputFormat::from_extension(word).map_or(FormatChoice::Keep, FormatChoice::Fixed),
                    };
                }
            }
            Id::Quality => output.quality = args.integer(0)?.and_then(|quality| u8::try_from(quality).ok()).or(output.quality),
            Id::MaxBytes => {
                if let Some(bytes) = args.integer(0)? {
                    output.max_bytes = u32::try_from(bytes).ok().and_then(NonZeroU32::new);
                }
            }
            Id::Progressive => set(&mut output.progressive, args.switch(0)?),
            Id::Effort => output.effort = args.integer(0)?.and_then(|effort| u8::try_from(effort).ok()).or(output.effort),
            Id::Lossless => set(&mut output.lossless, args.switch(0)?),
            Id::Colors => output.colors = args.integer(0)?.and_then(|colors| u16::try_from(colors).ok()).or(output.colors),
            Id::Dither => output.dither = args.decimal(0)?.or(output.dither),
            Id::MaxFrames => {
                if let Some(frames) = args.integer(0)? {
                    output.max_frames = u32::try_from(frames).ok().filter(|frames| *frames > 0);
                }
            }
            Id::StripMetadata => set(&mut self.strip_metadata, args.switch(0)?),
            Id::KeepCopyright => set(&mut self.keep_copyright, args.switch(0)?),
            Id::StripColorProfile => set(&mut output.keep_profile, args.switch(0)?.map(|strips| !strips)),
            _ => {}
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

/// The pass that options belong to now.
fn last(spec: &mut Spec) -> &mut Pass {
    spec.then.last_mut().unwrap_or(&mut spec.first)
}

fn apply_filter(filters: &mut Filters, id: Id, args: &Args<'_>) -> Result<(), SpecError> {
    match id {
        Id::Median => set(&mut filters.median_px, args.side(0)?),
        Id::Normalize => set(&mut filters.normalize, args.switch(0)?),
        Id::Brightness => set(&mut filters.brightness, args.integer(0)?.and_then(|amount| i16::try_from(amount).ok())),
        Id::Contrast => filters.contrast = args.decimal(0)?.or(filters.contrast),
        Id::Gamma => filters.gamma = args.decimal(0)?.or(filters.gamma),
        Id::Saturation => filters.saturation = args.decimal(0)?.or(filters.saturation),
        Id::Hue => set(&mut filters.hue_deg, args.decimal(0)?),
        Id::Grayscale => set(&mut filters.grayscale, args.switch(0)?),
        Id::Sepia => set(&mut filters.sepia, args.switch(0)?),
        Id::Tint => filters.tint = args.colour()?.or(filters.tint),
        Id::Duotone => match (args.hex(0)?, args.hex(1)?) {
            (Some(dark), Some(light)) => filters.duotone = Some([dark, light]),
            (Some(_), None) => return Err(args.missing(1)),
            (None, Some(_)) => return Err(args.missing(0)),
            (None, None) => {}
        },
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
        Id::Blur => set(&mut filters.blur_sigma, args.decimal(0)?),
        Id::Sharpen => set(&mut filters.sharpen_sigma, args.decimal(0)?),
        Id::Pixelate => set(&mut filters.pixelate_px, args.side(0)?),
        _ => {}
    }
    Ok(())
}

/// An argument that was given replaces the value; one that was not leaves it.
fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

fn focus(gravity: Gravity) -> (f32, f32) {
    if gravity.anchor == Anchor::FocusPoint { (gravity.x, gravity.y) } else { (0.5, 0.5) }
}

/// weserv's alignment: `top`, `top-left`, `left top`; words in either order, joined by `-`, `_` or a blank.
fn alignment(args: &Args<'_>, value: &str, before: Gravity) -> Result<Gravity, SpecError> {
    match value {
        "" => return Ok(before),
        "focal" => {
            let (x, y) = focus(before);
            return Ok(Gravity::focus(x, y));
        }
        "attention" => return Ok(Gravity::at(Anchor::Smart)),
        _ => {}
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
    Ok(Gravity::at(match (across, down) {
        (None, Some("top")) => Anchor::North,
        (None, Some(_)) => Anchor::South,
        (Some("left"), None) => Anchor::West,
        (Some(_), None) => Anchor::East,
        (Some("left"), Some("top")) => Anchor::NorthWest,
        (Some("left"), Some(_)) => Anchor::SouthWest,
        (Some(_), Some("top")) => Anchor::NorthEast,
        (Some(_), Some(_)) => Anchor::SouthEast,
        (None, None) => Anchor::Centre,
    }))
}
