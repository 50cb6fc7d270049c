//! What is cut away from around a picture, put around it and laid on top of it, as types. Knows nothing of text or pixels.

use super::model::{Anchor, Rgb};

/// `trim:threshold:colour:equal_hor:equal_ver`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trim {
    /// How far a value of 0 to 255 may be from the edge's colour and still belong to the edge.
    pub threshold: f32,
    /// The edge's colour; that of the top left pixel when absent.
    pub colour: Option<Rgb>,
    /// Cut as much from the left as from the right: the lesser of both.
    pub equal_horizontal: bool,
    /// The same of top and bottom.
    pub equal_vertical: bool,
}

/// What is put around a picture, from the inside out: a border, round corners of both, then padding. In pixels before `dpr`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Frame {
    /// A line around the picture.
    pub border: Option<Border>,
    /// Radius of the corners of picture and border; 0: they are not rounded.
    pub round_px: u32,
    /// Background around that.
    pub padding: Padding,
}

/// `border:n:rrggbb`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Border {
    /// Its width, at least 1.
    pub px: u32,
    /// Its colour.
    pub colour: Rgb,
}

/// Pixels at each side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Padding {
    /// Above.
    pub top_px: u32,
    /// To the right.
    pub right_px: u32,
    /// Below.
    pub bottom_px: u32,
    /// To the left.
    pub left_px: u32,
}

/// Where something lies on top of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Once, at a side, a corner or the middle.
    At(Anchor),
    /// `re`: side by side all over.
    Tiled,
    /// `ch`: the same, every second row moved by half.
    Chequered,
}

/// `watermark:opacity:position:x:y:scale:name`.
#[derive(Clone, Debug, PartialEq)]
pub struct Watermark {
    /// Which of those the operator named; the one named `default` when absent.
    pub name: Option<String>,
    /// Above 0, at most 1; a factor of the image's own alpha.
    pub opacity: f32,
    /// Where.
    pub place: Place,
    /// Distance from there, to the middle; of tiles between two: pixels, or below 1 a share of the width.
    pub x: f32,
    /// The same from top to bottom.
    pub y: f32,
    /// Its size as a share of the result's, fit inside; 0: its own.
    pub scale: f32,
}

/// `watermark_text:text:size:colour:opacity:position:x:y`.
#[derive(Clone, Debug, PartialEq)]
pub struct TextMark {
    /// One line, without control characters.
    pub text: String,
    /// Size of the font in pixels.
    pub size_px: u32,
    /// Of the letters.
    pub colour: Rgb,
    /// Above 0, at most 1.
    pub opacity: f32,
    /// Where.
    pub place: Place,
    /// As [`Watermark::x`].
    pub x: f32,
    /// The same from top to bottom.
    pub y: f32,
}
