//! Where a command computes.

use candle_core::Device;

use crate::error::{Error, Result};

/// The names that a configuration and `--device` know.
pub(crate) const NAMES: [&str; 3] = ["cpu", "cuda", "metal"];

/// A processor or a GPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum DeviceName {
    /// The processor, all cores.
    #[default]
    Cpu,
    /// The first NVIDIA card; needs a build with the feature `cuda`.
    Cuda,
    /// Apple's GPU; needs a build with the feature `metal`.
    Metal,
}

impl DeviceName {
    /// The one of a name among [`NAMES`].
    pub(crate) fn of_name(name: &str) -> Option<Self> {
        <Self as clap::ValueEnum>::from_str(name, false).ok()
    }

    pub(crate) fn open(self) -> Result<Device> {
        let opened = match self {
            Self::Cpu => Ok(Device::Cpu),
            Self::Cuda => Device::new_cuda(0),
            Self::Metal => Device::new_metal(0),
        };
        opened.map_err(|error| {
            let name = format!("{self:?}").to_lowercase();
            let why = error.to_string();
            let why = why.lines().next().unwrap_or_default();
            Error::input(format!(
                "there is no device {name:?} ({why}): install with `cargo install tallow-cli --features {name}` on a machine that has one, or compute on \"cpu\""
            ))
        })
    }
}
