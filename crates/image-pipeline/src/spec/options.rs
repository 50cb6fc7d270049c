//! The one table of options: names, ranges, defaults, meanings. Error texts, docs and the parser all read it.
//!
//! Names and meanings follow imgproxy's grammar; the aliases are those of sharp and weserv query strings.

use std::fmt;

use super::Spec;

/// Largest width or height an option may name, in pixels.
pub(super) const MAX_SIDE_PX: i64 = 65_535;
/// Largest standard deviation of blur and sharpen, in pixels.
pub(super) const MAX_SIGMA: f32 = 100.0;
/// Largest factor of contrast and saturation.
pub(super) const MAX_FACTOR: f32 = 10.0;
/// Smallest and largest share of a side in `crop`.
pub(super) const MIN_SHARE: f32 = 0.0001;
/// See [`MIN_SHARE`].
pub(super) const MAX_SHARE: f32 = 0.9999;
/// Largest block of `pixelate`, in pixels.
pub(super) const MAX_BLOCK_PX: i64 = 1024;

/// One option: how it is spelled, what it takes, what it does.
#[derive(Debug)]
pub struct OptionRow {
    /// Long name.
    pub name: &'static str,
    /// Short name, the one of the canonical text; the long one where there is none shorter.
    pub short: &'static str,
    /// Other spellings, as query strings for sharp and weserv have them.
    pub aliases: &'static [&'static str],
    /// Arguments in order; an empty or missing one keeps its default.
    pub args: &'static [Arg],
    /// What holds when the option is absent.
    pub default: &'static str,
    /// What it does, one sentence.
    pub what: &'static str,
    pub(super) id: Id,
}

/// One argument of an option.
#[derive(Debug)]
pub struct Arg {
    /// What it is called in error texts.
    pub name: &'static str,
    /// What it may be.
    pub kind: ArgKind,
}

/// What an argument may be; `Display` says it in words.
#[derive(Debug)]
pub enum ArgKind {
    /// A whole number.
    Integer {
        /// Smallest allowed.
        min: i64,
        /// Largest allowed.
        max: i64,
        /// Unit for the text, may be empty.
        unit: &'static str,
    },
    /// A whole number that `of` divides.
    Multiple {
        /// The divisor.
        of: i64,
        /// Smallest allowed.
        min: i64,
        /// Largest allowed.
        max: i64,
    },
    /// A decimal number, without exponent.
    Decimal {
        /// Smallest allowed.
        min: f32,
        /// Largest allowed.
        max: f32,
    },
    /// `1`, `t`, `true` or `0`, `f`, `false`.
    Switch,
    /// One of these words.
    Word(&'static [&'static str]),
    /// Some of these words, separated by commas.
    Words(&'static [&'static str]),
    /// Whole pixels, a share of the side, or 0 for all of it.
    Length,
    /// `rrggbb`, `rgb` or, over three arguments, `r:g:b`.
    Colour,
    /// The name of a preset.
    Preset,
}

impl fmt::Display for ArgKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer { min, max, unit: "" } => write!(f, "{min} to {max}"),
            Self::Integer { min, max, unit } => write!(f, "{min} to {max} {unit}"),
            Self::Multiple { of, min, max } => write!(f, "a multiple of {of} from {min} to {max}"),
            Self::Decimal { min, max } => write!(f, "{min} to {max}"),
            Self::Switch => f.write_str("1, t, true or 0, f, false"),
            Self::Word(words) => f.write_str(&words.join(", ")),
            Self::Words(words) => write!(f, "some of {}, separated by commas", words.join(", ")),
            Self::Length => write!(f, "0 (all), a share {MIN_SHARE} to {MAX_SHARE}, or 1 to {MAX_SIDE_PX} px"),
            Self::Colour => f.write_str("rrggbb, rgb or r:g:b with 0 to 255 each"),
            Self::Preset => f.write_str("the name of a preset"),
        }
    }
}

impl OptionRow {
    /// The allowed values in words, argument by argument.
    pub fn range_text(&self) -> String {
        match self.args {
            [only] => only.kind.to_string(),
            args => args.iter().map(|arg| format!("{}: {}", arg.name, arg.kind)).collect::<Vec<_>>().join("; "),
        }
    }

    /// Every spelling, the long name first.
    pub fn spellings(&self) -> impl Iterator<Item = &'static str> + use<> {
        let short = Some(self.short).filter(|short| *short != self.name);
        std::iter::once(self.name).chain(short).chain(self.aliases.iter().copied())
    }

    /// Whether naming the option without a value turns it on.
    pub(super) fn is_switch(&self) -> bool {
        matches!(self.args, [Arg { kind: ArgKind::Switch, .. }])
    }
}

