//! Rows of the table: what is turned, cut and resized.

use super::{Arg, ArgKind, Id, MAX_SIDE_PX, OptionRow, SWITCH, X, Y};

const MODE: Arg = Arg { name: "mode", kind: ArgKind::Word(&["fit", "fill", "fill-down", "force", "auto", "outside"]) };
const WIDTH_PX: Arg = Arg { name: "width", kind: ArgKind::Integer { min: 0, max: MAX_SIDE_PX, unit: "px" } };
const HEIGHT_PX: Arg = Arg { name: "height", kind: ArgKind::Integer { min: 0, max: MAX_SIDE_PX, unit: "px" } };
const ENLARGES: Arg = Arg { name: "enlarge", kind: ArgKind::Switch };
const WHERE: Arg =
    Arg { name: "gravity", kind: ArgKind::Word(&["ce", "no", "so", "ea", "we", "noea", "nowe", "soea", "sowe", "fp", "sm"]) };
const WHERE_FIXED: Arg =
    Arg { name: "gravity", kind: ArgKind::Word(&["ce", "no", "so", "ea", "we", "noea", "nowe", "soea", "sowe", "fp"]) };
const POINT: ArgKind = ArgKind::Decimal { min: 0.0, max: 1.0 };
const ALIGNMENTS: &[&str] =
    &["center", "centre", "top", "right", "bottom", "left", "top-left", "top-right", "bottom-left", "bottom-right", "focal", "attention"];

pub(super) const AUTO_ROTATE: OptionRow = OptionRow {
    name: "auto_rotate",
    short: "ar",
    aliases: &[],
    id: Id::AutoRotate,
    args: &[SWITCH],
    default: "1",
    what: "applies the EXIF orientation",
};

pub(super) const ROTATE: OptionRow = OptionRow {
    name: "rotate",
    short: "rot",
    aliases: &["ro"],
    id: Id::Rotate,
    args: &[Arg { name: "degrees", kind: ArgKind::Multiple { of: 90, min: -360, max: 360 } }],
    default: "0",
    what: "turns clockwise, after the EXIF orientation",
};

pub(super) const FLIP: OptionRow = OptionRow {
    name: "flip",
    short: "fl",
    aliases: &[],
    id: Id::Flip,
    args: &[Arg { name: "horizontal", kind: ArgKind::Switch }, Arg { name: "vertical", kind: ArgKind::Switch }],
    default: "0:0",
    what: "mirrors left-right and top-bottom, after the turn; as a query parameter without a colon it is sharp's flip: top-bottom",
};

pub(super) const FLOP: OptionRow = OptionRow {
    name: "flop",
    short: "flop",
    aliases: &[],
    id: Id::FlipHorizontal,
    args: &[SWITCH],
    default: "0",
    what: "sharp's flop: mirrors left-right",
};

pub(super) const TRIM: OptionRow = OptionRow {
    name: "trim",
    short: "t",
    aliases: &[],
    id: Id::Trim,
    args: &[
        Arg { name: "threshold", kind: ArgKind::Decimal { min: 0.0, max: 255.0 } },
        Arg { name: "colour", kind: ArgKind::Hex },
        Arg { name: "equal_hor", kind: ArgKind::Switch },
        Arg { name: "equal_ver", kind: ArgKind::Switch },
    ],
    default: "none",
    what: "cuts away edges of one colour: the one given, or that of the top left pixel; values may differ by the threshold; `equal` cuts as much from both sides",
};

pub(super) const CROP: OptionRow = OptionRow {
    name: "crop",
    short: "c",
    aliases: &[],
    id: Id::Crop,
    args: &[Arg { name: "width", kind: ArgKind::Length }, Arg { name: "height", kind: ArgKind::Length }, WHERE, X, Y],
    default: "0:0",
    what: "cuts a rectangle out before resizing; larger than the image means all of it",
};

pub(super) const GRAVITY: OptionRow = OptionRow {
    name: "gravity",
    short: "g",
    aliases: &[],
    id: Id::Gravity,
    args: &[WHERE, X, Y],
    default: "ce",
    what: "which part stays when `fill` or `crop` cuts; `fp:x:y` keeps a point in view, `sm` what looks most worth looking at; \
           of the others x and y move the part away from its side: pixels, or a share of the side below 1",
};

pub(super) const A: OptionRow = OptionRow {
    name: "a",
    short: "a",
    aliases: &[],
    id: Id::Align,
    args: &[Arg { name: "alignment", kind: ArgKind::Word(ALIGNMENTS) }],
    default: "center",
    what: "gravity in weserv's words; `focal` takes the point from fpx and fpy, `attention` is `sm`",
};

pub(super) const FPX: OptionRow = OptionRow {
    name: "fpx",
    short: "fpx",
    aliases: &[],
    id: Id::FocusX,
    args: &[Arg { name: "x", kind: POINT }],
    default: "0.5",
    what: "x of the focus point",
};

pub(super) const FPY: OptionRow = OptionRow {
    name: "fpy",
    short: "fpy",
    aliases: &[],
    id: Id::FocusY,
    args: &[Arg { name: "y", kind: POINT }],
    default: "0.5",
    what: "y of the focus point",
};

