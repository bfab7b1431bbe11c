//! EDM's grid: σ^{1/ρ} is even.
//!
//! ```text
//! σ_i = (σ_max^{1/ρ} + (i/(N−1)) (σ_min^{1/ρ} − σ_max^{1/ρ}))^ρ      i < N,   then σ_N = 0
//! ```

use std::sync::Arc;

use super::{TimeGrid, check_steps};
use crate::error::{check, check_order};
use crate::{Result, Schedule};

/// N noise levels σ/α that fall from `sigma_max` to `sigma_min`, denser towards the data for larger `rho`, then 0.
///
/// One step alone takes `sigma_max`. Defaults of the paper: 0.002, 80 and `rho` = 7.
///
/// Source: Karras et al. 2022, arXiv:2206.00364, Eq. 5.
///
/// # Errors
///
/// When there are no or too many steps, a level is not positive, they are out of order, or `rho` is outside [0.01, 1e3].
pub fn karras_sigmas(sigma_min: f64, sigma_max: f64, rho: f64, steps: usize) -> Result<Vec<f64>> {
    const OWNER: &str = "karras_sigmas";
    check_levels(OWNER, sigma_min, sigma_max, steps)?;
    check(OWNER, "rho", rho, "in [0.01, 1e3]", (0.01..=1e3).contains(&rho))?;
    let (first, last) = (sigma_max.powf(1.0 / rho), sigma_min.powf(1.0 / rho));
    Ok(then_zero(
        fractions(steps).map(|part| (first + part * (last - first)).powf(rho)),
    ))
}

/// Checks what all grids of noise levels ask for.
pub(super) fn check_levels(owner: &'static str, sigma_min: f64, sigma_max: f64, steps: usize) -> Result<()> {
    check_steps(steps)?;
    for (name, value) in [("sigma_min", sigma_min), ("sigma_max", sigma_max)] {
        check(
            owner,
            name,
            value,
            "positive and finite",
            value > 0.0 && value.is_finite(),
        )?;
    }
    check_order(owner, ("sigma_min", sigma_min), ("sigma_max", sigma_max))
}

/// i/(N−1) for i < N; 0 alone for one step.
pub(super) fn fractions(steps: usize) -> impl Iterator<Item = f64> {
    let last = steps.saturating_sub(1).max(1) as f64;
    (0..steps).map(move |i| i as f64 / last)
}

/// The levels, then the clean end.
pub(super) fn then_zero(levels: impl Iterator<Item = f64>) -> Vec<f64> {
    levels.chain([0.0]).collect()
}

impl TimeGrid {
    /// EDM's noise levels on any path: N levels σ/α from `sigma_max` to `sigma_min`, then the clean end.
    ///
    /// # Errors
    ///
    /// As [`karras_sigmas`], and when a level is not on the path.
    pub fn karras(
        schedule: Arc<dyn Schedule>,
        sigma_min: f64,
        sigma_max: f64,
        rho: f64,
        steps: usize,
    ) -> Result<Self> {
        Self::of_noise_levels(schedule, &karras_sigmas(sigma_min, sigma_max, rho, steps)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{RectifiedFlow, Ve, VpLinear};

    #[test]
    fn has_the_published_levels() {
        let published = [
            80.0,
            57.585_98,
            40.785_57,
            28.374_58,
            19.352_45,
            12.910_08,
            8.400_935,
            5.315_195,
            3.256_822,
            1.923_340,
            1.088_171,
            0.585_348_1,
            0.296_442_3,
            0.139_516_5,
            0.059_947_31,
            0.022_934_52,
            0.007_528_02,
            0.002,
        ];
        let sigmas = karras_sigmas(0.002, 80.0, 7.0, 18).unwrap();
        assert_eq!((sigmas.len(), sigmas[18]), (19, 0.0));
        for (got, want) in sigmas.iter().zip(published) {
            assert!((got / want - 1.0).abs() < 1e-6, "{got}, not {want}");
        }
    }

    #[test]
    fn visits_the_same_levels_on_every_path() {
        let sigmas = karras_sigmas(0.002, 80.0, 7.0, 10).unwrap();
        let paths: [Arc<dyn Schedule>; 3] = [
            Arc::new(Ve::default()),
            Arc::new(VpLinear::default()),
            Arc::new(RectifiedFlow::default()),
        ];
        for path in paths {
            let grid = TimeGrid::karras(path, 0.002, 80.0, 7.0, 10).unwrap();
            for (step, sigma) in grid.steps().zip(&sigmas) {
                assert!((step.from.noise_to_signal() / sigma - 1.0).abs() < 1e-9);
            }
            assert_eq!(grid.last().sigma, 0.0);
        }
    }

    #[test]
    fn refuses_levels_and_exponents_that_make_no_grid() {
        for (low, high, rho, steps) in [
            (0.0, 1.0, 7.0, 5),
            (2.0, 1.0, 7.0, 5),
            (0.1, 1.0, 0.0, 5),
            (0.1, 1.0, f64::NAN, 5),
            (0.1, 1.0, 7.0, 0),
        ] {
            assert!(
                karras_sigmas(low, high, rho, steps).is_err(),
                "{low} {high} {rho} {steps}"
            );
        }
        assert_eq!(karras_sigmas(0.1, 1.0, 7.0, 1).unwrap(), [1.0, 0.0]);
        let ve: Arc<dyn Schedule> = Arc::new(Ve::default());
        assert!(
            TimeGrid::karras(ve, 1.0, 1.0, 7.0, 5).is_err(),
            "equal levels are no grid"
        );
    }
}
