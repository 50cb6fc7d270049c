//! Rows of the table: what is put around a picture and on top of it.

use super::{Arg, ArgKind, Id, MAX_FRAME_PX, MAX_TEXT_PX, OptionRow, X, Y};

const PLACE: Arg =
    Arg { name: "position", kind: ArgKind::Word(&["ce", "no", "so", "ea", "we", "noea", "nowe", "soea", "sowe", "re", "ch"]) };
const OPACITY: Arg = Arg { name: "opacity", kind: ArgKind::Decimal { min: 0.0, max: 1.0 } };

pub(super) const BORDER: OptionRow = OptionRow {
    name: "border",
    short: "border",
    aliases: &[],
    id: Id::Border,
    args: &[
        Arg { name: "width", kind: ArgKind::Integer { min: 0, max: MAX_FRAME_PX, unit: "px" } },
        Arg { name: "colour", kind: ArgKind::Hex },
    ],
    default: "none; black where no colour is said",
    what: "draws a line of this width around the picture, which grows by it",
};

pub(super) const ROUND_CORNER: OptionRow = OptionRow {
    name: "round_corner",
    short: "round_corner",
    aliases: &["rc"],
    id: Id::RoundCorner,
    args: &[Arg { name: "radius", kind: ArgKind::Integer { min: 0, max: MAX_FRAME_PX, unit: "px" } }],
    default: "0",
    what: "rounds the corners of picture and border; a radius of half a side or more makes a circle or a pill; what is cut off is transparent, or background",
};

pub(super) const PADDING: OptionRow = OptionRow {
    name: "padding",
    short: "pd",
    aliases: &[],
    id: Id::Padding,
    args: &[
        Arg { name: "top", kind: ArgKind::Integer { min: 0, max: MAX_FRAME_PX, unit: "px" } },
        Arg { name: "right", kind: ArgKind::Integer { min: 0, max: MAX_FRAME_PX, unit: "px" } },
        Arg { name: "bottom", kind: ArgKind::Integer { min: 0, max: MAX_FRAME_PX, unit: "px" } },
        Arg { name: "left", kind: ArgKind::Integer { min: 0, max: MAX_FRAME_PX, unit: "px" } },
    ],
    default: "0",
    what: "adds background around the picture, as CSS reads one to four lengths",
};

pub(super) const BACKGROUND: OptionRow = OptionRow {
    name: "background",
    short: "bg",
    aliases: &[],
    id: Id::Background,
    args: &[Arg { name: "colour", kind: ArgKind::Colour }],
    default: "none: transparency stays, white where the format has none",
    what: "colour put under transparent pixels",
};

pub(super) const WATERMARK: OptionRow = OptionRow {
    name: "watermark",
    short: "wm",
    aliases: &[],
    id: Id::Watermark,
    args: &[
        OPACITY,
        PLACE,
        X,
        Y,
        Arg { name: "scale", kind: ArgKind::Decimal { min: 0.0, max: 1.0 } },
        Arg { name: "name", kind: ArgKind::Name },
    ],
    default: "none",
    what: "lays an image of the configuration on top: `re` tiles it, `ch` every second row moved by half; scale is its share of the result, 0 its own size; without a name the one named `default`",
};

pub(super) const WATERMARK_TEXT: OptionRow = OptionRow {
    name: "watermark_text",
    short: "wmt",
    aliases: &[],
    id: Id::Text,
    args: &[
        Arg { name: "text", kind: ArgKind::Text },
        Arg { name: "size", kind: ArgKind::Integer { min: 1, max: MAX_TEXT_PX, unit: "px" } },
        Arg { name: "colour", kind: ArgKind::Hex },
        OPACITY,
        PLACE,
        X,
        Y,
    ],
    default: "none; size 32, white, opaque, ce",
    what: "writes a line of text on top; what is too wide becomes smaller",
};
