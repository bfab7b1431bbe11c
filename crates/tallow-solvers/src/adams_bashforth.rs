//! Adams-Bashforth in ρ = σ/α: the polynomial in ρ through past noise predictions, integrated exactly.
//!
//! ```text
//! d(x/α)/dρ = ε̂        x_s = α_s (x_t/α_t + ∫ P(ρ) dρ)        P through ε̂ at the last `order` nodes, at their ρ
//! ```
//!
//! On a path with α = 1 this is k-diffusion's "lms"; on any path DEIS's ρAB. The integral reaches down to ρ = 0, so the step
//! into σ = 0 is like any other. The coefficients follow the steps' lengths; those of iPNDM and PNDM do not.
//!
//! Source: Zhang & Chen 2022, arXiv:2204.13902, Eq. 18 (ρAB-DEIS); Hairer, Nørsett & Wanner, Solving Ordinary Differential
//! Equations I, section III.5.

use candle_core::Tensor;
use tallow_denoisers::{Denoiser, Noise};
use tallow_schedules::Step;

use crate::exponential::{Interpolated, Kernel};
use crate::multistep::{LastSteps, Multistep, Past, Start, check_order};
use crate::{Point, Result, Solver};

/// Adams-Bashforth in ρ = σ/α: the polynomial in ρ through past noise predictions, integrated exactly.
///
/// One evaluation a step, order 1 to 4; right for any path, prediction and coupling. Also known as lms.
///
/// Source: Zhang & Chen 2022, arXiv:2204.13902, Eq. 18 (ρAB-DEIS); Hairer, Nørsett & Wanner, Solving Ordinary
/// Differential Equations I, section III.5.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdamsBashforth {
    order: usize,
    start: Start,
    last_steps: LastSteps,
}

impl AdamsBashforth {
    /// Through the predictions at the last `order` nodes, 1 to 4.
    ///
    /// # Errors
    ///
    /// When the order is another.
    pub fn new(order: usize) -> Result<Self> {
        check_order("AdamsBashforth", order, 4, "1, 2, 3 or 4")?;
        Ok(Self::of(order))
    }

    /// The same for a number that is known to be allowed.
    pub(crate) fn of(order: usize) -> Self {
        Self {
            order,
            start: Start::default(),
            last_steps: LastSteps::FullOrder,
        }
    }

    /// The same with another start; the order is that of [`Start::SingleStep`].
    #[must_use]
    pub fn with_start(mut self, start: Start) -> Self {
        self.start = start;
        self
    }

    /// The same with other last steps.
    #[must_use]
    pub fn with_last_steps(mut self, last_steps: LastSteps) -> Self {
        self.last_steps = last_steps;
        self
    }
}

impl Solver for AdamsBashforth {
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
            way: Interpolated::NoiseInRatio,
            order: self.order,
            start: self.start,
            last_steps: self.last_steps,
        };
        method.step(model, x, step, past, Kernel::lagrange)
    }
}