pub(super) const RESIZE: OptionRow = OptionRow {
    name: "resize",
    short: "rs",
    aliases: &[],
    id: Id::Resize,
    args: &[MODE, WIDTH_PX, HEIGHT_PX, ENLARGES],
    default: "fit:0:0:0",
    what: "brings the image to a box; a side of 0 follows from the other (with `force`: stays), both 0: no resizing; \
           `outside` covers the box and cuts nothing",
};

pub(super) const SIZE: OptionRow = OptionRow {
    name: "size",
    short: "s",
    aliases: &[],
    id: Id::Size,
    args: &[WIDTH_PX, HEIGHT_PX, ENLARGES],
    default: "0:0:0",
    what: "the box of `resize` without its mode",
};

pub(super) const RESIZING_TYPE: OptionRow = OptionRow {
    name: "resizing_type",
    short: "rt",
    aliases: &[],
    id: Id::ResizingType,
    args: &[MODE],
    default: "fit",
    what: "the mode of `resize`",
};

pub(super) const WIDTH: OptionRow = OptionRow {
    name: "width",
    short: "w",
    aliases: &[],
    id: Id::Width,
    args: &[WIDTH_PX],
    default: "0",
    what: "width of the box of `resize`",
};

pub(super) const HEIGHT: OptionRow = OptionRow {
    name: "height",
    short: "h",
    aliases: &[],
    id: Id::Height,
    args: &[HEIGHT_PX],
    default: "0",
    what: "height of the box of `resize`",
};

pub(super) const MIN_WIDTH: OptionRow = OptionRow {
    name: "min-width",
    short: "mw",
    aliases: &["min_width"],
    id: Id::MinWidth,
    args: &[WIDTH_PX],
    default: "0",
    what: "scales the result to be no narrower, also if that enlarges it; what passes the box of `resize` then is cut",
};

pub(super) const MIN_HEIGHT: OptionRow = OptionRow {
    name: "min-height",
    short: "mh",
    aliases: &["min_height"],
    id: Id::MinHeight,
    args: &[HEIGHT_PX],
    default: "0",
    what: "scales the result to be no lower, also if that enlarges it; what passes the box of `resize` then is cut",
};

pub(super) const DPR: OptionRow = OptionRow {
    name: "dpr",
    short: "dpr",
    aliases: &[],
    id: Id::Dpr,
    args: &[Arg { name: "factor", kind: ArgKind::Decimal { min: 0.1, max: 8.0 } }],
    default: "1",
    what: "pixels of the result for each asked for, with padding, borders and offsets; without `enlarge` no more than the image has",
};

pub(super) const ZOOM: OptionRow = OptionRow {
    name: "zoom",
    short: "z",
    aliases: &[],
    id: Id::Zoom,
    args: &[
        Arg { name: "factor", kind: ArgKind::Decimal { min: 0.01, max: 10.0 } },
        Arg { name: "factor_y", kind: ArgKind::Decimal { min: 0.01, max: 10.0 } },
    ],
    default: "1",
    what: "multiplies the sides that `resize` comes to; one factor for both, or one for each",
};

pub(super) const ENLARGE: OptionRow = OptionRow {
    name: "enlarge",
    short: "el",
    aliases: &[],
    id: Id::Enlarge,
    args: &[ENLARGES],
    default: "0",
    what: "makes small images larger too",
};

pub(super) const EXTEND: OptionRow = OptionRow {
    name: "extend",
    short: "ex",
    aliases: &[],
    id: Id::Extend,
    args: &[Arg { name: "on", kind: ArgKind::Switch }, WHERE_FIXED, X, Y],
    default: "0",
    what: "fills the box of `resize` up with background where the picture is smaller; the picture lies at `gravity`",
};

pub(super) const RESIZING_ALGORITHM: OptionRow = OptionRow {
    name: "resizing_algorithm",
    short: "ra",
    aliases: &[],
    id: Id::Kernel,
    args: &[Arg { name: "kernel", kind: ArgKind::Word(&["lanczos3", "cubic", "linear", "nearest"]) }],
    default: "lanczos3",
    what: "what pixels are weighed with when the size changes; nearest takes one of them as it is",
};

pub(super) const LINEAR_LIGHT: OptionRow = OptionRow {
    name: "linear_light",
    short: "ll",
    aliases: &["linear"],
    id: Id::Linear,
    args: &[SWITCH],
    default: "0",
    what: "resamples light instead of stored values (sRGB's transfer undone and done again): fine bright detail keeps its brightness; much slower",
};

pub(super) const FIT: OptionRow = OptionRow {
    name: "fit",
    short: "fit",
    aliases: &[],
    id: Id::Fit,
    args: &[Arg { name: "fit", kind: ArgKind::Word(&["inside", "cover", "contain", "fill", "outside"]) }],
    default: "inside, without enlarging",
    what: "sharp's fit, each with el:1 unless el says otherwise: inside = rt:fit, cover = rt:fill, contain = rt:fit and ex:1, \
           fill = rt:force, outside = rt:outside",
};
