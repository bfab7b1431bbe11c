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
mod tests {
    use super::*;
    use crate::error::Error;

    /// SplitMix64, so that the tests need no generator.
    fn words(n: usize, mut state: u64) -> Vec<u64> {
        (0..n)
            .map(|_| {
                state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
                let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
                z ^ (z >> 31)
            })
            .collect()
    }

    fn normals(bits: &[u64], n: usize) -> Vec<f64> {
        let mut out = vec![0.0; n];
        normals_from_bits(bits, &mut out).unwrap();
        out
    }

    #[test]
    fn the_logarithm_is_that_of_the_library_to_five_ulps() {
        let extremes = [
            0,
            1,
            2,
            u64::MAX,
            u64::MAX - 4096,
            1 << 63,
            (1 << 63) - 1,
            0xb504_f333_f9de_6484,
        ];
        for word in words(200_000, 1).into_iter().chain(extremes) {
            let u = integer((word >> 11) + 1) * UNIT;
            let (exponent, ratio) = reduced(u);
            let (ours, exact) = (ln_of(exponent, ratio), u.ln());
            assert!(
                (ours - exact).abs() <= 1.1e-15 * exact.abs(),
                "ln {u}: {ours} against {exact}"
            );
        }
        assert_eq!(reduced(1.0), (0.0, 0.0));
    }

    #[test]
    fn the_circle_is_that_of_the_library_to_some_ulps() {
        let quarters = (0..8u64).flat_map(|q| [(q << 61), (q << 61) + 2048, (q << 61).wrapping_sub(2048)]);
        for word in words(200_000, 2).into_iter().chain(quarters) {
            let k = word >> 11;
            let (sine, cosine) = turn(k);
            // The library's argument is rounded; take the exact quarter off before it, too.
            let quarter = ((k + (1 << 50)) >> 51) as i64;
            let angle = TAU * ((k as i64 - (quarter << 51)) as f64 * UNIT);
            let (s, c) = angle.sin_cos();
            let (s, c) = [(s, c), (c, -s), (-s, -c), (-c, s)][(quarter & 3) as usize];
            assert!(
                (sine - s).abs() <= 5e-16 * s.abs(),
                "sine of {k}: {sine} against {s}"
            );
            assert!(
                (cosine - c).abs() <= 5e-16 * c.abs(),
                "cosine of {k}: {cosine} against {c}"
            );
        }
    }

    #[test]
    fn known_words_give_the_values_of_the_formula() {
        // u₁ = 1/2, u₂ = 0: (√(2 ln 2), 0). u₁ = e-fold free: u₁ = 1/4, u₂ = 1/8: √(2 ln 4)/√2 twice.
        let half = (1u64 << 63) - (1 << 11);
        let quarter = (1u64 << 62) - (1 << 11);
        let out = normals(&[half, 0, quarter, 1 << 61], 4);
        let radius = (2.0 * LN_2).sqrt();
        let wanted = [radius, 0.0, radius, radius];
        for (ours, wanted) in out.iter().zip(wanted) {
            assert!((ours - wanted).abs() < 1e-15, "{ours} against {wanted}");
        }
    }

    #[test]
    fn every_instruction_set_gives_the_same_bits() {
        for n in [0, 1, 2, 3, 7, 31, 32, 33, 63, 64, 65, 1000, 4097] {
            let bits = words(n + n % 2, 3);
            let mut reference = vec![0.0; n];
            normals_from_bits_on(Path::available()[0], &bits, &mut reference).unwrap();
            for path in Path::available() {
                let mut out = vec![0.0; n];
                normals_from_bits_on(path, &bits, &mut out).unwrap();
                let same = out
                    .iter()
                    .zip(&reference)
                    .all(|(a, b)| a.to_bits() == b.to_bits());
                assert!(same, "{} differs at length {n}", path.name());
            }
        }
    }

