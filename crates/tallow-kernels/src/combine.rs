//! Sums of scaled slices with a factor for each row, in one pass over memory.
//!
//! ```text
//! out[r, i] = c₁[r] x₁[r, i] + c₂[r] x₂[r, i] + …
//! ```
//!
//! Products and sums are rounded one by one, in the order of the terms: the same bits on every processor.

use std::mem::MaybeUninit;

use crate::buffer::{assume_written, written};
use crate::dispatch::{self, Isa, Kernel, Path};
use crate::error::{Error, Result, area, check_length};
use crate::float::Float;
use crate::parallel;

/// Values that one task takes, at least.
const PIECE: usize = 1 << 14;

/// A slice of rows, and the factor of each; a single factor is that of all rows.
#[derive(Clone, Copy, Debug)]
pub struct Scaled<'a, T> {
    /// c, one number or one for each row.
    pub factors: &'a [T],
    /// x, (rows, elements of a row).
    pub values: &'a [T],
}

/// The sum of `terms`, whose values have `rows` rows each.
///
/// # Errors
///
/// When there is no term, or a slice does not have the length of its shape.
pub fn combine<T: Float>(terms: &[Scaled<'_, T>], rows: usize) -> Result<Vec<T>> {
    let Some(first) = terms.first() else {
        return Err(Error::Length {
            name: "terms",
            got: 0,
            wanted: 1,
        });
    };
    let len = first.values.len();
    let width = len.checked_div(rows).unwrap_or(0);
    check_length("values", len, area(rows, width)?)?;
    for term in terms {
        check_length("values", term.values.len(), len)?;
        if term.factors.len() != 1 {
            check_length("factors", term.factors.len(), rows)?;
        }
    }
    // With one factor for all, rows need not stay whole.
    let shared = terms.iter().all(|term| term.factors.len() == 1);
    let width = if shared { PIECE } else { width.max(1) };
    let piece = PIECE.div_ceil(width);
    let fill = |out: &mut [MaybeUninit<T>]| -> Result<()> {
        let tasks = out.chunks_mut(piece * width).enumerate().collect();
        parallel::for_each(terms.len() * len, tasks, |(index, out)| {
            let first = index * piece;
            dispatch::run(
                Path::best(),
                Combine {
                    terms,
                    first,
                    width,
                    out,
                },
            );
        });
        Ok(())
    };
    // SAFETY: each task writes its values in full.
    unsafe { written(len, fill) }
}

struct Combine<'a, T> {
    terms: &'a [Scaled<'a, T>],
    first: usize,
    width: usize,
    out: &'a mut [MaybeUninit<T>],
}

impl<T: Float> Combine<'_, T> {
    /// The factor and the values of a term in a row.
    #[inline(always)]
    fn part(&self, term: usize, row: usize, len: usize) -> (T, &[T]) {
        let term = &self.terms[term];
        let factor = if term.factors.len() == 1 { 0 } else { row };
        (term.factors[factor], &term.values[row * self.width..][..len])
    }
}

impl<T: Float> Kernel for Combine<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(mut self) {
        let out = std::mem::take(&mut self.out);
        for (index, out) in out.chunks_mut(self.width).enumerate() {
            let len = out.len();
            let part = |term: usize| self.part(term, self.first + index, len);
            let (c, x) = part(0);
            if self.terms.len() == 1 {
                for (out, &x) in out.iter_mut().zip(x) {
                    out.write(c * x);
                }
                continue;
            }
            let (d, y) = part(1);
            if self.terms.len() == 2 {
                for ((out, &x), &y) in out.iter_mut().zip(x).zip(y) {
                    out.write(c * x + d * y);
                }
                continue;
            }
            let (e, z) = part(2);
            for (((out, &x), &y), &z) in out.iter_mut().zip(x).zip(y).zip(z) {
                out.write(c * x + d * y + e * z);
            }
            for term in 3..self.terms.len() {
                let (f, values) = part(term);
                // SAFETY: written by the loop above.
                let sums = unsafe { assume_written(&mut *out) };
                for (sum, &value) in sums.iter_mut().zip(values) {
                    *sum = *sum + f * value;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parallel::on_threads;

    #[test]
    fn every_number_of_terms_is_the_sum_with_shared_factors_and_with_one_a_row() {
        for (rows, width) in [(1, 1), (5, 3), (3, 40_000), (30_000, 2), (0, 4), (4, 0)] {
            let n = rows * width;
            let values: Vec<Vec<f64>> = (0..5)
                .map(|t| (0..n).map(|i| (i * 7 + t) as f64).collect())
                .collect();
            let shared: Vec<Vec<f64>> = (0..5).map(|t| vec![t as f64 - 2.0]).collect();
            let own: Vec<Vec<f64>> = (0..5)
                .map(|t| (0..rows).map(|row| (row + t) as f64).collect())
                .collect();
            for factors in [&shared, &own] {
                for count in 1..=5 {
                    let terms: Vec<_> = factors
                        .iter()
                        .zip(&values)
                        .map(|(factors, values)| Scaled { factors, values })
                        .take(count)
                        .collect();
                    let sum = on_threads(2, || combine(&terms, rows).unwrap());
                    for (i, sum) in sum.iter().enumerate() {
                        let factor = |term: &Scaled<'_, f64>| term.factors[(i / width) % term.factors.len()];
                        // Integers below 2⁵³: exact.
                        let wanted: f64 = terms.iter().map(|term| factor(term) * term.values[i]).sum();
                        assert_eq!(
                            *sum, wanted,
                            "element {i} of {count} terms, {rows} rows of {width}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn slices_that_do_not_fit_are_refused() {
        let term = |factors, values| Scaled::<f32> { factors, values };
        assert!(combine::<f32>(&[], 1).is_err());
        assert!(combine(&[term(&[1.0], &[1.0; 5])], 2).is_err());
        assert!(combine(&[term(&[1.0; 3], &[1.0; 4])], 2).is_err());
        assert!(combine(&[term(&[1.0], &[1.0; 4]), term(&[1.0], &[1.0; 2])], 2).is_err());
    }
}
