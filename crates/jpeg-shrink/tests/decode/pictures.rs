//! Synthesised pictures, written by jpeg-encoder in all its ways; and progressive ones with refinement scans, which it does not
//! write: those in `fixtures/` are the same kind of picture (waves, checks, noise) saved by Pillow 13 / libjpeg-turbo at quality 88
//! with its standard script.

use jpeg_encoder::{ColorType, Encoder, SamplingFactor};

/// Waves, checks and noise.
pub(crate) fn pixels(width: usize, height: usize, channels: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_u32;
    let mut out = Vec::with_capacity(width * height * channels);
    for y in 0..height {
        for x in 0..width {
            for channel in 0..channels {
                state ^= state << 13;
                state ^= state >> 17;
                state ^= state << 5;
                let wave = 90.0 * ((x as f32) / (9.0 + channel as f32) + (y as f32) / 17.0 * channel as f32).sin();
                let check = if (x / 16 + y / 16) % 2 == 0 { 20.0 } else { 0.0 };
                out.push((118.0 + wave + check + (state % 25) as f32) as u8);
            }
        }
    }
    out
}

/// How a picture is written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manner {
    pub(crate) sampling: SamplingFactor,
    pub(crate) progressive: bool,
    pub(crate) restart: u16,
    pub(crate) optimised: bool,
    pub(crate) quality: u8,
}

impl Manner {
    pub(crate) fn plain(sampling: SamplingFactor) -> Self {
        Self { sampling, progressive: false, restart: 0, optimised: false, quality: 85 }
    }
}

pub(crate) const SAMPLINGS: [SamplingFactor; 8] = [
    SamplingFactor::F_1_1,
    SamplingFactor::F_2_1,
    SamplingFactor::F_1_2,
    SamplingFactor::F_2_2,
    SamplingFactor::F_4_1,
    SamplingFactor::F_4_2,
    SamplingFactor::F_1_4,
    SamplingFactor::F_2_4,
];

pub(crate) fn jpeg(width: u16, height: u16, colour: ColorType, manner: Manner) -> Vec<u8> {
    let channels = match colour {
        ColorType::Luma => 1,
        ColorType::Cmyk | ColorType::CmykAsYcck => 4,
        _ => 3,
    };
    let mut out = Vec::new();
    let mut encoder = Encoder::new(&mut out, manner.quality);
    encoder.set_sampling_factor(manner.sampling);
    encoder.set_progressive(manner.progressive);
    encoder.set_optimized_huffman_tables(manner.optimised);
    if manner.restart > 0 {
        encoder.set_restart_interval(manner.restart);
    }
    encoder.encode(&pixels(width.into(), height.into(), channels), width, height, colour).unwrap();
    out
}

/// All colours, samplings, codings, restarts and tables, some sizes.
pub(crate) fn all() -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for sampling in SAMPLINGS {
        for (progressive, restart, optimised) in
            [(false, 0, false), (false, 3, false), (false, 0, true), (true, 0, false), (true, 5, false), (true, 0, true)]
        {
            let manner = Manner { progressive, restart, optimised, ..Manner::plain(sampling) };
            for (width, height) in [(97, 75), (128, 64), (1, 1), (17, 3)] {
                all.push((format!("{width}x{height} {manner:?}"), jpeg(width, height, ColorType::Rgb, manner)));
            }
        }
    }
    for colour in [ColorType::Luma, ColorType::Cmyk, ColorType::CmykAsYcck] {
        for quality in [30, 100] {
            let manner = Manner { quality, ..Manner::plain(SamplingFactor::F_2_2) };
            all.push((format!("{colour:?} {manner:?}"), jpeg(61, 83, colour, manner)));
        }
    }
    // Long enough for packed skip tables and several windows; at quality 100 many blocks end without an end code.
    for (sampling, quality) in [(SamplingFactor::F_1_1, 100), (SamplingFactor::F_2_2, 100), (SamplingFactor::F_2_1, 95)] {
        for restart in [0, 7] {
            let manner = Manner { quality, restart, ..Manner::plain(sampling) };
            let bytes = jpeg(523, 389, ColorType::Rgb, manner);
            assert!(bytes.len() > 100 << 10, "{manner:?} has {} bytes", bytes.len());
            all.push((format!("large {manner:?}"), bytes));
        }
    }
    for (name, bytes) in FIXTURES {
        all.push((name.to_owned(), bytes.to_vec()));
    }
    all
}

pub(crate) const FIXTURES: [(&str, &[u8]); 4] = [
    ("progressive-444", include_bytes!("fixtures/progressive-444.jpg")),
    ("progressive-422", include_bytes!("fixtures/progressive-422.jpg")),
    ("progressive-420", include_bytes!("fixtures/progressive-420.jpg")),
    ("progressive-grey", include_bytes!("fixtures/progressive-grey.jpg")),
];
