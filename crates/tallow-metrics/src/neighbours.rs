//! What nearest neighbours say of two clouds: fidelity, diversity, and whether they can be told apart.
//!
//! ```text
//! r(x)  distance from x to its k-th nearest neighbour in its own cloud, itself left out
//! precision = P(some real x: |y − x| < r(x))            recall = P(some generated y: |x − y| < r(y))
//! density = 1/k E #{real x: |y − x| < r(x)}             coverage = P(some generated y: |x − y| < r(x))
//! ```
//!
//! Density counts how often a sample lies among the data, so an outlier of the data does not let everything pass; coverage
//! asks of the data only, so a spread-out model does not look diverse.
//!
//! Sources: Kynkäänniemi et al. 2019, arXiv:1904.06991; Naeem et al. 2020, arXiv:2002.09797; for the accuracy: Lopez-Paz &
//! Oquab 2017, arXiv:1610.06545, and Xu et al. 2018, arXiv:1806.07755.

use rayon::prelude::*;

use crate::pairwise::Coordinates;
use crate::points::check_dimensions;
use crate::{Error, Points, Result};

/// Precision, recall, density and coverage of generated points against real ones.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PrecisionRecall {
    /// The part of the generated points that lie among the real ones.
    pub precision: f64,
    /// The part of the real points that lie among the generated ones.
    pub recall: f64,
    /// How many real neighbourhoods a generated point lies in, in units of k; may exceed 1.
    pub density: f64,
    /// The part of the real points that have a generated one in their neighbourhood.
    pub coverage: f64,
    /// The number of neighbours k.
    pub neighbours: usize,
}

/// Compares generated points with real ones through neighbourhoods of `neighbours` points (5 by custom, 3 in the first
/// paper). Time O(n² d).
///
/// Sources: Kynkäänniemi et al. 2019, arXiv:1904.06991; Naeem et al. 2020, arXiv:2002.09797; for the accuracy:
/// Lopez-Paz & Oquab 2017, arXiv:1610.06545, and Xu et al. 2018, arXiv:1806.07755.
///
/// # Errors
///
/// When the dimensions differ, `neighbours` is 0, or a cloud has no more points than that.
pub fn precision_recall(
    real: &Points<'_>,
    generated: &Points<'_>,
    neighbours: usize,
) -> Result<PrecisionRecall> {
    check_dimensions(real, generated)?;
    if neighbours == 0 || neighbours >= real.count().min(generated.count()) {
        let (owner, name, value) = ("precision_recall", "neighbours", neighbours as f64);
        let allowed = "between 1 and one less than the points of the smaller cloud";
        return Err(Error::Parameter {
            owner,
            name,
            value,
            allowed,
        });
    }
    let (real_radii, generated_radii) = (radii(real, neighbours), radii(generated, neighbours));
    let (of_real, of_generated) = (Coordinates::of(real), Coordinates::of(generated));
    // For each generated point, the real neighbourhoods that it lies in.
    let among = counts(generated, |point| inside(&of_real, point, &real_radii));
    let recalled = counts(real, |point| inside(&of_generated, point, &generated_radii));
    let covered: Vec<usize> = real
        .values()
        .par_chunks_exact(real.dimension())
        .zip(&real_radii)
        .with_min_len(16)
        .map(|(point, radius)| {
            let mut found = false;
            of_generated.squared_distances(point, 0, |squares| {
                found |= squares.iter().any(|square| square < radius);
            });
            usize::from(found)
        })
        .collect();
    let part =
        |counts: &[usize]| counts.iter().filter(|count| **count > 0).count() as f64 / counts.len() as f64;
    Ok(PrecisionRecall {
        precision: part(&among),
        recall: part(&recalled),
        density: among.iter().sum::<usize>() as f64 / (neighbours * among.len()) as f64,
        coverage: part(&covered),
        neighbours,
    })
}

/// The squared distance of each point to its k-th nearest neighbour, itself left out.
fn radii(points: &Points<'_>, neighbours: usize) -> Vec<f64> {
    let others = Coordinates::of(points);
    let rows = points
        .values()
        .par_chunks_exact(points.dimension())
        .enumerate()
        .with_min_len(16);
    rows.map(|(own, point)| {
        let mut squares = Vec::with_capacity(points.count());
        others.squared_distances(point, 0, |block| squares.extend_from_slice(block));
        squares.swap_remove(own);
        *squares.select_nth_unstable_by(neighbours - 1, f64::total_cmp).1
    })
    .collect()
}

/// How many of the neighbourhoods hold `point`.
fn inside(centres: &Coordinates, point: &[f64], radii: &[f64]) -> usize {
    let (mut count, mut at) = (0, 0);
    centres.squared_distances(point, 0, |squares| {
        count += squares
            .iter()
            .zip(&radii[at..])
            .filter(|(square, radius)| square < radius)
            .count();
        at += squares.len();
    });
    count
}

fn counts(points: &Points<'_>, of: impl Fn(&[f64]) -> usize + Send + Sync) -> Vec<usize> {
    points
        .values()
        .par_chunks_exact(points.dimension())
        .with_min_len(16)
        .map(of)
        .collect()
}

/// How often the nearest neighbour of a point is of its own cloud: one half where the clouds cannot be told apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NeighbourAccuracy {
    /// Over all points of both clouds.
    pub accuracy: f64,
    /// Over the points of the first cloud.
    pub of_x: f64,
    /// Over the points of the second cloud.
    pub of_y: f64,
}

