//! The eight ways in which stored rows and columns lie in a picture: numbers, and nothing that turns pixels.

/// How the stored rows and columns lie in the picture: Exif 2.32, tag 0x0112. The name says what brings it upright.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[repr(u8)]
pub enum Orientation {
    /// 1: as stored.
    #[default]
    Upright = 1,
    /// 2: mirror left-right.
    FlipHorizontal = 2,
    /// 3: half a turn.
    Rotate180 = 3,
    /// 4: mirror top-bottom.
    FlipVertical = 4,
    /// 5: swap rows and columns (mirror on the falling diagonal).
    Transpose = 5,
    /// 6: a quarter turn clockwise.
    Rotate90 = 6,
    /// 7: mirror on the rising diagonal.
    Transverse = 7,
    /// 8: a quarter turn counter-clockwise.
    Rotate270 = 8,
}

impl Orientation {
    /// All eight, in the order of their numbers.
    pub const ALL: [Self; 8] = [
        Self::Upright,
        Self::FlipHorizontal,
        Self::Rotate180,
        Self::FlipVertical,
        Self::Transpose,
        Self::Rotate90,
        Self::Transverse,
        Self::Rotate270,
    ];

    /// The orientation of this Exif number, 1 to 8.
    #[must_use]
    pub fn from_exif(number: u32) -> Option<Self> {
        Self::ALL.get((number as usize).checked_sub(1)?).copied()
    }

    /// The Exif number, 1 to 8.
    #[must_use]
    pub const fn exif(self) -> u8 {
        self as u8
    }

    /// Whether width and height change places on the way to upright.
    #[must_use]
    pub const fn swaps_sides(self) -> bool {
        matches!(self, Self::Transpose | Self::Rotate90 | Self::Transverse | Self::Rotate270)
    }
}
