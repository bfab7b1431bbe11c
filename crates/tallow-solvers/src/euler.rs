//! Euler's method on the probability-flow ODE in time.
//!
//! ```text
//! x_s = x_t + (s − t) v̂(x_t, t)
//! ```
//!
//! On the rectified-flow path, and on EDM's clock, it is DDIM to the last digit.
//!
//! Source: Song et al. 2021, arXiv:2011.13456, Eq. 13; Liu et al. 2022, arXiv:2209.03003.

use candle_core::Tensor;
use tallow_denoisers::{Denoiser, Noise, lincomb};
use tallow_schedules::Step;

use crate::{FinalStep, Point, Result, Solver};

/// Euler's method on the probability-flow ODE in time.
///
/// One evaluation a step, order 1; right for any path, prediction and coupling.
///
/// Source: Song et al. 2021, arXiv:2011.13456, Eq. 13; Liu et al. 2022, arXiv:2209.03003.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Euler {
    /// How the last step ends.
    pub final_step: FinalStep,
}

impl Solver for Euler {
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
        let x = match self.final_step.jump(&estimate, step)? {
            Some(x) => x,
            None => lincomb([(1.0, x), (step.to.t - step.from.t, &estimate.velocity()?)])?,
        };
        Ok(Point { x, estimate })
    }
}
