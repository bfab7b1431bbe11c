#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod activation;
mod adam;
mod adamw;
mod descent;
mod dropout;
mod dual;
mod ema;
mod embedding;
mod error;
mod fourier_features;
mod gradients;
mod init;
mod linear;
mod memory;
mod moments;
mod optimizer;
mod parameters;
mod radam;
mod resample;
mod scope;
mod sgd;
mod sinusoidal;
mod slices;
mod tensor_file;
#[cfg(test)]
mod testing;

pub use activation::{activate, activate_dual};
pub use adam::{Adam, AdamConfig};
pub use adamw::{AdamW, AdamWConfig};
pub use descent::{At, Descent, Group, MissingGradient, Rule, Settings};
pub use dropout::Dropout;
pub use dual::Dual;
pub use ema::{Ema, EmaDecay};
pub use embedding::Embedding;
pub use error::{Error, Result};
pub use fourier_features::{FourierFeatures, WaveOrder};
pub use gradients::{GradientState, Gradients, clip_grad_norm, gradient_audit, gradient_norm};
pub use init::Init;
pub use linear::{Linear, LinearInit};
pub use optimizer::Optimizer;
pub use parameters::Parameters;
pub use radam::{RAdam, RAdamConfig};
pub use resample::{AveragePool, Interpolation, Resize};
pub use scope::{Scope, View};
pub use sgd::{Sgd, SgdConfig};
pub use sinusoidal::{SinusoidalConfig, SinusoidalEmbedding};
pub use tallow_kernels::{Activation, Decay, Momentum};
pub use tensor_file::{read_tensors, write_tensors};
