//! Sums over all pairs of points: in parallel, and the same bits on any number of threads.
//!
//! Rows are summed in bands of fixed size, each by one thread from left to right in eight lanes; the bands' sums are then
//! added in order.

use rayon::prelude::*;

use crate::Points;

/// Rows that one thread sums at a time.
const BAND: usize = 64;

/// Columns whose squared distances are kept together.
const BLOCK: usize = 512;

/// Independent sums in a loop.
const LANES: usize = 8;

/// A cloud with each coordinate's values together, so that a loop over points is one over neighbours in memory.
pub(crate) struct Coordinates {
    values: Vec<f64>,
    count: usize,
}

impl Coordinates {
    pub(crate) fn of(points: &Points<'_>) -> Self {
        let count = points.count();
        let mut values = vec![0.0; points.values().len()];
        for (i, point) in points.iter().enumerate() {
            for (k, value) in point.iter().enumerate() {
                values[k * count + i] = *value;
            }
        }
        Self { values, count }
    }

    /// Calls `visit` with the squared distances from `point` to the points from `start` on, a block at a time.
    pub(crate) fn squared_distances(&self, point: &[f64], start: usize, mut visit: impl FnMut(&[f64])) {
        let mut squares = [0.0; BLOCK];
        let mut from = start;
        while from < self.count {
            let to = self.count.min(from + BLOCK);
            let squares = &mut squares[..to - from];
            squares.fill(0.0);
            for (coordinate, own) in self.values.chunks_exact(self.count).zip(point) {
                for (square, other) in squares.iter_mut().zip(&coordinate[from..to]) {
                    let difference = own - other;
                    *square += difference * difference;
                }
            }
            visit(squares);
            from = to;
        }
    }
}

/// Σ_i Σ_j f(|x_i − y_j|²).
pub(crate) fn sum_between(x: &Points<'_>, y: &Points<'_>, f: impl Fn(f64) -> f64 + Sync) -> f64 {
    let others = Coordinates::of(y);
    sum_rows(x, |_, point| row_sum(&others, point, 0, &f))
}

/// Σ_i Σ_{j ≠ i} f(|x_i − x_j|²).
pub(crate) fn sum_within(x: &Points<'_>, f: impl Fn(f64) -> f64 + Sync) -> f64 {
    let others = Coordinates::of(x);
    2.0 * sum_rows(x, |i, point| row_sum(&others, point, i + 1, &f))
}

fn sum_rows(x: &Points<'_>, row: impl Fn(usize, &[f64]) -> f64 + Sync) -> f64 {
    let d = x.dimension();
    let band = |(index, points): (usize, &[f64])| -> f64 {
        points
            .chunks_exact(d)
            .enumerate()
            .map(|(i, point)| row(index * BAND + i, point))
            .sum()
    };
    let sums: Vec<f64> = x.values().par_chunks(BAND * d).enumerate().map(band).collect();
    sums.into_iter().sum()
}

fn row_sum(others: &Coordinates, point: &[f64], start: usize, f: &impl Fn(f64) -> f64) -> f64 {
    let mut lanes = [0.0; LANES];
    others.squared_distances(point, start, |squares| {
        let (whole, rest) = squares.as_chunks::<LANES>();
        for chunk in whole {
            for (lane, square) in lanes.iter_mut().zip(chunk) {
                *lane += f(*square);
            }
        }
        for (lane, square) in lanes.iter_mut().zip(rest) {
            *lane += f(*square);
        }
    });
    lanes.into_iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cloud(count: usize, phase: f64) -> Vec<f64> {
        (0..count * 3).map(|k| (k as f64 * 0.7 + phase).sin()).collect()
    }

    #[test]
    fn sums_are_those_of_two_plain_loops() {
        for (n, m) in [(1, 1), (2, 7), (65, 63), (130, 1100)] {
            let (x, y) = (cloud(n, 0.0), cloud(m, 1.0));
            let (x, y) = (Points::new(&x, 3).unwrap(), Points::new(&y, 3).unwrap());
            let square = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>();
            let between: f64 = x
                .iter()
                .flat_map(|a| y.iter().map(move |b| square(a, b).sqrt()))
                .sum();
            let within: f64 = x
                .iter()
                .flat_map(|a| x.iter().map(move |b| square(a, b).sqrt()))
                .sum();
            assert!((sum_between(&x, &y, f64::sqrt) - between).abs() <= 1e-12 * between);
            assert!((sum_within(&x, f64::sqrt) - within).abs() <= 1e-12 * within);
        }
    }

    #[test]
    fn sums_have_the_same_bits_on_any_number_of_threads() {
        let (x, y) = (cloud(1000, 0.0), cloud(700, 1.0));
        let (x, y) = (Points::new(&x, 3).unwrap(), Points::new(&y, 3).unwrap());
        let on = |threads| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            pool.install(|| [sum_between(&x, &y, f64::sqrt), sum_within(&x, f64::sqrt)].map(f64::to_bits))
        };
        let one = on(1);
        for threads in [2, 3, 7] {
            assert_eq!(on(threads), one, "{threads} threads");
        }
    }
}
