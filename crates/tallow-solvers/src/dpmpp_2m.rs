//! DPM-Solver++(2M): the slope of x̂₀ from the step before.
//!
//! ```text
//! h = λ_s − λ_t        r = h_{−1}/h        D = (x̂₀_t − x̂₀_{t−1})/r
//! midpoint    x_s = (σ_s/σ_t) x_t + α_s (1 − e^{−h}) (x̂₀_t + ½ D)
//! taylor      x_s = (σ_s/σ_t) x_t + α_s ((1 − e^{−h}) x̂₀_t + (1 + expm1(−h)/h) D)
//! ```
//!
//! The first step, and the one into σ = 0, are DDIM's.
//!
//! Source: Lu et al. 2022, arXiv:2211.01095, Algorithm 2.

use candle_core::Tensor;
use tallow_denoisers::{Denoiser, Noise};
use tallow_schedules::Step;

use crate::exponential::{Interpolated, Variant};
use crate::multistep::{LastSteps, Multistep, Past, Start};
use crate::{Point, Result, Solver};

/// DPM-Solver++(2M): the slope of x̂₀ from the step before.
///
/// One evaluation a step, order 2; right for any path, prediction and coupling. The one to begin with at 10 to 50 steps.
///
/// Source: Lu et al. 2022, arXiv:2211.01095, Algorithm 2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dpmpp2m {
    /// How the slope enters; `Taylor` is the one called heun elsewhere.
    pub variant: Variant,
    /// The order of the last steps.
    pub last_steps: LastSteps,
}

impl Solver for Dpmpp2m {
    type History = Past;

    fn step(
        &self,
        model: &dyn Denoiser,
        x: &Tensor,
        step: &Step<'_>,
        past: &mut Past,
        _noise: &mut dyn Noise,
    ) -> Result<Point> {
        let method = Multistep {
            way: Interpolated::DataInLambda,
            order: 2,
            // A first step of first order leaves an error of second order: enough.
            start: Start::Ramp,
            last_steps: self.last_steps,
        };
        method.step(model, x, step, past, |kernel, nodes| {
            kernel.second_order(self.variant, nodes[1])
        })
    }
}
