//! What the service tells of an image once it was decoded: the pipeline's facts as JSON, the same in the catalog and in answers.
//!
//! Knows no rows and no requests. Invariant: what this version wrote it reads; what it cannot read counts as not known.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What an image is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Facts {
    /// Bits a channel as stored; of a palette, of its index.
    #[schema(minimum = 1, maximum = 16, examples(8))]
    pub bits: u8,
    /// Channels as stored: 1 grey or palette, 2 grey and alpha, 3 colour, 4 colour and alpha, or CMYK in a JPEG.
    #[schema(minimum = 1, maximum = 4, examples(3))]
    pub channels: u8,
    /// Whether pixels may be transparent.
    pub alpha: bool,
    /// Whether an ICC profile is embedded.
    pub icc: bool,
    /// What that profile calls itself; null where there is none, or none that could be used.
    #[schema(required = true, examples("Display P3"))]
    pub profile: Option<String>,
    /// Frames, 1 for a still picture; null where they were not counted.
    #[schema(required = true, minimum = 1, examples(1))]
    pub frames: Option<u32>,
    /// BlurHash of 4 by 3 components, 3 by 4 of portraits; over white where the image is transparent.
    #[schema(examples("LEHV6nWB2yk8pyo0adR*.7kCMdnj"))]
    pub blurhash: String,
    /// ThumbHash in base64, with alpha.
    #[schema(examples("3OcRJYB4d3h/iIeHeEh3eIhw+j2w"))]
    pub thumbhash: String,
    /// The colour most of it has; null where all of it is transparent.
    #[schema(required = true, pattern = "^#[0-9a-f]{6}$", examples("#a3b1c2"))]
    pub dominant: Option<String>,
    /// Its main colours, most of it first, at most six.
    pub palette: Vec<Swatch>,
    /// What its Exif block says of how it was taken; never where, nor serial numbers. Null where it says nothing.
    #[schema(required = true)]
    pub exif: Option<Exif>,
}

/// One of the main colours of an image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Swatch {
    /// As sRGB.
    #[schema(pattern = "^#[0-9a-f]{6}$", examples("#a3b1c2"))]
    pub colour: String,
    /// Its share of what is not transparent, to a thousandth.
    #[schema(minimum = 0, maximum = 1, examples(0.412))]
    pub share: f64,
}

/// How a photo was taken, as far as its Exif block says it; what it does not say is null.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Exif {
    /// Who made the camera.
    #[schema(required = true, examples("Acme"))]
    pub make: Option<String>,
    /// Which camera.
    #[schema(required = true, examples("A-1"))]
    pub model: Option<String>,
    /// The lens' name.
    #[schema(required = true)]
    pub lens: Option<String>,
    /// What the camera's clock said, with the offset from UTC where the file has it.
    #[schema(required = true, pattern = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d([+-]\d\d:\d\d)?$", examples("2026-05-04T12:31:07+02:00"))]
    pub taken_at: Option<String>,
    /// Seconds.
    #[schema(required = true, exclusive_minimum = 0, examples(0.004))]
    pub exposure_time_s: Option<f64>,
    /// Of the aperture.
    #[schema(required = true, exclusive_minimum = 0, examples(2.8))]
    pub f_number: Option<f64>,
    /// Sensitivity.
    #[schema(required = true, minimum = 1, examples(400))]
    pub iso: Option<u32>,
    /// Millimetres.
    #[schema(required = true, exclusive_minimum = 0, examples(35.0))]
    pub focal_length_mm: Option<f64>,
    /// What wrote the file.
    #[schema(required = true)]
    pub software: Option<String>,
    /// Who took it.
    #[schema(required = true)]
    pub artist: Option<String>,
    /// Whose it is.
    #[schema(required = true)]
    pub copyright: Option<String>,
}

impl Facts {
    /// As it is stored.
    #[must_use]
    pub fn to_text(&self) -> Option<String> {
        serde_json::to_string(self).ok()
    }

    /// What was stored; `None` if it is nothing this version understands.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }
}

impl From<&image_pipeline::Facts> for Facts {
    fn from(found: &image_pipeline::Facts) -> Self {
        let palette: Vec<Swatch> = found.palette.iter().map(Swatch::from).collect();
        Self {
            bits: found.bits,
            channels: found.channels,
            alpha: found.has_alpha,
            icc: found.has_icc,
            profile: found.profile.clone(),
            frames: found.frames,
            blurhash: found.blurhash.clone(),
            thumbhash: STANDARD.encode(&found.thumbhash),
            dominant: palette.first().map(|swatch| swatch.colour.clone()),
            palette,
            exif: found.camera.as_ref().map(Exif::from),
        }
    }
}

impl From<&image_pipeline::Swatch> for Swatch {
    fn from(swatch: &image_pipeline::Swatch) -> Self {
        let [r, g, b] = swatch.colour.0;
        Self { colour: format!("#{r:02x}{g:02x}{b:02x}"), share: thousandths(swatch.share) }
    }
}

impl From<&image_pipeline::Camera> for Exif {
    fn from(camera: &image_pipeline::Camera) -> Self {
        Self {
            make: camera.make.clone(),
            model: camera.model.clone(),
            lens: camera.lens.clone(),
            taken_at: camera.taken_at.clone(),
            exposure_time_s: camera.exposure_time_s,
            f_number: camera.f_number.map(thousandths),
            iso: camera.iso,
            focal_length_mm: camera.focal_length_mm.map(thousandths),
            software: camera.software.clone(),
            artist: camera.artist.clone(),
            copyright: camera.copyright.clone(),
        }
    }
}

fn thousandths(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_nothing_else() {
        let camera = image_pipeline::Camera { make: Some("Acme".into()), exposure_time_s: Some(1.0 / 250.0), ..Default::default() };
        let found = image_pipeline::Facts {
            bits: 8,
            channels: 3,
            has_alpha: false,
            frames: Some(1),
            has_icc: true,
            profile: Some("Display P3".into()),
            blurhash: "L".repeat(28),
            thumbhash: vec![1, 2, 3, 4, 5],
            palette: vec![image_pipeline::Swatch { colour: image_pipeline::Rgb([255, 0, 16]), share: 2.0 / 3.0 }],
            camera: Some(camera),
        };
        let facts = Facts::from(&found);
        assert_eq!((facts.dominant.as_deref(), facts.palette[0].share), (Some("#ff0010"), 0.667));
        assert_eq!(facts.exif.as_ref().and_then(|exif| exif.exposure_time_s), Some(0.004));
        let text = facts.to_text().expect("is JSON");
        assert_eq!(Facts::from_text(&text), Some(facts));
        assert_eq!((Facts::from_text("{}"), Facts::from_text("")), (None, None));
    }
}
