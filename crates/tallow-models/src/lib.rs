#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod dit;
mod error;
pub mod mlp;

pub use dit::{Dit, DitConfig};
pub use error::{Error, Result};
pub use mlp::{Conditioning, Mlp, MlpConfig, PointFeatures, TimeFeatures};
