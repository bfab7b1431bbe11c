//! The two element types of the kernels and the exponential function on them.
//!
//! ```text
//! eˣ = 2ⁿ (1 + p(r)),   n = ⌊x/ln 2⌉,   r = x − n ln 2 ∈ [−0.347, 0.347],   p(r) = eʳ − 1 by Taylor's series
//! ```

use std::ops::{Add, Div, Mul, Neg, Sub};

use crate::dispatch::{Isa, Multiply};
use crate::gaussian;
use crate::panel::Tile;

/// `f32` or `f64`: what the kernels compute with.
pub trait Float: Element {}

impl Float for f32 {}
impl Float for f64 {}

/// What the bodies of kernels need of a number; outside this crate only [`Float`] can be named.
#[allow(unreachable_pub, reason = "a bound of the sealed trait `Float`")]
pub trait Element:
    Multiply
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + PartialOrd
    + Default
    + std::fmt::Debug
    + Send
    + Sync
    + 'static
{
    /// Columns of a panel: two vectors of AVX-512.
    #[doc(hidden)]
    const PANEL: usize;

    /// Adds the product to a tile, in as many registers as the instruction set has.
    ///
    /// # Safety
    ///
    /// Both sides of the tile can be read and its target read and written.
    #[doc(hidden)]
    unsafe fn add_tile<I: Isa>(tile: Tile<Self>)
    where
        Self: Sized;

    /// The nearest number of this type.
    fn from_f64(value: f64) -> Self;
    /// The same number with 53 bits.
    fn to_f64(self) -> f64;
    /// The absolute value.
    fn magnitude(self) -> Self;
    /// The square root.
    fn root(self) -> Self;
    /// `self` with the sign of `sign`.
    fn with_sign(self, sign: Self) -> Self;
    /// (2ᵃ, 2ᵇ, eʳ − 1) with a + b = n: two factors, because 2ⁿ alone may overflow where eˣ does not.
    #[doc(hidden)]
    fn exp_parts<I: Isa>(self) -> (Self, Self, Self);
    /// How often Newton's step must square an error of 1 % for this type.
    #[doc(hidden)]
    const SQUARINGS: usize;
    /// Coefficients of P and Q in Mills's ratio, see `gaussian`.
    #[doc(hidden)]
    const MILLS: [&'static [Self]; 2];
    /// eˣ for x ≤ 0: cheaper, and 0 where eˣ would be subnormal, which processors take a hundred times longer for.
    #[doc(hidden)]
    fn exp_of_negative<I: Isa>(self) -> Self;
}

/// eˣ, to 2e-7 (f32) or 5e-16 (f64) of the value; 0 below and infinite above the range of the type.
#[inline(always)]
pub(crate) fn exp<T: Float, I: Isa>(x: T) -> T {
    let (first, second, p) = x.exp_parts::<I>();
    (p + T::from_f64(1.0)) * first * second
}

/// eˣ − 1 for x ≤ 0, without the cancellation near 0.
#[inline(always)]
pub(crate) fn exp_m1_of_negative<T: Float, I: Isa>(x: T) -> T {
    let (first, second, p) = x.exp_parts::<I>();
    let scale = first * second;
    I::mul_add(scale, p, scale - T::from_f64(1.0))
}

/// 1/d for d in [1, 2], up to two last bits, in a third of the time of a division of wide vectors.
///
/// The start (32 d² − 144 d + 210)/99 has the relative error T₃(2d − 3)/99, the smallest of any square; each step of
/// Newton's method squares the error.
#[inline(always)]
pub(crate) fn reciprocal_of_one_to_two<T: Float, I: Isa>(d: T) -> T {
    let (a, b, c) = (32.0 / 99.0, -144.0 / 99.0, 210.0 / 99.0);
    let start = I::mul_add(T::from_f64(a), d, T::from_f64(b));
    let mut r = I::mul_add(start, d, T::from_f64(c));
    for _ in 0..T::SQUARINGS {
        r = I::mul_add(r, I::mul_add(-d, r, T::from_f64(1.0)), r);
    }
    r
}

impl Element for f32 {
    const SQUARINGS: usize = 2;
    const PANEL: usize = 32;

    #[inline(always)]
    unsafe fn add_tile<I: Isa>(tile: Tile<Self>) {
        // SAFETY: the caller's promise; the parts are inside the tile.
        unsafe {
            if I::WIDE {
                tile.add::<I, 8, 32, { Self::PANEL }>(0, 0);
            } else {
                tile.add::<I, 4, 16, { Self::PANEL }>(0, 0);
                tile.add::<I, 4, 16, { Self::PANEL }>(0, 16);
                tile.add::<I, 4, 16, { Self::PANEL }>(4, 0);
                tile.add::<I, 4, 16, { Self::PANEL }>(4, 16);
            }
        }
    }

    const MILLS: [&'static [Self]; 2] = gaussian::MILLS_F32;

    #[inline(always)]
    fn from_f64(value: f64) -> Self {
        value as Self
    }

    #[inline(always)]
    fn to_f64(self) -> f64 {
        f64::from(self)
    }

    #[inline(always)]
    fn magnitude(self) -> Self {
        self.abs()
    }

    #[inline(always)]
    fn root(self) -> Self {
        self.sqrt()
    }

    #[inline(always)]
    fn with_sign(self, sign: Self) -> Self {
        self.copysign(sign)
    }

    #[inline(always)]
    fn exp_parts<I: Isa>(self) -> (Self, Self, Self) {
        // Beyond these, eˣ is 0 or infinite. Written so that NaN stays NaN.
        let x = if self < -104.0 { -104.0 } else { self };
        let x = if x > 89.0 { 89.0 } else { x };
        // Adding 1.5·2²³ rounds to an integer, which is then in the lower bits.
        const ROUND: f32 = 12_582_912.0;
        let shifted = I::mul_add(x, std::f32::consts::LOG2_E, ROUND);
        let n = shifted - ROUND;
        let n_bits = (shifted.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32);
        // ln 2 in two parts, the first with 9 bits, so that n times it is exact.
        let r = I::mul_add(n, -0.693_359_4, x);
        let r = I::mul_add(n, 2.121_944_4e-4, r);
        let mut q = 1.0 / 5040.0;
        for coefficient in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5] {
            q = I::mul_add(q, r, coefficient);
        }
        let half = n_bits >> 1;
        let power = |n: i32| f32::from_bits((n.wrapping_add(127) as u32) << 23);
        (
            power(half),
            power(n_bits.wrapping_sub(half)),
            I::mul_add(r * r, q, r),
        )
    }

    #[inline(always)]
    fn exp_of_negative<I: Isa>(self) -> Self {
        const LOWEST: f32 = -86.0;
        const ROUND: f32 = 12_582_912.0;
        let x = if self < LOWEST { LOWEST } else { self };
        let shifted = I::mul_add(x, std::f32::consts::LOG2_E, ROUND);
        let n = shifted - ROUND;
        let r = I::mul_add(n, -0.693_359_4, x);
        let r = I::mul_add(n, 2.121_944_4e-4, r);
        let mut q = 1.0 / 5040.0;
        for coefficient in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
            q = I::mul_add(q, r, coefficient);
        }
        // q is in [0.7, 1.5) and n at least −125: n goes straight to the exponent, and the sum stays normal. Where x is
        // NaN, so is q, and the low bits of `shifted` leave it one or are 0.
        let e = f32::from_bits(q.to_bits().wrapping_add(shifted.to_bits() << 23));
        if self < LOWEST { 0.0 } else { e }
    }
}

