//! DPM-Solver++(2S) ancestral: the midpoint step in λ to a level below the step's end, then noise back up to it.
//!
//! ```text
//! m = level at λ_t + h/2          x_m = (σ_m/σ_t) x_t − α_m (e^{−h/2} − 1) x̂₀
//! x_s = (σ'/σ_t) x_t − α_s (e^{−h} − 1) x̂₀(x_m, m) + k c z          h = ln(α_s/σ') − λ_t
//! ```
//!
//! (σ', c) are those of [`Ancestral`]. Steps out of α = 0 and into σ = 0 are Euler ancestral's.
//!
//! Source: Lu et al. 2022, arXiv:2211.01095, Algorithm 1 with r = ½; the noise is k-diffusion's.

use candle_core::Tensor;
use tallow_denoisers::{Denoiser, Noise};
use tallow_schedules::Step;

use crate::ancestral::{Ancestral, Target};
use crate::{Point, Result, Solver, estimate};

/// DPM-Solver++(2S) ancestral: the midpoint step in λ to a level below the step's end, then noise back up to it.
///
/// Two evaluations a step, one into σ = 0; weak order 2, for the noise is exact, and order 2 without noise. Needs Gaussian
/// noise that is independent of the data.
///
/// Source: Lu et al. 2022, arXiv:2211.01095, Algorithm 1 with r = ½; the noise is k-diffusion's.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Dpmpp2sAncestral {
    /// How much noise is put back.
    pub noise: Ancestral,
}

impl Solver for Dpmpp2sAncestral {
    type History = ();

    fn step(
        &self,
        model: &dyn Denoiser,
        x: &Tensor,
        step: &Step<'_>,
        _history: &mut (),
        noise: &mut dyn Noise,
    ) -> Result<Point> {
        let (from, split) = (step.from, self.noise.split("Dpmpp2sAncestral", step)?);
        let estimate = estimate(model, x, from)?;
        let h = split.target.h(from);
        let x = if h.is_finite() {
            let lambda = from.lambda() + 0.5 * h;
            let middle = step.schedule.level(step.schedule.inverse_lambda(lambda));
            let halfway = Target::of(middle).under(&estimate.x0()?, x, from)?;
            let there = crate::estimate(model, &halfway, middle)?.x0()?;
            split.target.under(&there, x, from)?
        } else {
            split.target.ddim(&estimate)?
        };
        let x = split.add_noise(x, step, noise)?;
        Ok(Point { x, estimate })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weak::{self, flow_then_noise};

    fn with_eta(eta: f64) -> Dpmpp2sAncestral {
        Dpmpp2sAncestral {
            noise: Ancestral::new(eta).unwrap(),
        }
    }

    #[test]
    fn weak_order_is_two_and_without_noise_order_is_two() {
        for eta in [0.5, 1.0] {
            let exact = flow_then_noise(Ancestral::new(eta).unwrap());
            weak::assert_order(&with_eta(eta), &exact, 2.0);
        }
        weak::assert_ode_order(&with_eta(0.0), 2.0);
    }

    #[test]
    fn data_points_are_sampled_exactly_in_any_number_of_steps() {
        weak::assert_exact_for_a_point(&with_eta(1.0), 1);
    }

    #[test]
    fn without_noise_it_goes_up_the_path_and_back() {
        weak::assert_there_and_back(&with_eta(0.0), 1e-3);
    }
}
