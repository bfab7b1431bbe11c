#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

#[cfg(feature = "datasets")]
pub use tallow_datasets as datasets;
pub use tallow_denoisers as denoisers;
#[cfg(feature = "metrics")]
pub use tallow_metrics as metrics;
#[cfg(feature = "models")]
pub use tallow_models as models;
#[cfg(feature = "nn")]
pub use tallow_nn as nn;
#[cfg(feature = "objectives")]
pub use tallow_objectives as objectives;
#[cfg(feature = "plots")]
pub use tallow_plots as plots;
pub use tallow_schedules as schedules;
#[cfg(feature = "solvers")]
pub use tallow_solvers as solvers;
#[cfg(feature = "train")]
pub use tallow_train as train;

#[cfg(doc)]
pub mod names;

/// What most programs use: `use tallow::prelude::*;`.
pub mod prelude {
    pub use std::sync::Arc;

    pub use candle_core::{DType, Device, Tensor};

    #[cfg(feature = "datasets")]
    pub use tallow_datasets::{Checkerboard, Images, Shuffled};
    pub use tallow_denoisers::{
        Batch, Batches, Condition, Dataset, Denoiser, Drawn, ExactGaussian, ExactMixture, Network, Noise,
        Parameterization, PerSample, Seeded, network,
    };
    #[cfg(feature = "models")]
    pub use tallow_models::{Mlp, MlpConfig};
    #[cfg(feature = "nn")]
    pub use tallow_nn::{AdamW, AdamWConfig, Ema, EmaDecay, Optimizer, Parameters};
    #[cfg(feature = "objectives")]
    pub use tallow_objectives::{Objective, Regression, TimeSampling};
    pub use tallow_schedules::{NoiseLevel, Prediction, RectifiedFlow, Schedule, Table, TimeGrid, VpLinear};
    #[cfg(feature = "solvers")]
    pub use tallow_solvers::{Ddim, Ddpm, Heun, Sampler, Solver, by_name, start};
    #[cfg(feature = "train")]
    pub use tallow_train::{Checkpoints, LearningRate, Trainer};
}

/// The code of the workspace's README, which is compiled and run with the documentation's tests.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct ReadmeDoctests;