    #[test]
    fn bits_stay_what_they_were_when_published() {
        // FNV-1a over the bits of 4096 values: a change of any of them is a change of every seeded result.
        let hash = normals(&words(4096, 4), 4096)
            .iter()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, value| {
                value
                    .to_bits()
                    .to_le_bytes()
                    .iter()
                    .fold(hash, |h, &b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
            });
        assert_eq!(hash, 0x6fba_d3b1_147f_189b, "{hash:#x}");
    }

    #[test]
    fn a_prefix_does_not_depend_on_the_length() {
        let bits = words(100, 5);
        let all = normals(&bits, 100);
        for n in [1, 2, 3, 33, 64, 99] {
            assert_eq!(normals(&bits[..n + n % 2], n), all[..n]);
        }
    }

    #[test]
    fn moments_are_those_of_the_normal_distribution() {
        let n = 1 << 20;
        let values = normals(&words(n, 6), n);
        // Standard errors: 1/√n = 9.8e-4 times 1, √2, √15, √96. Bounds are five of them.
        for (power, wanted, bound) in [(1, 0.0, 0.005), (2, 1.0, 0.007), (3, 0.0, 0.019), (4, 3.0, 0.048)] {
            let moment = values.iter().map(|z| z.powi(power)).sum::<f64>() / n as f64;
            assert!((moment - wanted).abs() < bound, "moment {power}: {moment}");
        }
        let tail = values.iter().filter(|z| z.abs() > 3.0).count() as f64 / n as f64;
        assert!((tail - 0.0027).abs() < 2.6e-4, "beyond three deviations: {tail}");
        let product = values.chunks_exact(2).map(|p| p[0] * p[1]).sum::<f64>() / (n / 2) as f64;
        assert!(product.abs() < 0.007, "correlation in a pair: {product}");
    }

    #[test]
    fn extreme_words_give_finite_values_and_the_known_tail() {
        let out = normals(&[0, 0, u64::MAX, u64::MAX, 0, u64::MAX, u64::MAX, 0], 8);
        assert!(out.iter().all(|z| z.is_finite()));
        assert!((out[0] - (2.0 * 53.0 * LN_2).sqrt()).abs() < 1e-14);
        assert_eq!(out[2].abs(), 0.0);
    }

    #[test]
    fn bytes_give_the_values_of_their_words_in_both_types_on_any_number_of_threads() {
        for n in [0, 1, 31, 100_001] {
            let bits = words(n + n % 2, 7);
            let bytes: Vec<u8> = bits.iter().flat_map(|word| word.to_le_bytes()).collect();
            let wanted = normals(&bits, n);
            for threads in [1, 2] {
                let (mut wide, mut narrow) = (vec![0.0f64; n], vec![0.0f32; n]);
                crate::parallel::on_threads(threads, || {
                    normals_from_bytes(&bytes, &mut wide).unwrap();
                    normals_from_bytes(&bytes, &mut narrow).unwrap();
                });
                assert_eq!(wide, wanted);
                assert!(narrow.iter().zip(&wanted).all(|(a, b)| *a == *b as f32));
            }
        }
        assert!(normals_from_bytes(&[0; 8], &mut [0.0f32]).is_err());
    }

    #[test]
    fn uniforms_are_the_upper_53_bits() {
        let mut out = [0.0; 3];
        uniforms_from_bits(&[0, u64::MAX, 1 << 63], &mut out).unwrap();
        assert_eq!(out, [0.0, 1.0 - UNIT, 0.5]);
    }

    #[test]
    fn a_wrong_number_of_words_is_refused() {
        let error = normals_from_bits(&[0; 3], &mut [0.0; 3]).unwrap_err();
        assert_eq!(
            error,
            Error::Length {
                name: "bits",
                got: 3,
                wanted: 4
            }
        );
        assert!(uniforms_from_bits(&[0; 4], &mut [0.0; 3]).is_err());
    }
}
