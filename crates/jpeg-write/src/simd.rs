//! What is done in vectors where the processor has them, and the door to it: the crate's only unsafe code.
//!
//! Knows nothing of pictures or coding. A build for x86-64 assumes no more than SSE2; what AVX2 and BMI add is asked of the processor at
//! run time. Invariant: an [`Avx2`] exists only where its instructions do, so that holding one is the safety argument of every call
//! behind it. Each has a twin in plain code that gives the same bits, and a test that says so.
#![allow(unsafe_code, reason = "functions for a processor's own instructions may only be called where it has them")]

#[cfg(target_arch = "x86_64")]
mod colours;
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

    pub(crate) fn pair(self, _samples: &[u8], _stride: usize, _quantiser: &crate::quantise::Quantiser, _out: &mut crate::transform::Pair) {
        match self {}
    }

    pub(crate) fn at_least(self, _values: &[i16; 64], _least: i16) -> u64 {
        match self {}
    }

    pub(crate) fn half<const N: usize>(self, _rows: [&[u8]; 2], _luma: [&mut [u8]; 2], _blue: &mut [u8], _red: &mut [u8]) -> usize {
        match self {}
    }
}

/// Plain code that gains from being compiled for newer processors too. `run` must be `#[inline(always)]`, as must be what it calls.
pub(crate) trait Work {
    type Output;

    /// `avx2` where it is compiled for that.
    fn run(self, avx2: Option<Avx2>) -> Self::Output;
}

/// The proof to call vector code with, where there is one.
#[inline(always)]
pub(crate) fn detect() -> Option<Avx2> {
    #[cfg(test)]
    if tests::PLAIN.get() {
        return None;
    }
    Avx2::detect()
}

/// Does `work` in the best way there is.
#[inline(always)]
pub(crate) fn run<W: Work>(work: W) -> W::Output {
    match detect() {
        Some(avx2) => avx2.run(work),
        None => work.run(None),
    }
}

#[cfg(test)]
mod tests {
    use crate::{Options, Picture, Sampling, encode};
    use std::cell::Cell;

    thread_local! {
        /// Whether this thread's encoder is to do without vectors.
        pub(super) static PLAIN: Cell<bool> = const { Cell::new(false) };
    }

    /// Kernels have tests of their own; this holds the way through all of the encoder, loops compiled twice included.
    #[test]
    fn files_are_the_same_with_vectors_and_without() {
        if super::detect().is_none() {
            eprintln!("SKIPPED: this processor has no AVX2, there is one way only");
            return;
        }
        let (width_px, height_px) = (203, 117);
        let mut state = 1u32;
        let mut noise = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state >> 28
        };
        let bytes: Vec<u8> = (0..height_px * width_px * 4).map(|at| (at / 7 % 200 + 3 * noise()) as u8).collect();
        let mut compared = 0;
        for quality in [10, 80, 100] {
            for (progressive, sampling) in [(false, Sampling::Half), (false, Sampling::Full), (true, Sampling::Half)] {
                for picture in [Picture::Rgb { bytes: &bytes, width_px, height_px }, Picture::Rgba { bytes: &bytes, width_px, height_px }] {
                    let options = Options { sampling, progressive, ..Options::new(quality) };
                    let (mut vectors, mut twin) = (Vec::new(), Vec::new());
                    encode(&picture, &options, &mut vectors).unwrap();
                    PLAIN.set(true);
                    encode(&picture, &options, &mut twin).unwrap();
                    PLAIN.set(false);
                    assert!(vectors == twin, "{quality} {progressive} {sampling:?}");
                    compared += 1;
                }
            }
        }
        assert_eq!(compared, 18);
    }
}
