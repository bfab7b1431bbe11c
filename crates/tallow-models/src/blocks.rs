//! The parts that the U-Net and the autoencoder share, under diffusers' names.

mod image_attention;
mod keys;
mod loading;
mod middle;
mod resizing;
mod told;

pub(crate) use image_attention::{ImageAttention, ImageAttentionConfig};
pub(crate) use keys::{Keys, written_size};
pub(crate) use loading::load;
pub(crate) use middle::{Middle, MiddleConfig};
pub(crate) use resizing::{Downsample, Upsample};
pub(crate) use told::Told;

pub(crate) use loading::current_name;
pub use loading::current_names;
pub use resizing::DownsamplePadding;
