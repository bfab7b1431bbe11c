//! Grids that are even in time, in the square root of time, or in λ.
//!
//! ```text
//! uniform     t_i = from + (to − from) i/N
//! quadratic   √t_i even: short steps towards the data
//! uniform λ   λ(t_i) = λ(from) + (λ(to) − λ(from)) i/N
//! ```

use std::sync::Arc;

use super::{TimeGrid, check_steps};
use crate::error::check;
use crate::{Error, Result, Schedule};

/// `steps + 1` times with equal differences, both ends included and exact.
///
/// # Errors
///
/// When there are no or too many steps.
pub fn uniform_times(from: f64, to: f64, steps: usize) -> Result<Vec<f64>> {
    check_steps(steps)?;
    Ok(between(from, to, steps).collect())
}

/// `steps + 1` times whose square roots have equal differences, both ends included and exact.
///
/// Source: Lu et al. 2022, arXiv:2206.00927 (time_quadratic of its code); Song et al. 2021, arXiv:2010.02502.
///
/// # Errors
///
/// When there are no or too many steps, or an end is negative.
pub fn quadratic_times(from: f64, to: f64, steps: usize) -> Result<Vec<f64>> {
    check_steps(steps)?;
    for (name, value) in [("from", from), ("to", to)] {
        check("quadratic_times", name, value, "of at least 0", value >= 0.0)?;
    }
    let mut times: Vec<f64> = between(from.sqrt(), to.sqrt(), steps)
        .map(|root| root * root)
        .collect();
    (times[0], times[steps]) = (from, to);
    Ok(times)
}

/// The numbers themselves; the last is exact.
fn between(from: f64, to: f64, steps: usize) -> impl Iterator<Item = f64> {
    let step = (to - from) / steps as f64;
    (0..=steps).map(move |i| if i == steps { to } else { from + i as f64 * step })
}

impl TimeGrid {
    /// Equal steps in time over the whole path, from its noisy to its clean end.
    ///
    /// # Errors
    ///
    /// When there are no or too many steps.
    pub fn uniform(schedule: Arc<dyn Schedule>, steps: usize) -> Result<Self> {
        let from = schedule.t_max();
        Self::uniform_between(schedule, from, 0.0, steps)
    }

    /// Equal steps in time between two times.
    ///
    /// # Errors
    ///
    /// When there are no or too many steps, a time is not on the path, or the times are too close for that many steps.
    pub fn uniform_between(
        schedule: Arc<dyn Schedule>,
        from_t: f64,
        to_t: f64,
        steps: usize,
    ) -> Result<Self> {
        Self::new(schedule, uniform_times(from_t, to_t, steps)?)
    }

    /// Equal steps in √t between two times: short ones near the data.
    ///
    /// # Errors
    ///
    /// As [`uniform_between`](Self::uniform_between).
    pub fn quadratic_between(
        schedule: Arc<dyn Schedule>,
        from_t: f64,
        to_t: f64,
        steps: usize,
    ) -> Result<Self> {
        Self::new(schedule, quadratic_times(from_t, to_t, steps)?)
    }

    /// Equal steps in λ = ln(α/σ) between two times at which it is finite; the choice of DPM-Solver.
    ///
    /// Source: Lu et al. 2022, arXiv:2206.00927, section 3.4 (logSNR steps).
    ///
    /// # Errors
    ///
    /// When λ is infinite at an end, and as [`uniform_between`](Self::uniform_between).
    pub fn uniform_lambda(schedule: Arc<dyn Schedule>, from_t: f64, to_t: f64, steps: usize) -> Result<Self> {
        check_steps(steps)?;
        let t_max = schedule.t_max();
        for t in [from_t, to_t] {
            if !(0.0..=t_max).contains(&t) {
                return Err(Error::Time { t, t_max });
            }
            let lambda = schedule.lambda(t);
            if !lambda.is_finite() {
                return Err(Error::InfiniteLambda { t, lambda });
            }
        }
        let lambdas = between(schedule.lambda(from_t), schedule.lambda(to_t), steps);
        let mut times: Vec<f64> = lambdas.map(|lambda| schedule.inverse_lambda(lambda)).collect();
        (times[0], times[steps]) = (from_t, to_t);
        Self::new(schedule, times)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MAX_STEPS, RectifiedFlow, Table, VpCosine, VpLinear};

    #[test]
    fn ends_are_exact_and_differences_equal() {
        let times = uniform_times(1.0, 0.001, 7).unwrap();
        assert_eq!((times[0], times[7], times.len()), (1.0, 0.001, 8));
        assert!(
            times
                .windows(2)
                .all(|pair| (pair[0] - pair[1] - 0.999 / 7.0).abs() < 1e-15)
        );
        let quadratic = quadratic_times(1.0, 0.0, 4).unwrap();
        assert_eq!(quadratic, [1.0, 0.5625, 0.25, 0.0625, 0.0]);
    }

    #[test]
    fn uniform_lambda_has_equal_steps_on_every_path() {
        let paths: [Arc<dyn Schedule>; 4] = [
            Arc::new(VpLinear::default()),
            Arc::new(VpCosine::default()),
            Arc::new(RectifiedFlow::default()),
            Arc::new(Table::linear_beta(1000, 1e-4, 0.02).unwrap()),
        ];
        for path in paths {
            let grid = TimeGrid::uniform_lambda(path, 0.99, 0.01, 20).unwrap();
            let h: Vec<f64> = grid.steps().map(|step| step.h()).collect();
            assert!(h.iter().all(|value| (value / h[0] - 1.0).abs() < 1e-9), "{h:?}");
        }
    }

    #[test]
    fn lambda_cannot_be_shared_out_up_to_infinity() {
        let path: Arc<dyn Schedule> = Arc::new(RectifiedFlow::default());
        for (from, to) in [(1.0, 0.5), (0.5, 0.0)] {
            let error = TimeGrid::uniform_lambda(path.clone(), from, to, 5).unwrap_err();
            assert!(matches!(error, Error::InfiniteLambda { .. }), "{error}");
        }
        assert!(matches!(
            TimeGrid::uniform_lambda(path, f64::NAN, 0.1, 5),
            Err(Error::Time { .. })
        ));
    }

    #[test]
    fn counts_that_make_no_grid_are_refused_before_allocation() {
        let path: Arc<dyn Schedule> = Arc::new(VpLinear::default());
        for steps in [0, MAX_STEPS + 1, usize::MAX] {
            assert_eq!(
                TimeGrid::uniform(path.clone(), steps).unwrap_err(),
                Error::Steps {
                    steps,
                    max: MAX_STEPS
                }
            );
            assert!(quadratic_times(1.0, 0.0, steps).is_err());
            assert!(TimeGrid::uniform_lambda(path.clone(), 1.0, 0.1, steps).is_err());
        }
        // Too close for so many steps: an error, not equal times.
        assert!(TimeGrid::uniform_between(path, 0.5, 0.5 + 1e-15, 1000).is_err());
    }
}
