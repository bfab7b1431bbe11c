#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod error;
pub mod learning_rate;
pub mod progress;

pub use error::{Error, Result};
pub use learning_rate::{Annealing, LearningRate};
pub use progress::Progress;
