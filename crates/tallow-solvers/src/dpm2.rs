//! k-diffusion's DPM2: the midpoint method in σ/α, with the middle taken in λ = ln(α/σ).
//!
//! ```text
//! m = level at λ_t + h/2          x_m = (σ_m/σ_t) x_t − α_m (e^{−h/2} − 1) x̂₀
//! x_s = (σ_s/σ_t) x_t − α_s (e^{−h} − 1) (x̂₀ + e^{h/2} (x̂₀(x_m, m) − x̂₀))
//! ```
//!
//! It is x/α + (σ_s/α_s − σ_t/α_t) ε̂(x_m, m), written so that nothing divides by α. The factor e^{h/2} on the difference of
//! the estimates is why DPM-Solver++(2S), which has 1 there, is calmer when steps are long. Steps out of α = 0 and into
//! σ = 0 have no middle and are DDIM's.
//!
//! Source: Karras et al. 2022, arXiv:2206.00364, Algorithm 2 with the middle of Lu et al. 2022, arXiv:2206.00927,
//! Algorithm 1.

use candle_core::Tensor;
use tallow_denoisers::{Denoiser, Estimate, Noise, lincomb};
use tallow_schedules::Step;

use crate::ancestral::Target;
use crate::clean::exponential;
use crate::{Point, Result, Solver, estimate};

/// k-diffusion's DPM2: the midpoint method in σ/α, with the middle taken in λ = ln(α/σ).
///
/// Two evaluations a step, one into σ = 0; order 2; right for any path, prediction and coupling.
///
/// Source: Karras et al. 2022, arXiv:2206.00364, Algorithm 2 with the middle of Lu et al. 2022, arXiv:2206.00927,
/// Algorithm 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dpm2;

impl Solver for Dpm2 {
    type History = ();

    fn step(
        &self,
        model: &dyn Denoiser,
        x: &Tensor,
        step: &Step<'_>,
        _history: &mut (),
        _noise: &mut dyn Noise,
    ) -> Result<Point> {
        let estimate = estimate(model, x, step.from)?;
        let x = if step.h().is_finite() {
            through_the_middle(model, &estimate, step, Target::of(step.to))?
        } else {
            exponential(&estimate, step)?
        };
        Ok(Point { x, estimate })
    }
}

/// DPM2's step from where the estimate was made to a target at finite h.
pub(crate) fn through_the_middle(
    model: &dyn Denoiser,
    estimate: &Estimate,
    step: &Step<'_>,
    target: Target,
) -> Result<Tensor> {
    let (from, h, x) = (step.from, target.h(step.from), estimate.x());
    let middle = step
        .schedule
        .level(step.schedule.inverse_lambda(from.lambda() + 0.5 * h));
    let start = estimate.x0()?;
    let halfway = Target::of(middle).under(&start, x, from)?;
    let there = crate::estimate(model, &halfway, middle)?.x0()?;
    let gain = -target.alpha * (-h).exp_m1();
    let ahead = (0.5 * h).exp();
    Ok(lincomb([
        (target.sigma / from.sigma, x),
        (gain * (1.0 - ahead), &start),
        (gain * ahead, &there),
    ])?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weak;

    #[test]
    fn order_is_two() {
        weak::assert_ode_order(&Dpm2, 2.0);
    }

    #[test]
    fn data_points_are_sampled_exactly() {
        weak::assert_exact_for_a_point(&Dpm2, 0);
    }

    #[test]
    fn it_goes_up_the_path_and_back() {
        weak::assert_there_and_back(&Dpm2, 1e-3);
    }
}
