//! The Wasserstein distance of two clouds of equally many points, by exact assignment.
//!
//! ```text
//! W_p = (min_π 1/n Σ_i |x_i − y_π(i)|^p)^{1/p},   π a permutation
//! ```
//!
//! On a line the sorted points are paired. Elsewhere the assignment takes O(n³) time and n² numbers of memory.
//!
//! Source: Peyré & Cuturi 2019, arXiv:1803.00567, section 2.2 and equation 2.11.

use std::fmt;

use rayon::prelude::*;
use tallow_kernels::assign;

use crate::points::check_dimensions;
use crate::{Error, Points, Result};

/// The most points that an assignment takes in two dimensions and more: half a minute at worst, 134 MB of costs.
pub const MOST_POINTS: usize = 4096;

/// What moving a point costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroundCost {
    /// |x − y|, of W₁.
    Euclidean,
    /// |x − y|², of W₂.
    SquaredEuclidean,
}

/// A Wasserstein distance with what it takes to compare it: it falls as the number of points rises.
#[derive(Clone, Debug, PartialEq)]
pub struct Wasserstein {
    /// W₁ or W₂, in units of length.
    pub distance: f64,
    /// How many points each cloud has.
    pub count: usize,
    /// What moving a point cost.
    pub cost: GroundCost,
    /// The point of y that each point of x moves to.
    pub pairing: Vec<usize>,
}

impl fmt::Display for Wasserstein {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (order, cost) = match self.cost {
            GroundCost::Euclidean => (1, "Euclidean"),
            GroundCost::SquaredEuclidean => (2, "squared Euclidean"),
        };
        write!(
            f,
            "W{order} = {} (exact, {} points, {cost} cost)",
            self.distance, self.count
        )
    }
}

/// The mean distance that the points of x move when they become those of y in the cheapest way: W₁.
///
/// Source: Peyré & Cuturi 2019, arXiv:1803.00567, section 2.2 and equation 2.11.
///
/// # Errors
///
/// When dimensions or counts differ, or there are more than [`MOST_POINTS`] points in two dimensions or more.
pub fn wasserstein1(x: &Points<'_>, y: &Points<'_>) -> Result<Wasserstein> {
    transport(x, y, GroundCost::Euclidean)
}

/// The root of the mean squared distance that the points of x move when they become those of y in the cheapest way: W₂.
///
/// Source: Peyré & Cuturi 2019, arXiv:1803.00567, section 2.2 and equation 2.11.
///
/// ```
/// use tallow_metrics::{Points, wasserstein2};
///
/// let (x, y) = ([0.0, 0.0, 1.0, 0.0], [1.0, 3.0, 0.0, 3.0]);
/// let found = wasserstein2(&Points::new(&x, 2)?, &Points::new(&y, 2)?)?;
/// assert_eq!(found.to_string(), "W2 = 3 (exact, 2 points, squared Euclidean cost)");
/// assert_eq!(found.pairing, [1, 0]);
/// # Ok::<(), tallow_metrics::Error>(())
/// ```
///
/// # Errors
///
/// When dimensions or counts differ, or there are more than [`MOST_POINTS`] points in two dimensions or more.
pub fn wasserstein2(x: &Points<'_>, y: &Points<'_>) -> Result<Wasserstein> {
    transport(x, y, GroundCost::SquaredEuclidean)
}

fn transport(x: &Points<'_>, y: &Points<'_>, cost: GroundCost) -> Result<Wasserstein> {
    check_dimensions(x, y)?;
    let count = x.count();
    if count != y.count() {
        return Err(Error::Counts {
            x: count,
            y: y.count(),
        });
    }
    let pairing = if x.dimension() == 1 {
        pair_sorted(x.values(), y.values())
    } else if count <= MOST_POINTS {
        assign(&costs(x, y, cost), count, count)?.columns
    } else {
        return Err(Error::TooMany {
            count,
            most: MOST_POINTS,
        });
    };
    let pairs = x.iter().zip(&pairing);
    let other = |j: usize| &y.values()[j * y.dimension()..(j + 1) * y.dimension()];
    let mean = pairs.map(|(point, &j)| moved(point, other(j), cost)).sum::<f64>() / count as f64;
    let distance = if cost == GroundCost::Euclidean {
        mean
    } else {
        mean.sqrt()
    };
    Ok(Wasserstein {
        distance,
        count,
        cost,
        pairing,
    })
}

