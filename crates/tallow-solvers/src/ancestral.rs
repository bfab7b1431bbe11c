//! The ancestral split of a step: go further down than asked, then put noise back.
//!
//! ```text
//! r  = (α_t/α_s)(σ_s/σ_t)          c = η σ_s √(1 − r²)          σ' = √(σ_s² − c²)
//! x_s = x' + k c z          x' ends at (α_s, σ'), z ~ N(0, I)
//! ```
//!
//! k-diffusion's `sigma_up` is c/α_s, its `sigma_down` σ'/α_s; k is its `s_noise`. η = 1 is the posterior's noise, η = 0 none.
//!
//! Source: Song, Meng & Ermon 2021, arXiv:2010.02502, Eq. 16; Karras et al. 2022, arXiv:2206.00364, section 4.

use candle_core::Tensor;
use tallow_denoisers::{Estimate, Noise, lincomb};
use tallow_schedules::{NoiseLevel, Step};

use crate::error::check;
use crate::{Error, Result};

/// How much noise an ancestral step takes away beyond what it must, and puts back.
///
/// Source: Song, Meng & Ermon 2021, arXiv:2010.02502, Eq. 16; Karras et al. 2022, arXiv:2206.00364, section 4.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ancestral {
    eta: f64,
    noise_scale: f64,
}

impl Default for Ancestral {
    /// η = 1: as much as the posterior of the forward process has.
    fn default() -> Self {
        Self {
            eta: 1.0,
            noise_scale: 1.0,
        }
    }
}

impl Ancestral {
    /// The fraction `eta` of the posterior's noise.
    ///
    /// # Errors
    ///
    /// When `eta` is outside `[0, 1]`.
    pub fn new(eta: f64) -> Result<Self> {
        check("Ancestral", "eta", eta, "in [0, 1]", (0.0..=1.0).contains(&eta))?;
        Ok(Self {
            eta,
            noise_scale: 1.0,
        })
    }

    /// The same with all noise times `scale`, a little above 1 where a network removes too much; biased unless 1.
    ///
    /// # Errors
    ///
    /// When `scale` is negative or not finite.
    pub fn with_noise_scale(self, scale: f64) -> Result<Self> {
        Ok(Self {
            noise_scale: noise_scale("Ancestral", scale)?,
            ..self
        })
    }

    /// Where the deterministic part of a step ends, and how much noise follows.
    pub(crate) fn split(self, solver: &'static str, step: &Step<'_>) -> Result<Split> {
        let (from, to) = (step.from, step.to);
        if self.eta == 0.0 {
            return Ok(Split {
                target: Target::of(to),
                fresh: 0.0,
            });
        }
        towards_data(solver, step)?;
        let r = from.alpha / to.alpha * (to.sigma / from.sigma);
        // 1 − η²(1 − r²), without the cancellation at η = 1.
        let kept = ((1.0 - self.eta) * (1.0 + self.eta) + (self.eta * r).powi(2)).sqrt();
        let fresh = self.eta * ((1.0 - r) * (1.0 + r)).sqrt();
        Ok(Split {
            target: Target {
                alpha: to.alpha,
                sigma: to.sigma * kept,
            },
            fresh: to.sigma * fresh * self.noise_scale,
        })
    }
}

/// Refuses a step that does not go towards the data.
pub(crate) fn towards_data(solver: &'static str, step: &Step<'_>) -> Result<()> {
    let (from, to) = (step.from, step.to);
    // Written so that a NaN fails, too.
    if from.alpha * to.sigma < to.alpha * from.sigma {
        return Ok(());
    }
    Err(Error::Direction {
        solver,
        from: from.t,
        to: to.t,
        why: "a step with fresh noise goes towards the data: use a deterministic solver to add noise",
    })
}

/// Refuses a factor on all noise that is negative or not finite.
pub(crate) fn noise_scale(owner: &'static str, scale: f64) -> Result<f64> {
    let fits = scale >= 0.0 && scale.is_finite();
    check(owner, "noise_scale", scale, "finite and not negative", fits)?;
    Ok(scale)
}

/// An ancestral step's two parts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Split {
    /// Where the deterministic part ends.
    pub target: Target,
    /// The scale of the noise that follows.
    pub fresh: f64,
}

