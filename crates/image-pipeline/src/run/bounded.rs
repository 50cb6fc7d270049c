//! Writing a picture within so many bytes: the highest quality that keeps them is looked for by halving.
//!
//! Files grow with quality, if not quite steadily, so of the qualities that were tried the highest whose file fits is taken: at most eight tries.
//! Where even the lowest is too large, the variant fails: a bound that is said is kept or refused (record 0045).

use super::Context;
use crate::{
    codec::{self, Output},
    error::{Error, ErrorKind},
    metadata::Written,
    pixels::Pixels,
};

/// The file, and what it was written with.
///
/// # Errors
/// `InvalidSpec` where no quality keeps the bound; those of [`codec::encode`].
pub(super) fn encode(context: &Context<'_>, pixels: &Pixels, output: Output, written: &Written) -> Result<(Vec<u8>, Output), Error> {
    let mut search = Search::of(output);
    let mut next = output;
    loop {
        context.check("encode")?;
        let bytes = codec::encode(pixels, next, written, context.watch())?;
        match search.tried(next.quality, bytes)? {
            Next::Done(bytes, quality) => return Ok((bytes, Output { quality, ..output })),
            Next::Try(quality) => next = Output { quality, ..output },
        }
    }
}

/// What is known of which qualities keep a bound.
pub(super) struct Search {
    output: Output,
    /// Fits at `low` (0: not known to), does not at `high` (the one asked for, if that was not tried).
    low: u8,
    high: u8,
    smallest_bytes: usize,
    best: Option<(Vec<u8>, u8)>,
}

/// What a try means.
pub(super) enum Next {
    /// This is the file, and its quality.
    Done(Vec<u8>, u8),
    /// Another quality is to be tried.
    Try(u8),
}

impl Search {
    /// Nothing was tried yet; the first try is as `output` says.
    pub(super) fn of(output: Output) -> Self {
        Self { output, low: 0, high: output.quality, smallest_bytes: usize::MAX, best: None }
    }

    /// Takes the file that came of a quality.
    ///
    /// # Errors
    /// `InvalidSpec` where no quality keeps the bound.
    pub(super) fn tried(&mut self, quality: u8, bytes: Vec<u8>) -> Result<Next, Error> {
        let Some(bound) = self.output.max_bytes.map(|bytes| bytes.get() as usize) else { return Ok(Next::Done(bytes, quality)) };
        self.smallest_bytes = self.smallest_bytes.min(bytes.len());
        if bytes.len() <= bound {
            if quality == self.output.quality {
                return Ok(Next::Done(bytes, quality));
            }
            self.best = Some((bytes, quality));
            self.low = quality;
        } else {
            self.high = quality;
        }
        // Whether files of this kind become smaller with less quality.
        let has_quality = self.output.told_quality().is_some();
        if has_quality && self.high - self.low > 1 {
            return Ok(Next::Try(self.low + (self.high - self.low) / 2));
        }
        let (bytes, quality) = self.best.take().ok_or_else(|| {
            let how = if has_quality { "at the lowest quality" } else { "and has no quality to lower" };
            let text = format!("{} has {} bytes {how}, max_bytes is {bound}", self.output.format.as_str(), self.smallest_bytes);
            Error::new(ErrorKind::InvalidSpec, "encode", text)
        })?;
        Ok(Next::Done(bytes, quality))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{pixels::Layout, spec::OutputFormat, stage::samples::picture};
    use std::{num::NonZeroU32, sync::atomic::AtomicBool};

    fn written(pixels: &Pixels, format: OutputFormat, quality: u8, bound: Option<u32>) -> Result<(Vec<u8>, u8), Error> {
        let cancel = AtomicBool::new(false);
        let context = Context { deadline: None, cancel: &cancel, spare: None };
        let output = Output { effort: 0, max_bytes: bound.and_then(NonZeroU32::new), ..Output::plain(format, quality) };
        encode(&context, pixels, output, &Written::default()).map(|(bytes, output)| (bytes, output.quality))
    }

    #[test]
    fn the_highest_quality_that_fits_is_taken() {
        let pixels = picture(160, 120, Layout::Rgb8, |x, y, channel| ((x * x + y * 7 + channel as u32 * 31) % 251) as u8);
        for format in [OutputFormat::Jpeg, OutputFormat::WebP] {
            let (free, quality) = written(&pixels, format, 90, None).expect("writes");
            assert_eq!(quality, 90);
            let bound = free.len() as u32 / 2;
            let (bytes, quality) = written(&pixels, format, 90, Some(bound)).expect("fits");
            assert!(bytes.len() <= bound as usize && quality < 90, "{format:?} {} of {bound} at {quality}", bytes.len());
            assert!(written(&pixels, format, quality + 1, None).expect("writes").0.len() > bound as usize, "{format:?}");
            assert_eq!(written(&pixels, format, quality, None).expect("writes").0, bytes);
            // What fits anyhow is left alone.
            assert_eq!(written(&pixels, format, 90, Some(free.len() as u32)).expect("fits"), (free, 90));
        }
    }

    #[test]
    fn what_cannot_be_kept_is_refused() {
        let pixels = picture(160, 120, Layout::Rgb8, |x, y, channel| ((x * x + y * 7 + channel as u32 * 31) % 251) as u8);
        for (format, words) in [(OutputFormat::Jpeg, "at the lowest quality"), (OutputFormat::Png, "no quality to lower")] {
            let error = written(&pixels, format, 90, Some(100)).expect_err("too small");
            assert_eq!(error.kind(), ErrorKind::InvalidSpec);
            assert!(error.to_string().contains(words) && error.to_string().ends_with("max_bytes is 100"), "{error}");
        }
        assert!(written(&pixels, OutputFormat::Jpeg, 1, Some(10)).is_err());
    }
}
