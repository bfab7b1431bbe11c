//! The Sinkhorn divergence: entropic transport without its bias, between the transport distance and the kernel distance.
//!
//! ```text
//! S_ε(x, y) = OT_ε(x, y) − OT_ε(x, x)/2 − OT_ε(y, y)/2          OT_ε = min Σ P_ij |x_i − y_j|² + ε KL(P | 1/n ⊗ 1/m)
//! ε → 0: W₂²          ε → ∞: |mean x − mean y|²
//! ```
//!
//! Sources: Genevay, Peyré & Cuturi 2018, arXiv:1706.00292; Feydy et al. 2019, arXiv:1810.08278, equation 3.

use tallow_kernels::{Sinkhorn, squared_distances};

use crate::points::check_dimensions;
use crate::{Error, Points, Result};

/// The most entries of a matrix of costs: 512 MiB.
const MOST_PAIRS: usize = 1 << 26;

/// A Sinkhorn divergence and how well its three transports were solved.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SinkhornDivergence {
    /// S_ε, in squared units of length; 0 for equal clouds, never negative but for rounding and what is left unsolved.
    pub divergence: f64,
    /// ε, in squared units of length.
    pub regularization: f64,
    /// By how much mass the worst of the three plans misses its sums.
    pub residual: f64,
}

/// How far two clouds are apart: squared distances as costs, `regularization` ε in squared units of length.
///
/// The clouds may differ in size. A small ε needs many iterations: at most 10,000 are made, and `residual` says what is left.
/// Time O(n m) an iteration, memory O(n m).
///
/// Sources: Genevay, Peyré & Cuturi 2018, arXiv:1706.00292; Feydy et al. 2019, arXiv:1810.08278, equation 3.
///
/// ```
/// use tallow_metrics::{Points, sinkhorn_divergence};
///
/// let (x, y) = ([0.0, 1.0, 5.0], [2.0, 3.0, 7.0]);
/// let found = sinkhorn_divergence(&Points::new(&x, 1)?, &Points::new(&y, 1)?, 5.0)?;
/// assert!((found.divergence - 4.0).abs() < 1e-9);
/// # Ok::<(), tallow_metrics::Error>(())
/// ```
///
/// # Errors
///
/// When the dimensions differ, ε is not positive and finite, or there are more than 2²⁶ pairs of points.
pub fn sinkhorn_divergence(
    x: &Points<'_>,
    y: &Points<'_>,
    regularization: f64,
) -> Result<SinkhornDivergence> {
    check_dimensions(x, y)?;
    let largest = x.count().max(y.count());
    if largest
        .checked_mul(largest)
        .is_none_or(|pairs| pairs > MOST_PAIRS)
    {
        return Err(Error::TooMany {
            count: largest,
            most: MOST_PAIRS.isqrt(),
        });
    }
    let (between, a) = entropic(x, y, regularization)?;
    let (of_x, b) = entropic(x, x, regularization)?;
    let (of_y, c) = entropic(y, y, regularization)?;
    Ok(SinkhornDivergence {
        divergence: between - (of_x + of_y) / 2.0,
        regularization,
        residual: a.max(b).max(c),
    })
}

/// OT_ε by its dual, Σ aᵢ fᵢ + Σ bⱼ gⱼ with potentials relative to the masses, and the residual.
fn entropic(x: &Points<'_>, y: &Points<'_>, regularization: f64) -> Result<(f64, f64)> {
    let (n, m) = (x.count(), y.count());
    let costs = squared_distances(x.values(), y.values(), n, m, x.dimension())?;
    let plan =
        Sinkhorn::new(regularization).plan(&costs, &vec![1.0 / n as f64; n], &vec![1.0 / m as f64; m])?;
    let mean = |potentials: &[f64]| potentials.iter().sum::<f64>() / potentials.len() as f64;
    let entropy = regularization * ((n as f64).ln() + (m as f64).ln());
    Ok((
        mean(&plan.row_potentials) + mean(&plan.column_potentials) + entropy,
        plan.residual,
    ))
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::sliced_wasserstein::normals;
    use crate::wasserstein2;

    fn clouds() -> [Vec<f64>; 2] {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        [normals(120, &mut rng), normals(120, &mut rng)].map(|cloud| cloud.into_iter().collect())
    }

    #[test]
    fn a_shifted_cloud_is_its_squared_shift_away_at_any_regularization() {
        // |x − y − s|² = |x − y|² − 2 s·(x − y) + |s|²: the middle is a function of the marginals alone, and vanishes.
        let [x, _] = clouds();
        let y: Vec<f64> = x.chunks(2).flat_map(|p| [p[0] + 3.0, p[1] - 1.0]).collect();
        let (x, y) = (Points::new(&x, 2).unwrap(), Points::new(&y, 2).unwrap());
        for regularization in [0.1, 1.0, 30.0] {
            let found = sinkhorn_divergence(&x, &y, regularization).unwrap();
            // What iterations leave unsolved shows in the plan first.
            assert!(
                (found.divergence - 10.0).abs() < 1e-8 + found.residual,
                "{found:?}"
            );
            assert!(found.residual < 1e-5);
        }
    }

    #[test]
    fn it_goes_from_the_transport_distance_to_that_of_the_means() {
        let [x, y] = clouds();
        let y: Vec<f64> = y.iter().map(|value| 0.5 * value + 1.0).collect();
        let means = |values: &[f64]| {
            let sum = |axis: usize| values.iter().skip(axis).step_by(2).sum::<f64>() / 60.0;
            [sum(0), sum(1)]
        };
        let (mx, my) = (means(&x), means(&y));
        let (x, y) = (Points::new(&x, 2).unwrap(), Points::new(&y, 2).unwrap());
        let exact = wasserstein2(&x, &y).unwrap().distance.powi(2);
        let sharp = sinkhorn_divergence(&x, &y, 2e-3).unwrap().divergence;
        assert!((sharp - exact).abs() < 0.02 * exact, "{sharp} against {exact}");
        let flat = (mx[0] - my[0]).powi(2) + (mx[1] - my[1]).powi(2);
        let blurred = sinkhorn_divergence(&x, &y, 1e4).unwrap().divergence;
        assert!((blurred - flat).abs() < 1e-2 * flat, "{blurred} against {flat}");
    }

    #[test]
    fn a_cloud_is_at_zero_from_itself_and_bad_settings_are_refused() {
        let [x, y] = clouds();
        let (x, flat) = (Points::new(&x, 2).unwrap(), Points::new(&y, 3).unwrap());
        assert!(sinkhorn_divergence(&x, &x, 0.3).unwrap().divergence.abs() < 1e-10);
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(sinkhorn_divergence(&x, &x, bad).is_err());
        }
        assert!(matches!(
            sinkhorn_divergence(&x, &flat, 1.0),
            Err(Error::Dimension { x: 2, y: 3 })
        ));
    }
}
