//! The maximum mean discrepancy with Gaussian kernels.
//!
//! ```text
//! MMD² = E k(X, X') + E k(Y, Y') − 2 E k(X, Y)        k(x, y) = Σ_h exp(−|x − y|²/(2h²))
//! ```
//!
//! Source: Gretton et al. 2012, JMLR 13, equations 3 (U-statistic) and 5 (V-statistic).

use crate::pairwise::{sum_between, sum_within};
use crate::points::check_dimensions;
use crate::{Error, Points, Result, Statistic};

/// The squared maximum mean discrepancy of two clouds, for the sum of Gaussian kernels of some bandwidths.
///
/// `bandwidths`: one length h or more, in units of the data; report them with the number, which means nothing without.
/// The clouds may differ in size. Time O((n + m)² (d + number of bandwidths)), in parallel.
///
/// # Errors
///
/// When the dimensions differ, there is no bandwidth or one is not positive and finite, or the U-statistic is asked of a
/// single point.
pub fn mmd_squared(x: &Points<'_>, y: &Points<'_>, bandwidths: &[f64], statistic: Statistic) -> Result<f64> {
    check_dimensions(x, y)?;
    statistic.check(x, y)?;
    let rates = rates(bandwidths)?;
    let kernel = |square: f64| rates.iter().map(|rate| (-square * rate).exp()).sum::<f64>();
    // A point with itself: 1 for each bandwidth.
    let own = |count: usize| match statistic {
        Statistic::V => count as f64 * rates.len() as f64,
        Statistic::U => 0.0,
    };
    let within = |points: &Points<'_>| {
        (sum_within(points, kernel) + own(points.count())) / statistic.pairs(points.count())
    };
    let between = sum_between(x, y, kernel) / (x.count() as f64 * y.count() as f64);
    Ok(within(x) + within(y) - 2.0 * between)
}

/// 1/(2h²) of each bandwidth.
fn rates(bandwidths: &[f64]) -> Result<Vec<f64>> {
    let refuse = |name, value, allowed| {
        Err(Error::Parameter {
            owner: "mmd_squared",
            name,
            value,
            allowed,
        })
    };
    if bandwidths.is_empty() {
        return refuse("number of bandwidths", 0.0, "of at least 1");
    }
    // Beyond these the square of h leaves the range of f64.
    if let Some(h) = bandwidths.iter().find(|h| !(1e-150..=1e150).contains(*h)) {
        return refuse("bandwidths", *h, "between 1e-150 and 1e150");
    }
    Ok(bandwidths.iter().map(|h| 0.5 / (h * h)).collect())
}

#[cfg(test)]
mod tests {
    use rand::{RngCore, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::sliced_wasserstein::normals;

    #[test]
    fn gaussians_have_the_closed_form() {
        // E k(X, Y) for X − Y ~ N(μ, s²): h/√(h² + s²) e^{−μ²/(2(h² + s²))}; here N(0, 1) and N(1, 1), so s² = 2.
        let h = 0.8_f64;
        let mean = |mu: f64| h / (h * h + 2.0).sqrt() * (-mu * mu / (2.0 * (h * h + 2.0))).exp();
        let exact = 2.0 * mean(0.0) - 2.0 * mean(1.0);
        let rng: &mut dyn RngCore = &mut ChaCha8Rng::seed_from_u64(1);
        let x = normals(4000, rng);
        let y: Vec<f64> = normals(4000, rng).iter().map(|z| z + 1.0).collect();
        let (x, y) = (Points::new(&x, 1).unwrap(), Points::new(&y, 1).unwrap());
        let unbiased = mmd_squared(&x, &y, &[h], Statistic::U).unwrap();
        // Repeated draws have a standard deviation of 0.008; the bound is five of them.
        assert!((unbiased - exact).abs() < 0.04, "{unbiased} against {exact}");
    }

    #[test]
    fn kernels_add_and_a_cloud_is_at_zero_from_itself() {
        let (x, y) = ([0.0, 1.0, 3.0], [0.5, 2.0]);
        let (x, y) = (Points::new(&x, 1).unwrap(), Points::new(&y, 1).unwrap());
        for statistic in [Statistic::V, Statistic::U] {
            let of = |bandwidths: &[f64]| mmd_squared(&x, &y, bandwidths, statistic).unwrap();
            assert!((of(&[0.5, 2.0]) - of(&[0.5]) - of(&[2.0])).abs() < 1e-14);
        }
        assert!(mmd_squared(&x, &x, &[0.5], Statistic::V).unwrap().abs() < 1e-15);
    }

    #[test]
    fn impossible_bandwidths_are_refused() {
        let x = Points::new(&[0.0, 1.0], 1).unwrap();
        for bad in [&[][..], &[0.0], &[1.0, -1.0], &[f64::NAN], &[f64::INFINITY]] {
            assert!(
                matches!(
                    mmd_squared(&x, &x, bad, Statistic::V),
                    Err(Error::Parameter { .. })
                ),
                "{bad:?}"
            );
        }
    }
}
