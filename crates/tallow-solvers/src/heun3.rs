//! Heun's third-order method.
//!
//! ```text
//! k₁ = v̂(x_t, t)   k₂ = v̂(x + ⅓dt k₁, t + ⅓dt)   k₃ = v̂(x + ⅔dt k₂, t + ⅔dt)        x_s = x + dt/4 (k₁ + 3k₃)
//! ```
//!
//! Source: Heun 1900; Hairer, Nørsett & Wanner, Solving Ordinary Differential Equations I, section II.1.

use candle_core::Tensor;
use tallow_denoisers::{Denoiser, Noise, lincomb};
use tallow_schedules::Step;

use crate::{FinalStep, Point, Result, Solver};

/// Heun's third-order method.
///
/// Three evaluations a step, order 3; right for any path, prediction and coupling. Never evaluates at a step's end.
///
/// Source: Heun 1900; Hairer, Nørsett & Wanner, Solving Ordinary Differential Equations I, section II.1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heun3 {
    /// How the last step ends.
    pub final_step: FinalStep,
}

impl Solver for Heun3 {
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
        let (k1, dt) = (estimate.velocity()?, step.to.t - step.from.t);
        let inner = |slope: &Tensor, share: f64| -> Result<Tensor> {
            let level = step.schedule.level(step.from.t + share * dt);
            let at = lincomb([(1.0, x), (share * dt, slope)])?;
            Ok(model.estimate(&at, level.into())?.velocity()?)
        };
        let k2 = inner(&k1, 1.0 / 3.0)?;
        let k3 = inner(&k2, 2.0 / 3.0)?;
        let x = lincomb([(1.0, x), (dt / 4.0, &k1), (0.75 * dt, &k3)])?;
        Ok(Point { x, estimate })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dopri5::tests::{order, rectified};

    #[test]
    fn the_error_falls_with_the_third_power_of_the_step() {
        for path in crate::dopri5::tests::paths() {
            let slope = order(&Heun3::default(), &path, [64, 128]);
            assert!((slope - 3.0).abs() <= 0.15, "{slope}");
        }
        let slope = order(&Heun3::default(), &rectified(), [128, 256]);
        assert!((slope - 3.0).abs() <= 0.15, "{slope}");
    }
}