/// The cost of every pair, (n, n).
fn costs(x: &Points<'_>, y: &Points<'_>, cost: GroundCost) -> Vec<f64> {
    let mut costs = vec![0.0; x.count() * y.count()];
    let rows = costs
        .par_chunks_exact_mut(y.count())
        .zip(x.values().par_chunks_exact(x.dimension()));
    rows.for_each(|(row, point)| {
        for (entry, other) in row.iter_mut().zip(y.iter()) {
            *entry = moved(point, other, cost);
        }
    });
    costs
}

fn moved(from: &[f64], to: &[f64], cost: GroundCost) -> f64 {
    let square: f64 = from.iter().zip(to).map(|(a, b)| (a - b) * (a - b)).sum();
    if cost == GroundCost::Euclidean {
        square.sqrt()
    } else {
        square
    }
}

/// Pairs the smallest with the smallest and so on.
fn pair_sorted(x: &[f64], y: &[f64]) -> Vec<usize> {
    let order = |values: &[f64]| {
        let mut order: Vec<usize> = (0..values.len()).collect();
        order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
        order
    };
    let mut pairing = vec![0; x.len()];
    for (i, j) in order(x).into_iter().zip(order(y)) {
        pairing[i] = j;
    }
    pairing
}

#[cfg(test)]
mod tests {
    use rand::{RngCore, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::sliced_wasserstein::normals;

    #[test]
    fn a_shifted_cloud_is_as_far_as_its_shift() {
        let rng: &mut dyn RngCore = &mut ChaCha8Rng::seed_from_u64(1);
        let x = normals(2 * 200, rng);
        // The shifted points in reverse order, so that the identity is not the answer.
        let y: Vec<f64> = x.chunks(2).rev().flat_map(|p| [p[0] + 3.0, p[1] - 4.0]).collect();
        let (x, y) = (Points::new(&x, 2).unwrap(), Points::new(&y, 2).unwrap());
        let found = wasserstein2(&x, &y).unwrap();
        assert!((found.distance - 5.0).abs() < 1e-12, "{found}");
        assert!((wasserstein1(&x, &y).unwrap().distance - 5.0).abs() < 1e-12);
        assert_eq!(found.pairing, (0..200).rev().collect::<Vec<_>>());
    }

    #[test]
    fn scaling_a_cloud_moves_it_by_its_root_mean_square() {
        // x → c x is the gradient of a convex function, so it is the cheapest way (Brenier).
        let rng: &mut dyn RngCore = &mut ChaCha8Rng::seed_from_u64(2);
        for dimension in [1, 3] {
            let x = normals(300 * dimension, rng);
            let y: Vec<f64> = x.iter().map(|x| 1.5 * x).collect();
            let exact = 0.5 * (x.iter().map(|x| x * x).sum::<f64>() / 300.0).sqrt();
            let (x, y) = (
                Points::new(&x, dimension).unwrap(),
                Points::new(&y, dimension).unwrap(),
            );
            assert!((wasserstein2(&x, &y).unwrap().distance - exact).abs() < 1e-13);
        }
    }

    #[test]
    fn a_line_in_the_plane_gives_what_the_line_gives() {
        let rng: &mut dyn RngCore = &mut ChaCha8Rng::seed_from_u64(3);
        let (x, y) = (normals(100, rng), normals(100, rng));
        let flat = |line: &[f64]| line.iter().flat_map(|x| [0.6 * x, 0.8 * x]).collect::<Vec<_>>();
        let (plane_x, plane_y) = (flat(&x), flat(&y));
        let (x, y) = (Points::new(&x, 1).unwrap(), Points::new(&y, 1).unwrap());
        let (plane_x, plane_y) = (
            Points::new(&plane_x, 2).unwrap(),
            Points::new(&plane_y, 2).unwrap(),
        );
        for distance in [wasserstein1, wasserstein2] {
            let (line, plane) = (
                distance(&x, &y).unwrap().distance,
                distance(&plane_x, &plane_y).unwrap().distance,
            );
            assert!((line - plane).abs() < 1e-13, "{line} against {plane}");
        }
    }

    #[test]
    fn clouds_that_cannot_be_paired_are_refused() {
        let values = vec![0.0; 2 * (MOST_POINTS + 1)];
        let many = Points::new(&values, 2).unwrap();
        let one = Points::new(&values[..2], 2).unwrap();
        assert!(matches!(wasserstein2(&many, &one), Err(Error::Counts { .. })));
        assert!(matches!(wasserstein2(&many, &many), Err(Error::TooMany { .. })));
        assert!(matches!(
            wasserstein2(&one, &Points::new(&[0.0], 1).unwrap()),
            Err(Error::Dimension { .. })
        ));
        assert_eq!(wasserstein2(&one, &one).unwrap().distance, 0.0);
    }
}
