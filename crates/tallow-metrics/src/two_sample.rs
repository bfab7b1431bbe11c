//! The classifier two-sample test: if a classifier cannot tell two clouds apart on points it has not seen, they are alike.
//!
//! ```text
//! accuracy on held-out points ~ Binomial(n_te, ½)/n_te if the distributions agree          p = P(at least as many right)
//! ```
//!
//! The classifier asks the k = ⌊√n_tr⌋ nearest neighbours, which any difference convinces in the end and which has nothing to
//! be trained.
//!
//! Source: Lopez-Paz & Oquab 2017, arXiv:1610.06545, sections 2 and 3.

use rand::{Rng, RngCore};
use rayon::prelude::*;

use crate::pairwise::Coordinates;
use crate::points::check_dimensions;
use crate::{Error, Points, Result};

/// What a classifier made of two clouds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TwoSampleTest {
    /// The share of held-out points that are told right: ½ where the clouds cannot be told apart, 1 where all can.
    pub accuracy: f64,
    /// The probability of so many or more right by chance alone: small where the clouds differ.
    pub p_value: f64,
    /// Held-out points of both clouds.
    pub tested: usize,
    /// Points of both clouds that the classifier has seen.
    pub seen: usize,
    /// Neighbours that are asked, an odd number.
    pub neighbours: usize,
}

/// Tells `x` from `y` by nearest neighbours: half of each cloud is seen, as many points of the other half are told.
///
/// Of a larger cloud as many points are taken as the smaller one has; `rng` decides which and how they are halved. Time
/// O(n² d).
///
/// Source: Lopez-Paz & Oquab 2017, arXiv:1610.06545, sections 2 and 3.
///
/// # Errors
///
/// When the dimensions differ, or a cloud has fewer than four points.
pub fn classifier_two_sample_test(
    x: &Points<'_>,
    y: &Points<'_>,
    rng: &mut dyn RngCore,
) -> Result<TwoSampleTest> {
    check_dimensions(x, y)?;
    let count = x.count().min(y.count());
    if count < 4 {
        let (owner, name, value) = ("classifier_two_sample_test", "points", count as f64);
        return Err(Error::Parameter {
            owner,
            name,
            value,
            allowed: "of which each cloud has at least 4",
        });
    }
    let half = count / 2;
    let (x, y) = (shuffled(x, rng), shuffled(y, rng));
    let part = |cloud: &[&[f64]], from: usize| -> Vec<f64> { cloud[from..from + half].concat() };
    let dimension = x[0].len();
    let seen = [part(&x, 0), part(&y, 0)].concat();
    let told = [part(&x, half), part(&y, half)].concat();
    let neighbours = (2 * half).isqrt() | 1;
    let seen = Coordinates::of(&Points::new(&seen, dimension)?);
    let right = told
        .par_chunks_exact(dimension)
        .enumerate()
        .with_min_len(16)
        .filter(|(index, point)| (of_x(&seen, point, half, neighbours) > neighbours / 2) == (*index < half))
        .count();
    Ok(TwoSampleTest {
        accuracy: right as f64 / (2 * half) as f64,
        p_value: tail(2 * half, right),
        tested: 2 * half,
        seen: 2 * half,
        neighbours,
    })
}

/// How many of the nearest points are among the first `half`; of equally near ones the earlier count.
fn of_x(seen: &Coordinates, point: &[f64], half: usize, neighbours: usize) -> usize {
    let mut squares = Vec::with_capacity(2 * half);
    seen.squared_distances(point, 0, |block| squares.extend_from_slice(block));
    let mut order: Vec<usize> = (0..squares.len()).collect();
    order.select_nth_unstable_by(neighbours - 1, |&a, &b| {
        squares[a].total_cmp(&squares[b]).then(a.cmp(&b))
    });
    order[..neighbours].iter().filter(|&&index| index < half).count()
}

fn shuffled<'p>(points: &'p Points<'_>, rng: &mut dyn RngCore) -> Vec<&'p [f64]> {
    let mut order: Vec<&[f64]> = points.iter().collect();
    for last in (1..order.len()).rev() {
        order.swap(last, rng.random_range(0..=last));
    }
    order
}

/// P(X ≥ k) of X ~ Binomial(n, ½), by logarithms.
fn tail(n: usize, k: usize) -> f64 {
    let mut log = -(n as f64) * std::f64::consts::LN_2;
    let mut sum = if k == 0 { log.exp() } else { 0.0 };
    for i in 1..=n {
        log += ((n - i + 1) as f64 / i as f64).ln();
        if i >= k {
            sum += log.exp();
        }
    }
    sum.min(1.0)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::sliced_wasserstein::normals;

    #[test]
    fn the_tail_of_the_binomial_is_counted_by_hand() {
        // Of 2⁴ throws: 1 4 6 4 1.
        for (k, ways) in [(0, 16.0), (1, 15.0), (2, 11.0), (3, 5.0), (4, 1.0)] {
            assert!((tail(4, k) - ways / 16.0).abs() < 1e-14);
        }
        // Half of an even number: ½ and half of the middle term, which is near 1/√(πn/2).
        let middle = 1.0 / (std::f64::consts::PI * 5000.0).sqrt();
        assert!((tail(10_000, 5000) - 0.5 - middle / 2.0).abs() < 1e-6);
    }

    #[test]
    fn equal_clouds_are_seldom_told_apart_and_shifted_ones_always() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let mut alarms = 0;
        for _ in 0..200 {
            let (x, y) = (normals(160, &mut rng), normals(160, &mut rng));
            let (x, y) = (Points::new(&x, 2).unwrap(), Points::new(&y, 2).unwrap());
            let found = classifier_two_sample_test(&x, &y, &mut rng).unwrap();
            assert_eq!((found.tested, found.neighbours), (80, 9));
            alarms += usize::from(found.p_value < 0.05);
        }
        // A level of 5 %, in discrete steps somewhat less: 20 of 200 are 3 standard deviations above 10.
        assert!(alarms <= 20, "{alarms} false alarms in 200");
        for _ in 0..20 {
            let (x, y) = (normals(400, &mut rng), normals(500, &mut rng));
            let y: Vec<f64> = y.iter().map(|value| value + 1.0).collect();
            let (x, y) = (Points::new(&x, 2).unwrap(), Points::new(&y, 2).unwrap());
            let found = classifier_two_sample_test(&x, &y, &mut rng).unwrap();
            // Bayes: Φ(1/√2) = 0.76.
            assert!(
                found.p_value < 1e-3 && (found.accuracy - 0.76).abs() < 0.12,
                "{found:?}"
            );
        }
    }

    #[test]
    fn too_few_points_are_refused() {
        let (x, y) = ([0.0; 3], [0.0; 8]);
        let (x, y) = (Points::new(&x, 1).unwrap(), Points::new(&y, 1).unwrap());
        let mut rng = ChaCha8Rng::seed_from_u64(6);
        assert!(classifier_two_sample_test(&x, &y, &mut rng).is_err());
        let flat = Points::new(&[0.0; 8], 2).unwrap();
        assert!(matches!(
            classifier_two_sample_test(&y, &flat, &mut rng),
            Err(Error::Dimension { x: 1, y: 2 })
        ));
    }
}
