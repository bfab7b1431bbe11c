#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod checkpoint;
mod configuration;
mod error;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod learning_rate;
pub mod progress;

pub use checkpoint::{Checkpoint, Checkpoints, Latest, Part, Saved, Skipped, Unreadable};
pub use configuration::Configuration;
pub use error::{Error, Result};
pub use learning_rate::{Annealing, LearningRate};
pub use progress::Progress;
