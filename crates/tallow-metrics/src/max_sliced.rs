//! The max-sliced Wasserstein distance: the exact distance along the line on which the clouds differ most.
//!
//! ```text
//! max-SW₂² = max_{|θ| = 1} W₂²({θ·x_i}, {θ·y_j})          ∇_θ W₂² = 2 Σ w_ij (θ·(x_i − y_j)) (x_i − y_j)
//! ```
//!
//! with the weights w of the monotone pairing along θ. Ascent on the sphere from several starts: the maximum need not be
//! the only one, so the result is a lower bound.
//!
//! Source: Deshpande et al. 2019, arXiv:1904.05877, definition 1.

use rayon::prelude::*;

use crate::points::check_dimensions;
use crate::{Error, Points, Projections, Result};

/// Steps of an ascent.
const STEPS: usize = 200;
/// The first and the last length of a step, in radians.
const LENGTHS: [f64; 2] = [0.5, 1e-7];
/// The best of the starts that are followed.
const FOLLOWED: usize = 4;

/// A max-sliced Wasserstein distance and where it was found.
#[derive(Clone, Debug, PartialEq)]
pub struct MaxSlicedWasserstein {
    /// max-SW₂, in units of length: at most W₂, at least the distance along any start.
    pub distance: f64,
    /// The unit vector θ of the line.
    pub direction: Vec<f64>,
}

/// The largest W₂ distance of the clouds projected onto a line, searched from the best of `starts`.
///
/// The clouds may differ in size. Time O(L (n + m)(d + log(n + m))) for L starts, and some hundred projections for each of
/// the four that are followed.
///
/// Source: Deshpande et al. 2019, arXiv:1904.05877, definition 1.
///
/// # Errors
///
/// When the dimensions of clouds and starts differ.
pub fn max_sliced_wasserstein2(
    x: &Points<'_>,
    y: &Points<'_>,
    starts: &Projections,
) -> Result<MaxSlicedWasserstein> {
    check_dimensions(x, y)?;
    if x.dimension() != starts.dimension() {
        return Err(Error::Dimension {
            x: x.dimension(),
            y: starts.dimension(),
        });
    }
    let mut tried: Vec<(f64, &[f64])> = starts
        .values()
        .par_chunks_exact(starts.dimension())
        .map(|start| (along(x, y, start).0, start))
        .collect();
    tried.sort_by(|a, b| b.0.total_cmp(&a.0));
    let found: Vec<(f64, Vec<f64>)> = tried
        .par_iter()
        .take(FOLLOWED)
        .map(|(_, start)| ascend(x, y, start.to_vec()))
        .collect();
    let best = found.into_iter().reduce(|a, b| if b.0 > a.0 { b } else { a });
    let (square, direction) = best.unwrap_or((0.0, Vec::new()));
    Ok(MaxSlicedWasserstein {
        distance: square.sqrt(),
        direction,
    })
}

/// Steps along the sphere, each taken if it leads up and halved if not.
fn ascend(x: &Points<'_>, y: &Points<'_>, mut at: Vec<f64>) -> (f64, Vec<f64>) {
    let (mut height, mut slope) = along(x, y, &at);
    let mut length = LENGTHS[0];
    for _ in 0..STEPS {
        // The part of the slope along the sphere.
        let radial: f64 = slope.iter().zip(&at).map(|(s, a)| s * a).sum();
        slope.iter_mut().zip(&at).for_each(|(s, a)| *s -= radial * a);
        let steep = norm(&slope);
        if steep <= 1e-14 * height || length < LENGTHS[1] {
            break;
        }
        let next: Vec<f64> = at
            .iter()
            .zip(&slope)
            .map(|(a, s)| length.cos() * a + length.sin() * s / steep)
            .collect();
        let (higher, next_slope) = along(x, y, &next);
        if higher > height {
            (at, height, slope) = (next, higher, next_slope);
            length *= 1.5;
        } else {
            length *= 0.5;
        }
        length = length.min(LENGTHS[0]);
    }
    (height, at)
}

