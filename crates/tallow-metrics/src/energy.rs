//! The energy distance: zero exactly when two distributions agree, without a bandwidth to choose.
//!
//! ```text
//! D²(X, Y) = 2 E|X − Y| − E|X − X'| − E|Y − Y'|
//! ```
//!
//! Source: Székely & Rizzo 2013, doi:10.1016/j.jspi.2013.03.018.

use crate::pairwise::{sum_between, sum_within};
use crate::points::check_dimensions;
use crate::{Points, Result, Statistic};

/// How far two clouds are apart as distributions: 2 E|X − Y| − E|X − X'| − E|Y − Y'|, in units of length.
///
/// The clouds may differ in size. Time O((n + m)² d), in parallel; the result has the same bits on any number of threads.
///
/// Source: Székely & Rizzo 2013, doi:10.1016/j.jspi.2013.03.018.
///
/// ```
/// use tallow_metrics::{Points, Statistic, energy_distance};
///
/// let (x, y) = ([0.0, 0.0], [1.0, 1.0]);
/// let distance = energy_distance(&Points::new(&x, 1)?, &Points::new(&y, 1)?, Statistic::V)?;
/// assert_eq!(distance, 2.0);
/// # Ok::<(), tallow_metrics::Error>(())
/// ```
///
/// # Errors
///
/// When the dimensions differ, or the U-statistic is asked of a single point.
pub fn energy_distance(x: &Points<'_>, y: &Points<'_>, statistic: Statistic) -> Result<f64> {
    check_dimensions(x, y)?;
    statistic.check(x, y)?;
    let (n, m) = (x.count(), y.count());
    let between = sum_between(x, y, f64::sqrt) / (n as f64 * m as f64);
    let within_x = sum_within(x, f64::sqrt) / statistic.pairs(n);
    let within_y = sum_within(y, f64::sqrt) / statistic.pairs(m);
    Ok(2.0 * between - within_x - within_y)
}

#[cfg(test)]
mod tests {
    use std::f64::consts::PI;

    use rand::{RngCore, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::sliced_wasserstein::normals;

    #[test]
    fn gaussians_on_a_line_have_the_closed_form() {
        // X ~ N(0, 1), Y ~ N(1, 4): E|N(μ, s²)| = s √(2/π) e^{−μ²/2s²} + μ (1 − 2Φ(−μ/s)), with s² = 5, 2, 8.
        // erf(1/√10) = 0.345279153981423 (μ = 1, s = √5: 1 − 2Φ(−μ/s) = erf(μ/(s√2))).
        let spread = |square: f64| (2.0 * square / PI).sqrt();
        let between = spread(5.0) * (-0.1_f64).exp() + 0.345_279_153_981_423;
        let exact = 2.0 * between - spread(2.0) - spread(8.0);
        let rng: &mut dyn RngCore = &mut ChaCha8Rng::seed_from_u64(1);
        let x = normals(4000, rng);
        let y: Vec<f64> = normals(4000, rng).iter().map(|z| 1.0 + 2.0 * z).collect();
        let (x, y) = (Points::new(&x, 1).unwrap(), Points::new(&y, 1).unwrap());
        let unbiased = energy_distance(&x, &y, Statistic::U).unwrap();
        // Repeated draws have a standard deviation of 0.029; the bound is five of them.
        assert!((unbiased - exact).abs() < 0.145, "{unbiased} against {exact}");
        let biased = energy_distance(&x, &y, Statistic::V).unwrap();
        let bias = (spread(2.0) + spread(8.0)) / 4000.0;
        assert!(
            (biased - unbiased - bias).abs() < 0.05 * bias,
            "the V-statistic is above by {}",
            biased - unbiased
        );
    }

    #[test]
    fn a_cloud_is_at_distance_zero_from_itself_and_two_points_at_twice_their_distance() {
        let values: Vec<f64> = (0..300).map(|k| f64::from(k * k % 101)).collect();
        let x = Points::new(&values, 3).unwrap();
        assert!(energy_distance(&x, &x, Statistic::V).unwrap().abs() < 1e-12 * 101.0);
        let (p, q) = ([0.0, 0.0], [3.0, 4.0]);
        let (p, q) = (Points::new(&p, 2).unwrap(), Points::new(&q, 2).unwrap());
        assert_eq!(energy_distance(&p, &q, Statistic::V).unwrap(), 10.0);
        assert!(matches!(
            energy_distance(&p, &q, Statistic::U),
            Err(crate::Error::TooFew { count: 1 })
        ));
        assert!(matches!(
            energy_distance(&p, &x, Statistic::V),
            Err(crate::Error::Dimension { x: 2, y: 3 })
        ));
    }

    #[test]
    #[ignore = "a timing, not a law"]
    fn time_of_20_000_points() {
        let rng: &mut dyn RngCore = &mut ChaCha8Rng::seed_from_u64(2);
        let (x, y) = (normals(40_000, rng), normals(40_000, rng));
        let (x, y) = (Points::new(&x, 2).unwrap(), Points::new(&y, 2).unwrap());
        let start = std::time::Instant::now();
        let distance = energy_distance(&x, &y, Statistic::V).unwrap();
        println!("{distance}: {:.2} s", start.elapsed().as_secs_f64());
    }
}
