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

/// Does `work` in the best way there is.
#[inline(always)]
pub(crate) fn run<W: Work>(work: W) -> W::Output {
    match Avx2::detect() {
        Some(avx2) => avx2.run(work),
        None => work.run(None),
    }
}
