//! What a U-Net makes of a time: waves, and two layers on them.
//!
//! ```text
//! e = W₂ silu(W₁ waves(t) + b₁) + b₂
//! waves   sinusoidal: tallow_nn::SinusoidalEmbedding         Fourier: (sin 2πw ln σ, cos 2πw ln σ),  w ~ N(0, 16²)
//! ```
//!
//! Sources: Ho et al. 2020, arXiv:2006.11239, appendix B; Song et al. 2021, arXiv:2011.13456, appendix C.2.

use candle_core::{DType, Tensor};
use tallow_nn::{Activation, Init, Linear, Scope, SinusoidalConfig, SinusoidalEmbedding};

use super::{UNetConfig, UNetTime};
use crate::{Error, Result};

/// Waves of numbers, (B,) to (B, outputs).
#[derive(Debug)]
pub(crate) enum Waves {
    Sinusoidal(SinusoidalEmbedding),
    /// The multiples w.
    Fourier(Tensor),
}

impl Waves {
    /// As many as the first level has channels; twice as many for `Fourier`, diffusers' `GaussianFourierProjection`.
    pub(crate) fn new(scope: &Scope<'_>, config: &UNetConfig) -> Result<Self> {
        let channels = config.levels.first().map_or(0, |level| level.channels);
        Ok(match config.time {
            UNetTime::Sinusoidal {
                order,
                frequency_shift,
            } => Self::Sinusoidal(SinusoidalEmbedding::new(
                channels,
                SinusoidalConfig {
                    order,
                    frequency_shift,
                    ..SinusoidalConfig::default()
                },
            )?),
            UNetTime::Fourier => {
                let scope = scope.at("time_proj");
                let w = scope.parameter("weight", channels, Init::Normal { std: 16.0 })?;
                Self::Fourier(w.detach())
            }
        })
    }

    pub(crate) fn outputs(&self) -> usize {
        match self {
            Self::Sinusoidal(waves) => waves.outputs(),
            Self::Fourier(w) => 2 * w.elem_count(),
        }
    }

    /// The waves of `numbers`, (B,), of which none may be 0 or negative where logarithms are taken.
    pub(crate) fn forward(&self, numbers: &Tensor) -> Result<Tensor> {
        match self {
            Self::Sinusoidal(waves) => Ok(waves.forward(numbers)?),
            Self::Fourier(w) => {
                positive(numbers)?;
                let turns = numbers.log()?.unsqueeze(1)?;
                let w = w.to_dtype(numbers.dtype())?.unsqueeze(0)?;
                let angles = (turns.broadcast_mul(&w)? * std::f64::consts::TAU)?;
                Ok(Tensor::cat(&[angles.sin()?, angles.cos()?], 1)?)
            }
        }
    }
}

fn positive(numbers: &Tensor) -> Result<()> {
    let values = numbers.to_dtype(DType::F64)?.to_vec1::<f64>()?;
    match values.into_iter().find(|value| !(*value > 0.0)) {
        Some(value) => Err(Error::Number {
            owner: "a UNet with Fourier times",
            name: "each noise level",
            value,
            allowed: "above 0",
        }),
        None => Ok(()),
    }
}

/// Two layers on waves: (B, waves) to (B, embedding). Parameters: `linear_1`, `linear_2`.
#[derive(Debug)]
pub(crate) struct WaveEmbedding([Linear; 2]);

impl WaveEmbedding {
    pub(crate) fn new(scope: &Scope<'_>, waves: usize, embedding: usize) -> Result<Self> {
        let first = Linear::new(&scope.at("linear_1"), waves, embedding)?;
        let second = Linear::new(&scope.at("linear_2"), embedding, embedding)?;
        Ok(Self([first.activated(Activation::Silu), second]))
    }

    pub(crate) fn forward(&self, waves: &Tensor) -> Result<Tensor> {
        let [first, second] = &self.0;
        Ok(second.forward(&first.forward(waves)?)?)
    }
}
