//! Grids that are even in a power of ln σ.
//!
//! ```text
//! exponential       ln σ even from σ_max to σ_min
//! polyexponential   ln σ_i = ln σ_min + (1 − i/(N−1))^ρ ln(σ_max/σ_min);   ρ = 1 is the exponential grid
//! ```

use std::sync::Arc;

use super::TimeGrid;
use super::karras::{check_levels, fractions, then_zero};
use crate::error::check;
use crate::{Result, Schedule};

/// N noise levels σ/α with equal ratios from `sigma_max` to `sigma_min`, then 0.
///
/// Source: k-diffusion's `get_sigmas_exponential`.
///
/// # Errors
///
/// When there are no or too many steps, a level is not positive, or they are out of order.
pub fn exponential_sigmas(sigma_min: f64, sigma_max: f64, steps: usize) -> Result<Vec<f64>> {
    check_levels("exponential_sigmas", sigma_min, sigma_max, steps)?;
    Ok(levels(sigma_min, sigma_max, 1.0, steps))
}

/// N noise levels σ/α whose logarithms follow a power `rho`, then 0; denser towards the data for `rho` above 1.
///
/// Source: k-diffusion's `get_sigmas_polyexponential`.
///
/// # Errors
///
/// As [`exponential_sigmas`], and when `rho` is outside [0.01, 1e3].
pub fn polyexponential_sigmas(sigma_min: f64, sigma_max: f64, rho: f64, steps: usize) -> Result<Vec<f64>> {
    const OWNER: &str = "polyexponential_sigmas";
    check_levels(OWNER, sigma_min, sigma_max, steps)?;
    check(OWNER, "rho", rho, "in [0.01, 1e3]", (0.01..=1e3).contains(&rho))?;
    Ok(levels(sigma_min, sigma_max, rho, steps))
}

fn levels(sigma_min: f64, sigma_max: f64, rho: f64, steps: usize) -> Vec<f64> {
    let (low, span) = (sigma_min.ln(), sigma_max.ln() - sigma_min.ln());
    then_zero(fractions(steps).map(|part| (low + (1.0 - part).powf(rho) * span).exp()))
}

impl TimeGrid {
    /// Noise levels with equal ratios on any path, then the clean end: uniform in λ, given by levels.
    ///
    /// # Errors
    ///
    /// As [`exponential_sigmas`], and when a level is not on the path.
    pub fn exponential(
        schedule: Arc<dyn Schedule>,
        sigma_min: f64,
        sigma_max: f64,
        steps: usize,
    ) -> Result<Self> {
        Self::of_noise_levels(schedule, &exponential_sigmas(sigma_min, sigma_max, steps)?)
    }

    /// Noise levels whose logarithms follow a power, on any path, then the clean end.
    ///
    /// # Errors
    ///
    /// As [`polyexponential_sigmas`], and when a level is not on the path.
    pub fn polyexponential(
        schedule: Arc<dyn Schedule>,
        sigma_min: f64,
        sigma_max: f64,
        rho: f64,
        steps: usize,
    ) -> Result<Self> {
        Self::of_noise_levels(
            schedule,
            &polyexponential_sigmas(sigma_min, sigma_max, rho, steps)?,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::VpLinear;

    #[test]
    fn ratios_are_equal_and_so_are_steps_in_lambda() {
        let sigmas = exponential_sigmas(0.01, 100.0, 5).unwrap();
        for (got, want) in sigmas.iter().zip([100.0, 10.0, 1.0, 0.1, 0.01, 0.0]) {
            assert!((got - want).abs() <= 1e-13 * want);
        }
        let grid = TimeGrid::exponential(Arc::new(VpLinear::default()), 0.01, 100.0, 5).unwrap();
        assert!(
            grid.steps()
                .take(4)
                .all(|step| (step.h() - 10.0_f64.ln()).abs() < 1e-9)
        );
    }

    #[test]
    fn power_one_changes_nothing_and_a_larger_one_bends_towards_the_data() {
        assert_eq!(
            polyexponential_sigmas(0.01, 10.0, 1.0, 9).unwrap(),
            exponential_sigmas(0.01, 10.0, 9).unwrap()
        );
        let bent = polyexponential_sigmas(0.01, 100.0, 2.0, 3).unwrap();
        // Half-way: a quarter of the logarithmic distance above the lower end.
        assert!((bent[1] - 0.1).abs() < 1e-14);
        assert!(polyexponential_sigmas(0.01, 1.0, f64::INFINITY, 3).is_err());
    }
}
