#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod error;
pub mod mlp;

pub use error::{Error, Result};
pub use mlp::{Mlp, MlpConfig, PointFeatures, TimeFeatures};
