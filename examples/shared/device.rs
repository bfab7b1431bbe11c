//! `--device cpu|cuda|metal`.

use candle_core::Device;

/// Where an example computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum DeviceName {
    /// The processor, all cores.
    #[default]
    Cpu,
    /// The first NVIDIA card; needs `--features cuda`.
    Cuda,
    /// Apple's GPU; needs `--features metal`.
    Metal,
}

impl DeviceName {
    /// The device.
    ///
    /// # Errors
    ///
    /// When this build or machine does not have it; says what would help.
    pub fn open(self) -> Result<Device, String> {
        let opened = match self {
            Self::Cpu => Ok(Device::Cpu),
            Self::Cuda => Device::new_cuda(0),
            Self::Metal => Device::new_metal(0),
        };
        opened.map_err(|error| {
            let name = format!("{self:?}").to_lowercase();
            let why = error.to_string();
            let why = why.lines().next().unwrap_or_default();
            format!("no device \"{name}\" ({why}): build with `cargo run --features {name}` on a machine that has one, or use --device cpu")
        })
    }
}
