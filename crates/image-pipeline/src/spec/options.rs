//! The one table of options: names, ranges, defaults, meanings. Error texts, docs and the parser all read it.
//!
//! Names and meanings follow imgproxy's grammar; the aliases are those of sharp and weserv query strings.

mod filters;
mod geometry;
mod surround;

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
/// Most colours of a palette.
pub(super) const MAX_COLORS: i64 = 256;
/// Most frames an option may name.
pub(super) const MAX_FRAMES: i64 = 65_535;
/// Largest block of `pixelate`, in pixels.
pub(super) const MAX_BLOCK_PX: i64 = 1024;
/// Largest window of `median`, in pixels.
pub(super) const MAX_MEDIAN_PX: i64 = 99;
/// Widest border, padding and radius, in pixels.
pub(super) const MAX_FRAME_PX: i64 = 8192;
/// Largest font, in pixels.
pub(super) const MAX_TEXT_PX: i64 = 1000;
/// Longest text of `watermark_text`, in characters.
pub(super) const MAX_TEXT_CHARS: usize = 120;
/// Largest bound `max_bytes` may state.
const MAX_RESULT_BYTES: i64 = 0xffff_ffff;

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
    /// `rrggbb` or `rgb`, in one argument.
    Hex,
    /// Pixels, or a share of the side below 1; negative ones point the other way.
    Offset,
    /// The name of a watermark.
    Name,
    /// Text in base64 for URLs, or percent-encoded.
    Text,
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
            Self::Hex => f.write_str("rrggbb or rgb"),
            Self::Offset => write!(f, "-{MAX_SIDE_PX} to {MAX_SIDE_PX} px, below 1 a share of the side"),
            Self::Name => f.write_str("1 to 64 characters of a-z, 0-9, _ and -"),
            Self::Text => write!(f, "1 to {MAX_TEXT_CHARS} characters as base64 for URLs, or percent-encoded with at least one %xx"),
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
    Trim,
    MinWidth,
    MinHeight,
    Dpr,
    Zoom,
    Extend,
    Kernel,
    Median,
    Normalize,
    Gamma,
    Hue,
    Tint,
    Duotone,
    Border,
    RoundCorner,
    Padding,
    Watermark,
    Text,
    MaxBytes,
    Resize,
    Size,
    ResizingType,
    Width,
    Height,
    Enlarge,
    Linear,
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
    Progressive,
    Effort,
    Lossless,
    Colors,
    Dither,
    MaxFrames,
    StripMetadata,
    KeepCopyright,
    StripColorProfile,
    Preset,
}

