//! Sums over slices in an order that depends on the length alone.
//!
//! Values are added in 32 lanes, which are vectors to the processor; lanes are added in halves, and the sums of blocks of
//! 2048 values in f64. Rounding errors grow with the 64 additions of a lane, not with the length.

use std::array::from_fn;

use crate::float::Float;

const LANES: usize = 32;
/// Values of the last, incomplete line that are still added side by side.
const FEW: usize = 8;
const BLOCK: usize = 64 * LANES;

/// Σ `terms(aᵢ, bᵢ)` over two slices of one length, each of the `N` terms by itself.
#[inline(always)]
pub(crate) fn sums<T: Float, const N: usize>(a: &[T], b: &[T], terms: impl Fn(T, T) -> [T; N]) -> [f64; N] {
    let mut totals = [0.0; N];
    for (a, b) in a.chunks(BLOCK).zip(b.chunks(BLOCK)) {
        let block = block::<T, N>(a, b, &terms);
        for (total, lanes) in totals.iter_mut().zip(block) {
            *total += halved(lanes);
        }
    }
    totals
}

/// Σ `term(aᵢ)`.
#[inline(always)]
pub(crate) fn sum<T: Float>(a: &[T], term: impl Fn(T) -> T) -> f64 {
    sums(a, a, |a, _| [term(a)])[0]
}

/// The largest value, −∞ of nothing; values that are no numbers are passed over.
#[inline(always)]
pub(crate) fn largest<T: Float>(a: &[T]) -> T {
    let larger = |a: T, b: T| if b > a { b } else { a };
    let mut lanes = [T::from_f64(f64::NEG_INFINITY); FEW];
    let (lines, rest) = a.as_chunks::<FEW>();
    for line in lines {
        lanes = from_fn(|lane| larger(lanes[lane], line[lane]));
    }
    for (lane, &value) in lanes.iter_mut().zip(rest) {
        *lane = larger(*lane, value);
    }
    let lanes: [T; 4] = from_fn(|lane| larger(lanes[lane], lanes[lane + 4]));
    larger(larger(lanes[0], lanes[2]), larger(lanes[1], lanes[3]))
}

#[inline(always)]
fn block<T: Float, const N: usize>(a: &[T], b: &[T], terms: &impl Fn(T, T) -> [T; N]) -> [[T; LANES]; N] {
    let mut lanes = [[T::default(); LANES]; N];
    let (a_lines, a) = a.as_chunks::<LANES>();
    let (b_lines, b) = b.as_chunks::<LANES>();
    for (a, b) in a_lines.iter().zip(b_lines) {
        add(a, b, terms, &mut lanes);
    }
    let (a_lines, a) = a.as_chunks::<FEW>();
    let (b_lines, b) = b.as_chunks::<FEW>();
    for (a, b) in a_lines.iter().zip(b_lines) {
        add(a, b, terms, &mut lanes);
    }
    for (lane, (&a, &b)) in a.iter().zip(b).enumerate() {
        for (lanes, term) in lanes.iter_mut().zip(terms(a, b)) {
            lanes[lane] = lanes[lane] + term;
        }
    }
    lanes
}

#[inline(always)]
fn add<T: Float, const L: usize, const N: usize>(
    a: &[T; L],
    b: &[T; L],
    terms: &impl Fn(T, T) -> [T; N],
    lanes: &mut [[T; LANES]; N],
) {
    for lane in 0..L {
        for (lanes, term) in lanes.iter_mut().zip(terms(a[lane], b[lane])) {
            lanes[lane] = lanes[lane] + term;
        }
    }
}

/// The sum of the lanes, halves onto halves.
#[inline(always)]
fn halved<T: Float>(lanes: [T; LANES]) -> f64 {
    let a: [T; 16] = from_fn(|i| lanes[i] + lanes[i + 16]);
    let a: [T; 8] = from_fn(|i| a[i] + a[i + 8]);
    let a: [T; 4] = from_fn(|i| a[i] + a[i + 4]);
    (a[0] + a[2]).to_f64() + (a[1] + a[3]).to_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_of_integers_are_exact_at_every_length() {
        for n in [0u32, 1, 7, 8, 9, 31, 32, 33, 63, 100, 2047, 2048, 2049, 5000] {
            let values: Vec<f64> = (1..=n).map(f64::from).collect();
            let exact = f64::from(n) * (f64::from(n) + 1.0) / 2.0;
            assert_eq!(sum(&values, |x| x), exact);
            let [first, second] = sums(&values, &values, |a, b| [a, a * b]);
            assert_eq!(first, exact);
            assert_eq!(second, exact * (2.0 * f64::from(n) + 1.0) / 3.0);
        }
    }

    #[test]
    fn the_largest_value_is_found_at_every_place() {
        for n in [1usize, 31, 32, 33, 100] {
            for place in 0..n {
                let mut values = vec![-5.0f32; n];
                values[place] = -1.0;
                assert_eq!(largest(&values), -1.0);
            }
        }
        assert_eq!(largest::<f64>(&[]), f64::NEG_INFINITY);
    }

    #[test]
    fn long_sums_do_not_lose_small_terms() {
        let values = vec![0.1f32; 1 << 22];
        let error = sum(&values, |x| x) / (f64::from(0.1f32) * f64::from(1 << 22)) - 1.0;
        assert!(error.abs() < 2e-6, "{error}");
    }
}
