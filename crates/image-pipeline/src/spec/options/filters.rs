//! Rows of the table: filters.

use super::{Arg, ArgKind, Id, MAX_BLOCK_PX, MAX_FACTOR, MAX_MEDIAN_PX, MAX_SIGMA, OptionRow, SWITCH};

const SIGMA: Arg = Arg { name: "sigma", kind: ArgKind::Decimal { min: 0.0, max: MAX_SIGMA } };
const FACTOR: Arg = Arg { name: "factor", kind: ArgKind::Decimal { min: 0.0, max: MAX_FACTOR } };

pub(super) const MEDIAN: OptionRow = OptionRow {
    name: "median",
    short: "median",
    aliases: &[],
    id: Id::Median,
    args: &[Arg { name: "window", kind: ArgKind::Integer { min: 0, max: MAX_MEDIAN_PX, unit: "px" } }],
    default: "0",
    what: "takes the middle of the values in a square window of this side around each pixel: specks go, edges stay",
};

pub(super) const NORMALIZE: OptionRow = OptionRow {
    name: "normalize",
    short: "normalize",
    aliases: &["normalise"],
    id: Id::Normalize,
    args: &[SWITCH],
    default: "0",
    what: "stretches lightness so that the darkest hundredth becomes black and the lightest white",
};

pub(super) const BRIGHTNESS: OptionRow = OptionRow {
    name: "brightness",
    short: "br",
    aliases: &[],
    id: Id::Brightness,
    args: &[Arg { name: "amount", kind: ArgKind::Integer { min: -255, max: 255, unit: "" } }],
    default: "0",
    what: "adds to each channel of 0 to 255",
};

pub(super) const CONTRAST: OptionRow = OptionRow {
    name: "contrast",
    short: "co",
    aliases: &["con"],
    id: Id::Contrast,
    args: &[FACTOR],
    default: "1",
    what: "multiplies each channel's distance from mid-grey; below 1 less, above 1 more",
};

pub(super) const GAMMA: OptionRow = OptionRow {
    name: "gamma",
    short: "gamma",
    aliases: &["gam"],
    id: Id::Gamma,
    args: &[Arg { name: "gamma", kind: ArgKind::Decimal { min: 0.1, max: 10.0 } }],
    default: "1",
    what: "raises each channel, as a share of 255, to the power of 1 / gamma: above 1 lighter, below 1 darker",
};

pub(super) const SATURATION: OptionRow = OptionRow {
    name: "saturation",
    short: "sa",
    aliases: &["sat"],
    id: Id::Saturation,
    args: &[FACTOR],
    default: "1",
    what: "multiplies each pixel's distance from its own grey; 0 is grey, above 1 more colourful",
};

pub(super) const HUE: OptionRow = OptionRow {
    name: "hue",
    short: "hue",
    aliases: &[],
    id: Id::Hue,
    args: &[Arg { name: "degrees", kind: ArgKind::Decimal { min: -360.0, max: 360.0 } }],
    default: "0",
    what: "turns hues by so many degrees",
};

pub(super) const GRAYSCALE: OptionRow = OptionRow {
    name: "grayscale",
    short: "gray",
    aliases: &["greyscale", "grey"],
    id: Id::Grayscale,
    args: &[SWITCH],
    default: "0",
    what: "luma of Rec. 709 in all channels",
};

pub(super) const SEPIA: OptionRow = OptionRow {
    name: "sepia",
    short: "sepia",
    aliases: &[],
    id: Id::Sepia,
    args: &[SWITCH],
    default: "0",
    what: "brown tones of an old print",
};

pub(super) const TINT: OptionRow = OptionRow {
    name: "tint",
    short: "tint",
    aliases: &[],
    id: Id::Tint,
    args: &[Arg { name: "colour", kind: ArgKind::Colour }],
    default: "none",
    what: "keeps the lightness of each pixel and takes hue and strength of colour from this colour",
};

pub(super) const DUOTONE: OptionRow = OptionRow {
    name: "duotone",
    short: "duotone",
    aliases: &[],
    id: Id::Duotone,
    args: &[Arg { name: "dark", kind: ArgKind::Hex }, Arg { name: "light", kind: ArgKind::Hex }],
    default: "none",
    what: "black becomes the first colour, white the second, greys what lies between",
};

pub(super) const INVERT: OptionRow =
    OptionRow { name: "invert", short: "invert", aliases: &["negate"], id: Id::Invert, args: &[SWITCH], default: "0", what: "negative" };

pub(super) const FILT: OptionRow = OptionRow {
    name: "filt",
    short: "filt",
    aliases: &[],
    id: Id::Filt,
    args: &[Arg { name: "filters", kind: ArgKind::Words(&["greyscale", "grayscale", "sepia", "negate"]) }],
    default: "none",
    what: "weserv's filters: greyscale = gray, sepia, negate = invert",
};

pub(super) const BLUR: OptionRow = OptionRow {
    name: "blur",
    short: "bl",
    aliases: &[],
    id: Id::Blur,
    args: &[SIGMA],
    default: "0",
    what: "Gaussian blur; the value is the standard deviation in pixels of the result",
};

pub(super) const SHARPEN: OptionRow = OptionRow {
    name: "sharpen",
    short: "sh",
    aliases: &["sharp"],
    id: Id::Sharpen,
    args: &[SIGMA],
    default: "0",
    what: "unsharp mask; the value is the standard deviation in pixels of the result",
};

pub(super) const PIXELATE: OptionRow = OptionRow {
    name: "pixelate",
    short: "pix",
    aliases: &[],
    id: Id::Pixelate,
    args: &[Arg { name: "block", kind: ArgKind::Integer { min: 0, max: MAX_BLOCK_PX, unit: "px" } }],
    default: "0",
    what: "square blocks of one colour; the value is their side in pixels of the result",
};
