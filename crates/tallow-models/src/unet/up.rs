//! A level of a U-Net on the way up: residual blocks on what comes from below and what was left beside it, and twice the size.
//!
//! Parameters: `resnets.i`, `attentions.i`, `upsamplers.0`.

use candle_core::Tensor;
use tallow_nn::{Resampling, ResidualBlock, ResidualBlockConfig, Scope, join_channels};

use super::{UNetConfig, UNetLevel, UNetResampling};
use crate::Result;
use crate::blocks::{ImageAttention, Told, Upsample};

#[derive(Debug)]
pub(crate) struct Up {
    blocks: Vec<(ResidualBlock, Option<ImageAttention>)>,
    twice: Option<Twice>,
}

#[derive(Debug)]
enum Twice {
    Convolution(Upsample),
    Block(Box<ResidualBlock>),
}

impl Up {
    /// The level `index`, 0 the finest, which images of `inputs` channels enter and as many of `skips` as it has blocks.
    pub(crate) fn new(
        scope: &Scope<'_>,
        config: &UNetConfig,
        index: usize,
        inputs: usize,
        skips: &mut Vec<usize>,
    ) -> Result<Self> {
        let UNetLevel { channels, up, .. } = config.levels[index];
        let mut blocks = Vec::new();
        let mut inputs = inputs;
        for block in 0..=config.blocks {
            let joined = inputs + skips.pop().unwrap_or(0);
            let place = scope.at(format_args!("resnets.{block}"));
            let attention = up.attention.then(|| {
                let place = scope.at(format_args!("attentions.{block}"));
                ImageAttention::new(&place, config.attention(channels))
            });
            let block = ResidualBlock::new(&place, config.block(joined, channels))?;
            blocks.push((block, attention.transpose()?));
            inputs = channels;
        }
        let place = scope.at("upsamplers.0");
        let twice = match up.resampling {
            _ if index == 0 => None,
            UNetResampling::Convolution => Some(Twice::Convolution(Upsample::new(&place, channels)?)),
            UNetResampling::ResidualBlock => {
                let block = ResidualBlockConfig {
                    resampling: Resampling::Up,
                    ..config.block(channels, channels)
                };
                Some(Twice::Block(Box::new(ResidualBlock::new(&place, block)?)))
            }
        };
        Ok(Self { blocks, twice })
    }

    /// The images for the next finer level; takes its part of `skips` from the end.
    pub(crate) fn forward(
        &self,
        x: &Tensor,
        told: &mut Told<'_, '_>,
        skips: &mut Vec<Tensor>,
    ) -> Result<Tensor> {
        let mut h = x.clone();
        for (block, attention) in &self.blocks {
            if let Some(skip) = skips.pop() {
                h = join_channels(&h, &skip)?;
            }
            h = told.to(block, &h)?;
            if let Some(attention) = attention {
                h = attention.forward(&h)?;
            }
        }
        match &self.twice {
            None => Ok(h),
            Some(Twice::Convolution(conv)) => conv.forward(&h),
            Some(Twice::Block(block)) => told.to(block, &h),
        }
    }
}
