//! What one result shall be, in words every side understands, and the same as our options.

use std::str::FromStr;

/// How large a result is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Size {
    /// As large as the source.
    Whole,
    /// Fit into a square of this side, in pixels.
    Box(u32),
    /// Exactly these sides, in pixels.
    Sides(u32, u32),
}

/// `SIZE:FORMAT`, then `:blur=SIGMA`, `:sharpen=SIGMA` and `:gray` where wanted. SIZE is the side of a box, `WIDTHxHEIGHT`, or 0 for the
/// source's; FORMAT `jpg`, `webp` (each of quality 80), `avif` (of quality 50, as sharp has it), `png` or `gif`.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    pub(crate) size: Size,
    pub(crate) format: String,
    pub(crate) blur_sigma: Option<f32>,
    pub(crate) sharpen_sigma: Option<f32>,
    pub(crate) gray: bool,
}

impl FromStr for Task {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text} is no task");
        let side = |side: &str| side.parse::<u32>().map_err(|_| wrong());
        let mut fields = text.split(':');
        let size = fields.next().ok_or_else(wrong)?;
        let size = match size.split_once('x') {
            Some((width, height)) => Size::Sides(side(width)?, side(height)?),
            None if size == "0" => Size::Whole,
            None => Size::Box(side(size)?),
        };
        let mut task =
            Self { size, format: fields.next().ok_or_else(wrong)?.to_owned(), blur_sigma: None, sharpen_sigma: None, gray: false };
        for field in fields {
            match field.split_once('=') {
                Some(("blur", sigma)) => task.blur_sigma = Some(sigma.parse().map_err(|_| wrong())?),
                Some(("sharpen", sigma)) => task.sharpen_sigma = Some(sigma.parse().map_err(|_| wrong())?),
                None if field == "gray" => task.gray = true,
                _ => return Err(wrong()),
            }
        }
        Ok(task)
    }
}

impl Task {
    /// The same as options.
    pub(crate) fn options(&self) -> String {
        let mut text = match self.size {
            Size::Whole => String::new(),
            Size::Box(side_px) => format!("rs:fit:{side_px}:{side_px}/"),
            Size::Sides(width_px, height_px) => format!("rs:force:{width_px}:{height_px}/"),
        };
        if let Some(sigma) = self.blur_sigma {
            text += &format!("bl:{sigma}/");
        }
        if let Some(sigma) = self.sharpen_sigma {
            text += &format!("sh:{sigma}/");
        }
        if self.gray {
            text += "gray:1/";
        }
        text += match self.format.as_str() {
            "jpg" | "webp" => "q:80/",
            "avif" => "q:50/",
            _ => "",
        };
        text + "f:" + &self.format
    }
}
