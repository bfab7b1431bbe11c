//! Euler-Maruyama on the reverse SDE in time.
//!
//! ```text
//! x̄ = x_t + (s − t)(f x_t − g² score)          x_s = x̄ + g √(t − s) z          f = α̇/α, g² = 2σ(σ̇ − σf)
//! ```
//!
//! Half of the score term and no noise is the probability-flow ODE, f x − ½ g² score = α̇ x̂₀ + σ̇ ε̂: Euler on that is
//! [`Euler`](crate::Euler), whatever the form it is written in. A step into σ = 0 ends in x̂₀; one out of a level where f or
//! g is infinite (α = 0) is the posterior's, DDIM with η = 1.
//!
//! Source: Song et al. 2021, arXiv:2011.13456, Eq. 6 and appendix G.

use candle_core::Tensor;
use tallow_denoisers::{Denoiser, Estimate, Noise, lincomb};
use tallow_schedules::Step;

use crate::ancestral::{Ancestral, towards_data};
use crate::clean::exponential;
use crate::{Point, Result, Solver, estimate};

/// Euler-Maruyama on the reverse SDE in time.
///
/// One evaluation a step, weak order 1. Needs Gaussian noise that is independent of the data. Many short steps; the
/// exponential methods do better at any count.
///
/// Source: Song et al. 2021, arXiv:2011.13456, Eq. 6 and appendix G.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EulerMaruyama;

impl Solver for EulerMaruyama {
    type History = ();

    fn step(
        &self,
        model: &dyn Denoiser,
        x: &Tensor,
        step: &Step<'_>,
        _history: &mut (),
        noise: &mut dyn Noise,
    ) -> Result<Point> {
        towards_data("EulerMaruyama", step)?;
        let (from, to) = (step.from, step.to);
        let estimate = estimate(model, x, from)?;
        if to.sigma == 0.0 {
            let x = exponential(&estimate, step)?;
            return Ok(Point { x, estimate });
        }
        if !(from.drift().is_finite() && from.diffusion_squared().is_finite()) {
            let split = Ancestral::default().split("EulerMaruyama", step)?;
            let x = split.add_noise(split.target.ddim(&estimate)?, step, noise)?;
            return Ok(Point { x, estimate });
        }
        let mean = mean(&estimate, step)?;
        let spread = (from.diffusion_squared() * (from.t - to.t)).sqrt();
        let z = noise.increment(x, from.lambda(), to.lambda())?;
        let x = lincomb([(1.0, &mean), (spread, &z)])?;
        Ok(Point { x, estimate })
    }
}

/// x̄, the state before the noise of a step: of the last step, what score SDE returns as its sample.
///
/// `estimate` is the model's where the step starts. Not finite where f or g is not (α = 0).
///
/// # Errors
///
/// When a tensor operation fails.
pub fn mean(estimate: &Estimate, step: &Step<'_>) -> Result<Tensor> {
    let (from, dt) = (step.from, step.to.t - step.from.t);
    Ok(lincomb([
        (1.0 + dt * from.drift(), estimate.x()),
        (-dt * from.diffusion_squared(), &estimate.score()?),
    ])?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weak::{self, Rate, sde};

    #[test]
    fn weak_order_is_one() {
        weak::assert_order(&EulerMaruyama, &sde(Rate(2.0)), 1.0);
    }

    #[test]
    fn a_run_to_the_end_lands_on_the_datum_from_any_start() {
        weak::assert_lands_on_the_datum(&EulerMaruyama);
    }

    #[test]
    fn finer_grids_follow_one_brownian_path() {
        weak::assert_converges_on_one_path(&EulerMaruyama);
    }
}
