//! Folders of diffusers: networks and schedulers in, networks and schedulers out.
//!
//! ```no_run
//! use candle_core::{DType, Device};
//! use tallow_models::Dit;
//! use tallow_models::diffusers::{Scheduler, Weights};
//!
//! let dir = "models/DiT-XL-2-256"; // with transformer/ and scheduler/
//! let scheduler = Scheduler::read(dir)?;
//! let model = Weights::<Dit>::read(dir)?.denoiser(&scheduler, DType::F32, &Device::Cpu)?;
//! let grid = scheduler.grid(50)?; // the path, the steps, and how the model is called: all that a sampler asks for
//! # let _ = (model, grid);
//! # Ok::<(), tallow_models::Error>(())
//! ```
//!
//! | type | file |
//! |---|---|
//! | [`Weights`] | `config.json` and `diffusion_pytorch_model.safetensors`, in one file or several |
//! | [`Scheduler`] | `scheduler_config.json` |
//! | [`ModelIndex`] | `model_index.json` of a pipeline |
//!
//! A network joins by implementing [`Pretrained`]. Nothing is guessed: an unknown class or key, a missing or superfluous
//! tensor is an error that names it.

mod autoencoder;
mod dit;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod json_file;
mod model_index;
mod pretrained;
mod scheduler;
mod tensor_files;
mod unet;
mod weights;

pub use model_index::ModelIndex;
pub use pretrained::{Pretrained, Tensors};
pub use scheduler::{End, FlowRise, FlowShift, Scheduler, SchedulerClass, SpacedIn, Spacing};
pub use weights::Weights;
