//! Grids of flow models: even times, shifted towards the noise.
//!
//! ```text
//! t' = a t/(1 + (a − 1) t)          in λ = ln((1 − t)/t): λ' = λ − ln a
//! a = √(m/n) for m instead of n pixels;    a = e^μ with μ linear in the length of the sequence
//! ```
//!
//! Shifting by a and then by b shifts by ab, so a shift must be applied once: here it is a function of plain times.
//!
//! Source: Esser et al. 2024, arXiv:2403.03206, Eq. 23.

use std::sync::Arc;

use super::{TimeGrid, check_steps};
use crate::error::{check, check_order};
use crate::{Result, Schedule};

/// Shifts a time in [0, 1] towards the noise by `shift` above 1, towards the data below; both ends stay.
///
/// Source: Esser et al. 2024, arXiv:2403.03206, Eq. 23.
///
/// # Errors
///
/// When the time is outside [0, 1] or the shift outside [1e-6, 1e6].
pub fn shift_time(t: f64, shift: f64) -> Result<f64> {
    check_shift(shift)?;
    check("shift_time", "t", t, "in [0, 1]", (0.0..=1.0).contains(&t))?;
    Ok(shifted(t, shift))
}

/// The shift for `pixels` where the model's even times belong to `base_pixels`: √(m/n).
///
/// Source: Esser et al. 2024, arXiv:2403.03206, Eq. 23.
///
/// # Errors
///
/// When a number is not positive and finite, or the shift comes out outside [1e-6, 1e6].
pub fn flow_shift_of_pixels(pixels: f64, base_pixels: f64) -> Result<f64> {
    const OWNER: &str = "flow_shift_of_pixels";
    for (name, value) in [("pixels", pixels), ("base_pixels", base_pixels)] {
        check(
            OWNER,
            name,
            value,
            "positive and finite",
            value > 0.0 && value.is_finite(),
        )?;
    }
    let shift = (pixels / base_pixels).sqrt();
    check_shift(shift)?;
    Ok(shift)
}

/// The shift e^μ for a sequence of `length` tokens, with μ linear through (length, μ) at `low` and `high`.
///
/// FLUX.1: (256, 0.5) and (4096, 1.15).
///
/// Source: Esser et al. 2024, arXiv:2403.03206, Eq. 23.
///
/// # Errors
///
/// When a length is not positive, the lengths of `low` and `high` do not rise, or the shift comes out outside [1e-6, 1e6].
pub fn flow_shift_of_sequence(length: f64, low: (f64, f64), high: (f64, f64)) -> Result<f64> {
    const OWNER: &str = "flow_shift_of_sequence";
    for (name, value) in [("length", length), ("low length", low.0), ("high length", high.0)] {
        check(
            OWNER,
            name,
            value,
            "positive and finite",
            value > 0.0 && value.is_finite(),
        )?;
    }
    check_order(OWNER, ("low length", low.0), ("high length", high.0))?;
    check(OWNER, "high length", high.0, "above low length", high.0 > low.0)?;
    let slope = (high.1 - low.1) / (high.0 - low.0);
    let shift = (low.1 + slope * (length - low.0)).exp();
    check_shift(shift)?;
    Ok(shift)
}

/// N even times from 1 down to `last`, without the clean end: `last` is 1/N for FLUX, 1/1000 for SD3.
///
/// # Errors
///
/// When there are no or too many steps, or `last` is outside (0, 1].
pub fn flow_base_times(steps: usize, last: f64) -> Result<Vec<f64>> {
    check_steps(steps)?;
    check(
        "flow_base_times",
        "last",
        last,
        "in (0, 1]",
        last > 0.0 && last <= 1.0,
    )?;
    let parts = steps.saturating_sub(1).max(1);
    let step = (last - 1.0) / parts as f64;
    Ok((0..steps)
        .map(|i| {
            if i > 0 && i == parts {
                last
            } else {
                1.0 + i as f64 * step
            }
        })
        .collect())
}

/// Times shifted once, then the clean end 0.
///
/// Source: Esser et al. 2024, arXiv:2403.03206, Eq. 23.
///
/// # Errors
///
/// When a time is outside [0, 1] or the shift outside [1e-6, 1e6].
pub fn shifted_flow_times(base: &[f64], shift: f64) -> Result<Vec<f64>> {
    let mut times = base
        .iter()
        .map(|&t| shift_time(t, shift))
        .collect::<Result<Vec<f64>>>()?;
    times.push(0.0);
    Ok(times)
}

/// The time of rectified flow with the noise level σ/α given: σ/(1 + σ); 1 at infinity.
#[must_use]
pub fn flow_time_of_sigma(sigma: f64) -> f64 {
    if sigma == f64::INFINITY {
        1.0
    } else {
        sigma / (1.0 + sigma)
    }
}

