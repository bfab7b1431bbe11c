//! A level of a U-Net on the way down: residual blocks, each perhaps with attention, and half the size.
//!
//! Parameters: `resnets.i`, `attentions.i`, `downsamplers.0`.

use candle_core::Tensor;
use tallow_nn::{Resampling, ResidualBlock, ResidualBlockConfig, Scope};

use super::{UNetConfig, UNetLevel, UNetResampling};
use crate::Result;
use crate::blocks::{Downsample, ImageAttention, Told};

#[derive(Debug)]
pub(crate) struct Down {
    blocks: Vec<(ResidualBlock, Option<ImageAttention>)>,
    half: Option<Half>,
}

#[derive(Debug)]
enum Half {
    Convolution(Downsample),
    Block(Box<ResidualBlock>),
}

impl Down {
    /// The level `index`, which images of `inputs` channels enter. `skips` gets the channels of what it leaves for the way up.
    pub(crate) fn new(
        scope: &Scope<'_>,
        config: &UNetConfig,
        index: usize,
        inputs: usize,
        skips: &mut Vec<usize>,
    ) -> Result<Self> {
        let UNetLevel { channels, down, .. } = config.levels[index];
        let mut blocks = Vec::new();
        for block in 0..config.blocks {
            let inputs = if block == 0 { inputs } else { channels };
            let place = scope.at(format_args!("resnets.{block}"));
            let attention = down.attention.then(|| {
                let place = scope.at(format_args!("attentions.{block}"));
                ImageAttention::new(&place, config.attention(channels))
            });
            let block = ResidualBlock::new(&place, config.block(inputs, channels))?;
            blocks.push((block, attention.transpose()?));
            skips.push(channels);
        }
        let place = scope.at("downsamplers.0");
        let half = match down.resampling {
            _ if index + 1 == config.levels.len() => None,
            UNetResampling::Convolution => Some(Half::Convolution(Downsample::new(
                &place,
                channels,
                config.padding,
            )?)),
            UNetResampling::ResidualBlock => {
                let block = ResidualBlockConfig {
                    resampling: Resampling::Down,
                    ..config.block(channels, channels)
                };
                Some(Half::Block(Box::new(ResidualBlock::new(&place, block)?)))
            }
        };
        if half.is_some() {
            skips.push(channels);
        }
        Ok(Self { blocks, half })
    }

    /// The images for the next level; `skips` gets those for the way up.
    pub(crate) fn forward(
        &self,
        x: &Tensor,
        told: &mut Told<'_, '_>,
        skips: &mut Vec<Tensor>,
    ) -> Result<Tensor> {
        let mut h = x.clone();
        for (block, attention) in &self.blocks {
            h = told.to(block, &h)?;
            if let Some(attention) = attention {
                h = attention.forward(&h)?;
            }
            skips.push(h.clone());
        }
        match &self.half {
            None => return Ok(h),
            Some(Half::Convolution(conv)) => h = conv.forward(&h)?,
            Some(Half::Block(block)) => h = told.to(block, &h)?,
        }
        skips.push(h.clone());
        Ok(h)
    }
}
