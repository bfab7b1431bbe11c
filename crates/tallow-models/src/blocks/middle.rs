//! The middle of a U-shaped network: a residual block, attention, a residual block.
//!
//! Parameters: `resnets.0`, `attentions.0` where it attends, `resnets.1`.

use candle_core::Tensor;
use tallow_nn::{ResidualBlock, ResidualBlockConfig, Scope};

use super::image_attention::scaled;
use super::{ImageAttention, ImageAttentionConfig, Told};
use crate::Result;

/// The shape of a [`Middle`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct MiddleConfig {
    pub(crate) block: ResidualBlockConfig,
    /// `None` where it does not attend.
    pub(crate) attention: Option<ImageAttentionConfig>,
    /// What the outputs of the residual blocks are divided by.
    pub(crate) scale: f64,
}

#[derive(Debug)]
pub(crate) struct Middle {
    before: ResidualBlock,
    attention: Option<ImageAttention>,
    after: ResidualBlock,
    scale: f64,
}

impl Middle {
    pub(crate) fn new(scope: &Scope<'_>, config: MiddleConfig) -> Result<Self> {
        let attention = config
            .attention
            .map(|attention| ImageAttention::new(&scope.at("attentions.0"), attention));
        Ok(Self {
            before: ResidualBlock::new(&scope.at("resnets.0"), config.block)?,
            attention: attention.transpose()?,
            after: ResidualBlock::new(&scope.at("resnets.1"), config.block)?,
            scale: config.scale,
        })
    }

    pub(crate) fn forward(&self, x: &Tensor, told: &mut Told<'_, '_>) -> Result<Tensor> {
        let mut h = scaled(&told.to(&self.before, x)?, self.scale)?;
        if let Some(attention) = &self.attention {
            h = attention.forward(&h)?;
        }
        scaled(&told.to(&self.after, &h)?, self.scale)
    }
}
