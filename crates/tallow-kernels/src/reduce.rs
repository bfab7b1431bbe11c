//! Averages in place and sums in an order that depends on the length alone.

use crate::dispatch::{self, Isa, Kernel, Path};
use crate::error::{Result, check_length};
use crate::float::Float;
use crate::parallel;

/// Values that one task takes.
const PIECE: usize = 1 << 14;
/// Partial sums that run side by side: two vectors of eight.
const LANES: usize = 16;

/// Moves `average` towards `values` by the fraction `weight`: a ← a + weight (x − a).
///
/// # Errors
///
/// When the lengths differ.
pub fn lerp<T: Float>(average: &mut [T], values: &[T], weight: f64) -> Result<()> {
    check_length("values", values.len(), average.len())?;
    let weight = T::from_f64(weight);
    let tasks: Vec<_> = average.chunks_mut(PIECE).zip(values.chunks(PIECE)).collect();
    parallel::for_each(4 * values.len(), tasks, |(average, values)| {
        dispatch::run(
            Path::best(),
            Lerp {
                average,
                values,
                weight,
            },
        );
    });
    Ok(())
}

/// Σ x², in f64, summed in an order that depends on the length alone; infinite or NaN if a value is.
#[must_use]
pub fn squared_norm<T: Float>(values: &[T]) -> f64 {
    let mut sums = vec![0.0; values.len().div_ceil(PIECE)];
    let tasks: Vec<_> = sums.iter_mut().zip(values.chunks(PIECE)).collect();
    parallel::for_each(2 * values.len(), tasks, |(sum, values)| {
        *sum = dispatch::run(Path::best(), SquaredNorm { values });
    });
    sums.iter().sum()
}

struct Lerp<'a, T> {
    average: &'a mut [T],
    values: &'a [T],
    weight: T,
}

impl<T: Float> Kernel for Lerp<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        for (average, &value) in self.average.iter_mut().zip(self.values) {
            *average = *average + self.weight * (value - *average);
        }
    }
}

struct SquaredNorm<'a, T> {
    values: &'a [T],
}

impl<T: Float> Kernel for SquaredNorm<'_, T> {
    type Output = f64;

    #[inline(always)]
    fn run<I: Isa>(self) -> f64 {
        let mut lanes = [0.0; LANES];
        let mut chunks = self.values.chunks_exact(LANES);
        for chunk in chunks.by_ref() {
            for (lane, value) in lanes.iter_mut().zip(chunk) {
                let value = value.to_f64();
                *lane += value * value;
            }
        }
        for (lane, value) in lanes.iter_mut().zip(chunks.remainder()) {
            let value = value.to_f64();
            *lane += value * value;
        }
        lanes.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parallel::on_threads;

    #[test]
    fn the_average_moves_by_the_fraction() {
        let mut average = vec![1.0f64; 40_000];
        let values: Vec<f64> = (0..40_000).map(f64::from).collect();
        lerp(&mut average, &values, 0.25).unwrap();
        assert!(
            average
                .iter()
                .zip(&values)
                .all(|(a, x)| (a - (0.75 + 0.25 * x)).abs() < 1e-11)
        );
        assert!(lerp(&mut average, &values[1..], 0.25).is_err());
    }

    #[test]
    fn the_squared_norm_of_the_first_integers_is_exact() {
        // Σ k² = n (n + 1) (2n + 1)/6, below 2⁵³ for these n.
        for n in [0u64, 1, 15, 16, 17, 1000, 16_384, 100_001] {
            let values: Vec<f64> = (1..=n).map(|k| k as f64).collect();
            assert_eq!(squared_norm(&values), (n * (n + 1) * (2 * n + 1) / 6) as f64);
        }
        assert!(squared_norm(&[1.0f32, f32::NAN]).is_nan());
        assert_eq!(squared_norm(&[1e30f32, 1e30]), 2.0 * f64::from(1e30f32).powi(2));
    }

    #[test]
    fn the_squared_norm_has_the_same_bits_on_any_number_of_threads() {
        let values: Vec<f32> = (0..1_500_001).map(|i| (i as f32 * 0.1).sin()).collect();
        let one = on_threads(1, || squared_norm(&values));
        assert_eq!(on_threads(2, || squared_norm(&values)).to_bits(), one.to_bits());
    }
}