/// EDM's levels as times of rectified flow, clean end included.
///
/// # Errors
///
/// As [`karras_sigmas`](super::karras_sigmas).
pub fn karras_to_linear_flow(sigma_min: f64, sigma_max: f64, rho: f64, steps: usize) -> Result<Vec<f64>> {
    let sigmas = super::karras_sigmas(sigma_min, sigma_max, rho, steps)?;
    Ok(sigmas.into_iter().map(flow_time_of_sigma).collect())
}

fn shifted(t: f64, shift: f64) -> f64 {
    // The same as a t/(1 + (a − 1) t), written so that 1 stays 1.
    shift * t / ((1.0 - t) + shift * t)
}

fn check_shift(shift: f64) -> Result<()> {
    check(
        "a flow grid",
        "shift",
        shift,
        "in [1e-6, 1e6]",
        (1e-6..=1e6).contains(&shift),
    )
}

impl TimeGrid {
    /// FLUX's grid: N even times from the noisy end, shifted, then the clean end. Shift 1 is the uniform grid.
    ///
    /// Times are fractions of the path's `t_max`. The shift of a resolution comes from [`flow_shift_of_pixels`] or
    /// [`flow_shift_of_sequence`].
    ///
    /// # Errors
    ///
    /// When there are no or too many steps, or the shift is outside [1e-6, 1e6].
    pub fn flow_shift(schedule: Arc<dyn Schedule>, shift: f64, steps: usize) -> Result<Self> {
        Self::uniform(schedule, steps)?.shifted(shift)
    }

    /// This grid with every time shifted once, as a fraction of the path's `t_max`.
    ///
    /// # Errors
    ///
    /// When the shift is outside [1e-6, 1e6], or times fall together by rounding.
    pub fn shifted(&self, shift: f64) -> Result<Self> {
        check_shift(shift)?;
        let t_max = self.schedule().t_max();
        let times = self
            .times()
            .iter()
            .map(|t| (t_max * shifted(t / t_max, shift)).min(t_max))
            .collect();
        Self::new(self.schedule().clone(), times)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RectifiedFlow;

    #[test]
    fn shifting_moves_lambda_by_the_logarithm_of_the_shift() {
        let path = RectifiedFlow::default();
        for t in [0.01, 0.3, 0.9] {
            let moved = path.lambda(shift_time(t, 3.0).unwrap()) - path.lambda(t);
            assert!((moved + 3.0_f64.ln()).abs() < 1e-12);
        }
        assert_eq!((shift_time(0.0, 3.0), shift_time(1.0, 3.0)), (Ok(0.0), Ok(1.0)));
    }

    #[test]
    fn shifts_multiply_so_applying_one_twice_is_another_shift() {
        let grid = TimeGrid::uniform(Arc::new(RectifiedFlow::default()), 8).unwrap();
        let (twice, product) = (
            grid.shifted(2.0).unwrap().shifted(1.5).unwrap(),
            grid.shifted(3.0).unwrap(),
        );
        for (a, b) in twice.times().iter().zip(product.times()) {
            assert!((a - b).abs() < 1e-15);
        }
        assert_ne!(
            grid.shifted(3.0).unwrap().shifted(3.0).unwrap().times(),
            grid.shifted(3.0).unwrap().times()
        );
    }

    #[test]
    fn published_grids_come_out() {
        let even = flow_base_times(4, 0.25).unwrap();
        let want = [1.0, 0.9, 0.75, 0.5, 0.0];
        for (got, want) in shifted_flow_times(&even, 3.0).unwrap().iter().zip(want) {
            assert!((got - want).abs() < 1e-15);
        }
        let grid = TimeGrid::flow_shift(Arc::new(RectifiedFlow::default()), 3.0, 4).unwrap();
        for (got, want) in grid.times().iter().zip(want) {
            assert!((got - want).abs() < 1e-15);
        }
        let flux = |length| flow_shift_of_sequence(length, (256.0, 0.5), (4096.0, 1.15)).unwrap();
        assert!((flux(1024.0).ln() - 0.63).abs() < 1e-12);
        assert_eq!(flow_shift_of_pixels(1024.0, 256.0), Ok(2.0));
        assert_eq!(flow_time_of_sigma(f64::INFINITY), 1.0);
    }

    #[test]
    fn refuses_shifts_and_times_that_are_none() {
        for shift in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(shift_time(0.5, shift).is_err());
        }
        assert!(
            shift_time(1.5, 2.0).is_err()
                && flow_base_times(0, 0.5).is_err()
                && flow_base_times(3, 0.0).is_err()
        );
        assert!(flow_shift_of_sequence(100.0, (256.0, 0.5), (256.0, 1.15)).is_err());
        assert!(flow_shift_of_pixels(f64::NAN, 1.0).is_err());
    }
}