/// W₂² along a line, and its gradient in the line's direction.
fn along(x: &Points<'_>, y: &Points<'_>, direction: &[f64]) -> (f64, Vec<f64>) {
    let (a, b) = (project(x, direction), project(y, direction));
    let (n, m) = (a.len(), b.len());
    let (mut i, mut j, mut at) = (0, 0, 0_u128);
    let (mut square, mut slope) = (0.0, vec![0.0; direction.len()]);
    // In units of 1/(nm), a point of x covers m and one of y covers n.
    while i < n && j < m {
        let (end_x, end_y) = ((i as u128 + 1) * m as u128, (j as u128 + 1) * n as u128);
        let end = end_x.min(end_y);
        let weight = (end - at) as f64;
        let gap = a[i].0 - b[j].0;
        square += weight * gap * gap;
        for ((slope, p), q) in slope.iter_mut().zip(a[i].1).zip(b[j].1) {
            *slope += 2.0 * weight * gap * (p - q);
        }
        at = end;
        i += usize::from(end == end_x);
        j += usize::from(end == end_y);
    }
    let share = 1.0 / (n as f64 * m as f64);
    slope.iter_mut().for_each(|slope| *slope *= share);
    (square * share, slope)
}

/// The points in the order of their projections.
fn project<'p>(points: &'p Points<'_>, direction: &[f64]) -> Vec<(f64, &'p [f64])> {
    let dot = |point: &[f64]| point.iter().zip(direction).map(|(a, b)| a * b).sum::<f64>();
    let mut line: Vec<_> = points.iter().map(|point| (dot(point), point)).collect();
    line.sort_by(|a, b| a.0.total_cmp(&b.0));
    line
}

fn norm(vector: &[f64]) -> f64 {
    vector.iter().map(|value| value * value).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::sliced_wasserstein::normals;
    use crate::{sliced_wasserstein2, wasserstein2};

    #[test]
    fn a_shift_is_found_whole_along_its_own_direction() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let x = normals(20 * 300, &mut rng);
        let shift: Vec<f64> = (0..20).map(|axis| f64::from(axis) / 10.0).collect();
        let y: Vec<f64> = x.iter().zip(shift.iter().cycle()).map(|(x, s)| x + s).collect();
        let (x, y) = (Points::new(&x, 20).unwrap(), Points::new(&y, 20).unwrap());
        let starts = Projections::random(10, 20, &mut rng).unwrap();
        let found = max_sliced_wasserstein2(&x, &y, &starts).unwrap();
        let length = norm(&shift);
        assert!(
            (found.distance - length).abs() < 1e-6 * length,
            "{} of {length}",
            found.distance
        );
        let cosine: f64 = found
            .direction
            .iter()
            .zip(&shift)
            .map(|(a, b)| a * b)
            .sum::<f64>()
            / length;
        assert!(cosine.abs() > 0.999_99);
    }

    #[test]
    fn a_wider_axis_is_found_and_bounds_hold() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let x = normals(3 * 400, &mut rng);
        let y: Vec<f64> = normals(3 * 250, &mut rng)
            .chunks(3)
            .flat_map(|p| [p[0], 3.0 * p[1], p[2]])
            .collect();
        let (x, y) = (Points::new(&x, 3).unwrap(), Points::new(&y, 3).unwrap());
        let starts = Projections::random(30, 3, &mut rng).unwrap();
        let found = max_sliced_wasserstein2(&x, &y, &starts).unwrap();
        assert!(found.direction[1].abs() > 0.95, "{:?}", found.direction);
        // Exactly 2 for the Gaussians; the largest over directions of finite samples is above it.
        assert!((found.distance - 2.0).abs() < 0.4, "{}", found.distance);
        let sliced = sliced_wasserstein2(&x, &y, &starts).unwrap();
        let largest = sliced
            .per_projection
            .iter()
            .fold(0.0_f64, |a, b| a.max(*b))
            .sqrt();
        assert!(found.distance >= largest);
    }

    #[test]
    fn the_slope_is_that_of_central_differences_and_the_distance_below_that_of_the_clouds() {
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        let (x, y) = (normals(4 * 30, &mut rng), normals(4 * 30, &mut rng));
        let (x, y) = (Points::new(&x, 4).unwrap(), Points::new(&y, 4).unwrap());
        let at = [0.5, -0.5, 0.5, 0.5];
        let (_, slope) = along(&x, &y, &at);
        for axis in 0..4 {
            let moved = |by: f64| {
                let mut at = at;
                at[axis] += by;
                along(&x, &y, &at).0
            };
            let difference = (moved(1e-6) - moved(-1e-6)) / 2e-6;
            assert!(
                (slope[axis] - difference).abs() < 1e-6,
                "{} against {difference}",
                slope[axis]
            );
        }
        let starts = Projections::random(8, 4, &mut rng).unwrap();
        let found = max_sliced_wasserstein2(&x, &y, &starts).unwrap();
        assert!(found.distance <= wasserstein2(&x, &y).unwrap().distance);
        assert_eq!(max_sliced_wasserstein2(&x, &x, &starts).unwrap().distance, 0.0);
    }
}