/// What the parser does with a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Id {
    Resize,
    Size,
    ResizingType,
    Width,
    Height,
    Enlarge,
    Fit,
    Crop,
    Gravity,
    Align,
    FocusX,
    FocusY,
    AutoRotate,
    Rotate,
    Flip,
    FlipVertical,
    FlipHorizontal,
    Blur,
    Sharpen,
    Pixelate,
    Brightness,
    Contrast,
    Saturation,
    Grayscale,
    Sepia,
    Invert,
    Filt,
    Background,
    Format,
    Quality,
    Preset,
}

const MODE: Arg = Arg { name: "mode", kind: ArgKind::Word(&["fit", "fill", "fill-down", "force", "auto"]) };
const WIDTH: Arg = Arg { name: "width", kind: ArgKind::Integer { min: 0, max: MAX_SIDE_PX, unit: "px" } };
const HEIGHT: Arg = Arg { name: "height", kind: ArgKind::Integer { min: 0, max: MAX_SIDE_PX, unit: "px" } };
const ENLARGE: Arg = Arg { name: "enlarge", kind: ArgKind::Switch };
const GRAVITY: Arg = Arg { name: "gravity", kind: ArgKind::Word(&["ce", "no", "so", "ea", "we", "noea", "nowe", "soea", "sowe", "fp"]) };
const FOCUS_X: Arg = Arg { name: "x", kind: ArgKind::Decimal { min: 0.0, max: 1.0 } };
const FOCUS_Y: Arg = Arg { name: "y", kind: ArgKind::Decimal { min: 0.0, max: 1.0 } };
const SWITCH: Arg = Arg { name: "on", kind: ArgKind::Switch };
const SIGMA: Arg = Arg { name: "sigma", kind: ArgKind::Decimal { min: 0.0, max: MAX_SIGMA } };
const FACTOR: Arg = Arg { name: "factor", kind: ArgKind::Decimal { min: 0.0, max: MAX_FACTOR } };
const ALIGNMENTS: &[&str] =
    &["center", "centre", "top", "right", "bottom", "left", "top-left", "top-right", "bottom-left", "bottom-right", "focal"];

