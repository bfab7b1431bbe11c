//! Squared distances between all rows of two sets: the costs of transport.
//!
//! ```text
//! c(i, j) = |x_i − y_j|²
//! ```
//!
//! Few features are subtracted and squared; many are a matrix product, |x|² + |y|² − 2 x·y, cut off at zero. Both sum in
//! `f64`. An entry depends on its two rows alone.

use crate::dispatch::{self, Isa, Kernel, Path};
use crate::error::{Result, area, check_length};
use crate::float::Float;
use crate::parallel;
use crate::product::{Matrix, multiply};

/// The most features for which subtracting is cheaper than a matrix product.
const FEW: usize = 16;

/// Rows of x that a thread takes at once.
const BLOCK: usize = 32;

/// All squared distances of `x`, (rows, features), to `y`, (columns, features): (rows, columns), row by row.
///
/// # Errors
///
/// When a slice does not have the length of its shape.
pub fn squared_distances<T: Float>(
    x: &[T],
    y: &[T],
    rows: usize,
    columns: usize,
    features: usize,
) -> Result<Vec<f64>> {
    check_length("x", x.len(), area(rows, features)?)?;
    check_length("y", y.len(), area(columns, features)?)?;
    let mut costs = vec![0.0; area(rows, columns)?];
    if costs.is_empty() || features == 0 {
        return Ok(costs);
    }
    let (x, y) = (widened(x), widened(y));
    let cost = rows.saturating_mul(columns).saturating_mul(features);
    let norms = |values: &[f64]| -> Vec<f64> {
        values
            .chunks_exact(features)
            .map(|row| row.iter().map(|v| v * v).sum())
            .collect()
    };
    let (x_norms, y_norms) = (norms(&x), norms(&y));
    let turned = turned(&y, columns, features);
    let tasks: Vec<_> = costs.chunks_mut(BLOCK * columns).enumerate().collect();
    parallel::try_for_each(cost, tasks, |(block, costs)| {
        let rows = costs.len() / columns;
        let first = block * BLOCK;
        let x = &x[first * features..][..rows * features];
        if features <= FEW {
            let turned = &turned;
            dispatch::run(
                Path::best(),
                Subtract {
                    x,
                    turned,
                    columns,
                    features,
                    costs,
                },
            );
            return Ok(());
        }
        // Two rows at least, so that a row does not depend on how many there are (see `product`).
        let mut padded = x.to_vec();
        padded.resize(rows.max(2) * features, 0.0);
        let mut products = vec![0.0; area(rows.max(2), columns)?];
        let (left, right) = (
            Matrix::new(&padded, rows.max(2), features)?,
            Matrix::new(&turned, features, columns)?,
        );
        multiply(left, right, crate::buffer::as_place(&mut products))?;
        for ((costs, products), x_norm) in costs
            .chunks_exact_mut(columns)
            .zip(products.chunks_exact(columns))
            .zip(&x_norms[first..])
        {
            for ((cost, product), y_norm) in costs.iter_mut().zip(products).zip(&y_norms) {
                *cost = (x_norm + y_norm - 2.0 * product).max(0.0);
            }
        }
        Ok(())
    })?;
    Ok(costs)
}

fn widened<T: Float>(values: &[T]) -> Vec<f64> {
    values.iter().map(|value| value.to_f64()).collect()
}

/// (columns, features) to (features, columns).
fn turned(y: &[f64], columns: usize, features: usize) -> Vec<f64> {
    let mut turned = vec![0.0; y.len()];
    for (j, row) in y.chunks_exact(features).enumerate() {
        for (k, &value) in row.iter().enumerate() {
            turned[k * columns + j] = value;
        }
    }
    turned
}

struct Subtract<'a> {
    x: &'a [f64],
    turned: &'a [f64],
    columns: usize,
    features: usize,
    costs: &'a mut [f64],
}

impl Kernel for Subtract<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        let Self {
            x,
            turned,
            columns,
            features,
            costs,
        } = self;
        for (x, costs) in x.chunks_exact(features).zip(costs.chunks_exact_mut(columns)) {
            for (&x, y) in x.iter().zip(turned.chunks_exact(columns)) {
                for (cost, &y) in costs.iter_mut().zip(y) {
                    let apart = x - y;
                    *cost += apart * apart;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_distance_is_that_of_its_two_rows() {
        for (rows, columns, features) in [
            (1, 1, 1),
            (3, 5, 2),
            (40, 33, 16),
            (33, 1, 17),
            (1, 40, 100),
            (0, 3, 2),
            (2, 0, 40),
        ] {
            let value = |i: usize| ((i * 7919) % 1013) as f64 / 101.0 - 5.0;
            let x: Vec<f64> = (0..rows * features).map(value).collect();
            let y: Vec<f64> = (0..columns * features).map(|i| value(i + 55)).collect();
            let costs = squared_distances(&x, &y, rows, columns, features).unwrap();
            for i in 0..rows {
                for j in 0..columns {
                    let pairs = (0..features).map(|k| x[i * features + k] - y[j * features + k]);
                    let exact: f64 = pairs.map(|apart| apart * apart).sum();
                    assert!(
                        (costs[i * columns + j] - exact).abs() <= 1e-12 * (1.0 + exact),
                        "{i} {j}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_wrong_length_is_refused() {
        assert!(squared_distances(&[0f32; 3], &[0f32; 4], 2, 2, 2).is_err());
        assert!(squared_distances(&[0f32; 4], &[0f32; 3], 2, 2, 2).is_err());
    }
}
