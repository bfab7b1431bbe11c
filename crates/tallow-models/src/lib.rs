#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod autoencoder;
mod blocks;
pub mod diffusers;
pub mod dit;
mod error;
#[cfg(feature = "hub")]
pub mod hub;
pub mod mlp;
pub mod patched;
pub mod unet;

pub use autoencoder::{AutoencoderKl, AutoencoderKlConfig, Posterior};
pub use blocks::{DownsamplePadding, current_names};
pub use dit::{Dit, DitConfig};
pub use error::{Error, Result};
pub use mlp::{Conditioning, Mlp, MlpConfig, PointFeatures, TimeFeatures};
pub use patched::Patched;
pub use unet::{
    TrainingUNet, UNet, UNetClasses, UNetConfig, UNetLevel, UNetMiddle, UNetRange, UNetResampling, UNetSide,
    UNetStart, UNetTime,
};
