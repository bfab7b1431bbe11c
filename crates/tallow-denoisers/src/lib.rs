#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod batch;
mod condition;
mod counted;
mod error;
mod estimate;
mod exact;
mod levels;
mod network;
mod noise;
mod parameterized;
mod tensor;

use std::sync::Arc;

use candle_core::Tensor;
use tallow_schedules::NoiseLevel;

pub use batch::{Batch, Dataset};
pub use condition::{Condition, LABELS};
pub use counted::Counted;
pub use error::{Error, Result};
pub use estimate::Estimate;
pub use exact::{ExactGaussian, ExactMixture};
pub use levels::Levels;
pub use network::{Call, FromFn, Network, network};
pub use noise::{BrownianPath, Noise, PerSample, Seeded, normal_like, normals, uniforms};
pub use parameterized::{InputScale, Parameterization, Parameterized, TimeInput, Variance};
pub use tallow_schedules::Prediction;
pub use tensor::{check_like, combine, combine_rows, lincomb, mix};

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
}

impl<D: Denoiser + ?Sized> Denoiser for &D {
    fn estimate(&self, x: &Tensor, at: Levels<'_>) -> Result<Estimate> {
        (**self).estimate(x, at)
    }

    fn cost(&self, at: NoiseLevel) -> usize {
        (**self).cost(at)
    }
}

impl<D: Denoiser + ?Sized> Denoiser for Box<D> {
    fn estimate(&self, x: &Tensor, at: Levels<'_>) -> Result<Estimate> {
        (**self).estimate(x, at)
    }

    fn cost(&self, at: NoiseLevel) -> usize {
        (**self).cost(at)
    }
}

impl<D: Denoiser + ?Sized> Denoiser for Arc<D> {
    fn estimate(&self, x: &Tensor, at: Levels<'_>) -> Result<Estimate> {
        (**self).estimate(x, at)
    }

    fn cost(&self, at: NoiseLevel) -> usize {
        (**self).cost(at)
    }
}
