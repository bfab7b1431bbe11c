//! Latents to images.
//!
//! Parameters: `conv_in`, `mid_block`, `up_blocks.i.resnets.j`, `up_blocks.i.upsamplers.0`, `conv_norm_out`, `conv_out`.

use candle_core::Tensor;
use tallow_nn::{Activation, Conv2d, Conv2dConfig, GroupNorm, ResidualBlock, Scope};

use super::AutoencoderKlConfig;
use super::config::EPSILON;
use crate::Result;
use crate::blocks::{Middle, Told, Upsample};

/// (B, latents, h, w) to (B, outputs, f h, f w).
#[derive(Debug)]
pub(crate) struct Decoder {
    stem: Conv2d,
    middle: Middle,
    levels: Vec<(Vec<ResidualBlock>, Option<Upsample>)>,
    norm: GroupNorm,
    head: Conv2d,
}

impl Decoder {
    pub(crate) fn new(scope: &Scope<'_>, config: &AutoencoderKlConfig) -> Result<Self> {
        let conv3 = Conv2dConfig::same([3, 3]);
        let last = config.channels.last().copied().unwrap_or(0);
        let (mut levels, mut inputs) = (Vec::with_capacity(config.channels.len()), last);
        for (index, &channels) in config.channels.iter().rev().enumerate() {
            let place = scope.at(format_args!("up_blocks.{index}"));
            let mut blocks = Vec::new();
            for block in 0..=config.blocks {
                let place = place.at(format_args!("resnets.{block}"));
                blocks.push(ResidualBlock::new(&place, config.block(inputs, channels))?);
                inputs = channels;
            }
            let twice = (index + 1 < config.channels.len())
                .then(|| Upsample::new(&place.at("upsamplers.0"), channels));
            levels.push((blocks, twice.transpose()?));
        }
        let norm = GroupNorm::new(&scope.at("conv_norm_out"), config.groups, inputs)?;
        Ok(Self {
            stem: Conv2d::new(&scope.at("conv_in"), config.latents, last, [3, 3], conv3)?,
            middle: Middle::new(&scope.at("mid_block"), config.middle(last))?,
            levels,
            norm: norm.with_epsilon(EPSILON)?.activated(Activation::Silu),
            head: Conv2d::new(&scope.at("conv_out"), inputs, config.outputs, [3, 3], conv3)?,
        })
    }

    pub(crate) fn forward(&self, z: &Tensor) -> Result<Tensor> {
        let mut told = Told::new(None, None);
        let mut h = self.middle.forward(&self.stem.forward(z)?, &mut told)?;
        for (blocks, twice) in &self.levels {
            for block in blocks {
                h = told.to(block, &h)?;
            }
            if let Some(twice) = twice {
                h = twice.forward(&h)?;
            }
        }
        Ok(self.head.forward(&self.norm.forward(&h)?)?)
    }
}