impl Element for f64 {
    const SQUARINGS: usize = 3;
    const PANEL: usize = 16;

    #[inline(always)]
    unsafe fn add_tile<I: Isa>(tile: Tile<Self>) {
        // SAFETY: the caller's promise; the parts are inside the tile.
        unsafe {
            if I::WIDE {
                tile.add::<I, 8, 16, { Self::PANEL }>(0, 0);
            } else {
                tile.add::<I, 4, 8, { Self::PANEL }>(0, 0);
                tile.add::<I, 4, 8, { Self::PANEL }>(0, 8);
                tile.add::<I, 4, 8, { Self::PANEL }>(4, 0);
                tile.add::<I, 4, 8, { Self::PANEL }>(4, 8);
            }
        }
    }

    const MILLS: [&'static [Self]; 2] = gaussian::MILLS_F64;

    #[inline(always)]
    fn from_f64(value: f64) -> Self {
        value
    }

    #[inline(always)]
    fn to_f64(self) -> f64 {
        self
    }

    #[inline(always)]
    fn magnitude(self) -> Self {
        self.abs()
    }

    #[inline(always)]
    fn root(self) -> Self {
        self.sqrt()
    }

    #[inline(always)]
    fn with_sign(self, sign: Self) -> Self {
        self.copysign(sign)
    }

    #[inline(always)]
    fn exp_parts<I: Isa>(self) -> (Self, Self, Self) {
        let x = if self < -746.0 { -746.0 } else { self };
        let x = if x > 710.0 { 710.0 } else { x };
        // 1.5·2⁵².
        const ROUND: f64 = 6_755_399_441_055_744.0;
        let shifted = I::mul_add(x, std::f64::consts::LOG2_E, ROUND);
        let n = shifted - ROUND;
        let n_bits = (shifted.to_bits() as i64).wrapping_sub(ROUND.to_bits() as i64);
        // The upper 32 bits of ln 2, and what they leave out.
        const HIGH: f64 = f64::from_bits(std::f64::consts::LN_2.to_bits() & 0xffff_ffff_0000_0000);
        const LOW: f64 = (std::f64::consts::LN_2 - HIGH) + 2.319_046_813_846_299_6e-17;
        let r = I::mul_add(n, -HIGH, x);
        let r = I::mul_add(n, -LOW, r);
        let mut q = 1.0 / 6_227_020_800.0;
        for coefficient in [
            1.0 / 479_001_600.0,
            1.0 / 39_916_800.0,
            1.0 / 3_628_800.0,
            1.0 / 362_880.0,
            1.0 / 40_320.0,
            1.0 / 5_040.0,
            1.0 / 720.0,
            1.0 / 120.0,
            1.0 / 24.0,
            1.0 / 6.0,
            0.5,
        ] {
            q = I::mul_add(q, r, coefficient);
        }
        let half = n_bits >> 1;
        let power = |n: i64| f64::from_bits((n.wrapping_add(1023) as u64) << 52);
        (
            power(half),
            power(n_bits.wrapping_sub(half)),
            I::mul_add(r * r, q, r),
        )
    }

    #[inline(always)]
    fn exp_of_negative<I: Isa>(self) -> Self {
        if self < -707.0 { 0.0 } else { exp::<Self, I>(self) }
    }
}

#[cfg(test)]
#[path = "float_tests.rs"]
mod tests;
