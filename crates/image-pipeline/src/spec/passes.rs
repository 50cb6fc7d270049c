//! One pass: its default, its one form, its text.

use std::fmt;

use super::args::is_name;
use super::model::{
    Anchor, Border, Crop, Filters, Frame, Gravity, Kernel, Length, Padding, Pass, Place, Resize, ResizeMode, Rgb, Rotation,
};
use super::options::{MAX_BLOCK_PX, MAX_FACTOR, MAX_FRAME_PX, MAX_MEDIAN_PX, MAX_SHARE, MAX_SIDE_PX, MAX_SIGMA, MAX_TEXT_PX, MIN_SHARE};
use super::text;

impl Default for Pass {
    /// Nothing is done.
    fn default() -> Self {
        Self {
            rotate: Rotation::Deg0,
            flip_horizontal: false,
            flip_vertical: false,
            trim: None,
            crop: None,
            resize: Resize::default(),
            dpr: 1.0,
            kernel: Kernel::Lanczos3,
            linear_light: false,
            gravity: Gravity::CENTRE,
            extend: None,
            filters: Filters::default(),
            frame: Frame::default(),
            background: None,
            watermark: None,
            text: None,
        }
    }
}

impl Default for Resize {
    /// No resizing.
    fn default() -> Self {
        Self { mode: ResizeMode::Fit, width_px: 0, height_px: 0, enlarge: false, min_width_px: 0, min_height_px: 0, zoom: [1.0; 2] }
    }
}

/// The table's bound as what the types hold.
const fn bound(max: i64) -> u32 {
    max.unsigned_abs() as u32
}

impl Pass {
    /// The same wish in its one form: what does nothing becomes the default, what is out of range goes to the range's end.
    pub(super) fn normalised(mut self) -> Self {
        let side_max = bound(MAX_SIDE_PX);
        self.dpr = clamp(self.dpr, 0.1, 8.0, 1.0);
        let resize = &mut self.resize;
        for side in [&mut resize.width_px, &mut resize.height_px, &mut resize.min_width_px, &mut resize.min_height_px] {
            *side = (*side).min(side_max);
        }
        resize.zoom = resize.zoom.map(|factor| clamp(factor, 0.01, 10.0, 1.0));
        if resize.width_px == 0 && resize.height_px == 0 {
            resize.mode = ResizeMode::Fit;
            self.extend = None;
        }
        let unscaled = Resize { enlarge: resize.enlarge, ..Resize::default() };
        // Nothing that could enlarge or be kept from it.
        if *resize == unscaled && self.dpr == 1.0 {
            resize.enlarge = false;
        }
        if *resize == Resize::default() && self.dpr == 1.0 {
            // What is not resampled has its light as it is.
            self.linear_light = false;
            self.kernel = Kernel::Lanczos3;
        }
        self.gravity = self.gravity.normalised();
        self.extend =
            self.extend.map(Gravity::normalised).map(|gravity| if gravity.anchor == Anchor::Smart { Gravity::CENTRE } else { gravity });
        self.trim = self.trim.map(|mut trim| {
            trim.threshold = clamp(trim.threshold, 0.0, 255.0, 0.0);
            trim
        });
        self.crop = self.crop.and_then(|crop| {
            let crop = Crop {
                width: crop.width.normalised(side_max),
                height: crop.height.normalised(side_max),
                gravity: crop.gravity.map(Gravity::normalised),
            };
            (crop.width != Length::Full || crop.height != Length::Full).then_some(crop)
        });
        self.filters = self.filters.normalised();
        let frame_max = bound(MAX_FRAME_PX);
        let Frame { border, round_px, padding } = self.frame;
        self.frame = Frame {
            border: border.map(|border| Border { px: border.px.min(frame_max), ..border }).filter(|border| border.px > 0),
            round_px: round_px.min(frame_max),
            padding: Padding {
                top_px: padding.top_px.min(frame_max),
                right_px: padding.right_px.min(frame_max),
                bottom_px: padding.bottom_px.min(frame_max),
                left_px: padding.left_px.min(frame_max),
            },
        };
        self.watermark = self.watermark.filter(|mark| mark.opacity > 0.0).map(|mut mark| {
            mark.opacity = clamp(mark.opacity, 0.0, 1.0, 1.0);
            (mark.place, mark.x, mark.y) = laid(mark.place, mark.x, mark.y);
            mark.scale = clamp(mark.scale, 0.0, 1.0, 0.0);
            mark.name = mark.name.filter(|name| is_name(name) && name != DEFAULT_NAME);
            mark
        });
        self.watermark = self.watermark.filter(|mark| mark.opacity > 0.0);
        self.text = self.text.filter(|mark| mark.opacity > 0.0 && text::is_allowed(&mark.text)).map(|mut mark| {
            mark.opacity = clamp(mark.opacity, 0.0, 1.0, 1.0);
            mark.size_px = mark.size_px.clamp(1, bound(MAX_TEXT_PX));
            (mark.place, mark.x, mark.y) = laid(mark.place, mark.x, mark.y);
            mark
        });
        self.text = self.text.filter(|mark| mark.opacity > 0.0);
        self
    }

