//! The U-Net of DDPM and ADM: images go down to small sizes and up again, beside what they were on the way.
//!
//! ```text
//! h₀ = conv(x)          down: h ← block(h, e), h ← attention(h), kept for the way up; h ← half(h)
//! middle: block, attention, block          up: h ← block([h | kept], e), h ← attention(h); h ← twice(h)
//! output = conv(silu(norm(h)))             e = embedding of time and class
//! ```
//!
//! Names and shapes of the parameters are those of diffusers' `UNet2DModel`, so its files are read as they are, and ours by it.
//!
//! Sources: Ronneberger et al. 2015, arXiv:1505.04597; Ho et al. 2020, arXiv:2006.11239; Dhariwal & Nichol 2021,
//! arXiv:2105.05233; Song et al. 2021, arXiv:2011.13456.

mod config;
mod diffusers;
mod down;
mod embedding;
mod named;
mod time_embedding;
mod up;

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use candle_core::{DType, Device, Tensor};
use serde_json::Value;
use tallow_denoisers::{Call, Network};
use tallow_nn::{Activation, Conv2d, Conv2dConfig, GroupNorm, Injection, Parameters, RngCore, Scope};

pub use config::{
    UNetClasses, UNetConfig, UNetLevel, UNetMiddle, UNetRange, UNetResampling, UNetSide, UNetStart, UNetTime,
};
use down::Down;
use embedding::UNetEmbedding;
use up::Up;

use crate::blocks::{ImageAttentionConfig, Middle, MiddleConfig, Told, load};
use crate::{Error, Result};

/// A U-Net: images (B, inputs, H, W) at their times, to (B, outputs, H, W).
///
/// Sources: Ronneberger et al. 2015, arXiv:1505.04597; Ho et al. 2020, arXiv:2006.11239; Dhariwal & Nichol 2021,
/// arXiv:2105.05233; Song et al. 2021, arXiv:2011.13456.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use tallow_denoisers::{Call, Condition, Network};
/// use tallow_models::{UNet, UNetConfig};
/// use tallow_nn::Parameters;
///
/// let parameters = Parameters::new(0, DType::F32, &Device::Cpu);
/// let network = UNet::new(&parameters.scope(), UNetConfig::small(1, 28, 11))?;
/// let x = Tensor::zeros((2, 1, 28, 28), DType::F32, &Device::Cpu)?;
/// let digits = Condition::labels(Tensor::new(&[3u32, 10], &Device::Cpu)?);
/// let noise = network.forward(&Call::new(&x, &[0.0, 999.0], &digits)?)?;
/// assert_eq!(noise.dims(), x.dims());
/// # Ok::<(), tallow_models::Error>(())
/// ```
#[derive(Debug)]
pub struct UNet {
    config: UNetConfig,
    embedding: UNetEmbedding,
    stem: Conv2d,
    down: Vec<Down>,
    middle: Option<Middle>,
    up: Vec<Up>,
    norm: GroupNorm,
    head: Conv2d,
    place: String,
}

impl UNet {
    /// Builds the network in a scope: its parameters are made there, or read from a view.
    ///
    /// # Errors
    ///
    /// When a number of the configuration is out of range or does not fit another, or the scope refuses a parameter.
    pub fn new(scope: &Scope<'_>, config: UNetConfig) -> Result<Self> {
        config.check()?;
        let conv3 = Conv2dConfig::same([3, 3]);
        let (first, last) = match (config.levels.first(), config.levels.last()) {
            (Some(first), Some(last)) => (first.channels, last.channels),
            _ => (0, 0),
        };
        let mut skips = vec![first];
        let mut inputs = first;
        let mut down = Vec::with_capacity(config.levels.len());
        for (index, level) in config.levels.iter().enumerate() {
            let place = scope.at(format_args!("down_blocks.{index}"));
            down.push(Down::new(&place, &config, index, inputs, &mut skips)?);
            inputs = level.channels;
        }
        let middle = middle(&config, last).map(|middle| Middle::new(&scope.at("mid_block"), middle));
        let mut up = Vec::with_capacity(config.levels.len());
        for (above, (index, level)) in config.levels.iter().enumerate().rev().enumerate() {
            let place = scope.at(format_args!("up_blocks.{above}"));
            up.push(Up::new(&place, &config, index, inputs, &mut skips)?);
            inputs = level.channels;
        }
        let norm = GroupNorm::new(&scope.at("conv_norm_out"), config.groups, first)?;
        let init = config.start.last().init(9 * first);
        Ok(Self {
            embedding: UNetEmbedding::new(scope, &config)?,
            stem: Conv2d::new(&scope.at("conv_in"), config.inputs, first, [3, 3], conv3)?,
            down,
            middle: middle.transpose()?,
            up,
            norm: norm.with_epsilon(config.epsilon)?.activated(Activation::Silu),
            head: Conv2d::with_init(&scope.at("conv_out"), first, config.outputs, [3, 3], conv3, init)?,
            place: scope.at("time_proj.weight").path().to_owned(),
            config,
        })
    }

