#![doc = include_str!("../README.md")]
#![allow(unsafe_code)]

mod activation;
mod adamw;
mod assignment;
mod attention;
mod buffer;
mod chacha;
mod circle;
mod convolution;
mod dispatch;
mod distances;
mod error;
mod float;
mod gaussian;
mod linear;
mod normal;
mod normal_stream;
mod packed;
mod parallel;
mod product;
mod reduce;
mod resample;
mod rows;
mod scratch;
mod sgd;
mod sinkhorn;
#[cfg(target_arch = "x86_64")]
mod square;
mod transport;
mod turn;
mod waves;

pub use activation::Activation;
pub use adamw::{AdamStep, Decay, Divisor, Variance};
pub use assignment::{Assignment, assign};
pub use attention::{Attention, AttentionGradients, AttentionSaved, HeadStrides, Heads, Mask};
pub use chacha::ChaCha8;
pub use circle::sin_cos;
pub use convolution::{Convolution, Epilogue, Prologue};
pub use dispatch::Path;
pub use distances::squared_distances;
pub use error::{Error, Result};
pub use float::Float;
pub use linear::{Gradients, Layer, Saved, Wanted};
pub use normal::{normals_from_bits, normals_from_bits_on, normals_from_bytes, uniforms_from_bits};
pub use reduce::{lerp, squared_norm};
pub use resample::{Axis, resample};
pub use rows::{channel_sums, join_rows, shift_rows, split_rows};
pub use sgd::{Momentum, SgdFactors, SgdStep};
pub use sinkhorn::{Marginals, Plan, Sinkhorn};
pub use transport::{Transport, transport};
pub use waves::{WaveOrder, Waves};