    /// Its options in a fixed order, defaults omitted.
    pub(super) fn write(&self, option: &mut dyn FnMut(fmt::Arguments<'_>) -> fmt::Result) -> fmt::Result {
        if self.rotate != Rotation::Deg0 {
            option(format_args!("rot:{}", self.rotate.degrees()))?;
        }
        if self.flip_horizontal || self.flip_vertical {
            option(format_args!("fl:{}:{}", u8::from(self.flip_horizontal), u8::from(self.flip_vertical)))?;
        }
        if let Some(trim) = self.trim {
            let colour = trim.colour.map_or(String::new(), Rgb::hex);
            let tail = match (trim.equal_horizontal, trim.equal_vertical) {
                (false, false) if colour.is_empty() => String::new(),
                (false, false) => format!(":{colour}"),
                (true, false) => format!(":{colour}:1"),
                (horizontal, true) => format!(":{colour}:{}:1", u8::from(horizontal)),
            };
            option(format_args!("t:{}{tail}", trim.threshold))?;
        }
        if let Some(crop) = self.crop {
            match crop.gravity {
                Some(gravity) => option(format_args!("c:{}:{}:{gravity}", crop.width, crop.height))?,
                None => option(format_args!("c:{}:{}", crop.width, crop.height))?,
            }
        }
        if self.gravity != Gravity::CENTRE {
            option(format_args!("g:{}", self.gravity))?;
        }
        self.write_resize(option)?;
        self.filters.write(option)?;
        self.write_surround(option)
    }

    fn write_resize(&self, option: &mut dyn FnMut(fmt::Arguments<'_>) -> fmt::Result) -> fmt::Result {
        let resize = self.resize;
        if resize.width_px != 0 || resize.height_px != 0 {
            let enlarge = if resize.enlarge { ":1" } else { "" };
            option(format_args!("rs:{}:{}:{}{enlarge}", resize.mode.word(), resize.width_px, resize.height_px))?;
        } else if resize.enlarge {
            option(format_args!("el:1"))?;
        }
        for (name, side) in [("mw", resize.min_width_px), ("mh", resize.min_height_px)] {
            if side != 0 {
                option(format_args!("{name}:{side}"))?;
            }
        }
        if self.dpr != 1.0 {
            option(format_args!("dpr:{}", self.dpr))?;
        }
        match resize.zoom {
            [x, y] if x == y && x == 1.0 => {}
            [x, y] if x == y => option(format_args!("z:{x}"))?,
            [x, y] => option(format_args!("z:{x}:{y}"))?,
        }
        match self.extend {
            Some(gravity) if gravity == Gravity::CENTRE => option(format_args!("ex:1"))?,
            Some(gravity) => option(format_args!("ex:1:{gravity}"))?,
            None => {}
        }
        if self.kernel != Kernel::Lanczos3 {
            option(format_args!("ra:{}", self.kernel.word()))?;
        }
        if self.linear_light { option(format_args!("ll:1")) } else { Ok(()) }
    }

    fn write_surround(&self, option: &mut dyn FnMut(fmt::Arguments<'_>) -> fmt::Result) -> fmt::Result {
        let Frame { border, round_px, padding } = self.frame;
        if let Some(Border { px, colour }) = border {
            option(format_args!("border:{px}:{}", colour.hex()))?;
        }
        if round_px != 0 {
            option(format_args!("round_corner:{round_px}"))?;
        }
        if padding != Padding::default() {
            let Padding { top_px, right_px, bottom_px, left_px } = padding;
            option(format_args!("pd:{top_px}:{right_px}:{bottom_px}:{left_px}"))?;
        }
        if let Some(colour) = self.background {
            option(format_args!("bg:{}", colour.hex()))?;
        }
        if let Some(mark) = &self.watermark {
            let name = mark.name.as_ref().map_or(String::new(), |name| format!(":{name}"));
            option(format_args!("wm:{}:{}:{}:{}:{}{name}", mark.opacity, mark.place.word(), mark.x, mark.y, mark.scale))?;
        }
        if let Some(mark) = &self.text {
            let written = text::encode(&mark.text);
            let [size, colour, place] = [mark.size_px.to_string(), mark.colour.hex(), mark.place.word().to_owned()];
            option(format_args!("wmt:{written}:{size}:{colour}:{}:{place}:{}:{}", mark.opacity, mark.x, mark.y))?;
        }
        Ok(())
    }
}

/// What a watermark is called that is called nothing.
pub(super) const DEFAULT_NAME: &str = "default";

impl Filters {
    fn normalised(mut self) -> Self {
        let factor = |value: Option<f32>, min: f32| value.map(|factor| clamp(factor, min, MAX_FACTOR, 1.0)).filter(|factor| *factor != 1.0);
        self.blur_sigma = clamp(self.blur_sigma, 0.0, MAX_SIGMA, 0.0);
        self.sharpen_sigma = clamp(self.sharpen_sigma, 0.0, MAX_SIGMA, 0.0);
        self.pixelate_px = above_one(self.pixelate_px, MAX_BLOCK_PX);
        self.median_px = above_one(self.median_px, MAX_MEDIAN_PX);
        self.brightness = self.brightness.clamp(-255, 255);
        self.contrast = factor(self.contrast, 0.0);
        self.saturation = factor(self.saturation, 0.0);
        self.gamma = factor(self.gamma, 0.1);
        // A turn of 360 degrees is none; the remainder may round up to it.
        let hue_deg = clamp(self.hue_deg, -360.0, 360.0, 0.0).rem_euclid(360.0);
        self.hue_deg = if hue_deg >= 360.0 { 0.0 } else { clamp(hue_deg, 0.0, 360.0, 0.0) };
        self
    }

    fn write(&self, option: &mut dyn FnMut(fmt::Arguments<'_>) -> fmt::Result) -> fmt::Result {
        if self.median_px != 0 {
            option(format_args!("median:{}", self.median_px))?;
        }
        if self.normalize {
            option(format_args!("normalize:1"))?;
        }
        if self.brightness != 0 {
            option(format_args!("br:{}", self.brightness))?;
        }
        for (name, factor) in [("co", self.contrast), ("gamma", self.gamma), ("sa", self.saturation)] {
            if let Some(factor) = factor {
                option(format_args!("{name}:{factor}"))?;
            }
        }
        if self.hue_deg != 0.0 {
            option(format_args!("hue:{}", self.hue_deg))?;
        }
        for (on, name) in [(self.grayscale, "gray"), (self.sepia, "sepia")] {
            if on {
                option(format_args!("{name}:1"))?;
            }
        }
        if let Some(colour) = self.tint {
            option(format_args!("tint:{}", colour.hex()))?;
        }
        if let Some([dark, light]) = self.duotone {
            option(format_args!("duotone:{}:{}", dark.hex(), light.hex()))?;
        }
        if self.invert {
            option(format_args!("invert:1"))?;
        }
        for (name, sigma) in [("bl", self.blur_sigma), ("sh", self.sharpen_sigma)] {
            if sigma != 0.0 {
                option(format_args!("{name}:{sigma}"))?;
            }
        }
        if self.pixelate_px != 0 { option(format_args!("pix:{}", self.pixelate_px)) } else { Ok(()) }
    }
}

/// Sides of windows and blocks, where 1 is as good as none.
fn above_one(side_px: u32, max: i64) -> u32 {
    match side_px.min(bound(max)) {
        1 => 0,
        side_px => side_px,
    }
}

impl Rgb {
    /// `rrggbb`
    pub(crate) fn hex(self) -> String {
        let [r, g, b] = self.0;
        format!("{r:02x}{g:02x}{b:02x}")
    }
}

/// `value` within the range; `absent` for what is no number. Never gives -0 or a number too small for its decimal text.
pub(super) fn clamp(value: f32, min: f32, max: f32, absent: f32) -> f32 {
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

impl Gravity {
    fn normalised(self) -> Self {
        let Self { anchor, x, y } = self;
        match anchor {
            Anchor::Smart => Self::at(Anchor::Smart),
            Anchor::FocusPoint => Self::focus(clamp(x, 0.0, 1.0, 0.5), clamp(y, 0.0, 1.0, 0.5)),
            anchor => Self { anchor, x: offset(x), y: offset(y) },
        }
    }
}

fn offset(value: f32) -> f32 {
    let most = MAX_SIDE_PX as f32;
    clamp(value, -most, most, 0.0)
}

/// A place that a watermark can lie at, and its offsets.
fn laid(place: Place, x: f32, y: f32) -> (Place, f32, f32) {
    let place = match place {
        Place::At(Anchor::FocusPoint | Anchor::Smart) => Place::CENTRE,
        place => place,
    };
    (place, offset(x), offset(y))
}