    /// The network that diffusers wrote: its `config.json`, and its safetensors file.
    ///
    /// # Errors
    ///
    /// When the configuration has no equivalent here, or the file cannot be read or does not fit it.
    pub fn from_diffusers(
        config: &Value,
        file: impl AsRef<Path>,
        dtype: DType,
        device: &Device,
    ) -> Result<(Parameters, Self)> {
        let parameters = Parameters::new(0, dtype, device);
        let network = Self::new(&parameters.scope(), UNetConfig::from_diffusers(config)?)?;
        load(&parameters, file.as_ref())?;
        Ok((parameters, network))
    }

    /// The network's shape.
    #[must_use]
    pub fn config(&self) -> &UNetConfig {
        &self.config
    }

    /// The names of parameters that are fixed at their random start, for an optimiser's frozen groups: Fourier features of times
    /// have some.
    #[must_use]
    pub fn fixed(&self) -> Vec<String> {
        match self.config.time {
            UNetTime::Fourier => vec![self.place.clone()],
            UNetTime::Sinusoidal { .. } => Vec::new(),
        }
    }

    /// The network as it is trained: with dropout, drawn from `rng`.
    pub fn training<'a>(&'a self, rng: &'a mut dyn RngCore) -> TrainingUNet<'a> {
        TrainingUNet {
            network: self,
            rng: Mutex::new(rng),
        }
    }

    fn output(&self, call: &Call<'_>, rng: Option<&mut dyn RngCore>) -> Result<Tensor> {
        self.check(call.x)?;
        let embedding = self.embedding.forward(call)?;
        let mut told = Told::new(Some(&embedding), rng);
        let mut h = match self.config.range {
            UNetRange::AsGiven => self.stem.forward(call.x)?,
            UNetRange::Centred => self.stem.forward(&call.x.affine(2.0, -1.0)?)?,
        };
        let mut skips = vec![h.clone()];
        for level in &self.down {
            h = level.forward(&h, &mut told, &mut skips)?;
        }
        if let Some(middle) = &self.middle {
            h = middle.forward(&h, &mut told)?;
        }
        for level in &self.up {
            h = level.forward(&h, &mut told, &mut skips)?;
        }
        let y = self.head.forward(&self.norm.forward(&h)?)?;
        match self.config.time {
            UNetTime::Sinusoidal { .. } => Ok(y),
            UNetTime::Fourier => {
                let sigma = call.time()?.reshape((call.times.len(), 1, 1, 1))?;
                Ok(y.broadcast_div(&sigma)?)
            }
        }
    }

    fn check(&self, x: &Tensor) -> Result<()> {
        match *x.dims() {
            [_, channels, height, width] if channels == self.config.inputs => {
                self.config.check_size([height, width])
            }
            _ => Err(Error::Layer(tallow_nn::Error::Input {
                layer: "this UNet".to_owned(),
                wanted: format!("(batch, {}, height, width)", self.config.inputs),
                got: x.shape().clone(),
            })),
        }
    }
}

fn middle(config: &UNetConfig, channels: usize) -> Option<MiddleConfig> {
    let middle = config.middle?;
    let groups = match config.injection {
        Injection::Shift => middle.groups.or(Some(config.groups)),
        Injection::ScaleShift => middle.groups,
    };
    let attention = ImageAttentionConfig {
        groups,
        scale: middle.scale,
        ..config.attention(channels)
    };
    Some(MiddleConfig {
        block: config.block(channels, channels),
        attention: middle.attention.then_some(attention),
        scale: middle.scale,
    })
}

impl Network for UNet {
    fn forward(&self, call: &Call<'_>) -> candle_core::Result<Tensor> {
        Ok(self.output(call, None)?)
    }
}

/// A [`UNet`] as it is trained; made by [`UNet::training`].
pub struct TrainingUNet<'a> {
    network: &'a UNet,
    rng: Mutex<&'a mut dyn RngCore>,
}

impl std::fmt::Debug for TrainingUNet<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("TrainingUNet").field(self.network).finish()
    }
}

impl Network for TrainingUNet<'_> {
    fn forward(&self, call: &Call<'_>) -> candle_core::Result<Tensor> {
        let mut rng = self.rng.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(self.network.output(call, Some(&mut **rng))?)
    }
}

#[cfg(test)]
#[path = "unet/tests.rs"]
mod tests;
