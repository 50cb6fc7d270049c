//! The words of the grammar's enums, both ways. Knows nothing of options.

use std::fmt;

use super::model::{Anchor, Gravity, Kernel, Length, Place, ResizeMode, Rotation};

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

impl Anchor {
    /// The anchor of a word; `fp` is not among them, it needs its point.
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
            "sm" => Self::Smart,
            _ => return None,
        })
    }

    /// imgproxy's word.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Centre => "ce",
            Self::North => "no",
            Self::South => "so",
            Self::East => "ea",
            Self::West => "we",
            Self::NorthEast => "noea",
            Self::NorthWest => "nowe",
            Self::SouthEast => "soea",
            Self::SouthWest => "sowe",
            Self::FocusPoint => "fp",
            Self::Smart => "sm",
        }
    }
}

impl fmt::Display for Gravity {
    /// imgproxy's words; offsets only where there are any.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { anchor, x, y } = *self;
        f.write_str(anchor.word())?;
        if anchor == Anchor::FocusPoint || x != 0.0 || y != 0.0 { write!(f, ":{x}:{y}") } else { Ok(()) }
    }
}

impl Place {
    /// Once, in the middle.
    pub(super) const CENTRE: Self = Self::At(Anchor::Centre);

    /// The place of a word.
    pub(super) fn from_word(word: &str) -> Option<Self> {
        match word {
            "re" => Some(Self::Tiled),
            "ch" => Some(Self::Chequered),
            word => Anchor::from_word(word).filter(|anchor| *anchor != Anchor::Smart).map(Self::At),
        }
    }

    /// imgproxy's word.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Tiled => "re",
            Self::Chequered => "ch",
            Self::At(anchor) => anchor.word(),
        }
    }
}

impl Kernel {
    /// The kernel of a word.
    pub(super) fn from_word(word: &str) -> Option<Self> {
        Some(match word {
            "lanczos3" => Self::Lanczos3,
            "cubic" => Self::Cubic,
            "linear" => Self::Linear,
            "nearest" => Self::Nearest,
            _ => return None,
        })
    }

    /// imgproxy's word.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Lanczos3 => "lanczos3",
            Self::Cubic => "cubic",
            Self::Linear => "linear",
            Self::Nearest => "nearest",
        }
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
            "outside" => Self::Outside,
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
            Self::Outside => "outside",
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
