//! Standard normal and uniform numbers that have the same bits on every processor.
//!
//! ```text
//! u₁ = (⌊w₁/2¹¹⌋ + 1) 2⁻⁵³ ∈ (0, 1],   u₂ = ⌊w₂/2¹¹⌋ 2⁻⁵³ ∈ [0, 1)
//! z₁ = √(−2 ln u₁) cos 2πu₂,           z₂ = √(−2 ln u₁) sin 2πu₂
//! ```
//!
//! The logarithm and the circle are polynomials made of `+ − × ÷ √` alone, each correctly rounded by IEEE 754; there is
//! no libm and no fused multiply-add, whose results differ between platforms. The largest value is √(2·53 ln 2) = 8.57.
//!
//! Source: Box & Muller 1958, doi:10.1214/aoms/1177706645.

use std::f64::consts::{LN_2, TAU};

use crate::circle::rotated;
use crate::dispatch::{self, Isa, Kernel, Path};
use crate::error::{Result, check_length};
use crate::float::Float;
use crate::parallel;

/// Pairs that are worked on together: enough vectors to hide how long each of them takes.
const BLOCK: usize = 64;
/// Values that one task makes.
const PIECE: usize = 1 << 13;
/// What a value costs, in multiply-adds.
const COST: usize = 32;

/// Fills `out` with standard normal numbers: values 2i and 2i + 1 come from words 2i and 2i + 1.
///
/// An odd length uses a whole last pair of words, so `bits` holds `out.len()` words, rounded up to even. The same words
/// give the same bits of the values on every processor. The relative error of a value is some 1e-15.
///
/// Source: Box & Muller 1958, doi:10.1214/aoms/1177706645.
///
/// # Errors
///
/// When `bits` has another length.
pub fn normals_from_bits(bits: &[u64], out: &mut [f64]) -> Result<()> {
    normals_from_bits_on(Path::best(), bits, out)
}

/// [`normals_from_bits`] on a chosen instruction set: for tests that the sets agree, and for benchmarks.
///
/// # Errors
///
/// When `bits` does not hold `out.len()` words, rounded up to even.
pub fn normals_from_bits_on(path: Path, bits: &[u64], out: &mut [f64]) -> Result<()> {
    check_length("bits", bits.len(), out.len().next_multiple_of(2))?;
    transform(path, bits, out);
    Ok(())
}

/// [`normals_from_bits`] from words in little-endian bytes, eight a word, as a generator fills them; the values are
/// computed in f64 and rounded to the type of `out`.
///
/// # Errors
///
/// When `bytes` does not hold `out.len()` words, rounded up to even.
pub fn normals_from_bytes<T: Float>(bytes: &[u8], out: &mut [T]) -> Result<()> {
    check_length("bytes", bytes.len(), 8 * out.len().next_multiple_of(2))?;
    transform(Path::best(), bytes.as_chunks::<8>().0, out);
    Ok(())
}

/// `words` has the length of `out`, rounded up to even. Large work goes to all threads, in pieces of even length.
fn transform<W: Word, T: Float>(path: Path, words: &[W], out: &mut [T]) {
    let cost = out.len().saturating_mul(COST);
    let pieces = words.chunks(PIECE).zip(out.chunks_mut(PIECE)).collect();
    parallel::for_each(cost, pieces, |(words, out)| {
        dispatch::run(path, Normals { words, out });
    });
}

/// 64 bits from a generator.
trait Word: Copy + Sync {
    fn value(self) -> u64;
}

impl Word for u64 {
    #[inline(always)]
    fn value(self) -> u64 {
        self
    }
}

impl Word for [u8; 8] {
    #[inline(always)]
    fn value(self) -> u64 {
        u64::from_le_bytes(self)
    }
}

/// Fills `out` with uniform numbers in [0, 1), multiples of 2⁻⁵³, one from each word's upper 53 bits.
///
/// # Errors
///
/// When the lengths differ.
pub fn uniforms_from_bits(bits: &[u64], out: &mut [f64]) -> Result<()> {
    crate::error::check_length("bits", bits.len(), out.len())?;
    dispatch::run(Path::best(), Uniforms { bits, out });
    Ok(())
}

struct Uniforms<'a> {
    bits: &'a [u64],
    out: &'a mut [f64],
}

impl Kernel for Uniforms<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        for (out, &word) in self.out.iter_mut().zip(self.bits) {
            *out = integer(word >> 11) * UNIT;
        }
    }
}

struct Normals<'a, W, T> {
    words: &'a [W],
    out: &'a mut [T],
}

impl<W: Word, T: Float> Kernel for Normals<'_, W, T> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        let mut values = self.out.chunks_exact_mut(2 * BLOCK);
        for (words, values) in self.words.chunks_exact(2 * BLOCK).zip(values.by_ref()) {
            for (value, z) in values.iter_mut().zip(block(words)) {
                *value = T::from_f64(z);
            }
        }
        let rest = values.into_remainder();
        // With an odd length the words may fill a whole block that the values do not.
        let words = &self.words[self.words.len() - rest.len().next_multiple_of(2)..];
        let mut padded = [0; 2 * BLOCK];
        for (padded, word) in padded.iter_mut().zip(words) {
            *padded = word.value();
        }
        for (value, z) in rest.iter_mut().zip(block(&padded)) {
            *value = T::from_f64(z);
        }
    }
}

