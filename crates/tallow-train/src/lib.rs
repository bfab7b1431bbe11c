#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod audit;
mod average;
pub mod checkpoint;
mod configuration;
mod error;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod learning_rate;
mod loss_file;
mod mixed_precision;
pub mod progress;
mod report;
pub mod trainer;
mod validation;

pub use average::Average;
pub use checkpoint::{Checkpoint, Checkpoints, Latest, Part, Saved, Skipped, Unreadable};
pub use configuration::Configuration;
pub use error::{Error, Result};
pub use learning_rate::{Annealing, LearningRate};
pub use progress::Progress;
pub use report::Report;
pub use trainer::{NonFinite, Outcome, Resumed, Trainer};
pub use validation::Validation;
