//! The sliced Wasserstein distance: the exact distance on lines, averaged over their directions.
//!
//! ```text
//! SW₂² = 1/L Σ_l W₂²({θ_l·x_i}, {θ_l·y_j}),   |θ_l| = 1
//! ```
//!
//! Source: Bonneel et al. 2015, doi:10.1007/s10851-014-0506-3, definition 3, by Monte Carlo.

use rand::RngCore;
use rayon::prelude::*;

use crate::points::check_dimensions;
use crate::{Error, Points, Result};

/// Directions of unit length: the same for all clouds that are to be compared with each other.
#[derive(Clone, Debug, PartialEq)]
pub struct Projections {
    values: Vec<f64>,
    dimension: usize,
}

impl Projections {
    /// `count` directions, uniform on the sphere.
    ///
    /// # Errors
    ///
    /// When `count` or `dimension` is 0.
    pub fn random(count: usize, dimension: usize, rng: &mut dyn RngCore) -> Result<Self> {
        for (name, value) in [("count", count), ("dimension", dimension)] {
            if value == 0 {
                return Err(Error::Parameter {
                    owner: "Projections",
                    name,
                    value: 0.0,
                    allowed: "of at least 1",
                });
            }
        }
        let mut values = normals(count * dimension, rng);
        for direction in values.chunks_exact_mut(dimension) {
            let mut length = norm(direction);
            // A vector too short to have a direction: once in 2⁵⁰ draws, and on a line only.
            while length < 1e-12 {
                direction.copy_from_slice(&normals(dimension, rng));
                length = norm(direction);
            }
            direction.iter_mut().for_each(|value| *value /= length);
        }
        Ok(Self { values, dimension })
    }

    /// Given directions, one after another.
    ///
    /// # Errors
    ///
    /// When there is none, the last is incomplete, or a length differs from 1 by more than 1e-6.
    pub fn new(values: &[f64], dimension: usize) -> Result<Self> {
        let points = Points::new(values, dimension)?;
        if let Some(length) = points.iter().map(norm).find(|length| (length - 1.0).abs() > 1e-6) {
            let allowed = "of 1 for each direction";
            return Err(Error::Parameter {
                owner: "Projections",
                name: "length",
                value: length,
                allowed,
            });
        }
        Ok(Self {
            values: values.to_vec(),
            dimension,
        })
    }

    pub(crate) fn values(&self) -> &[f64] {
        &self.values
    }

    pub(crate) fn dimension(&self) -> usize {
        self.dimension
    }

    /// How many directions there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.values.len() / self.dimension
    }
}

/// A sliced Wasserstein distance, and what each direction contributed.
#[derive(Clone, Debug, PartialEq)]
pub struct SlicedWasserstein {
    /// SW₂, in units of length: at most W₂.
    pub distance: f64,
    /// W₂² along each direction.
    pub per_projection: Vec<f64>,
}

/// The root of the mean, over directions, of the squared W₂ distance of the projected clouds.
///
/// The clouds may differ in size: every point of a cloud has the same weight. Time O(L (n + m)(d + log(n + m))), in
/// parallel; the result has the same bits on any number of threads.
///
/// Source: Bonneel et al. 2015, doi:10.1007/s10851-014-0506-3, definition 3, by Monte Carlo.
///
/// # Errors
///
/// When the dimensions of clouds and projections differ.
pub fn sliced_wasserstein2(
    x: &Points<'_>,
    y: &Points<'_>,
    projections: &Projections,
) -> Result<SlicedWasserstein> {
    check_dimensions(x, y)?;
    if x.dimension() != projections.dimension {
        return Err(Error::Dimension {
            x: x.dimension(),
            y: projections.dimension,
        });
    }
    let directions = projections.values.par_chunks_exact(projections.dimension);
    let per_projection: Vec<f64> = directions
        .map(|direction| squared_on_line(&project(x, direction), &project(y, direction)))
        .collect();
    let mean = per_projection.iter().sum::<f64>() / per_projection.len() as f64;
    Ok(SlicedWasserstein {
        distance: mean.sqrt(),
        per_projection,
    })
}

/// The projected points, sorted.
fn project(points: &Points<'_>, direction: &[f64]) -> Vec<f64> {
    let dot = |point: &[f64]| point.iter().zip(direction).map(|(a, b)| a * b).sum();
    let mut line: Vec<f64> = points.iter().map(dot).collect();
    line.sort_unstable_by(f64::total_cmp);
    line
}

