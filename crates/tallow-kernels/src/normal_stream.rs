//! Normal numbers straight from a key stream: each thread makes its own bytes and transforms them while they are in the cache.

use std::mem::MaybeUninit;

use crate::buffer::{assume_written, written};
use crate::chacha::ChaCha8;
use crate::error::Result;
use crate::float::Float;
use crate::normal::normals_from_bytes;
use crate::parallel;

/// Values that one task makes; even, so that no pair is cut.
const PIECE: usize = 1 << 12;
/// What a value costs, in multiply-adds.
const COST: usize = 48;

impl ChaCha8 {
    /// `n` standard normal numbers: those of [`normals_from_bytes`](crate::normals_from_bytes) on the bytes that begin
    /// with the 32-bit word at `position`. They use four words for each pair, a last single one like a pair.
    ///
    /// # Errors
    ///
    /// None that a caller can cause.
    pub fn normals<T: Float>(&self, position: u128, n: usize) -> Result<Vec<T>> {
        let fill = |out: &mut [MaybeUninit<T>]| {
            let pieces = out.chunks_mut(PIECE).enumerate().collect();
            parallel::try_for_each(n.saturating_mul(COST), pieces, |(index, out)| {
                let words = (2 * index * PIECE) as u128;
                self.piece(position.wrapping_add(words), out)
            })
        };
        // SAFETY: every piece is written in full, or there is an error.
        unsafe { written(n, fill) }
    }

    fn piece<T: Float>(&self, position: u128, out: &mut [MaybeUninit<T>]) -> Result<()> {
        let mut bytes = [0; 8 * PIECE];
        let bytes = &mut bytes[..8 * out.len().next_multiple_of(2)];
        self.fill(position, bytes);
        out.fill(MaybeUninit::new(T::default()));
        // SAFETY: written by the line above.
        normals_from_bytes(bytes, unsafe { assume_written(out) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parallel::on_threads;

    #[test]
    fn the_numbers_are_those_of_the_bytes_from_any_position_on_any_number_of_threads() {
        let chacha = ChaCha8::new([3; 32], 8);
        for (position, n) in [(0, 100_000_usize), (5, 100_001), (16, 7), (1, 0)] {
            let mut bytes = vec![0; 8 * n.next_multiple_of(2)];
            chacha.fill(position, &mut bytes);
            let mut wanted = vec![0.0f32; n];
            normals_from_bytes(&bytes, &mut wanted).unwrap();
            for threads in [1, 2] {
                let drawn: Vec<f32> = on_threads(threads, || chacha.normals(position, n).unwrap());
                assert!(drawn == wanted, "{n} from word {position} on {threads} threads");
            }
        }
    }

    #[test]
    fn moments_tails_and_distribution_are_those_of_the_normal() {
        let n = 1_usize << 22;
        let mut values: Vec<f64> = ChaCha8::new([1; 32], 0).normals(0, n).unwrap();
        // Standard errors 1/√n = 4.9e-4 times 1, √2, √15, √96. Bounds are five of them.
        for (power, wanted, bound) in [
            (1, 0.0, 0.0025),
            (2, 1.0, 0.0035),
            (3, 0.0, 0.0095),
            (4, 3.0, 0.024),
        ] {
            let moment = values.iter().map(|z| z.powi(power)).sum::<f64>() / n as f64;
            assert!((moment - wanted).abs() < bound, "moment {power}: {moment}");
        }
        values.sort_by(f64::total_cmp);
        // Quantiles of the normal distribution, and their standard error √(p (1 − p)/n)/density.
        for (p, quantile) in [
            (1e-4, -3.719_016_485_f64),
            (1e-3, -3.090_232_306),
            (0.1, -1.281_551_566),
            (0.5, 0.0),
        ] {
            let density = (-0.5 * quantile * quantile).exp() / std::f64::consts::TAU.sqrt();
            let error = (p * (1.0 - p) / n as f64).sqrt() / density;
            for (rank, wanted) in [(p, quantile), (1.0 - p, -quantile)] {
                let found = values[(rank * n as f64) as usize];
                assert!((found - wanted).abs() < 5.0 * error, "quantile {rank}: {found}");
            }
        }
        // Kolmogorov's statistic stays below 1.95/√n in 999 of 1000 samples.
        let distance = values
            .iter()
            .enumerate()
            .map(|(rank, z)| (cumulative(*z) - (rank as f64 + 0.5) / n as f64).abs())
            .fold(0.0, f64::max);
        assert!(distance < 1.95 / (n as f64).sqrt(), "distance {distance}");
        // The largest of n: P(|z| < 4.2 for all) = e⁻¹¹², P(some |z| > 6.6) = 2e-4.
        let largest = values[n - 1].max(-values[0]);
        assert!((4.2..6.6).contains(&largest), "largest {largest}");
    }

    /// Φ(z) by the series of Marsaglia 2004, doi:10.18637/jss.v011.i04.
    fn cumulative(z: f64) -> f64 {
        let (mut sum, mut term, mut k) = (z, z, 1.0);
        while term.abs() > 1e-17 {
            k += 2.0;
            term *= z * z / k;
            sum += term;
        }
        0.5 + sum * (-0.5 * z * z).exp() / std::f64::consts::TAU.sqrt()
    }
}
