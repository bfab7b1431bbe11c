//! k-diffusion's DPM++ SDE: an ancestral step to an inner level, and an ancestral step with what was learned there.
//!
//! ```text
//! m = level at λ_t + r h          x_m = A(x_t → m, x̂₀) + c_m z_m
//! d = (1 − 1/2r) x̂₀ + (1/2r) x̂₀(x_m, m)          x_s = A(x_t → s, d) + c z
//! ```
//!
//! A(x → s, d) = (σ'/σ_t) x − α_s (e^{−h'} − 1) d, with (σ', c) of [`Ancestral`].
//! z and z_m stand for one Brownian path only if z contains z_m: z = a z_m + √(1 − a²) z₂, where a is what the ancestral
//! step from m to s leaves of z_m, and z₂ belongs to that step.
//!
//! Source: the drift is Lu et al. 2022, arXiv:2211.01095, Algorithm 1; the method is k-diffusion's `sample_dpmpp_sde`.

use candle_core::Tensor;
use tallow_denoisers::{Denoiser, Noise, lincomb};
use tallow_schedules::{NoiseLevel, Step};

use crate::ancestral::{Ancestral, Split};
use crate::error::check;
use crate::{Point, Result, Solver, estimate};

/// k-diffusion's DPM++ SDE: an ancestral step to an inner level, and an ancestral step with what was learned there.
///
/// Two evaluations and two noises a step, one evaluation into σ = 0; weak order 2 on one Brownian path. Needs Gaussian noise
/// that is independent of the data.
///
/// Source: the drift is Lu et al. 2022, arXiv:2211.01095, Algorithm 1; the method is k-diffusion's
/// `sample_dpmpp_sde`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DpmppSde {
    noise: Ancestral,
    r: f64,
    inner: InnerNoise,
}

/// What the noise at the inner level has to do with that at the step's end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InnerNoise {
    /// Both belong to one Brownian path.
    #[default]
    Path,
    /// The inner noise is drawn for itself and leaves no trace at the end: what k-diffusion does unless its noise comes
    /// from a Brownian tree. Weak order 1.
    Own,
}

impl Default for DpmppSde {
    /// η = 1, the inner level halfway in λ, one Brownian path.
    fn default() -> Self {
        Self {
            noise: Ancestral::default(),
            r: 0.5,
            inner: InnerNoise::Path,
        }
    }
}

impl DpmppSde {
    /// The step with `noise`: how much is taken away and put back.
    #[must_use]
    pub fn new(noise: Ancestral) -> Self {
        Self {
            noise,
            ..Self::default()
        }
    }

    /// The same with the inner level at the fraction `r` of the step in λ.
    ///
    /// # Errors
    ///
    /// When `r` is outside `(0, 1]`.
    pub fn at_fraction(self, r: f64) -> Result<Self> {
        check("DpmppSde", "r", r, "in (0, 1]", r > 0.0 && r <= 1.0)?;
        Ok(Self { r, ..self })
    }

    /// The same with another relation of the two noises.
    #[must_use]
    pub fn with_inner_noise(self, inner: InnerNoise) -> Self {
        Self { inner, ..self }
    }

    /// The scaled noises at the inner level and at the end, without those that are not needed.
    fn draw(
        &self,
        x: &Tensor,
        step: &Step<'_>,
        (first, whole): (Split, Split),
        middle: NoiseLevel,
        noise: &mut dyn Noise,
    ) -> Result<Option<(Tensor, Tensor)>> {
        if whole.fresh == 0.0 {
            return Ok(None);
        }
        let (start, inside, end) = (step.from.lambda(), middle.lambda(), step.to.lambda());
        if self.inner == InnerNoise::Own {
            let (own, z) = (noise.fresh(x)?, noise.increment(x, start, end)?);
            return Ok(Some((
                lincomb([(first.fresh, &own)])?,
                lincomb([(whole.fresh, &z)])?,
            )));
        }
        let z_inner = noise.increment(x, start, inside)?;
        let at_end = if self.r < 1.0 {
            let rest = Step {
                from: middle,
                ..*step
            };
            let left = self.noise.split("DpmppSde", &rest)?.target.sigma / middle.sigma;
            let a = (left * first.fresh / whole.fresh).min(1.0);
            let z_rest = noise.increment(x, inside, end)?;
            let b = ((1.0 - a) * (1.0 + a)).sqrt();
            lincomb([(whole.fresh * a, &z_inner), (whole.fresh * b, &z_rest)])?
        } else {
            lincomb([(whole.fresh, &z_inner)])?
        };
        Ok(Some((lincomb([(first.fresh, &z_inner)])?, at_end)))
    }
}

impl Solver for DpmppSde {
    type History = ();

    fn step(
        &self,
        model: &dyn Denoiser,
        x: &Tensor,
        step: &Step<'_>,
        _history: &mut (),
        noise: &mut dyn Noise,
    ) -> Result<Point> {
        let whole = self.noise.split("DpmppSde", step)?;
        let estimate = estimate(model, x, step.from)?;
        if !whole.target.h(step.from).is_finite() {
            let x = whole.add_noise(whole.target.ddim(&estimate)?, step, noise)?;
            return Ok(Point { x, estimate });
        }
        let middle = if self.r < 1.0 {
            step.at_fraction(self.r)
        } else {
            step.to
        };
        let first = self.noise.split("DpmppSde", &Step { to: middle, ..*step })?;
        let noises = self.draw(x, step, (first, whole), middle, noise)?;
        let start = estimate.x0()?;
        let mut inner = first.target.under(&start, x, step.from)?;
        if let Some((at_middle, _)) = &noises {
            inner = lincomb([(1.0, &inner), (1.0, at_middle)])?;
        }
        let there = crate::estimate(model, &inner, middle)?.x0()?;
        let weight = 0.5 / self.r;
        let d = lincomb([(1.0 - weight, &start), (weight, &there)])?;
        let mut x = whole.target.under(&d, x, step.from)?;
        if let Some((_, at_end)) = &noises {
            x = lincomb([(1.0, &x), (1.0, at_end)])?;
        }
        Ok(Point { x, estimate })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weak::{self, Rate, sde};

    fn with_eta(eta: f64) -> DpmppSde {
        DpmppSde::new(Ancestral::new(eta).unwrap())
    }

    #[test]
    fn weak_order_is_two_on_one_path_and_one_with_noises_apart() {
        weak::assert_order(&with_eta(1.0), &sde(Rate(2.0)), 2.0);
        weak::assert_order(
            &DpmppSde::default().with_inner_noise(InnerNoise::Own),
            &sde(Rate(2.0)),
            1.0,
        );
        weak::assert_ode_order(&with_eta(0.0), 2.0);
    }

    #[test]
    fn data_points_are_sampled_exactly_in_any_number_of_steps() {
        weak::assert_exact_for_a_point(&with_eta(1.0), 2);
        weak::assert_exact_for_a_point(&DpmppSde::default().at_fraction(1.0).unwrap(), 1);
    }

    #[test]
    fn an_inner_level_outside_of_the_step_is_refused() {
        for r in [0.0, 1.5, f64::NAN] {
            assert!(DpmppSde::default().at_fraction(r).is_err());
        }
    }

    #[test]
    fn finer_grids_follow_one_brownian_path() {
        weak::assert_converges_on_one_path(&DpmppSde::default());
    }
}