/// ∫₀¹ (F⁻¹(q) − G⁻¹(q))² dq for two sorted samples. In units of 1/(nm), x_i covers m and y_j covers n.
fn squared_on_line(x: &[f64], y: &[f64]) -> f64 {
    let (n, m) = (x.len(), y.len());
    let (mut i, mut j, mut at) = (0, 0, 0_u128);
    let mut sum = 0.0;
    while i < n && j < m {
        let (end_x, end_y) = ((i as u128 + 1) * m as u128, (j as u128 + 1) * n as u128);
        let end = end_x.min(end_y);
        sum += (end - at) as f64 * (x[i] - y[j]).powi(2);
        at = end;
        i += usize::from(end == end_x);
        j += usize::from(end == end_y);
    }
    sum / n as f64 / m as f64
}

fn norm(vector: &[f64]) -> f64 {
    vector.iter().map(|value| value * value).sum::<f64>().sqrt()
}

/// Standard normal numbers with the same bits on every processor.
pub(crate) fn normals(count: usize, rng: &mut dyn RngCore) -> Vec<f64> {
    let bits: Vec<u64> = (0..count.next_multiple_of(2)).map(|_| rng.next_u64()).collect();
    let mut values = vec![0.0; count];
    // The only failure is a mismatch of the two lengths, which are right by the line above.
    let _ = tallow_kernels::normals_from_bits(&bits, &mut values);
    values
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::wasserstein2;

    #[test]
    fn a_shift_counts_by_its_share_along_each_direction() {
        let rng: &mut dyn RngCore = &mut ChaCha8Rng::seed_from_u64(1);
        let x = normals(300, rng);
        let shift = [1.0, -2.0, 2.0];
        let y: Vec<f64> = x
            .chunks(3)
            .flat_map(|p| [p[0] + shift[0], p[1] + shift[1], p[2] + shift[2]])
            .collect();
        let (x, y) = (Points::new(&x, 3).unwrap(), Points::new(&y, 3).unwrap());
        let projections = Projections::random(2000, 3, rng).unwrap();
        let found = sliced_wasserstein2(&x, &y, &projections).unwrap();
        for (direction, square) in projections.values.chunks(3).zip(&found.per_projection) {
            let dot: f64 = direction.iter().zip(shift).map(|(a, b)| a * b).sum();
            assert!((square - dot * dot).abs() < 1e-12);
        }
        // The mean of (θ·shift)² over the sphere is |shift|²/3 = 3, with a standard deviation of 2.7: five standard errors.
        assert!((found.distance.powi(2) - 3.0).abs() < 0.3, "{}", found.distance);
        assert!(found.distance <= wasserstein2(&x, &y).unwrap().distance);
    }

    #[test]
    fn a_doubled_cloud_is_the_same_distribution() {
        let x = [0.3, -1.0, 2.0, 0.7, 5.0];
        let doubled = [x, x, x].concat();
        let (x, doubled) = (Points::new(&x, 1).unwrap(), Points::new(&doubled, 1).unwrap());
        let line = Projections::new(&[1.0], 1).unwrap();
        assert_eq!(sliced_wasserstein2(&x, &doubled, &line).unwrap().distance, 0.0);
    }

    #[test]
    fn two_points_against_three_are_counted_by_hand() {
        // Sixths: x = 0 0 0 | 6 6 6, y = 0 0 | 3 3 | 6 6: (9 + 9)/6 = 3.
        let (x, y) = ([6.0, 0.0], [3.0, 0.0, 6.0]);
        let (x, y) = (Points::new(&x, 1).unwrap(), Points::new(&y, 1).unwrap());
        let line = Projections::new(&[-1.0], 1).unwrap();
        assert!((sliced_wasserstein2(&x, &y, &line).unwrap().per_projection[0] - 3.0).abs() < 1e-15);
    }

    #[test]
    fn the_same_seed_gives_the_same_directions_and_impossible_ones_are_refused() {
        let draw = |seed| Projections::random(5, 4, &mut ChaCha8Rng::seed_from_u64(seed)).unwrap();
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        assert!(
            draw(1)
                .values
                .chunks(4)
                .all(|direction| (norm(direction) - 1.0).abs() < 1e-15)
        );
        assert!(Projections::random(0, 2, &mut ChaCha8Rng::seed_from_u64(1)).is_err());
        assert!(Projections::random(1, 0, &mut ChaCha8Rng::seed_from_u64(1)).is_err());
        assert!(Projections::new(&[1.0, 1.0], 2).is_err());
        let x = Points::new(&[0.0, 1.0], 2).unwrap();
        assert!(matches!(
            sliced_wasserstein2(&x, &x, &draw(1)),
            Err(Error::Dimension { x: 2, y: 4 })
        ));
    }
}
