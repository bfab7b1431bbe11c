//! The maximum mean discrepancy with a kernel that is named.
//!
//! ```text
//! MMD² = E k(X, X') + E k(Y, Y') − 2 E k(X, Y)
//! ```
//!
//! Source: Gretton et al. 2012, JMLR 13, equations 3 (U-statistic) and 5 (V-statistic).

use std::fmt;

use crate::pairwise::{sum_between, sum_within};
use crate::points::check_dimensions;
use crate::{Error, Points, Result, Statistic};

/// What compares two points; each is a sum over lengths h, in units of the data, and all determine a distribution.
///
/// Source: Gretton et al. 2012, JMLR 13, equations 3 (U-statistic) and 5 (V-statistic).
#[derive(Clone, Debug, PartialEq)]
pub enum Kernel {
    /// Σ_h exp(−|x − y|²/(2h²)).
    Gaussian(Vec<f64>),
    /// Σ_h exp(−|x − y|/h).
    Laplace(Vec<f64>),
    /// Σ_h 1/√(1 + |x − y|²/h²), whose tails are heavy.
    InverseMultiquadric(Vec<f64>),
}

/// A squared maximum mean discrepancy with what it takes to compare it.
#[derive(Clone, Debug, PartialEq)]
pub struct Mmd {
    /// MMD², without a unit: it has a meaning beside its kernel only.
    pub squared: f64,
    /// The kernel and its lengths.
    pub kernel: Kernel,
    /// How pairs of one cloud were averaged.
    pub statistic: Statistic,
    /// Points of both clouds.
    pub counts: [usize; 2],
}

impl fmt::Display for Mmd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, lengths) = self.kernel.parts();
        let [x, y] = self.counts;
        write!(
            f,
            "MMD squared = {} ({name} kernel, lengths {lengths:?}, {:?}-statistic, {x} and {y} points)",
            self.squared, self.statistic
        )
    }
}

/// The squared maximum mean discrepancy of two clouds by a kernel.
///
/// The clouds may differ in size. Time O((n + m)² (d + number of lengths)), in parallel.
///
/// Source: Gretton et al. 2012, JMLR 13, equations 3 (U-statistic) and 5 (V-statistic).
///
/// # Errors
///
/// When the dimensions differ, there is no length or one is not positive and finite, or the U-statistic is asked of a single
/// point.
pub fn mmd(x: &Points<'_>, y: &Points<'_>, kernel: &Kernel, statistic: Statistic) -> Result<Mmd> {
    let (_, lengths) = kernel.parts();
    let scales = scales(lengths)?;
    let squared = match kernel {
        Kernel::Gaussian(_) => {
            let rates: Vec<f64> = scales.iter().map(|scale| 0.5 * scale * scale).collect();
            let of = |square: f64| rates.iter().map(|rate| (-square * rate).exp()).sum::<f64>();
            discrepancy(x, y, of, statistic)
        }
        Kernel::Laplace(_) => {
            let of = |square: f64| {
                scales
                    .iter()
                    .map(|scale| (-square.sqrt() * scale).exp())
                    .sum::<f64>()
            };
            discrepancy(x, y, of, statistic)
        }
        Kernel::InverseMultiquadric(_) => {
            let of = |square: f64| {
                scales
                    .iter()
                    .map(|scale| (1.0 + square * scale * scale).sqrt().recip())
                    .sum::<f64>()
            };
            discrepancy(x, y, of, statistic)
        }
    }?;
    Ok(Mmd {
        squared,
        kernel: kernel.clone(),
        statistic,
        counts: [x.count(), y.count()],
    })
}

/// The squared maximum mean discrepancy of two clouds, for the sum of Gaussian kernels of some bandwidths.
///
/// `bandwidths`: one length h or more, in units of the data; report them with the number, as [`mmd`] does.
///
/// Source: Gretton et al. 2012, JMLR 13, equations 3 (U-statistic) and 5 (V-statistic).
///
/// # Errors
///
/// Those of [`mmd`].
pub fn mmd_squared(x: &Points<'_>, y: &Points<'_>, bandwidths: &[f64], statistic: Statistic) -> Result<f64> {
    Ok(mmd(x, y, &Kernel::Gaussian(bandwidths.to_vec()), statistic)?.squared)
}

impl Kernel {
    fn parts(&self) -> (&'static str, &[f64]) {
        match self {
            Self::Gaussian(lengths) => ("Gaussian", lengths),
            Self::Laplace(lengths) => ("Laplace", lengths),
            Self::InverseMultiquadric(lengths) => ("inverse multiquadric", lengths),
        }
    }
}

/// `kernel`: of a squared distance.
fn discrepancy(
    x: &Points<'_>,
    y: &Points<'_>,
    kernel: impl Fn(f64) -> f64 + Send + Sync + Copy,
    statistic: Statistic,
) -> Result<f64> {
    check_dimensions(x, y)?;
    statistic.check(x, y)?;
    // A point with itself.
    let own = |count: usize| match statistic {
        Statistic::V => count as f64 * kernel(0.0),
        Statistic::U => 0.0,
    };
    let within = |points: &Points<'_>| {
        (sum_within(points, kernel) + own(points.count())) / statistic.pairs(points.count())
    };
    let between = sum_between(x, y, kernel) / (x.count() as f64 * y.count() as f64);
    Ok(within(x) + within(y) - 2.0 * between)
}

/// 1/h of each length.
fn scales(lengths: &[f64]) -> Result<Vec<f64>> {
    let refuse = |name, value, allowed| {
        Err(Error::Parameter {
            owner: "mmd",
            name,
            value,
            allowed,
        })
    };
    if lengths.is_empty() {
        return refuse("number of lengths", 0.0, "of at least 1");
    }
    // Beyond these the square of h leaves the range of f64.
    if let Some(h) = lengths.iter().find(|h| !(1e-150..=1e150).contains(*h)) {
        return refuse("lengths", *h, "between 1e-150 and 1e150");
    }
    Ok(lengths.iter().map(|h| 1.0 / h).collect())
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
    fn two_points_have_what_the_kernels_say() {
        // x = {0}, y = {2} at h = 1: 2 − 2 k(2).
        let (x, y) = (Points::new(&[0.0], 1).unwrap(), Points::new(&[2.0], 1).unwrap());
        let cases = [
            (
                Kernel::Gaussian(vec![1.0]),
                (-2.0_f64).exp(),
                "Gaussian kernel, lengths [1.0]",
            ),
            (
                Kernel::Laplace(vec![0.5]),
                (-4.0_f64).exp(),
                "Laplace kernel, lengths [0.5]",
            ),
            (
                Kernel::InverseMultiquadric(vec![1.0]),
                1.0 / 5.0_f64.sqrt(),
                "inverse multiquadric kernel",
            ),
        ];
        for (kernel, value, words) in cases {
            let found = mmd(&x, &y, &kernel, Statistic::V).unwrap();
            assert!((found.squared - (2.0 - 2.0 * value)).abs() < 1e-15, "{found}");
            assert!(found.to_string().contains(words), "{found}");
        }
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
