//! The classic fourth-order Runge-Kutta method, and Kutta's 3/8 rule.
//!
//! ```text
//! classic:  k₁ = v̂(x, t)   k₂ = v̂(x + ½dt k₁, t + ½dt)   k₃ = v̂(x + ½dt k₂, t + ½dt)   k₄ = v̂(x + dt k₃, s)
//!           x_s = x + dt/6 (k₁ + 2k₂ + 2k₃ + k₄)
//! 3/8:      k₂ = v̂(x + ⅓dt k₁, t + ⅓dt)   k₃ = v̂(x + dt(k₂ − ⅓k₁), t + ⅔dt)   k₄ = v̂(x + dt(k₁ − k₂ + k₃), s)
//!           x_s = x + dt/8 (k₁ + 3k₂ + 3k₃ + k₄)
//! ```
//!
//! torchdiffeq's "rk4" is the 3/8 rule.
//!
//! Source: Kutta 1901; Hairer, Nørsett & Wanner, Solving Ordinary Differential Equations I, table II.1.2.

use candle_core::Tensor;
use tallow_denoisers::{Denoiser, Noise, lincomb};
use tallow_schedules::Step;

use crate::{FinalStep, Point, Result, Solver};

/// The classic fourth-order Runge-Kutta method, and Kutta's 3/8 rule.
///
/// Four evaluations a step, order 4; right for any path, prediction and coupling.
///
/// Source: Kutta 1901; Hairer, Nørsett & Wanner, Solving Ordinary Differential Equations I, table II.1.2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rk4 {
    /// Which of the two tableaus.
    pub rule: Rk4Rule,
    /// How the last step ends.
    pub final_step: FinalStep,
}

/// The fourth-order tableau.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rk4Rule {
    /// Stages at 0, ½, ½, 1.
    #[default]
    Classic,
    /// Stages at 0, ⅓, ⅔, 1: smaller error terms.
    ThreeEighths,
}

impl Solver for Rk4 {
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
        let inner = |at: &Tensor, share: f64| -> Result<Tensor> {
            let level = step.schedule.level(step.from.t + share * dt);
            Ok(model.estimate(at, level.into())?.velocity()?)
        };
        let last =
            |at: &Tensor| -> Result<Tensor> { Ok(self.final_step.estimate(model, at, step.to)?.velocity()?) };
        let x = match self.rule {
            Rk4Rule::Classic => {
                let k2 = inner(&lincomb([(1.0, x), (dt / 2.0, &k1)])?, 0.5)?;
                let k3 = inner(&lincomb([(1.0, x), (dt / 2.0, &k2)])?, 0.5)?;
                let k4 = last(&lincomb([(1.0, x), (dt, &k3)])?)?;
                let sixth = dt / 6.0;
                lincomb([
                    (1.0, x),
                    (sixth, &k1),
                    (2.0 * sixth, &k2),
                    (2.0 * sixth, &k3),
                    (sixth, &k4),
                ])?
            }
            Rk4Rule::ThreeEighths => {
                let k2 = inner(&lincomb([(1.0, x), (dt / 3.0, &k1)])?, 1.0 / 3.0)?;
                let k3 = inner(&lincomb([(1.0, x), (-dt / 3.0, &k1), (dt, &k2)])?, 2.0 / 3.0)?;
                let k4 = last(&lincomb([(1.0, x), (dt, &k1), (-dt, &k2), (dt, &k3)])?)?;
                let eighth = dt / 8.0;
                lincomb([
                    (1.0, x),
                    (eighth, &k1),
                    (3.0 * eighth, &k2),
                    (3.0 * eighth, &k3),
                    (eighth, &k4),
                ])?
            }
        };
        Ok(Point { x, estimate })
    }
}
