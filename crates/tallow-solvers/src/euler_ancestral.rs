//! Euler ancestral: Euler's step in σ/α to a level below the step's end, then noise back up to it.
//!
//! ```text
//! x_s = α_s x̂₀ + σ' ε̂ + k c z          (σ', c) of [`Ancestral`]
//! ```
//!
//! With k = 1 it is DDIM with the same η: k-diffusion's step, written with levels, is Song's. Right on every path, α = 0
//! included.
//!
//! Source: Karras et al. 2022, arXiv:2206.00364, section 4; Song, Meng & Ermon 2021, arXiv:2010.02502, Eq. 12.

use candle_core::Tensor;
use tallow_denoisers::{Denoiser, Noise};
use tallow_schedules::Step;

use crate::ancestral::Ancestral;
use crate::{Point, Result, Solver, estimate};

/// Euler ancestral: Euler's step in σ/α to a level below the step's end, then noise back up to it.
///
/// One evaluation a step, weak order 1. Needs Gaussian noise that is independent of the data; robust at any step count,
/// lively results that never settle as steps are added.
///
/// Source: Karras et al. 2022, arXiv:2206.00364, section 4; Song, Meng & Ermon 2021, arXiv:2010.02502, Eq. 12.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct EulerAncestral {
    /// How much noise is put back.
    pub noise: Ancestral,
}

impl Solver for EulerAncestral {
    type History = ();

    fn step(
        &self,
        model: &dyn Denoiser,
        x: &Tensor,
        step: &Step<'_>,
        _history: &mut (),
        noise: &mut dyn Noise,
    ) -> Result<Point> {
        let split = self.noise.split("EulerAncestral", step)?;
        let estimate = estimate(model, x, step.from)?;
        let x = split.add_noise(split.target.ddim(&estimate)?, step, noise)?;
        Ok(Point { x, estimate })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Ddim;
    use crate::weak::{self, Rate, sde};

    fn with_eta(eta: f64) -> EulerAncestral {
        EulerAncestral {
            noise: Ancestral::new(eta).unwrap(),
        }
    }

    #[test]
    fn weak_order_is_one() {
        weak::assert_order(&with_eta(1.0), &sde(Rate(2.0)), 1.0);
        weak::assert_order(&with_eta(0.5), &sde(Rate(1.25)), 1.0);
    }

    #[test]
    fn it_is_ddim_to_the_last_digits() {
        for eta in [0.0, 0.4, 1.0] {
            weak::assert_same(&with_eta(eta), &Ddim::new(eta).unwrap());
        }
    }

    #[test]
    fn data_points_are_sampled_exactly_in_any_number_of_steps() {
        weak::assert_exact_for_a_point(&with_eta(1.0), 1);
        weak::assert_exact_for_a_point(&with_eta(0.5), 1);
    }

    #[test]
    fn finer_grids_follow_one_brownian_path() {
        weak::assert_converges_on_one_path(&EulerAncestral::default());
    }
}
