//! What is done in vectors where the processor has them, and the door to it: the crate's only unsafe code.
//!
//! Knows nothing of files or planes. A build for x86-64 assumes no more than SSE2; what AVX2 and BMI2 add is asked of the processor at
//! run time. Invariant: an [`Avx2`] exists only where its instructions do, so that holding one is the safety argument of every call
//! behind it. Each has a twin in plain code that gives the same bits, and a test that says so.
#![allow(unsafe_code, reason = "functions for a processor's own instructions may only be called where it has them")]

#[cfg(target_arch = "x86_64")]
mod x86;

#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{Avx2, four};

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

    pub(crate) fn eight(self, _coefficients: &[i16; 64], _quantisers: &[u16; 64], _out: &mut [u8], _stride: usize) {
        match self {}
    }

    pub(crate) fn deposit(self, _value: u64, _mask: u64) -> u64 {
        match self {}
    }

    pub(crate) fn ycbcr(self, _luma: &[u8], _blue: &[u8], _red: &[u8], _out: &mut [u8]) -> usize {
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
    use super::{Avx2, Work};
    use crate::{Decoder, Options, Scale};
    use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
    use std::cell::Cell;

    thread_local! {
        /// Whether this thread's decoders are to do without vectors.
        pub(super) static PLAIN: Cell<bool> = const { Cell::new(false) };
    }

    fn decode(bytes: &[u8], scale: Scale, plain: bool) -> Vec<u8> {
        PLAIN.set(plain);
        let mut decoder = Decoder::new(bytes, Options::new(scale)).unwrap();
        let mut pixels = vec![0; decoder.output_bytes()];
        decoder.decode_into(&mut pixels).unwrap();
        PLAIN.set(false);
        pixels
    }

    /// Kernels have tests of their own; this holds the way through all of the decoder, loops compiled twice included.
    #[test]
    fn pictures_are_the_same_with_vectors_and_without() {
        struct Asked;
        impl Work for Asked {
            type Output = bool;
            fn run(self, avx2: Option<Avx2>) -> bool {
                avx2.is_some()
            }
        }
        if !super::run(Asked) {
            eprintln!("SKIPPED: this processor has no AVX2, there is one way only");
            return;
        }
        let (width, height) = (203u16, 117u16);
        let mut state = 1u32;
        let mut noise = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state >> 28
        };
        let pixels: Vec<u8> = (0..u32::from(height) * u32::from(width) * 3).map(|at| (at / 7 % 200 + 3 * noise()) as u8).collect();
        let mut compared = 0;
        for factor in [SamplingFactor::F_1_1, SamplingFactor::F_2_1, SamplingFactor::F_1_2, SamplingFactor::F_2_2, SamplingFactor::F_4_1] {
            for (progressive, interval) in [(false, 0), (false, 5), (true, 0)] {
                let mut bytes = Vec::new();
                let mut encoder = Encoder::new(&mut bytes, 88);
                encoder.set_sampling_factor(factor);
                encoder.set_progressive(progressive);
                encoder.set_restart_interval(interval);
                encoder.encode(&pixels, width, height, ColorType::Rgb).unwrap();
                for scale in [Scale::Eighth, Scale::Quarter, Scale::Half, Scale::Full] {
                    assert!(decode(&bytes, scale, false) == decode(&bytes, scale, true), "{factor:?} {progressive} {interval} {scale:?}");
                    compared += 1;
                }
            }
        }
        // One with refinements, which the encoder does not write.
        let refined = include_bytes!("../tests/decode/fixtures/progressive-420.jpg");
        for scale in [Scale::Eighth, Scale::Quarter, Scale::Half, Scale::Full] {
            assert!(decode(refined, scale, false) == decode(refined, scale, true), "refined {scale:?}");
            compared += 1;
        }
        assert_eq!(compared, 64);
    }
}
