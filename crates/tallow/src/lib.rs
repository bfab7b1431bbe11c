//! Diffusion and flow-matching models on candle.
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
