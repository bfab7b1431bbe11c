//! The autoencoder of latent diffusion: images to small latents with a Gaussian around them, and back.
//!
//! ```text
//! q(z | x) = N(mean, exp(log variance)),  [mean, log variance] = encoder(x)          x̂ = decoder(z)
//! loss of training   −ln p(x | z) + β KL(q(z | x) ‖ N(0, I))
//! ```
//!
//! Names and shapes of the parameters are those of diffusers' `AutoencoderKL`, so its files are read as they are, and ours by it.
//!
//! Sources: Kingma & Welling 2014, arXiv:1312.6114; Rombach et al. 2022, arXiv:2112.10752, section 3.1.

mod config;
mod decoder;
mod encoder;
mod posterior;

use std::path::Path;

use candle_core::{DType, Device, Tensor};
use serde_json::Value;
use tallow_nn::{Conv2d, Conv2dConfig, Parameters, Scope};

pub use config::AutoencoderKlConfig;
use decoder::Decoder;
use encoder::Encoder;
pub use posterior::Posterior;

use crate::blocks::load;
use crate::{Error, Result};

/// An autoencoder: images (B, inputs, H, W) to latents (B, latents, h, w), and back to (B, outputs, f h, f w).
///
/// f is the [divisor](AutoencoderKlConfig::divisor); h and w are H/f and W/f, rounded down: rows and columns that are too many
/// for a multiple of f are seen, but not drawn again.
///
/// Sources: Kingma & Welling 2014, arXiv:1312.6114; Rombach et al. 2022, arXiv:2112.10752, section 3.1.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use tallow_denoisers::Seeded;
/// use tallow_models::{AutoencoderKl, AutoencoderKlConfig};
/// use tallow_nn::Parameters;
///
/// let parameters = Parameters::new(0, DType::F32, &Device::Cpu);
/// let model = AutoencoderKl::new(&parameters.scope(), AutoencoderKlConfig::small(1, 28))?;
/// let x = Tensor::zeros((2, 1, 28, 28), DType::F32, &Device::Cpu)?;
/// let posterior = model.encode(&x)?;
/// let z = posterior.sample(&mut Seeded::new(1))?;
/// assert_eq!(z.dims(), [2, 4, 7, 7]);
/// assert_eq!(model.decode(&z)?.dims(), x.dims());
/// # Ok::<(), tallow_models::Error>(())
/// ```
#[derive(Debug)]
pub struct AutoencoderKl {
    config: AutoencoderKlConfig,
    encoder: Encoder,
    decoder: Decoder,
    after_encoder: Option<Conv2d>,
    before_decoder: Option<Conv2d>,
}

impl AutoencoderKl {
    /// Builds the autoencoder in a scope: its parameters are made there, or read from a view.
    ///
    /// # Errors
    ///
    /// When a number of the configuration is out of range or does not fit another, or the scope refuses a parameter.
    pub fn new(scope: &Scope<'_>, config: AutoencoderKlConfig) -> Result<Self> {
        config.check()?;
        let mixing = |name: &str, channels| {
            Conv2d::new(
                &scope.at(name),
                channels,
                channels,
                [1, 1],
                Conv2dConfig::default(),
            )
        };
        let after = config
            .mix_moments
            .then(|| mixing("quant_conv", 2 * config.latents));
        let before = config
            .mix_latents
            .then(|| mixing("post_quant_conv", config.latents));
        Ok(Self {
            encoder: Encoder::new(&scope.at("encoder"), &config)?,
            decoder: Decoder::new(&scope.at("decoder"), &config)?,
            after_encoder: after.transpose()?,
            before_decoder: before.transpose()?,
            config,
        })
    }

    /// The autoencoder that diffusers wrote: its `config.json`, and its safetensors file.
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
        let model = Self::new(&parameters.scope(), AutoencoderKlConfig::from_diffusers(config)?)?;
        load(&parameters, file.as_ref())?;
        Ok((parameters, model))
    }

    /// The autoencoder's shape.
    #[must_use]
    pub fn config(&self) -> &AutoencoderKlConfig {
        &self.config
    }

    /// The distribution of the latents of images `x`, (B, inputs, H, W).
    ///
    /// # Errors
    ///
    /// When the shape, type or device of `x` does not fit, or one of its sides is below the divisor.
    pub fn encode(&self, x: &Tensor) -> Result<Posterior> {
        check(x, self.config.inputs, self.config.divisor())?;
        let moments = self.encoder.forward(x)?;
        let moments = match &self.after_encoder {
            Some(conv) => conv.forward(&moments)?,
            None => moments,
        };
        Posterior::from_moments(&moments)
    }

    /// The images of latents `z`, (B, latents, h, w), as [`encode`](Self::encode) has them: not scaled.
    ///
    /// # Errors
    ///
    /// When the shape, type or device of `z` does not fit.
    pub fn decode(&self, z: &Tensor) -> Result<Tensor> {
        check(z, self.config.latents, 1)?;
        match &self.before_decoder {
            Some(conv) => self.decoder.forward(&conv.forward(z)?),
            None => self.decoder.forward(z),
        }
    }

    /// Latents as a diffusion model is trained on them: (z − shift) · scale, of deviation about 1.
    ///
    /// # Errors
    ///
    /// When candle's operations fail.
    pub fn scaled(&self, z: &Tensor) -> Result<Tensor> {
        let AutoencoderKlConfig { scale, shift, .. } = self.config;
        Ok(z.affine(scale, -shift * scale)?)
    }

    /// The way back: z/scale + shift, before [`decode`](Self::decode).
    ///
    /// # Errors
    ///
    /// When candle's operations fail.
    pub fn unscaled(&self, z: &Tensor) -> Result<Tensor> {
        let AutoencoderKlConfig { scale, shift, .. } = self.config;
        Ok(z.affine(scale.recip(), shift)?)
    }
}

/// Refuses what are no images of so many channels, or too small.
fn check(x: &Tensor, channels: usize, least: usize) -> Result<()> {
    match *x.dims() {
        [_, got, height, width] if got == channels && height.min(width) >= least => Ok(()),
        _ => Err(Error::Layer(tallow_nn::Error::Input {
            layer: "this autoencoder".to_owned(),
            wanted: format!("(batch, {channels}, height, width), both sides at least {least}"),
            got: x.shape().clone(),
        })),
    }
}

#[cfg(test)]
#[path = "autoencoder/tests.rs"]
mod tests;
