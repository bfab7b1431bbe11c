//! The checkerboard: density that jumps, and vanishes in between.
//!
//! ```text
//! p(x, y) = 1/8 where ⌊x⌋ + ⌊y⌋ is even, (x, y) ∈ [−2, 2)²
//! ```
//!
//! Source: Lipman et al. 2022, arXiv:2210.02747, figure 4.

use rand::RngCore;
use tallow_denoisers::{Batch, Dataset, Result};

use crate::points::Draws;

/// Uniform points on the eight black squares of a 4 x 4 board over [-2, 2)², without labels.
///
/// Coordinates are multiples of 2⁻²², which f32 holds exactly: rounding moves no point across an edge.
///
/// Source: Lipman et al. 2022, arXiv:2210.02747, figure 4.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checkerboard;

impl Checkerboard {
    /// The board.
    #[must_use]
    pub fn new() -> Self {
        Self
    }

    /// Whether a point lies on a black square: where the density is 1/8. Everything off the board is not black.
    #[must_use]
    pub fn is_black(x: f64, y: f64) -> bool {
        let on_board = |v: f64| (-2.0..2.0).contains(&v);
        on_board(x) && on_board(y) && (x.floor() + y.floor()).rem_euclid(2.0) == 0.0
    }
}

impl Dataset for Checkerboard {
    fn item_shape(&self) -> &[usize] {
        &[2]
    }

    fn draw(&self, count: usize, rng: &mut dyn RngCore) -> Result<Batch> {
        let draws = Draws::new("a draw of the checkerboard", count, (2, 0), rng)?;
        let points = draws.map(|u, _| {
            let x = on_grid(4.0 * u[0] - 2.0);
            // Half of the height, as two squares on top of each other, and then their places in this column.
            let y = on_grid(2.0 * u[1]);
            let upper = y.floor();
            ([x, y - 2.0 + upper + x.floor().rem_euclid(2.0)], 0)
        });
        points.batch()
    }
}

/// The multiple of 2⁻²² at or below a number.
fn on_grid(value: f64) -> f64 {
    const CELLS: f64 = (1 << 22) as f64;
    (value * CELLS).floor() / CELLS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::points::testing::{draw, mean};

    #[test]
    fn every_point_is_on_a_black_square() {
        let points = draw::<2>(&Checkerboard, 200_000, 1);
        assert!(points.iter().all(|([x, y], _)| Checkerboard::is_black(*x, *y)));
    }

    #[test]
    fn the_eight_squares_are_equally_full_and_full_everywhere() {
        let n = 200_000;
        let mut squares = [[0_u32; 4]; 4];
        let points = draw::<2>(&Checkerboard, n, 2);
        for ([x, y], _) in &points {
            squares[(x + 2.0) as usize][(y + 2.0) as usize] += 1;
        }
        // Standard deviation of a count: √(n/8 · 7/8) = 148. Five of them.
        let full: Vec<u32> = squares.into_iter().flatten().filter(|count| *count > 0).collect();
        assert_eq!(full.len(), 8);
        assert!(
            full.iter().all(|count| count.abs_diff(n as u32 / 8) < 740),
            "{squares:?}"
        );
        // Within a square a coordinate is uniform: mean 1/2, standard error √(1/12/n) = 6.5e-4.
        for axis in 0..2 {
            let inside = mean(&points, |point, _| point[axis].rem_euclid(1.0));
            assert!((inside - 0.5).abs() < 3.3e-3, "axis {axis}: {inside}");
        }
    }

    #[test]
    fn moments_are_those_of_the_board() {
        let points = draw::<2>(&Checkerboard, 200_000, 3);
        // E x = E y = 0 and E x² = E y² = 4/3; each square's centre product is ±¼ or ±¾…, and E xy = 1/4 by summing them.
        for axis in 0..2 {
            assert!(mean(&points, |point, _| point[axis]).abs() < 0.013);
            assert!((mean(&points, |point, _| point[axis].powi(2)) - 4.0 / 3.0).abs() < 0.014);
        }
        let exact: f64 = (-2..2)
            .flat_map(|i| (-2..2).filter(move |j| (i + j) % 2 == 0).map(move |j| (i, j)))
            .map(|(i, j)| (f64::from(i) + 0.5) * (f64::from(j) + 0.5) / 8.0)
            .sum();
        assert!(
            (mean(&points, |[x, y], _| x * y) - exact).abs() < 0.016,
            "{exact}"
        );
    }

    #[test]
    fn the_corner_square_is_black_and_its_neighbours_are_not() {
        assert!(Checkerboard::is_black(-2.0, -2.0) && Checkerboard::is_black(1.5, 1.5));
        assert!(!Checkerboard::is_black(-1.0, -2.0) && !Checkerboard::is_black(0.5, 1.5));
        assert!(!Checkerboard::is_black(2.0, 0.5) && !Checkerboard::is_black(f64::NAN, 0.5));
    }
}
