//! The Chamfer distance: squared distances to the nearest neighbour, both ways.
//!
//! ```text
//! sum:   Σ_i min_j |x_i − y_j|² + Σ_j min_i |x_i − y_j|²
//! mean:  1/n Σ_i min_j |x_i − y_j|² + 1/m Σ_j min_i |x_i − y_j|²
//! ```
//!
//! It sees support, not density: a cloud that doubles some points is as near as before.
//!
//! Source: Fan, Su & Guibas 2017, arXiv:1612.00603, section 4.

use rayon::prelude::*;

use crate::pairwise::Coordinates;
use crate::points::check_dimensions;
use crate::{Points, Result};

/// The sum of the squared distances to the nearest neighbours, both ways; grows with the number of points.
///
/// Source: Fan, Su & Guibas 2017, arXiv:1612.00603, section 4.
///
/// # Errors
///
/// When the dimensions differ.
pub fn chamfer_sum(x: &Points<'_>, y: &Points<'_>) -> Result<f64> {
    check_dimensions(x, y)?;
    Ok(nearest(x, y).iter().sum::<f64>() + nearest(y, x).iter().sum::<f64>())
}

/// The mean squared distance to the nearest neighbour from x to y, plus that from y to x.
///
/// Source: Fan, Su & Guibas 2017, arXiv:1612.00603, section 4.
///
/// # Errors
///
/// When the dimensions differ.
pub fn chamfer_mean(x: &Points<'_>, y: &Points<'_>) -> Result<f64> {
    check_dimensions(x, y)?;
    let mean = |squares: Vec<f64>| squares.iter().sum::<f64>() / squares.len() as f64;
    Ok(mean(nearest(x, y)) + mean(nearest(y, x)))
}

/// The squared distance of each point of `x` to the nearest of `y`.
fn nearest(x: &Points<'_>, y: &Points<'_>) -> Vec<f64> {
    const LANES: usize = 8;
    let others = Coordinates::of(y);
    let smaller = |a: f64, b: f64| if a < b { a } else { b };
    let row = |point: &[f64]| {
        let mut lanes = [f64::INFINITY; LANES];
        others.squared_distances(point, 0, |squares| {
            for chunk in squares.chunks(LANES) {
                for (lane, square) in lanes.iter_mut().zip(chunk) {
                    *lane = smaller(*square, *lane);
                }
            }
        });
        lanes.into_iter().fold(f64::INFINITY, smaller)
    };
    x.values()
        .par_chunks_exact(x.dimension())
        .with_min_len(64)
        .map(row)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_points_against_two_are_counted_by_hand() {
        // x → y: 1, 1, 16; y → x: 1, 4 + 9.
        let (x, y) = ([0.0, 0.0, 2.0, 0.0, 5.0, 0.0], [1.0, 0.0, 0.0, -3.0]);
        let (x, y) = (Points::new(&x, 2).unwrap(), Points::new(&y, 2).unwrap());
        assert_eq!(chamfer_sum(&x, &y).unwrap(), 18.0 + 1.0 + 9.0);
        assert_eq!(chamfer_mean(&x, &y).unwrap(), 18.0 / 3.0 + 10.0 / 2.0);
        assert_eq!(chamfer_sum(&y, &x).unwrap(), chamfer_sum(&x, &y).unwrap());
    }

    #[test]
    fn a_grid_shifted_by_a_fraction_moves_every_point_by_it() {
        let grid: Vec<f64> = (0..1000).map(f64::from).collect();
        let shifted: Vec<f64> = grid.iter().map(|x| x + 0.25).collect();
        let (x, y) = (Points::new(&grid, 1).unwrap(), Points::new(&shifted, 1).unwrap());
        assert_eq!(chamfer_sum(&x, &y).unwrap(), 2000.0 * 0.0625);
        assert_eq!(chamfer_mean(&x, &y).unwrap(), 0.125);
        assert!(chamfer_mean(&x, &Points::new(&grid, 2).unwrap()).is_err());
    }
}
