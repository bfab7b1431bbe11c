#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod bridge;
pub mod coupling;
mod error;
pub mod label_dropout;
pub mod learned_range;
mod normal;
pub mod offset_noise;
pub mod penalty;
pub mod regression;
pub mod score_matching;
pub mod self_conditioning;
mod squared_error;
pub mod time_sampling;
pub mod variational;

use std::collections::BTreeMap;

use candle_core::Tensor;
use rand::RngCore;
use tallow_denoisers::{Batch, Network};
use tallow_schedules::NoiseLevel;

pub use bridge::Bridge;
pub use coupling::{Coupling, Independent};
pub use error::{Error, Result};
pub use label_dropout::LabelDropout;
pub use learned_range::LearnedRange;
pub use offset_noise::OffsetNoise;
pub use penalty::Penalty;
pub use regression::Regression;
pub use self_conditioning::SelfConditioning;
pub use time_sampling::TimeSampling;

/// What a network is trained to make small.
pub trait Objective: std::fmt::Debug + Send + Sync {
    /// The loss of `network` on a batch of clean data.
    ///
    /// # Errors
    ///
    /// When the batch is empty or its shapes do not fit, or the network fails.
    fn loss(&self, network: &dyn Network, batch: &Batch, rng: &mut dyn RngCore) -> Result<Loss>;

    /// Learns from a loss that was descended: loss-aware time sampling keeps what each row came to.
    ///
    /// A training loop calls this once a step, after the step was taken; a validation never does.
    ///
    /// # Errors
    ///
    /// When a loss cannot be read, or is not finite.
    fn observe(&self, loss: &Loss) -> Result<()> {
        let _ = loss;
        Ok(())
    }

    /// What the objective has learned, by name: part of a checkpoint. Nothing for objectives that learn nothing.
    ///
    /// # Errors
    ///
    /// When a tensor cannot be made.
    fn state(&self) -> Result<BTreeMap<String, Tensor>> {
        Ok(BTreeMap::new())
    }

    /// Takes up a [`state`](Self::state) again; the objective is as it was then, or unchanged where there is an error.
    ///
    /// # Errors
    ///
    /// When the state is not one of an objective like this.
    fn restore(&self, state: &BTreeMap<String, Tensor>) -> Result<()> {
        no_state(state)
    }
}

/// A loss, as a number to descend and as what each row adds to it.
#[derive(Clone, Debug)]
pub struct Loss {
    /// The mean over the batch, a scalar with a graph behind it. Where times are drawn by importance, each row counts by
    /// the inverse of how often it is drawn, so that the mean stays that of the original times.
    pub mean: Tensor,
    /// The loss of each row, (B,), weighted by its level but not by importance, without a graph.
    pub per_row: Tensor,
    /// The level at which each row was asked: loss-aware time sampling needs it.
    pub levels: Vec<NoiseLevel>,
}

/// Refuses a state where none is kept.
fn no_state(state: &BTreeMap<String, Tensor>) -> Result<()> {
    match state.keys().next() {
        None => Ok(()),
        Some(name) => Err(Error::State {
            name: name.clone(),
            problem: "is not of this objective, which keeps no state".to_owned(),
        }),
    }
}
