#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod error;
pub mod regression;
pub mod time_sampling;

use candle_core::Tensor;
use rand::RngCore;
use tallow_denoisers::{Batch, Network};
use tallow_schedules::NoiseLevel;

pub use error::{Error, Result};
pub use regression::Regression;
pub use time_sampling::TimeSampling;

/// What a network is trained to make small.
pub trait Objective: std::fmt::Debug + Send + Sync {
    /// The loss of `network` on a batch of clean data.
    ///
    /// # Errors
    ///
    /// When the batch is empty or its shapes do not fit, or the network fails.
    fn loss(&self, network: &dyn Network, batch: &Batch, rng: &mut dyn RngCore) -> Result<Loss>;
}

/// A loss, as a number to descend and as what each row adds to it.
#[derive(Clone, Debug)]
pub struct Loss {
    /// The mean over the batch, a scalar with a graph behind it.
    pub mean: Tensor,
    /// The loss of each row, (B,), weighted, without a graph.
    pub per_row: Tensor,
    /// The level at which each row was asked: loss-aware time sampling needs it.
    pub levels: Vec<NoiseLevel>,
}
