//! What is done in vectors where the processor has them, and the door to it: the crate's only unsafe code.
//!
//! Knows nothing of jobs or pictures. A build for x86-64 assumes no more than SSE2; what AVX2 adds is asked of the processor at run time.
//! Invariant: an [`Avx2`] exists only where its instructions do, so that holding one is the safety argument of every call behind it. Each
//! has a twin in plain code that gives the same bits, and a test that says so.
#![allow(unsafe_code, reason = "functions for a processor's own instructions may only be called where it has them")]

#[cfg(target_arch = "x86_64")]
mod x86;

#[cfg(target_arch = "x86_64")]
pub(crate) use x86::Avx2;

/// No processor of this kind has it.
#[cfg(not(target_arch = "x86_64"))]
#[derive(Clone, Copy)]
pub(crate) enum Avx2 {}

#[cfg(not(target_arch = "x86_64"))]
impl Avx2 {
    pub(crate) fn detect() -> Option<Self> {
        None
    }

    fn run<W: Work>(self, _work: W) -> W::Output {
        match self {}
    }

    pub(crate) fn sum_bytes(self, _ring: &[u8], _offsets: &[usize], _weights: &[i16], _start: i32, _shift: u32, _out: &mut [i16]) {
        match self {}
    }

    #[expect(clippy::too_many_arguments, reason = "as its twin's")]
    pub(crate) fn sum_bytes_twice(
        self,
        _ring: &[u8],
        _offsets: &[usize],
        _weights: [&[i16]; 2],
        _spans: [std::ops::Range<usize>; 2],
        _start: i32,
        _shift: u32,
        _out: [&mut [i16]; 2],
    ) {
        match self {}
    }

    pub(crate) fn sum_words(self, _ring: &[i16], _offsets: &[usize], _weights: &[i16], _start: i32, _shift: u32, _out: &mut [i16]) {
        match self {}
    }

    pub(crate) fn sum_columns(
        self,
        _columns: &crate::axis::Columns,
        _planes: &[i16],
        _plane: usize,
        _out: &mut [i16],
        _result: usize,
        _channels: usize,
    ) {
        match self {}
    }

    pub(crate) fn weigh_pixels(self, _bytes: &[u8], _out: &mut [i16]) -> usize {
        match self {}
    }

    pub(crate) fn split(self, _row: &[i16], _channels: usize, _planes: &mut [i16], _plane: usize) -> usize {
        match self {}
    }

    pub(crate) fn weave(self, _planes: &[i16], _plane: usize, _channels: usize, _opaque: bool, _out: &mut [u8]) -> usize {
        match self {}
    }
}

/// Plain code that gains from being compiled for newer processors too. `run` must be `#[inline(always)]`, as must be what it calls.
pub(crate) trait Work {
    type Output;

    fn run(self) -> Self::Output;
}

/// The proof to call vector code with, where there is one.
#[inline(always)]
pub(crate) fn detect() -> Option<Avx2> {
    #[cfg(test)]
    if PLAIN.get() {
        return None;
    }
    Avx2::detect()
}

/// Does `work` in the best way there is.
#[inline(always)]
pub(crate) fn run<W: Work>(work: W) -> W::Output {
    match detect() {
        Some(avx2) => avx2.run(work),
        None => work.run(),
    }
}

#[cfg(test)]
thread_local! {
    /// Whether this thread's resizers are to do without vectors.
    pub(crate) static PLAIN: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

#[cfg(test)]
mod tests {
    use super::{PLAIN, detect};
    use crate::{Filter, Job, Light, Pixel, Region, resize};
    use proptest::prelude::*;

    fn result(job: &Job, source: &[u8], plain: bool) -> Vec<u8> {
        let mut target = vec![0; job.target_px.0 as usize * job.target_px.1 as usize * job.pixel.channels()];
        PLAIN.set(plain);
        resize(job, source, &mut target).unwrap();
        PLAIN.set(false);
        target
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]

        /// The way through all of the crate, loops compiled twice included.
        #[test]
        fn results_are_the_same_with_vectors_and_without(
            source_px in (1_u32..260, 1_u32..90), target_px in (1_u32..160, 1_u32..50), kind in (0_usize..3, 0_usize..3, any::<bool>(), any::<bool>()),
            place in (0.0_f64..1.0, 0.5_f64..1.0), seed in any::<u32>(),
        ) {
            if detect().is_none() {
                eprintln!("SKIPPED: this processor has no AVX2, there is one way only");
                return Ok(());
            }
            let pixel = [Pixel::Grey8, Pixel::Rgb8, Pixel::Rgba8][kind.0];
            let filter = [Filter::Lanczos3, Filter::CatmullRom, Filter::Triangle][kind.1];
            let light = if kind.2 { Light::Linear } else { Light::Encoded };
            let (width, height) = (f64::from(source_px.0), f64::from(source_px.1));
            let region = Region {
                left_px: place.0 * width * (1.0 - place.1),
                top_px: place.0 * height * (1.0 - place.1),
                width_px: width * place.1,
                height_px: height * place.1,
            };
            let job = Job { source_px, region, target_px, pixel, filter, light };
            let mut state = seed;
            // Black and white mostly: overshoot and all ends of the range.
            let mut source: Vec<u8> = (0..source_px.0 as usize * source_px.1 as usize * pixel.channels()).map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                [0, 255, (state >> 16) as u8][(state >> 28) as usize % 3]
            }).collect();
            if kind.3 && pixel == Pixel::Rgba8 {
                source.chunks_mut(4).for_each(|pixel| pixel[3] = 255);
            }
            prop_assert!(result(&job, &source, false) == result(&job, &source, true));
        }
    }
}