/// Every option this version knows, in the order of the canonical text.
pub const OPTIONS: &[OptionRow] = &[
    OptionRow {
        name: "preset",
        short: "pr",
        aliases: &[],
        id: Id::Preset,
        args: &[Arg { name: "name", kind: ArgKind::Preset }],
        default: "none",
        what: "puts the options of one or more presets (`pr:a:b`) in its place; options after it override them",
    },
    OptionRow {
        name: "auto_rotate",
        short: "ar",
        aliases: &[],
        id: Id::AutoRotate,
        args: &[SWITCH],
        default: "1",
        what: "applies the EXIF orientation",
    },
    OptionRow {
        name: "rotate",
        short: "rot",
        aliases: &["ro"],
        id: Id::Rotate,
        args: &[Arg { name: "degrees", kind: ArgKind::Multiple { of: 90, min: -360, max: 360 } }],
        default: "0",
        what: "turns clockwise, after the EXIF orientation",
    },
    OptionRow {
        name: "flip",
        short: "fl",
        aliases: &[],
        id: Id::Flip,
        args: &[Arg { name: "horizontal", kind: ArgKind::Switch }, Arg { name: "vertical", kind: ArgKind::Switch }],
        default: "0:0",
        what: "mirrors left-right and top-bottom, after the turn; as a query parameter without a colon it is sharp's flip: top-bottom",
    },
    OptionRow {
        name: "flop",
        short: "flop",
        aliases: &[],
        id: Id::FlipHorizontal,
        args: &[SWITCH],
        default: "0",
        what: "sharp's flop: mirrors left-right",
    },
    OptionRow {
        name: "crop",
        short: "c",
        aliases: &[],
        id: Id::Crop,
        args: &[Arg { name: "width", kind: ArgKind::Length }, Arg { name: "height", kind: ArgKind::Length }, GRAVITY, FOCUS_X, FOCUS_Y],
        default: "0:0",
        what: "cuts a rectangle out before resizing; larger than the image means all of it",
    },
    OptionRow {
        name: "gravity",
        short: "g",
        aliases: &[],
        id: Id::Gravity,
        args: &[GRAVITY, FOCUS_X, FOCUS_Y],
        default: "ce",
        what: "which part stays when `fill` or `crop` cuts; `fp:x:y` keeps a point in view",
    },
    OptionRow {
        name: "a",
        short: "a",
        aliases: &[],
        id: Id::Align,
        args: &[Arg { name: "alignment", kind: ArgKind::Word(ALIGNMENTS) }],
        default: "center",
        what: "gravity in weserv's words; `focal` takes the point from fpx and fpy",
    },
    OptionRow { name: "fpx", short: "fpx", aliases: &[], id: Id::FocusX, args: &[FOCUS_X], default: "0.5", what: "x of the focus point" },
    OptionRow { name: "fpy", short: "fpy", aliases: &[], id: Id::FocusY, args: &[FOCUS_Y], default: "0.5", what: "y of the focus point" },
    OptionRow {
        name: "resize",
        short: "rs",
        aliases: &[],
        id: Id::Resize,
        args: &[MODE, WIDTH, HEIGHT, ENLARGE],
        default: "fit:0:0:0",
        what: "brings the image to a box; a side of 0 follows from the other (with `force`: stays), both 0: no resizing",
    },
    OptionRow {
        name: "size",
        short: "s",
        aliases: &[],
        id: Id::Size,
        args: &[WIDTH, HEIGHT, ENLARGE],
        default: "0:0:0",
        what: "the box of `resize` without its mode",
    },
    OptionRow {
        name: "resizing_type",
        short: "rt",
        aliases: &[],
        id: Id::ResizingType,
        args: &[MODE],
        default: "fit",
        what: "the mode of `resize`",
    },
    OptionRow {
        name: "width",
        short: "w",
        aliases: &[],
        id: Id::Width,
        args: &[WIDTH],
        default: "0",
        what: "width of the box of `resize`",
    },
    OptionRow {
        name: "height",
        short: "h",
        aliases: &[],
        id: Id::Height,
        args: &[HEIGHT],
        default: "0",
        what: "height of the box of `resize`",
    },
    OptionRow {
        name: "enlarge",
        short: "el",
        aliases: &[],
        id: Id::Enlarge,
        args: &[ENLARGE],
        default: "0",
        what: "makes small images larger too",
    },
    OptionRow {
        name: "fit",
        short: "fit",
        aliases: &[],
        id: Id::Fit,
        args: &[Arg { name: "fit", kind: ArgKind::Word(&["inside", "cover", "fill"]) }],
        default: "inside, without enlarging",
        what: "sharp's fit: inside = rt:fit, cover = rt:fill, fill = rt:force, each with el:1 unless el says otherwise; \
               contain (pads) and outside are not supported",
    },
    OptionRow {
        name: "brightness",
        short: "br",
        aliases: &[],
        id: Id::Brightness,
        args: &[Arg { name: "amount", kind: ArgKind::Integer { min: -255, max: 255, unit: "" } }],
        default: "0",
        what: "adds to each channel of 0 to 255",
    },
    OptionRow {
        name: "contrast",
        short: "co",
        aliases: &["con"],
        id: Id::Contrast,
        args: &[FACTOR],
        default: "1",
        what: "multiplies each channel's distance from mid-grey; below 1 less, above 1 more",
    },
    OptionRow {
        name: "saturation",
        short: "sa",
        aliases: &["sat"],
        id: Id::Saturation,
        args: &[FACTOR],
        default: "1",
        what: "multiplies each pixel's distance from its own grey; 0 is grey, above 1 more colourful",
    },
    OptionRow {
        name: "grayscale",
        short: "gray",
        aliases: &["greyscale", "grey"],
        id: Id::Grayscale,
        args: &[SWITCH],
        default: "0",
        what: "luma of Rec. 709 in all channels",
    },
    OptionRow {
        name: "sepia",
        short: "sepia",
        aliases: &[],
        id: Id::Sepia,
        args: &[SWITCH],
        default: "0",
        what: "brown tones of an old print",
    },
    OptionRow { name: "invert", short: "invert", aliases: &["negate"], id: Id::Invert, args: &[SWITCH], default: "0", what: "negative" },
    OptionRow {
        name: "filt",
        short: "filt",
        aliases: &[],
        id: Id::Filt,
        args: &[Arg { name: "filters", kind: ArgKind::Words(&["greyscale", "grayscale", "sepia", "negate"]) }],
        default: "none",
        what: "weserv's filters: greyscale = gray, sepia, negate = invert",
    },
    OptionRow {
        name: "blur",
        short: "bl",
        aliases: &[],
        id: Id::Blur,
        args: &[SIGMA],
        default: "0",
        what: "Gaussian blur; the value is the standard deviation in pixels of the result",
    },
    OptionRow {
        name: "sharpen",
        short: "sh",
        aliases: &["sharp"],
        id: Id::Sharpen,
        args: &[SIGMA],
        default: "0",
        what: "unsharp mask; the value is the standard deviation in pixels of the result",
    },
    OptionRow {
        name: "pixelate",
        short: "pix",
        aliases: &[],
        id: Id::Pixelate,
        args: &[Arg { name: "block", kind: ArgKind::Integer { min: 0, max: MAX_BLOCK_PX, unit: "px" } }],
        default: "0",
        what: "square blocks of one colour; the value is their side in pixels of the result",
    },
    OptionRow {
        name: "background",
        short: "bg",
        aliases: &[],
        id: Id::Background,
        args: &[Arg { name: "colour", kind: ArgKind::Colour }],
        default: "none: transparency stays, white where the format has none",
        what: "colour put under transparent pixels",
    },
    OptionRow {
        name: "format",
        short: "f",
        aliases: &["ext", "output"],
        id: Id::Format,
        args: &[Arg { name: "format", kind: ArgKind::Word(&["keep", "jpg", "jpeg", "png", "webp"]) }],
        default: "keep: the source's if written by this version, else jpg, or png with transparency",
        what: "format of the result",
    },
    OptionRow {
        name: "quality",
        short: "q",
        aliases: &[],
        id: Id::Quality,
        args: &[Arg { name: "quality", kind: ArgKind::Integer { min: 1, max: 100, unit: "" } }],
        default: "80",
        what: "quality of jpg and webp; png has none",
    },
];

