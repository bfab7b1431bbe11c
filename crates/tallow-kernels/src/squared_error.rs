//! The squared error of rows and its gradient, each in one pass over memory.
//!
//! ```text
//! e[r] = Σᵢ (y[r, i] − t[r, i])²/d          ∂/∂y[r, i] Σ_r c[r] e[r] = (2/d) c[r] (y[r, i] − t[r, i])
//! ```

use std::mem::MaybeUninit;

use crate::buffer::written;
use crate::dispatch::{self, Isa, Kernel, Path};
use crate::error::{Result, area, check_length};
use crate::float::Float;
use crate::parallel;

/// Values that one task takes, at least.
const PIECE: usize = 1 << 14;
/// Partial sums that run side by side.
const LANES: usize = 16;

/// The mean square of y − t of each of `rows` rows, summed in an order that depends on the length of a row alone.
///
/// # Errors
///
/// When the lengths differ, or are not `rows` rows of at least one element.
pub fn squared_errors<T: Float>(y: &[T], target: &[T], rows: usize) -> Result<Vec<T>> {
    let width = width(y, target, rows)?;
    let piece = PIECE.div_ceil(width);
    let fill = |out: &mut [MaybeUninit<T>]| -> Result<()> {
        let pieces = y.chunks(piece * width).zip(target.chunks(piece * width));
        let tasks = pieces.zip(out.chunks_mut(piece)).collect();
        parallel::for_each(y.len(), tasks, |((y, target), out)| {
            dispatch::run(
                Path::best(),
                Errors {
                    y,
                    target,
                    width,
                    out,
                },
            );
        });
        Ok(())
    };
    // SAFETY: each task writes the values of its rows.
    unsafe { written(rows, fill) }
}

/// The gradient in y of Σ `factors`\[r\] e\[r\].
///
/// # Errors
///
/// When the lengths differ, or are not rows of at least one element, one for each factor.
pub fn squared_error_gradient<T: Float>(y: &[T], target: &[T], factors: &[T]) -> Result<Vec<T>> {
    let width = width(y, target, factors.len())?;
    let piece = PIECE.div_ceil(width);
    let fill = |out: &mut [MaybeUninit<T>]| -> Result<()> {
        let pieces = y.chunks(piece * width).zip(target.chunks(piece * width));
        let tasks = pieces
            .zip(factors.chunks(piece).zip(out.chunks_mut(piece * width)))
            .collect();
        parallel::for_each(y.len(), tasks, |((y, target), (factors, out))| {
            dispatch::run(
                Path::best(),
                Gradient {
                    y,
                    target,
                    width,
                    factors,
                    out,
                },
            );
        });
        Ok(())
    };
    // SAFETY: each task writes the values of its rows.
    unsafe { written(y.len(), fill) }
}

fn width<T>(y: &[T], target: &[T], rows: usize) -> Result<usize> {
    check_length("target", target.len(), y.len())?;
    let width = y.len().checked_div(rows).unwrap_or(0).max(1);
    check_length("y", y.len(), area(rows, width)?)?;
    Ok(width)
}

struct Errors<'a, T> {
    y: &'a [T],
    target: &'a [T],
    width: usize,
    out: &'a mut [MaybeUninit<T>],
}

impl<T: Float> Kernel for Errors<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        let share = T::from_f64(1.0 / self.width as f64);
        let rows = self
            .y
            .chunks_exact(self.width)
            .zip(self.target.chunks_exact(self.width));
        for (out, (y, target)) in self.out.iter_mut().zip(rows) {
            let mut lanes = [T::default(); LANES];
            let (ys, y_rest) = y.as_chunks::<LANES>();
            let (targets, target_rest) = target.as_chunks::<LANES>();
            for (y, target) in ys.iter().zip(targets) {
                for i in 0..LANES {
                    let e = y[i] - target[i];
                    lanes[i] = I::mul_add(e, e, lanes[i]);
                }
            }
            let mut sum = T::default();
            for (&y, &target) in y_rest.iter().zip(target_rest) {
                sum = I::mul_add(y - target, y - target, sum);
            }
            if !ys.is_empty() {
                sum = lanes.iter().fold(sum, |sum, &lane| sum + lane);
            }
            out.write(sum * share);
        }
    }
}

struct Gradient<'a, T> {
    y: &'a [T],
    target: &'a [T],
    width: usize,
    factors: &'a [T],
    out: &'a mut [MaybeUninit<T>],
}

impl<T: Float> Kernel for Gradient<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        let share = T::from_f64(2.0 / self.width as f64);
        let rows = self
            .y
            .chunks_exact(self.width)
            .zip(self.target.chunks_exact(self.width));
        let outs = self.factors.iter().zip(self.out.chunks_exact_mut(self.width));
        for ((&factor, out), (y, target)) in outs.zip(rows) {
            let factor = share * factor;
            for ((out, &y), &target) in out.iter_mut().zip(y).zip(target) {
                out.write(factor * (y - target));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parallel::on_threads;

    #[test]
    fn errors_and_gradients_are_those_of_the_formula_on_any_number_of_threads() {
        for (rows, width) in [(1, 1), (5, 2), (3, 17), (4, 1000), (20_000, 2), (2, 40_000)] {
            let y: Vec<f64> = (0..rows * width).map(|i| (i as f64 * 0.3).sin()).collect();
            let target: Vec<f64> = (0..rows * width).map(|i| (i as f64 * 0.7).cos()).collect();
            let factors: Vec<f64> = (0..rows).map(|row| 1.0 + row as f64).collect();
            let both = || {
                (
                    squared_errors(&y, &target, rows).unwrap(),
                    squared_error_gradient(&y, &target, &factors).unwrap(),
                )
            };
            let (errors, gradient) = on_threads(1, both);
            assert!(on_threads(2, both) == (errors.clone(), gradient.clone()));
            for row in 0..rows {
                let range = row * width..(row + 1) * width;
                let e = |i: usize| y[i] - target[i];
                let wanted = range.clone().map(|i| e(i) * e(i)).sum::<f64>() / width as f64;
                assert!((errors[row] - wanted).abs() < 1e-13 * (1.0 + wanted));
                for i in range {
                    let wanted = 2.0 * factors[row] * e(i) / width as f64;
                    assert!((gradient[i] - wanted).abs() <= 1e-14 * wanted.abs());
                }
            }
        }
    }

    #[test]
    fn slices_that_do_not_fit_are_refused() {
        assert!(squared_errors(&[0.0f32; 4], &[0.0; 3], 2).is_err());
        assert!(squared_errors(&[0.0f32; 5], &[0.0; 5], 2).is_err());
        assert!(squared_errors(&[0.0f32; 0], &[], 2).is_err());
        assert!(squared_error_gradient(&[0.0f32; 4], &[0.0; 4], &[1.0; 3]).is_err());
    }
}