/// Transforms `2 * BLOCK` words. The loops over arrays of fixed length become vector instructions.
#[inline(always)]
fn block<W: Word>(words: &[W]) -> [f64; 2 * BLOCK] {
    let (mut first, mut second) = ([0; BLOCK], [0; BLOCK]);
    for (i, pair) in words.chunks_exact(2).take(BLOCK).enumerate() {
        first[i] = pair[0].value();
        second[i] = pair[1].value();
    }
    // In three loops, because the chain of one pair from word to value is longer than what a processor looks ahead.
    let (mut exponent, mut ratio, mut radius) = ([0.0; BLOCK], [0.0; BLOCK], [0.0; BLOCK]);
    for i in 0..BLOCK {
        (exponent[i], ratio[i]) = reduced(integer((first[i] >> 11) + 1) * UNIT);
    }
    for i in 0..BLOCK {
        radius[i] = (-2.0 * ln_of(exponent[i], ratio[i])).sqrt();
    }
    let (mut cosine, mut sine) = ([0.0; BLOCK], [0.0; BLOCK]);
    for i in 0..BLOCK {
        let (s, c) = turn(second[i] >> 11);
        (cosine[i], sine[i]) = (radius[i] * c, radius[i] * s);
    }
    let mut out = [0.0; 2 * BLOCK];
    for (i, values) in out.chunks_exact_mut(2).enumerate() {
        values[0] = cosine[i];
        values[1] = sine[i];
    }
    out
}

/// 2⁻⁵³.
const UNIT: f64 = 1.0 / (1u64 << 53) as f64;

/// The exact value of an integer up to 2⁵³, by bit patterns: not every set converts 64-bit integers in vectors.
#[inline(always)]
fn integer(k: u64) -> f64 {
    const TWO_52: u64 = 0x4330_0000_0000_0000;
    const TWO_32: f64 = (1u64 << 32) as f64;
    let high = f64::from_bits(TWO_52 | (k >> 32)) - f64::from_bits(TWO_52);
    let low = f64::from_bits(TWO_52 | (k & 0xffff_ffff)) - f64::from_bits(TWO_52);
    high * TWO_32 + low
}

/// k and s of u in [2⁻⁵³, 1]: u = 2ᵏ m with m in [√½, √2), s = (m − 1)/(m + 1).
#[inline(always)]
fn reduced(u: f64) -> (f64, f64) {
    const ROOT_HALF: u64 = 0x3fe6_a09e_667f_3bcd;
    const ONE: u64 = 0x3ff0_0000_0000_0000;
    const MANTISSA: u64 = 0x000f_ffff_ffff_ffff;
    let shifted = u.to_bits() + (ONE - ROOT_HALF);
    // k + 1023 is at most 1023 here; subtracting in f64 makes it signed.
    let exponent = integer(shifted >> 52) - 1023.0;
    let m = f64::from_bits((shifted & MANTISSA) + ROOT_HALF);
    (exponent, (m - 1.0) / (m + 1.0))
}

/// ln u = k ln 2 + 2 artanh s.
#[inline(always)]
fn ln_of(exponent: f64, s: f64) -> f64 {
    // The upper 32 bits of ln 2, so that k times it is exact, and what they leave out.
    const LN_2_HIGH: f64 = f64::from_bits(LN_2.to_bits() & 0xffff_ffff_0000_0000);
    // ln 2 − LN_2 = 2.319e-17: the bits of ln 2 that an f64 cannot hold.
    const LN_2_LOW: f64 = (LN_2 - LN_2_HIGH) + 2.319_046_813_846_299_6e-17;

    let z = s * s;
    // artanh s = s (1 + z/3 + z²/5 + …); z is at most 0.0295, the first term left out 6e-19.
    let mut tail = 1.0 / 21.0;
    tail = tail * z + 1.0 / 19.0;
    tail = tail * z + 1.0 / 17.0;
    tail = tail * z + 1.0 / 15.0;
    tail = tail * z + 1.0 / 13.0;
    tail = tail * z + 1.0 / 11.0;
    tail = tail * z + 1.0 / 9.0;
    tail = tail * z + 1.0 / 7.0;
    tail = tail * z + 1.0 / 5.0;
    tail = tail * z + 1.0 / 3.0;
    let twice = s + s;
    exponent * LN_2_HIGH + (twice + (twice * (z * tail) + exponent * LN_2_LOW))
}

/// Sine and cosine of 2π k 2⁻⁵³: the nearest quarter turn is taken off exactly, the rest is at most an eighth.
#[inline(always)]
fn turn(k: u64) -> (f64, f64) {
    let quarter = (k + (1 << 50)) >> 51;
    let angle = TAU * (integer(k) * UNIT - integer(quarter) * 0.25);
    rotated(angle, quarter)
}

#[cfg(test)]
#[path = "normal_tests.rs"]
mod tests;
