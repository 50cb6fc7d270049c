//! [`Spec`] -> its one text; `passes` has the part of each pass. The text uses short names, a fixed order, no defaults.

use std::fmt::{self, Write as _};

use sha2::{Digest, Sha256};

use super::format::{DEFAULT_EFFORT, DEFAULT_QUALITY};
use super::model::{FormatChoice, KeptMetadata, Output, OutputFormat, Pass, Spec};
use super::options::{MAX_COLORS, MAX_FRAMES};
use super::parse::MAX_PASSES;
use super::passes::clamp;

impl Default for Spec {
    /// The identity: orient and encode again.
    fn default() -> Self {
        Self {
            auto_rotate: true,
            first: Pass::default(),
            then: Vec::new(),
            output: Output {
                format: FormatChoice::Keep,
                quality: None,
                progressive: false,
                effort: None,
                max_bytes: None,
                lossless: false,
                colors: None,
                dither: None,
                max_frames: None,
                metadata: KeptMetadata::None,
                keep_profile: false,
            },
        }
    }
}

impl Spec {
    /// One spelling for specs that ask for the same work; it parses back to an equal spec. Short names, fixed order, defaults omitted.
    pub fn canonical(&self) -> String {
        let spec = self.clone().normalised();
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = spec.write(&mut text);
        text
    }

    /// SHA-256 of the canonical text.
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(self.canonical().as_bytes()).into()
    }

    /// The same wish in its one form: what does nothing becomes the default, what is out of range goes to the range's end.
    pub(super) fn normalised(mut self) -> Self {
        let chosen = self.output.format;
        let may_be = |format| match chosen {
            FormatChoice::Fixed(fixed) => fixed == format,
            FormatChoice::Keep => true,
            FormatChoice::Auto => !matches!(format, OutputFormat::Gif | OutputFormat::Avif),
        };
        let (jpeg, webp) = (may_be(OutputFormat::Jpeg), may_be(OutputFormat::WebP));
        let (gif, png, avif) = (may_be(OutputFormat::Gif), may_be(OutputFormat::Png), may_be(OutputFormat::Avif));
        let most_effort = if avif { 9 } else { 6 };
        self.output.effort =
            self.output.effort.map(|effort| effort.min(most_effort)).filter(|effort| *effort != DEFAULT_EFFORT && (webp || avif));
        self.output.progressive &= jpeg;
        self.output.lossless &= webp;
        let most = MAX_COLORS.unsigned_abs() as u16;
        self.output.colors = self.output.colors.map(|colors| colors.clamp(2, most)).filter(|colors| png || gif && *colors < most);
        let has_palette = gif || png && self.output.colors.is_some();
        self.output.dither = self.output.dither.map(|share| clamp(share, 0.0, 1.0, 1.0)).filter(|share| *share != 1.0 && has_palette);
        let frames_max = MAX_FRAMES.unsigned_abs() as u32;
        self.output.max_frames = self.output.max_frames.map(|frames| frames.min(frames_max)).filter(|frames| *frames > 0 && (gif || webp));
        self.then.truncate(MAX_PASSES - 1);
        let mut passes: Vec<Pass> = std::iter::once(std::mem::take(&mut self.first)).chain(self.then).map(Pass::normalised).collect();
        // A pass that does nothing might as well not be there.
        passes.retain(|pass| *pass != Pass::default());
        let mut passes = passes.into_iter();
        self.first = passes.next().unwrap_or_default();
        self.then = passes.collect();
        self.output.quality = self.output.quality.map(|quality| quality.clamp(1, 100)).filter(|quality| *quality != DEFAULT_QUALITY);
        self
    }

    fn write(&self, out: &mut String) -> fmt::Result {
        let mut option = |args: fmt::Arguments<'_>| {
            if !out.is_empty() {
                out.push('/');
            }
            out.write_fmt(args)
        };
        if !self.auto_rotate {
            option(format_args!("ar:0"))?;
        }
        self.first.write(&mut option)?;
        for pass in &self.then {
            option(format_args!("-"))?;
            pass.write(&mut option)?;
        }
        match self.output.format {
            FormatChoice::Keep => {}
            FormatChoice::Auto => option(format_args!("f:auto"))?,
            FormatChoice::Fixed(format) => option(format_args!("f:{}", format.extension()))?,
        }
        if let Some(quality) = self.output.quality {
            option(format_args!("q:{quality}"))?;
        }
        if let Some(bytes) = self.output.max_bytes {
            option(format_args!("mb:{bytes}"))?;
        }
        if self.output.progressive {
            option(format_args!("progressive:1"))?;
        }
        if let Some(effort) = self.output.effort {
            option(format_args!("effort:{effort}"))?;
        }
        if self.output.lossless {
            option(format_args!("lossless:1"))?;
        }
        if let Some(colors) = self.output.colors {
            option(format_args!("colors:{colors}"))?;
        }
        if let Some(share) = self.output.dither {
            option(format_args!("dither:{share}"))?;
        }
        if let Some(frames) = self.output.max_frames {
            option(format_args!("maf:{frames}"))?;
        }
        match self.output.metadata {
            KeptMetadata::None => {}
            KeptMetadata::Copyright => option(format_args!("kcr:1"))?,
            KeptMetadata::All => option(format_args!("sm:0"))?,
        }
        if self.output.keep_profile {
            option(format_args!("scp:0"))?;
        }
        Ok(())
    }
}

impl fmt::Display for Spec {
    /// [`Spec::canonical`].
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.canonical())
    }
}
