#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod batch;
mod batches;
mod clamped;
mod condition;
mod counted;
mod error;
mod estimate;
mod exact;
pub mod guidance;
mod levels;
mod network;
mod noise;
mod parameterized;
mod self_conditioned;
mod tensor;

use std::sync::Arc;

use candle_core::Tensor;
use tallow_schedules::NoiseLevel;

pub use batch::{Batch, Dataset};
pub use batches::{Batches, Drawn};
pub use clamped::{Clamped, Limit, Threshold};
pub use condition::{Condition, LABELS};
pub use counted::Counted;
pub use error::{Error, Result};
pub use estimate::Estimate;
pub use exact::{ExactGaussian, ExactMixture};
pub use guidance::Guided;
pub use levels::Levels;
pub use network::{Call, FromFn, Network, network};
pub use noise::{BrownianPath, Noise, PerSample, Seeded, normal_like, normals, uniforms};
pub use parameterized::{InputScale, Parameterization, Parameterized, TimeInput, Variance};
pub use self_conditioned::SelfConditioned;
pub use tallow_schedules::Prediction;
pub use tensor::{check_like, choose_rows, combine, combine_rows, lincomb, mix};

/// E[x_0 | x_t = x] and what follows from it.
///
/// `estimate` stays differentiable in `x` (classifier guidance, divergences and likelihoods need it); the sampling loops
/// cut the graph after each step.
pub trait Denoiser {
    /// What the model believes at `x`, (B, …), at one level for the batch or one for each row.
    ///
    /// # Errors
    ///
    /// When the prediction cannot see the data at a level, shapes do not fit, or the model fails.
    fn estimate(&self, x: &Tensor, at: Levels<'_>) -> Result<Estimate>;

    /// How many network evaluations an estimate at a level costs: more than one under guidance.
    fn cost(&self, at: NoiseLevel) -> usize {
        let _ = at;
        1
    }

    /// The same model for one run, where it remembers something from estimate to estimate (the momentum of a guidance);
    /// nothing where it does not.
    ///
    /// Loops call this once at the start of a run and ask what it returns, so that no state survives a run. Wrappers pass
    /// it on to what they wrap.
    fn begin<'s>(&'s self) -> Option<Box<dyn Denoiser + 's>> {
        None
    }
}

impl<D: Denoiser + ?Sized> Denoiser for &D {
    fn estimate(&self, x: &Tensor, at: Levels<'_>) -> Result<Estimate> {
        (**self).estimate(x, at)
    }

    fn cost(&self, at: NoiseLevel) -> usize {
        (**self).cost(at)
    }

    fn begin<'s>(&'s self) -> Option<Box<dyn Denoiser + 's>> {
        (**self).begin()
    }
}

impl<D: Denoiser + ?Sized> Denoiser for Box<D> {
    fn estimate(&self, x: &Tensor, at: Levels<'_>) -> Result<Estimate> {
        (**self).estimate(x, at)
    }

    fn cost(&self, at: NoiseLevel) -> usize {
        (**self).cost(at)
    }

    fn begin<'s>(&'s self) -> Option<Box<dyn Denoiser + 's>> {
        (**self).begin()
    }
}

impl<D: Denoiser + ?Sized> Denoiser for Arc<D> {
    fn estimate(&self, x: &Tensor, at: Levels<'_>) -> Result<Estimate> {
        (**self).estimate(x, at)
    }

    fn cost(&self, at: NoiseLevel) -> usize {
        (**self).cost(at)
    }

    fn begin<'s>(&'s self) -> Option<Box<dyn Denoiser + 's>> {
        (**self).begin()
    }
}
