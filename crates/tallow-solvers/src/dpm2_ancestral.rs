//! DPM2 ancestral: DPM2's step to a level below the step's end, then noise back up to it.
//!
//! ```text
//! x_s = DPM2(x_t → (α_s, σ')) + k c z          (σ', c) of [`Ancestral`]
//! ```
//!
//! The middle lies half the way in λ to (α_s, σ'): at η = 1 that is the step's own end. Steps out of α = 0 and into σ = 0
//! are Euler ancestral's.
//!
//! Source: Karras et al. 2022, arXiv:2206.00364, section 4; the method is k-diffusion's `sample_dpm_2_ancestral`.

use candle_core::Tensor;
use tallow_denoisers::{Denoiser, Noise};
use tallow_schedules::Step;

use crate::ancestral::Ancestral;
use crate::dpm2::through_the_middle;
use crate::{Point, Result, Solver, estimate};

/// DPM2 ancestral: DPM2's step to a level below the step's end, then noise back up to it.
///
/// Two evaluations a step, one into σ = 0; weak order 2: the noise is exact, and the drift is a second-order step of the
/// probability-flow ODE. (What the start had wrong it forgets as the reverse SDE does to first order only.) Needs Gaussian
/// noise that is independent of the data.
///
/// Source: Karras et al. 2022, arXiv:2206.00364, section 4; the method is k-diffusion's `sample_dpm_2_ancestral`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Dpm2Ancestral {
    /// How much noise is put back.
    pub noise: Ancestral,
}

impl Solver for Dpm2Ancestral {
    type History = ();

    fn step(
        &self,
        model: &dyn Denoiser,
        x: &Tensor,
        step: &Step<'_>,
        _history: &mut (),
        noise: &mut dyn Noise,
    ) -> Result<Point> {
        let split = self.noise.split("Dpm2Ancestral", step)?;
        let estimate = estimate(model, x, step.from)?;
        let x = if split.target.h(step.from).is_finite() {
            through_the_middle(model, &estimate, step, split.target)?
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
    use crate::Dpm2;
    use crate::weak::{self, flow_then_noise};

    fn with_eta(eta: f64) -> Dpm2Ancestral {
        Dpm2Ancestral {
            noise: Ancestral::new(eta).unwrap(),
        }
    }

    #[test]
    fn weak_order_is_two() {
        for eta in [0.5, 1.0] {
            let exact = flow_then_noise(Ancestral::new(eta).unwrap());
            weak::assert_order(&with_eta(eta), &exact, 2.0);
        }
    }

    #[test]
    fn without_noise_it_is_dpm2() {
        weak::assert_same(&with_eta(0.0), &Dpm2);
    }

    #[test]
    fn data_points_are_sampled_exactly_in_any_number_of_steps() {
        weak::assert_exact_for_a_point(&with_eta(1.0), 1);
    }
}
