//! What is done in vectors where the processor has them, and the door to it: the crate's only unsafe code.
//!
//! Knows nothing of files. A build for x86-64 assumes no more than SSE2; what AVX2 and BMI2 add is asked of the processor at run time.
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

    pub(crate) fn wave<const N: usize>(self, _filters: [u8; 4], _raw: [&[u8]; 4], _above: &[u8], _out: [&mut [u8]; 4]) {
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
    /// Whether this thread is to do without vectors.
    pub(crate) static PLAIN: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}
