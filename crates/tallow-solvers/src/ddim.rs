//! DDIM: keep the model's two estimates, swap the coefficients.
//!
//! ```text
//! x_s = α_s x̂₀ + √(σ_s² − c²) ε̂ + c z        z ~ N(0, I)
//! c   = η (σ_s/σ_t) √(σ_t² − (α_t/α_s)² σ_s²)
//! ```
//!
//! `η = 0` follows the probability-flow ODE to first order; `η = 1` is DDPM's ancestral step.
//! Nothing divides by α_t or assumes α² + σ² = 1: VP, VE and flow paths share these lines.
//!
//! Source: Song, Meng & Ermon 2021, arXiv:2010.02502, Eq. 12 and 16.

use candle_core::Tensor;
use tallow_denoisers::{Denoiser, Noise, lincomb};
use tallow_schedules::Step;

use crate::clean::exponential;
use crate::{Error, Point, Result, Solver, estimate};

/// DDIM: keep the model's two estimates, swap the coefficients.
///
/// One evaluation a step, order 1; deterministic by default, and then right for any path, prediction and coupling.
///
/// Source: Song, Meng & Ermon 2021, arXiv:2010.02502, Eq. 12 and 16.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Ddim {
    eta: f64,
}

impl Ddim {
    /// Puts back the fraction `eta` of the ancestral noise at every step.
    ///
    /// # Errors
    ///
    /// When `eta` is outside `[0, 1]`: the level that a step ends at has no room for more noise than that.
    pub fn new(eta: f64) -> Result<Self> {
        if !(0.0..=1.0).contains(&eta) {
            return Err(Error::Parameter {
                owner: "Ddim",
                name: "eta",
                value: eta,
                allowed: "in [0, 1]",
            });
        }
        Ok(Self { eta })
    }
}

impl Solver for Ddim {
    type History = ();

    fn step(
        &self,
        model: &dyn Denoiser,
        x: &Tensor,
        step: &Step<'_>,
        _history: &mut (),
        noise: &mut dyn Noise,
    ) -> Result<Point> {
        let (from, to) = (step.from, step.to);
        let estimate = estimate(model, x, from)?;
        if self.eta == 0.0 || to.sigma == 0.0 {
            return Ok(Point {
                x: exponential(&estimate, step)?,
                estimate,
            });
        }
        let shared = from.alpha / to.alpha * to.sigma;
        let spread = (from.sigma.powi(2) - shared.powi(2)).max(0.0).sqrt();
        let fresh = self.eta * to.sigma / from.sigma * spread;
        let kept = (to.sigma.powi(2) - fresh.powi(2)).max(0.0).sqrt();
        let z = noise.increment(x, from.lambda(), to.lambda())?;
        let x = lincomb([
            (to.alpha, &estimate.x0()?),
            (kept, &estimate.noise()?),
            (fresh, &z),
        ])?;
        Ok(Point { x, estimate })
    }
}