impl Split {
    /// x plus the step's noise; draws none where there is none to add.
    pub(crate) fn add_noise(self, x: Tensor, step: &Step<'_>, noise: &mut dyn Noise) -> Result<Tensor> {
        if self.fresh == 0.0 {
            return Ok(x);
        }
        let z = noise.increment(&x, step.from.lambda(), step.to.lambda())?;
        Ok(lincomb([(1.0, &x), (self.fresh, &z)])?)
    }
}

/// Where the deterministic part of a step ends: the signal scale of the step's end, with a noise scale of its own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    pub alpha: f64,
    pub sigma: f64,
}

impl Target {
    pub(crate) fn of(level: NoiseLevel) -> Self {
        Self {
            alpha: level.alpha,
            sigma: level.sigma,
        }
    }

    /// The way from a level to here in λ = ln(α/σ); ±∞ out of or into an end of the path.
    pub(crate) fn h(self, from: NoiseLevel) -> f64 {
        (self.alpha.ln() - self.sigma.ln()) - from.lambda()
    }

    /// α x̂_0 + σ ε̂: DDIM's step to here.
    pub(crate) fn ddim(self, estimate: &Estimate) -> Result<Tensor> {
        Ok(lincomb([
            (self.alpha, &estimate.x0()?),
            (self.sigma, &estimate.noise()?),
        ])?)
    }

    /// (σ/σ_t) x − α (e^{−h} − 1) d: the step to here under the data estimate `d`, for finite h.
    pub(crate) fn under(self, d: &Tensor, x: &Tensor, from: NoiseLevel) -> Result<Tensor> {
        Ok(lincomb([
            (self.sigma / from.sigma, x),
            (-self.alpha * (-self.h(from)).exp_m1(), d),
        ])?)
    }
}

#[cfg(test)]
mod tests {
    use tallow_schedules::{RectifiedFlow, Schedule, VpLinear};

    use super::*;

    fn step(schedule: &dyn Schedule, from: f64, to: f64) -> Step<'_> {
        Step {
            schedule,
            from: schedule.level(from),
            to: schedule.level(to),
            index: 0,
            count: 1,
        }
    }

    #[test]
    fn what_is_kept_and_what_is_fresh_add_up_to_the_level() {
        let path = VpLinear::default();
        for (from, to) in [(1.0, 0.9), (0.5, 0.4999), (0.3, 1e-4)] {
            for eta in [0.0, 0.3, 1.0] {
                let step = step(&path, from, to);
                let split = Ancestral::new(eta).unwrap().split("test", &step).unwrap();
                let total = split.target.sigma.hypot(split.fresh);
                assert!((total / step.to.sigma - 1.0).abs() < 1e-14);
            }
        }
    }

    #[test]
    fn the_ends_of_a_path_are_legal() {
        let path = RectifiedFlow::default();
        let first = Ancestral::default()
            .split("test", &step(&path, 1.0, 0.5))
            .unwrap();
        assert_eq!((first.target.sigma, first.fresh), (0.0, 0.5));
        let last = Ancestral::default()
            .split("test", &step(&path, 0.5, 0.0))
            .unwrap();
        assert_eq!((last.target.sigma, last.fresh), (0.0, 0.0));
        let none = Ancestral::new(0.0)
            .unwrap()
            .split("test", &step(&path, 0.0, 1.0))
            .unwrap();
        assert_eq!((none.target.sigma, none.fresh), (1.0, 0.0));
    }

    #[test]
    fn wrong_numbers_and_directions_are_refused() {
        assert!(Ancestral::new(1.1).is_err() && Ancestral::new(f64::NAN).is_err());
        assert!(Ancestral::default().with_noise_scale(-1.0).is_err());
        let path = RectifiedFlow::default();
        for (from, to) in [(0.2, 0.4), (0.0, 1.0)] {
            let error = Ancestral::default()
                .split("EulerAncestral", &step(&path, from, to))
                .unwrap_err()
                .to_string();
            assert!(
                error.contains("EulerAncestral") && error.contains("towards the data"),
                "{error}"
            );
        }
    }
}
