//! Watermarks read: files of the operator's decoded once, upright, in sRGB, with alpha.

use super::{Context, Work};
use crate::{
    error::{Error, ErrorKind},
    limits::Limits,
    metadata::Blocks,
    pixels::{Layout, Pixels},
    plan::plan,
    probe::probe,
    spec::{FormatChoice, Output, OutputFormat, Spec},
    stage::{self, geometry::Rect, overlay::Watermarks},
};
use std::{
    io::Cursor,
    sync::{Arc, atomic::AtomicBool},
};

impl Watermarks {
    /// Adds an image of any format that is read, or replaces the one of that name. It is kept decoded, four bytes a pixel.
    ///
    /// # Errors
    /// Those of [`probe()`](crate::probe()), [`plan()`](crate::plan()) and [`run()`](crate::run()); `InvalidSpec` where the name is not one.
    pub fn with(mut self, name: &str, file: &[u8], limits: &Limits) -> Result<Self, Error> {
        if !crate::spec::is_name(name) {
            let text = "the name of a watermark is 1 to 64 characters of a-z, 0-9, _ and -";
            return Err(Error::new(ErrorKind::InvalidSpec, "watermark", text));
        }
        self.0.insert(name.to_owned(), Arc::new(picture(file, limits)?));
        Ok(self)
    }
}

/// The whole picture, as it is shown.
fn picture(file: &[u8], limits: &Limits) -> Result<Pixels, Error> {
    let found = probe(&mut Cursor::new(file), limits)?;
    // Of what is written as PNG the picture is colours.
    let output = Output { format: FormatChoice::Fixed(OutputFormat::Png), ..Spec::default().output };
    let spec = Spec { output, ..Spec::default() };
    let planned = plan(&found, &[spec], limits)?;
    let cancel = AtomicBool::new(false);
    let context = Context { deadline: None, cancel: &cancel, spare: None };
    let blocks = Blocks::of(&found, file, planned.carried());
    let mut work = Work::new(&planned, &context, &blocks, file.len() as u64);
    work.decode(file)?;
    let pixels = work.take(0).ok_or_else(super::missing)?;
    let pixels = match pixels.layout {
        Layout::Rgba8 => return Ok(pixels),
        Layout::Rgb8 => pixels,
        _ => stage::chroma::to_rgb(&pixels, context.watch())?,
    };
    let ground = Rect::whole(pixels.width_px, pixels.height_px);
    stage::canvas::lay(&pixels, ground, None).ok_or_else(super::missing)
}
