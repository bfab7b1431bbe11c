//! DPM-Solver, multistep: the noise form of DPM-Solver++(2M) and of the published (3M).
//!
//! ```text
//! x_s = (α_s/α_t) x_t − σ_s h (φ_1 ε̂_t + φ_2 D_1 + φ_3 D_2)        at z = h = λ_s − λ_t, r_0 = h_{−1}/h, r_1 = h_{−2}/h
//! D_1, D_2 from ε̂ at the last two or three nodes, as in DPM-Solver++(2M) and (3M)
//! ```
//!
//! Its third order is kept as published, of which convergence is of second order: [`Deis`](crate::Deis) of order 3 is the
//! method with the curvature in full.
//!
//! Source: Lu et al. 2022, arXiv:2206.00927 (multistep of its code); arXiv:2211.01095, Appendix A.

use candle_core::Tensor;
use tallow_denoisers::{Denoiser, Noise};
use tallow_schedules::Step;

use crate::dpmpp_3m::{Curvature, third_order};
use crate::exponential::{Interpolated, Variant};
use crate::multistep::{LastSteps, Multistep, Past, Start, check_order};
use crate::{Point, Result, Solver};

/// DPM-Solver, multistep: the noise form of DPM-Solver++(2M) and of the published (3M).
///
/// One evaluation a step, order 2 (also with three nodes); right for any path, prediction and coupling.
///
/// There to compare with: the data form, [`Dpmpp2m`](crate::Dpmpp2m), is the steadier one at few steps.
///
/// Source: Lu et al. 2022, arXiv:2206.00927 (multistep of its code); arXiv:2211.01095, Appendix A.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DpmSolverMultistep {
    order: usize,
    variant: Variant,
    start: Start,
    last_steps: LastSteps,
}

impl DpmSolverMultistep {
    /// With up to `nodes` predictions a step: 1, 2 or 3.
    ///
    /// # Errors
    ///
    /// When `nodes` is another number.
    pub fn new(nodes: usize) -> Result<Self> {
        check_order("DpmSolverMultistep", nodes, 3, "(predictions a step) 1, 2 or 3")?;
        Ok(Self::of(nodes))
    }

    /// The same for a number that is known to be allowed.
    pub(crate) fn of(nodes: usize) -> Self {
        Self {
            order: nodes,
            variant: Variant::default(),
            start: Start::Ramp,
            last_steps: LastSteps::default(),
        }
    }

    /// The same with another rule for slopes in steps of two predictions.
    #[must_use]
    pub fn with_variant(mut self, variant: Variant) -> Self {
        self.variant = variant;
        self
    }

    /// The same with another start; at first a ramp, which costs no order here.
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

impl Solver for DpmSolverMultistep {
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
            way: Interpolated::NoiseInLambda,
            order: self.order,
            start: self.start,
            last_steps: self.last_steps,
        };
        method.step(model, x, step, past, |kernel, nodes| match nodes {
            [_, before] => kernel.second_order(self.variant, *before),
            nodes => third_order(kernel, nodes, Curvature::Published),
        })
    }
}