const SWITCH: Arg = Arg { name: "on", kind: ArgKind::Switch };
const X: Arg = Arg { name: "x", kind: ArgKind::Offset };
const Y: Arg = Arg { name: "y", kind: ArgKind::Offset };

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
    geometry::AUTO_ROTATE,
    geometry::ROTATE,
    geometry::FLIP,
    geometry::FLOP,
    geometry::TRIM,
    geometry::CROP,
    geometry::GRAVITY,
    geometry::A,
    geometry::FPX,
    geometry::FPY,
    geometry::RESIZE,
    geometry::SIZE,
    geometry::RESIZING_TYPE,
    geometry::WIDTH,
    geometry::HEIGHT,
    geometry::MIN_WIDTH,
    geometry::MIN_HEIGHT,
    geometry::DPR,
    geometry::ZOOM,
    geometry::ENLARGE,
    geometry::EXTEND,
    geometry::RESIZING_ALGORITHM,
    geometry::LINEAR_LIGHT,
    geometry::FIT,
    filters::MEDIAN,
    filters::NORMALIZE,
    filters::BRIGHTNESS,
    filters::CONTRAST,
    filters::GAMMA,
    filters::SATURATION,
    filters::HUE,
    filters::GRAYSCALE,
    filters::SEPIA,
    filters::TINT,
    filters::DUOTONE,
    filters::INVERT,
    filters::FILT,
    filters::BLUR,
    filters::SHARPEN,
    filters::PIXELATE,
    surround::BORDER,
    surround::ROUND_CORNER,
    surround::PADDING,
    surround::BACKGROUND,
    surround::WATERMARK,
    surround::WATERMARK_TEXT,
    OptionRow {
        name: "format",
        short: "f",
        aliases: &["ext", "output"],
        id: Id::Format,
        args: &[Arg { name: "format", kind: ArgKind::Word(&["auto", "keep", "jpg", "jpeg", "png", "webp", "avif", "gif"]) }],
        default: "keep: the source's if written by this version, else jpg, or png with transparency, or webp where it moves",
        what: "format of the result; auto goes by what the result shows: jpg for an opaque photo, webp for one with transparency, png for what is drawn; an animation stays one, as webp",
    },
    OptionRow {
        name: "quality",
        short: "q",
        aliases: &[],
        id: Id::Quality,
        args: &[Arg { name: "quality", kind: ArgKind::Integer { min: 1, max: 100, unit: "" } }],
        default: "80",
        what: "quality of jpg, webp and avif; png and gif have none",
    },
    OptionRow {
        name: "max_bytes",
        short: "mb",
        aliases: &[],
        id: Id::MaxBytes,
        args: &[Arg { name: "bytes", kind: ArgKind::Integer { min: 0, max: MAX_RESULT_BYTES, unit: "bytes" } }],
        default: "0: no bound",
        what: "lowers the quality as far as needed to keep the result within so many bytes, of animations, too; fails where the lowest is not enough, \
               and where a format without quality (png, gif, a lossless webp) is larger; with `f:auto` what would be a png becomes a webp instead",
    },
    OptionRow {
        name: "progressive",
        short: "progressive",
        aliases: &[],
        id: Id::Progressive,
        args: &[SWITCH],
        default: "0",
        what: "writes a jpg in several passes, coarse ones first: a few percent smaller, a little more work; other formats have none",
    },
    OptionRow {
        name: "effort",
        short: "effort",
        aliases: &[],
        id: Id::Effort,
        args: &[Arg { name: "effort", kind: ArgKind::Integer { min: 0, max: 9, unit: "" } }],
        default: "2",
        what: "work spent on a webp (above 6 as 6; 4 takes two and a half times as long as 2 for 4 percent fewer bytes) or an avif; other formats have none",
    },
    OptionRow {
        name: "lossless",
        short: "lossless",
        aliases: &["l"],
        id: Id::Lossless,
        args: &[SWITCH],
        default: "0",
        what: "writes every sample of a webp as it is; a png always is, jpg and gif cannot be",
    },
    OptionRow {
        name: "colors",
        short: "colors",
        aliases: &["colours"],
        id: Id::Colors,
        args: &[Arg { name: "colors", kind: ArgKind::Integer { min: 2, max: MAX_COLORS, unit: "" } }],
        default: "true colour in a png, 256 in a gif",
        what: "writes a png with a palette of so many colours at most, exactly where the picture has no more; the same for a gif; \
               other formats have none",
    },
    OptionRow {
        name: "dither",
        short: "dither",
        aliases: &[],
        id: Id::Dither,
        args: &[Arg { name: "share", kind: ArgKind::Decimal { min: 0.0, max: 1.0 } }],
        default: "1",
        what: "how much of what a palette cannot show is spread over the neighbours (Floyd-Steinberg); 0 leaves flat steps and smaller files",
    },
    OptionRow {
        name: "max_animation_frames",
        short: "maf",
        aliases: &["n"],
        id: Id::MaxFrames,
        args: &[Arg { name: "frames", kind: ArgKind::Integer { min: -1, max: MAX_FRAMES, unit: "frames" } }],
        default: "0: all",
        what: "writes the first so many frames of an animation; 1 is a still picture, 0 and -1 are all; jpg and png have one anyway",
    },
    OptionRow {
        name: "strip_metadata",
        short: "sm",
        aliases: &[],
        id: Id::StripMetadata,
        args: &[SWITCH],
        default: "1",
        what: "leaves metadata out; 0 keeps what Exif says of camera, exposure and times, and who made the picture, but never places, thumbnails, \
               makers' notes or serial numbers",
    },
    OptionRow {
        name: "keep_copyright",
        short: "kcr",
        aliases: &[],
        id: Id::KeepCopyright,
        args: &[SWITCH],
        default: "0",
        what: "keeps copyright, artist and credit line (from Exif, IPTC or XMP) where metadata is left out",
    },
    OptionRow {
        name: "strip_color_profile",
        short: "scp",
        aliases: &[],
        id: Id::StripColorProfile,
        args: &[SWITCH],
        default: "1",
        what: "brings colours to sRGB and leaves the profile out; 0 keeps colours as they are stored and writes their profile with them, \
               and all 16 bits of a PNG in a PNG that is only cut, scaled or turned; grey and CMYK become sRGB all the same",
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
const NOT_SUPPORTED: &[&str] = &["expires", "exp", "filename", "fn", "return_attachment", "att", "cachebuster", "cb"];

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
        row_named(name).is_some() || not_supported(name).is_some()
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
