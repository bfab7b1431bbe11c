#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod catalogue;
mod checkerboard;
mod cifar;
mod cifar_names;
mod circles;
mod declared;
mod digits;
mod error;
mod folder;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod gaussians;
mod idx;
mod images;
mod limits;
mod moons;
mod picture;
mod pinwheel;
mod pixel_range;
mod points;
mod prefetch;
mod resampled;
mod rows;
mod s_curve;
mod shuffled;
mod spirals;
mod standardized;
mod swiss_roll;
mod tensor;

pub use catalogue::{NAMES, by_name};
pub use checkerboard::Checkerboard;
pub use cifar::Cifar100Labels;
pub use circles::Circles;
pub use error::{Error, Result};
pub use folder::{Broken, ImageFolder, Layout, Pictures};
pub use gaussians::Gaussians;
pub use idx::Split;
pub use images::{Flips, Images};
pub use limits::Limits;
pub use moons::Moons;
pub use picture::{Colour, Fit};
pub use pinwheel::Pinwheel;
pub use pixel_range::PixelRange;
pub use prefetch::Prefetch;
pub use rows::Rows;
pub use s_curve::SCurve;
pub use shuffled::{LastBatch, Position, Shuffled};
pub use spirals::Spirals;
pub use standardized::Standardized;
pub use swiss_roll::SwissRoll;
pub use tallow_denoisers::{Batch, Batches, Condition, Dataset};
pub use tensor::TensorDataset;
