//! Code compiled twice: for every processor of the architecture, and for those that have newer instructions.
//!
//! Nothing is written twice, and there are no intrinsics: the compiler makes both of the same safe source, so that they cannot differ but in
//! speed. What it gains here are shifts by a register without detours (BMI2) and loads that turn the bytes round (MOVBE), which is
//! a tenth to a fifth of entropy decoding. This is the only place of the crate where `unsafe` is allowed.

/// Work worth compiling twice. `run` must be `#[inline(always)]`, and all that matters in it, too.
pub(crate) trait Work {
    type Out;

    fn run(self) -> Self::Out;
}

/// Does the work with the best instructions there are.
#[inline(always)]
pub(crate) fn run<W: Work>(work: W) -> W::Out {
    #[cfg(target_arch = "x86_64")]
    if is_newer() {
        #[target_feature(enable = "bmi1,bmi2,movbe")]
        fn newer<W: Work>(work: W) -> W::Out {
            work.run()
        }
        // SAFETY: a function with target features may be called where the processor has them; `is_newer` has just asked it.
        #[allow(unsafe_code, reason = "the features were detected in the condition above")]
        return unsafe { newer(work) };
    }
    work.run()
}

/// Whether the processor has the instructions that `newer` is compiled for.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn is_newer() -> bool {
    std::is_x86_feature_detected!("bmi1") && std::is_x86_feature_detected!("bmi2") && std::is_x86_feature_detected!("movbe")
}
