//! The plain `image` crate doing the same: load, Lanczos3 (what our resize uses), encode. It knows nothing of the pipeline.
//!
//! Its JPEGs have full chroma and fixed tables, it has no other kind; lossy WebP it does not write.

use crate::{
    Made,
    task::{Size, Task},
};
use image::{DynamicImage, ImageFormat, codecs::jpeg::JpegEncoder, imageops::FilterType};
use std::{error::Error, io::Cursor};

const QUALITY: u8 = 80;

/// Every result from the file.
pub(crate) fn each(source: &[u8], tasks: &[Task]) -> Result<Vec<Made>, Box<dyn Error>> {
    tasks.iter().map(|task| made(&image::load_from_memory(source)?, task)).collect()
}

/// Every result from the picture decoded once.
pub(crate) fn once(source: &[u8], tasks: &[Task]) -> Result<Vec<Made>, Box<dyn Error>> {
    let picture = image::load_from_memory(source)?;
    tasks.iter().map(|task| made(&picture, task)).collect()
}

fn made(picture: &DynamicImage, task: &Task) -> Result<Made, Box<dyn Error>> {
    let resized = match task.size {
        Size::Whole => None,
        Size::Box(side_px) => Some(picture.resize(side_px, side_px, FilterType::Lanczos3)),
        Size::Sides(width_px, height_px) => Some(picture.resize_exact(width_px, height_px, FilterType::Lanczos3)),
    };
    let blurred = task.blur_sigma.map(|sigma| resized.as_ref().unwrap_or(picture).blur(sigma));
    let gray = task.gray.then(|| blurred.as_ref().or(resized.as_ref()).unwrap_or(picture).grayscale());
    let last = gray.as_ref().or(blurred.as_ref()).or(resized.as_ref()).unwrap_or(picture);
    let mut bytes = Vec::new();
    match task.format.as_str() {
        "jpg" => {
            let encoder = JpegEncoder::new_with_quality(&mut bytes, QUALITY);
            // Alpha is no part of a JPEG.
            match last {
                DynamicImage::ImageRgb8(_) | DynamicImage::ImageLuma8(_) => last.write_with_encoder(encoder)?,
                _ => last.to_rgb8().write_with_encoder(encoder)?,
            }
        }
        "png" => last.write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png)?,
        other => return Err(format!("the image crate writes no lossy {other}").into()),
    }
    Ok(Made { bytes, width_px: last.width(), height_px: last.height() })
}
