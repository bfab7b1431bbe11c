#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod activation;
mod adamw;
mod dropout;
mod dual;
mod ema;
mod embedding;
mod error;
mod fourier_features;
mod gradients;
mod init;
mod linear;
mod moments;
mod parameters;
mod resample;
mod scope;
mod sinusoidal;
mod slices;
mod tensor_file;
#[cfg(test)]
mod testing;

pub use activation::{activate, activate_dual};
pub use adamw::{AdamW, AdamWConfig, Decay, Group, MissingGradient};
pub use dropout::Dropout;
pub use dual::Dual;
pub use ema::{Ema, EmaDecay};
pub use embedding::Embedding;
pub use error::{Error, Result};
pub use fourier_features::{FourierFeatures, WaveOrder};
pub use gradients::{GradientState, clip_grad_norm, gradient_audit, gradient_norm};
pub use init::Init;
pub use linear::{Linear, LinearInit};
pub use parameters::Parameters;
pub use resample::{AveragePool, Interpolation, Resize};
pub use scope::{Scope, View};
pub use sinusoidal::{SinusoidalConfig, SinusoidalEmbedding};
pub use tallow_kernels::Activation;
pub use tensor_file::{read_tensors, write_tensors};