/// `flip` as a query parameter with a plain value: sharp's, top-bottom. Not a row of its own for readers, who see it under `flip`.
pub(super) static QUERY_FLIP: OptionRow = OptionRow {
    name: "flip",
    short: "flip",
    aliases: &[],
    id: Id::FlipVertical,
    args: &[SWITCH],
    default: "0",
    what: "sharp's flip: mirrors top-bottom",
};

/// Options of the grammar that this version does not do. They are refused by name, never ignored.
const NOT_SUPPORTED: &[&str] = &[
    "min-width",
    "min_width",
    "mw",
    "min-height",
    "min_height",
    "mh",
    "dpr",
    "zoom",
    "z",
    "extend",
    "ex",
    "resizing_algorithm",
    "ra",
    "trim",
    "t",
    "hue",
    "gamma",
    "gam",
    "tint",
    "duotone",
    "normalize",
    "median",
    "padding",
    "pd",
    "round_corner",
    "border",
    "watermark",
    "wm",
    "watermark_text",
    "wmt",
    "max_bytes",
    "mb",
    "lossless",
    "l",
    "effort",
    "progressive",
    "strip_metadata",
    "sm",
    "keep_copyright",
    "kcr",
    "strip_color_profile",
    "scp",
    "max_animation_frames",
    "maf",
    "n",
    "expires",
    "exp",
    "filename",
    "fn",
    "return_attachment",
    "att",
    "cachebuster",
    "cb",
    "-",
];

/// The row of a name in any spelling.
pub(super) fn row_named(name: &str) -> Option<&'static OptionRow> {
    OPTIONS.iter().find(|row| row.spellings().any(|spelling| spelling == name))
}

/// The name itself if it is an option this version refuses.
pub(super) fn not_supported(name: &str) -> Option<&'static str> {
    NOT_SUPPORTED.iter().copied().find(|known| *known == name)
}

impl Spec {
    /// Whether `name` is an option in any spelling: long, short or query alias. True also for options of the grammar that this
    /// version refuses, so that the refusal names them.
    pub fn is_option_name(name: &str) -> bool {
        name != "-" && (row_named(name).is_some() || not_supported(name).is_some())
    }

    /// Whether `name` is an option, in any spelling, that this version acts on.
    pub fn is_supported_option(name: &str) -> bool {
        row_named(name).is_some()
    }

    /// The known option whose spelling is nearest to `name`; `None` when none is near enough to be meant.
    pub fn nearest_option(name: &str) -> Option<&'static str> {
        // Longer than any option by far: nothing is near, and the distance would cost its length squared.
        if name.len() > 40 {
            return None;
        }
        let wanted = name.to_lowercase();
        let spellings = || OPTIONS.iter().flat_map(OptionRow::spellings);
        if let Some(same) = spellings().find(|spelling| *spelling == wanted) {
            return Some(same);
        }
        // One slip in three letters. Names of one or two letters are near to everything, so they are not offered.
        let allowed = wanted.chars().count() / 3;
        spellings()
            .filter(|spelling| spelling.len() > 2)
            .map(|spelling| (strsim::damerau_levenshtein(spelling, &wanted), spelling))
            .filter(|(distance, _)| *distance <= allowed)
            .min_by_key(|(distance, _)| *distance)
            .map(|(_, spelling)| spelling)
    }
}
