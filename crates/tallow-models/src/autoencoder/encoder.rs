//! Images to the moments of their latents.
//!
//! Parameters: `conv_in`, `down_blocks.i.resnets.j`, `down_blocks.i.downsamplers.0`, `mid_block`, `conv_norm_out`, `conv_out`.

use candle_core::Tensor;
use tallow_nn::{Activation, Conv2d, Conv2dConfig, GroupNorm, ResidualBlock, Scope};

use super::AutoencoderKlConfig;
use super::config::EPSILON;
use crate::Result;
use crate::blocks::{Downsample, DownsamplePadding, Middle, Told};

/// (B, inputs, H, W) to (B, 2 latents, H/f, W/f).
#[derive(Debug)]
pub(crate) struct Encoder {
    stem: Conv2d,
    levels: Vec<(Vec<ResidualBlock>, Option<Downsample>)>,
    middle: Middle,
    norm: GroupNorm,
    head: Conv2d,
}

impl Encoder {
    pub(crate) fn new(scope: &Scope<'_>, config: &AutoencoderKlConfig) -> Result<Self> {
        let conv3 = Conv2dConfig::same([3, 3]);
        let first = config.channels.first().copied().unwrap_or(0);
        let (mut levels, mut inputs) = (Vec::with_capacity(config.channels.len()), first);
        for (index, &channels) in config.channels.iter().enumerate() {
            let place = scope.at(format_args!("down_blocks.{index}"));
            let mut blocks = Vec::new();
            for block in 0..config.blocks {
                let place = place.at(format_args!("resnets.{block}"));
                blocks.push(ResidualBlock::new(&place, config.block(inputs, channels))?);
                inputs = channels;
            }
            let half = (index + 1 < config.channels.len()).then(|| {
                let place = place.at("downsamplers.0");
                Downsample::new(&place, channels, DownsamplePadding::After)
            });
            levels.push((blocks, half.transpose()?));
        }
        let norm = GroupNorm::new(&scope.at("conv_norm_out"), config.groups, inputs)?;
        let moments = config.latents.saturating_mul(2);
        Ok(Self {
            stem: Conv2d::new(&scope.at("conv_in"), config.inputs, first, [3, 3], conv3)?,
            levels,
            middle: Middle::new(&scope.at("mid_block"), config.middle(inputs))?,
            norm: norm.with_epsilon(EPSILON)?.activated(Activation::Silu),
            head: Conv2d::new(&scope.at("conv_out"), inputs, moments, [3, 3], conv3)?,
        })
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let mut told = Told::new(None, None);
        let mut h = self.stem.forward(x)?;
        for (blocks, half) in &self.levels {
            for block in blocks {
                h = told.to(block, &h)?;
            }
            if let Some(half) = half {
                h = half.forward(&h)?;
            }
        }
        let h = self.middle.forward(&h, &mut told)?;
        Ok(self.head.forward(&self.norm.forward(&h)?)?)
    }
}
