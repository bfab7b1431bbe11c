//! The midpoint method: the slope in the middle of the step, found by half an Euler step.
//!
//! ```text
//! m = (t + s)/2        x_m = x_t + (m − t) v̂(x_t, t)        x_s = x_t + (s − t) v̂(x_m, m)
//! ```
//!
//! Source: Hairer, Nørsett & Wanner, Solving Ordinary Differential Equations I, section II.1 (Runge 1895).

use candle_core::Tensor;
use tallow_denoisers::{Denoiser, Noise, lincomb};
use tallow_schedules::Step;

use crate::{FinalStep, Point, Result, Solver};

/// The midpoint method: the slope in the middle of the step, found by half an Euler step.
///
/// Two evaluations a step, order 2; right for any path, prediction and coupling. Never evaluates at a step's end.
///
/// Source: Hairer, Nørsett & Wanner, Solving Ordinary Differential Equations I, section II.1 (Runge 1895).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Midpoint {
    /// How the last step ends.
    pub final_step: FinalStep,
}

impl Solver for Midpoint {
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
        let middle = step.schedule.level(step.from.t + dt / 2.0);
        let halfway = lincomb([(1.0, x), (dt / 2.0, &start)])?;
        let slope = model.estimate(&halfway, middle.into())?.velocity()?;
        Ok(Point {
            x: lincomb([(1.0, x), (dt, &slope)])?,
            estimate,
        })
    }
}
