#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod catalogue;
mod checkerboard;
mod circles;
mod error;
mod gaussians;
mod moons;
mod pinwheel;
mod points;
mod s_curve;
mod shuffled;
mod spirals;
mod standardized;
mod swiss_roll;
mod tensor;

pub use catalogue::{NAMES, by_name};
pub use checkerboard::Checkerboard;
pub use circles::Circles;
pub use error::{Error, Result};
pub use gaussians::Gaussians;
pub use moons::Moons;
pub use pinwheel::Pinwheel;
pub use s_curve::SCurve;
pub use shuffled::{Position, Shuffled};
pub use spirals::Spirals;
pub use standardized::Standardized;
pub use swiss_roll::SwissRoll;
pub use tallow_denoisers::{Batch, Condition, Dataset};
pub use tensor::TensorDataset;