/// Tells the clouds apart by each point's nearest neighbour, itself left out. Near 1: they differ; near ½: they do not;
/// below ½: one copies the other. Of equally near neighbours the one of the first cloud counts. Time O(n² d).
///
/// Sources: Kynkäänniemi et al. 2019, arXiv:1904.06991; Naeem et al. 2020, arXiv:2002.09797; for the accuracy:
/// Lopez-Paz & Oquab 2017, arXiv:1610.06545, and Xu et al. 2018, arXiv:1806.07755.
///
/// # Errors
///
/// When the dimensions differ, or a cloud has fewer than two points.
pub fn nearest_neighbour_accuracy(x: &Points<'_>, y: &Points<'_>) -> Result<NeighbourAccuracy> {
    check_dimensions(x, y)?;
    let count = x.count().min(y.count());
    if count < 2 {
        return Err(Error::TooFew { count });
    }
    let (of_x, of_y) = (Coordinates::of(x), Coordinates::of(y));
    let nearest = |to: &Coordinates, point: &[f64], without: Option<usize>| {
        let (mut least, mut at) = (f64::INFINITY, 0);
        to.squared_distances(point, 0, |squares| {
            for (k, square) in squares.iter().enumerate() {
                if Some(at + k) != without && *square < least {
                    least = *square;
                }
            }
            at += squares.len();
        });
        least
    };
    let own = |cloud: &Points<'_>, own: &Coordinates, other: &Coordinates, first: bool| -> f64 {
        let rows = cloud
            .values()
            .par_chunks_exact(cloud.dimension())
            .enumerate()
            .with_min_len(16);
        let right: Vec<bool> = rows
            .map(|(index, point)| {
                let (near, far) = (nearest(own, point, Some(index)), nearest(other, point, None));
                if first { near <= far } else { near < far }
            })
            .collect();
        right.iter().filter(|right| **right).count() as f64
    };
    let (right_x, right_y) = (own(x, &of_x, &of_y, true), own(y, &of_y, &of_x, false));
    let (n, m) = (x.count() as f64, y.count() as f64);
    Ok(NeighbourAccuracy {
        accuracy: (right_x + right_y) / (n + m),
        of_x: right_x / n,
        of_y: right_y / m,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid(count: usize, shift: f64) -> Vec<f64> {
        (0..count * count)
            .flat_map(|i| [(i % count) as f64 + shift, (i / count) as f64])
            .collect()
    }

    #[test]
    fn a_cloud_lies_among_itself_and_not_among_one_far_away() {
        let (near, far) = (grid(6, 0.0), grid(6, 100.0));
        let (x, y) = (Points::new(&near, 2).unwrap(), Points::new(&far, 2).unwrap());
        let same = precision_recall(&x, &x, 5).unwrap();
        assert_eq!((same.precision, same.recall, same.coverage), (1.0, 1.0, 1.0));
        let apart = precision_recall(&x, &y, 5).unwrap();
        assert_eq!(
            (apart.precision, apart.recall, apart.density, apart.coverage),
            (0.0, 0.0, 0.0, 0.0)
        );
    }

    #[test]
    fn half_of_the_data_is_precise_and_recalls_half() {
        // On a line of unit steps the neighbourhood of two neighbours reaches one step, strictly less.
        let real: Vec<f64> = (0..20).map(f64::from).collect();
        let generated: Vec<f64> = (0..10).map(|i| f64::from(i) + 0.25).collect();
        let found = precision_recall(
            &Points::new(&real, 1).unwrap(),
            &Points::new(&generated, 1).unwrap(),
            2,
        )
        .unwrap();
        assert_eq!(found.precision, 1.0);
        // 0 to 9 have 0.25, 1.25, …; 10 has 9.25 at 0.75; ends have radii of 2.
        assert_eq!(found.coverage, 11.0 / 20.0);
        assert!(
            found.recall >= 10.0 / 20.0 && found.recall <= 12.0 / 20.0,
            "{found:?}"
        );
        assert!(
            precision_recall(
                &Points::new(&real, 1).unwrap(),
                &Points::new(&generated, 1).unwrap(),
                10
            )
            .is_err()
        );
        assert!(
            precision_recall(
                &Points::new(&real, 1).unwrap(),
                &Points::new(&generated, 1).unwrap(),
                0
            )
            .is_err()
        );
    }

    #[test]
    fn clouds_far_apart_are_told_apart_and_a_copy_is_given_away() {
        let (near, far) = (grid(6, 0.0), grid(6, 100.0));
        let (x, y) = (Points::new(&near, 2).unwrap(), Points::new(&far, 2).unwrap());
        assert_eq!(nearest_neighbour_accuracy(&x, &y).unwrap().accuracy, 1.0);
        let one = Points::new(&near[..2], 2).unwrap();
        assert!(matches!(
            nearest_neighbour_accuracy(&x, &one),
            Err(Error::TooFew { count: 1 })
        ));
        let copy: Vec<f64> = near.iter().map(|v| v + 0.01).collect();
        let found = nearest_neighbour_accuracy(&x, &Points::new(&copy, 2).unwrap()).unwrap();
        assert_eq!(
            found,
            NeighbourAccuracy {
                accuracy: 0.0,
                of_x: 0.0,
                of_y: 0.0
            }
        );
    }
}
