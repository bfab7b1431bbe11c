//! Heun's method: the mean of the slopes at both ends of an Euler step.
//!
//! ```text
//! x' = x_t + (s − t) v̂(x_t, t)        x_s = x_t + ½ (s − t) (v̂(x_t, t) + v̂(x', s))
//! ```
//!
//! On EDM's clock with the Karras grid this is EDM's Algorithm 1.
//!
//! Source: Karras et al. 2022, arXiv:2206.00364, Algorithm 1.

use candle_core::Tensor;
use tallow_denoisers::{Denoiser, Noise, lincomb};
use tallow_schedules::Step;

use crate::{FinalStep, Point, Result, Solver};

/// Heun's method: the mean of the slopes at both ends of an Euler step.
///
/// Two evaluations a step, one into σ = 0; order 2; right for any path, prediction and coupling.
///
/// Source: Karras et al. 2022, arXiv:2206.00364, Algorithm 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heun {
    /// How the last step ends.
    pub final_step: FinalStep,
}

impl Solver for Heun {
    type History = ();

    fn step(
        &self,
        model: &dyn Denoiser,
        x: &Tensor,
        step: &Step<'_>,
        _history: &mut (),
        _noise: &mut dyn Noise,
    ) -> Result<Point> {
        let estimate = self.final_step.estimate(model, x, step.from)?;
        if let Some(x) = self.final_step.jump(&estimate, step)? {
            return Ok(Point { x, estimate });
        }
        let (start, dt) = (estimate.velocity()?, step.to.t - step.from.t);
        let euler = lincomb([(1.0, x), (dt, &start)])?;
        let end = self.final_step.estimate(model, &euler, step.to)?.velocity()?;
        let x = lincomb([(1.0, x), (dt / 2.0, &start), (dt / 2.0, &end)])?;
        Ok(Point { x, estimate })
    }
}
