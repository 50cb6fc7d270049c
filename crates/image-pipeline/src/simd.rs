//! What is done in vectors where the processor has them, and the door to it. Beside this one only `codec/webp.rs` and `codec/avif/av1.rs` have unsafe code.
//!
//! Knows nothing of pictures. A build for x86-64 assumes no more than SSE2; whether there is AVX2 is asked of the processor at run time.
//! Invariant: an [`Avx2`] exists only where its instructions do, so that holding one is the safety argument of every call behind it. What
//! it does has a twin in plain code that gives the same bits, and a test that says so.
#![allow(unsafe_code, reason = "functions for a processor's own instructions may only be called where it has them")]

/// Words worked on side by side.
pub(crate) const WORDS: usize = 64;

/// Proof that the processor has AVX2.
#[derive(Clone, Copy)]
pub(crate) struct Avx2(());

/// Loops that gain from wider vectors. `run` must be `#[inline(always)]`, as must be what it calls.
pub(crate) trait Work {
    /// What comes of them.
    type Output;

    /// `avx2` where it is compiled for that.
    fn run(self, avx2: Option<Avx2>) -> Self::Output;
}

/// Does `work` in the best way there is.
pub(crate) fn run<W: Work>(work: W) -> W::Output {
    match detect() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: an `Avx2` is only made where the processor has the one feature this function is compiled for.
        Some(avx2) => unsafe { x86::run(avx2, work) },
        _ => work.run(None),
    }
}

/// The proof, where there is one.
pub(crate) fn detect() -> Option<Avx2> {
    #[cfg(test)]
    if PLAIN.get() {
        return None;
    }
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        return Some(Avx2(()));
    }
    None
}

/// `given_back` and upper words of products: of the words at `middle` with the first weight, and of the sums of the words at both places of
/// a pair with its weight. Sums must fit a word.
///
/// # Panics
/// Where a place has no [`WORDS`] words behind it.
#[inline(always)]
pub(crate) fn weigh(
    avx2: Option<Avx2>,
    values: &[u16],
    middle: usize,
    pairs: &[(usize, usize)],
    weights: &[u16],
    given_back: u16,
) -> [u16; WORDS] {
    match avx2 {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as in `run`.
        Some(_) => unsafe { x86::weigh(values, middle, pairs, weights, given_back) },
        _ => weigh_plainly(values, middle, pairs, weights, given_back),
    }
}

#[inline(always)]
fn weigh_plainly(values: &[u16], middle: usize, pairs: &[(usize, usize)], weights: &[u16], given_back: u16) -> [u16; WORDS] {
    let middle = words(values, middle);
    let mut sums: [u16; WORDS] = std::array::from_fn(|at| part(middle[at], weights[0]).wrapping_add(given_back));
    for (&(before, after), &weight) in pairs.iter().zip(&weights[1..]) {
        let (before, after) = (words(values, before), words(values, after));
        for at in 0..WORDS {
            sums[at] = sums[at].wrapping_add(part(before[at].wrapping_add(after[at]), weight));
        }
    }
    sums
}

#[inline(always)]
fn words(values: &[u16], at: usize) -> &[u16; WORDS] {
    values[at..].first_chunk().expect("the caller keeps whole blocks")
}

/// The upper word of a product.
#[inline(always)]
pub(crate) fn part(value: u16, weight: u16) -> u16 {
    ((u32::from(value) * u32::from(weight)) >> 16) as u16
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{Avx2, WORDS, Work, words};
    use std::arch::x86_64::{__m256i, _mm256_add_epi16, _mm256_mulhi_epu16, _mm256_set1_epi16};

    /// Vectors in a block.
    const VECTORS: usize = WORDS / 16;

    #[target_feature(enable = "avx2")]
    pub(super) fn run<W: Work>(avx2: Avx2, work: W) -> W::Output {
        work.run(Some(avx2))
    }

    /// As `weigh_plainly`; the sums stay in registers.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) fn weigh(values: &[u16], middle: usize, pairs: &[(usize, usize)], weights: &[u16], given_back: u16) -> [u16; WORDS] {
        let first = _mm256_set1_epi16(weights[0].cast_signed());
        let given_back = _mm256_set1_epi16(given_back.cast_signed());
        let mut sums = vectors(words(values, middle)).map(|value| _mm256_add_epi16(_mm256_mulhi_epu16(value, first), given_back));
        for (&(before, after), &weight) in pairs.iter().zip(&weights[1..]) {
            let weight = _mm256_set1_epi16(weight.cast_signed());
            let (before, after) = (vectors(words(values, before)), vectors(words(values, after)));
            for at in 0..VECTORS {
                sums[at] = _mm256_add_epi16(sums[at], _mm256_mulhi_epu16(_mm256_add_epi16(before[at], after[at]), weight));
            }
        }
        // SAFETY: both types are as many bytes, and any bytes are a value of either.
        unsafe { std::mem::transmute(sums) }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn vectors(words: &[u16; WORDS]) -> [__m256i; VECTORS] {
        // SAFETY: as above.
        unsafe { std::mem::transmute(*words) }
    }
}

#[cfg(test)]
thread_local! {
    /// Whether this thread is to do without vectors.
    pub(crate) static PLAIN: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}
