//! DDPM's ancestral step: a draw from the Gaussian posterior of x_s given x_t and x̂₀.
//!
//! ```text
//! α_{t|s} = α_t/α_s        β = σ_t² − α_{t|s}² σ_s²        β̃ = β σ_s²/σ_t²
//! x_s = α_{t|s} (σ_s²/σ_t²) x_t + α_s (β/σ_t²) x̂₀ + √v z        z ~ N(0, I)
//! v = β̃ (fixed small)   v = β (fixed large)   ln v = w ln β + (1 − w) ln β̃, w = (o + 1)/2 (learned range)
//! ```
//!
//! On VP tables β is DDPM's β_t, recomputed from the two levels, so strided grids are right. No noise into σ = 0.
//!
//! Source: Ho et al. 2020, arXiv:2006.11239, Eq. 6-7; Nichol & Dhariwal 2021, arXiv:2102.09672, Eq. 15.

use candle_core::Tensor;
use tallow_denoisers::{Denoiser, Noise, lincomb};
use tallow_schedules::Step;

use crate::{Error, Point, Result, Solver};

/// DDPM's ancestral step: a draw from the Gaussian posterior of x_s given x_t and x̂₀.
///
/// One evaluation a step, weak order 1 (fixed small). Needs Gaussian noise that is independent of the data.
///
/// Source: Ho et al. 2020, arXiv:2006.11239, Eq. 6-7; Nichol & Dhariwal 2021, arXiv:2102.09672, Eq. 15.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ddpm {
    /// The variance of a step.
    pub variance: DdpmVariance,
}

/// The variance of an ancestral step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DdpmVariance {
    /// β̃, the posterior's: right for data that are points.
    #[default]
    FixedSmall,
    /// β: right for data that are unit normal; too much noise at few steps.
    FixedLarge,
    /// Between the two, as the network says.
    LearnedRange,
}

impl Solver for Ddpm {
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
        let transfer = from.alpha / to.alpha;
        let large = from.sigma.powi(2) - (transfer * to.sigma).powi(2);
        if !(large > 0.0) {
            let why = "an ancestral step goes towards the data: use a deterministic solver to add noise";
            return Err(Error::Direction {
                solver: "Ddpm",
                from: from.t,
                to: to.t,
                why,
            });
        }
        let estimate = model.estimate(x, from.into())?;
        let kept = (to.sigma / from.sigma).powi(2);
        let mean = lincomb([
            (transfer * kept, x),
            (to.alpha * large / from.sigma.powi(2), &estimate.x0()?),
        ])?;
        if to.sigma == 0.0 {
            return Ok(Point { x: mean, estimate });
        }
        let z = noise.increment(x, from.lambda(), to.lambda())?;
        let small = large * kept;
        let x = match self.variance {
            DdpmVariance::FixedSmall => lincomb([(1.0, &mean), (small.sqrt(), &z)])?,
            DdpmVariance::FixedLarge => lincomb([(1.0, &mean), (large.sqrt(), &z)])?,
            DdpmVariance::LearnedRange => {
                let way_out =
                    "wrap the network with Parameterization::with_learned_range, or use a fixed variance";
                let range = estimate.range().ok_or(Error::Missing {
                    solver: "Ddpm",
                    what: "a variance range",
                    way_out,
                })?;
                // ln √v = ½ (ln β̃ + w (ln β − ln β̃)), w = (o + 1)/2
                let slope = 0.25 * (large.ln() - small.ln());
                let std = range.affine(slope, slope + 0.5 * small.ln())?.exp()?;
                lincomb([(1.0, &mean), (1.0, &(std * z)?)])?
            }
        };
        Ok(Point { x, estimate })
    }
}
