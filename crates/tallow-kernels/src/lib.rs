#![doc = include_str!("../README.md")]
#![allow(unsafe_code)]

mod dispatch;
mod error;
mod normal;

pub use dispatch::Path;
pub use error::{Error, Result};
pub use normal::{normals_from_bits, normals_from_bits_on, uniforms_from_bits};
