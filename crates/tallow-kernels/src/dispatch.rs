//! One body, three compilations: how a kernel is chosen by what the processor has.
//!
//! A kernel is written once, as a branch-free loop over slices in [`Kernel::run`]. It is compiled for the baseline of
//! the target, for AVX2 with fused multiply-add, and for AVX-512, and the widest one that the processor has is called.
//! Rust never contracts `a * b + c` into a fused multiply-add by itself, so a body that uses only `+ - * / sqrt` gives
//! the same bits on every path; one that asks for [`Isa::mul_add`] gives the same value up to rounding.

/// A vector instruction set that this processor has.
///
/// Values exist only for sets that were found at run time, so running a kernel on a path is always sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path(Set);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Set {
    Baseline,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Path {
    /// The widest instruction set of this processor.
    #[must_use]
    pub fn best() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            if has_avx512() {
                return Self(Set::Avx512);
            }
            if has_avx2() {
                return Self(Set::Avx2);
            }
        }
        Self(Set::Baseline)
    }

    /// Every instruction set of this processor that a kernel is compiled for, narrowest first.
    #[must_use]
    pub fn available() -> Vec<Self> {
        let mut paths = vec![Self(Set::Baseline)];
        #[cfg(target_arch = "x86_64")]
        {
            if has_avx2() {
                paths.push(Self(Set::Avx2));
            }
            if has_avx512() {
                paths.push(Self(Set::Avx512));
            }
        }
        paths
    }

    /// Whether AVX2 with fused multiply-add is allowed on this path; AVX-512 includes it.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn has_avx2(self) -> bool {
        self.0 != Set::Baseline
    }

    /// Whether AVX-512 is allowed on this path.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn has_avx512(self) -> bool {
        self.0 == Set::Avx512
    }

    /// The name of the instruction set, for logs and benchmarks.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self.0 {
            Set::Baseline => "baseline",
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 => "avx512",
        }
    }
}

#[cfg(target_arch = "x86_64")]
fn has_avx2() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")
}

#[cfg(target_arch = "x86_64")]
fn has_avx512() -> bool {
    has_avx2()
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512bw")
}

/// What differs between the compilations of one body.
#[allow(unreachable_pub, reason = "a bound of the sealed trait `Element`")]
pub trait Isa {
    /// Bytes that all vector registers hold together.
    const REGISTER_BYTES: usize;

    /// `a * b + c`, rounded once where the hardware can.
    fn mul_add<T: Multiply>(a: T, b: T, c: T) -> T;

    /// Whether this is AVX-512, for which some kernels have a body of their own.
    const WIDE: bool = false;
}

/// The two ways to multiply and add.
#[allow(unreachable_pub, reason = "a bound of the sealed trait `Element`")]
pub trait Multiply: Copy {
    /// One rounding.
    fn fused(self, b: Self, c: Self) -> Self;
    /// Two roundings.
    fn separate(self, b: Self, c: Self) -> Self;
}

impl Multiply for f32 {
    #[inline(always)]
    fn fused(self, b: Self, c: Self) -> Self {
        self.mul_add(b, c)
    }

    #[inline(always)]
    fn separate(self, b: Self, c: Self) -> Self {
        self * b + c
    }
}

impl Multiply for f64 {
    #[inline(always)]
    fn fused(self, b: Self, c: Self) -> Self {
        self.mul_add(b, c)
    }

    #[inline(always)]
    fn separate(self, b: Self, c: Self) -> Self {
        self * b + c
    }
}

/// Two roundings: what every processor has (a call of libm's `fma` would be slower than all the rest).
struct Separate;

impl Isa for Separate {
    const REGISTER_BYTES: usize = 16 * 16;

    #[inline(always)]
    fn mul_add<T: Multiply>(a: T, b: T, c: T) -> T {
        a.separate(b, c)
    }
}

/// One rounding: AVX2.
#[cfg(target_arch = "x86_64")]
struct Fused;

#[cfg(target_arch = "x86_64")]
impl Isa for Fused {
    const REGISTER_BYTES: usize = 16 * 32;

    #[inline(always)]
    fn mul_add<T: Multiply>(a: T, b: T, c: T) -> T {
        a.fused(b, c)
    }
}

/// One rounding, and vectors of sixteen words: AVX-512.
#[cfg(target_arch = "x86_64")]
struct Wide;

#[cfg(target_arch = "x86_64")]
impl Isa for Wide {
    const REGISTER_BYTES: usize = 32 * 64;

    #[inline(always)]
    fn mul_add<T: Multiply>(a: T, b: T, c: T) -> T {
        a.fused(b, c)
    }

    const WIDE: bool = true;
}

/// The body of a kernel with its arguments; `run` must be `#[inline(always)]`, or it is compiled for the baseline.
pub(crate) trait Kernel {
    type Output;
    fn run<I: Isa>(self) -> Self::Output;
}

/// Runs `kernel` as compiled for `path`.
#[inline]
pub(crate) fn run<K: Kernel>(path: Path, kernel: K) -> K::Output {
    match path.0 {
        Set::Baseline => kernel.run::<Separate>(),
        // SAFETY: a `Path` of this set is only made after the processor was found to have its features.
        #[cfg(target_arch = "x86_64")]
        Set::Avx2 => unsafe { run_avx2(kernel) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Set::Avx512 => unsafe { run_avx512(kernel) },
    }
}

/// # Safety
///
/// The processor must have AVX2 and FMA.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn run_avx2<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<Fused>()
}

/// # Safety
///
/// The processor must have AVX-512 F, DQ, VL and BW.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,avx512f,avx512dq,avx512vl,avx512bw")]
unsafe fn run_avx512<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<Wide>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_path_is_the_last_available_one() {
        assert_eq!(Path::available().last(), Some(&Path::best()));
    }
}
