//! Attention of the places of an image to each other, with a norm before it and a way around.
//!
//! ```text
//! y = (x + attention(norm(x)))/s,    each place (i, j) of x is a token of C values
//! ```
//!
//! Parameters: `group_norm`, `to_q`, `to_k`, `to_v`, `to_out.0`.
//!
//! Sources: Ho et al. 2020, arXiv:2006.11239, appendix B; Dhariwal & Nichol 2021, arXiv:2105.05233, section 3.

use candle_core::Tensor;
use tallow_nn::{
    GroupNorm, LastLayer, MultiHeadAttention, MultiHeadAttentionConfig, ProjectionBias, Projections, Scope,
};

use crate::{Error, Result};

/// The shape of an [`ImageAttention`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct ImageAttentionConfig {
    pub(crate) channels: usize,
    /// Values of a head; `None` for one head.
    pub(crate) head_width: Option<usize>,
    /// Groups of the norm; `None` for no norm.
    pub(crate) groups: Option<usize>,
    pub(crate) epsilon: f64,
    /// What the sum with the way around is divided by.
    pub(crate) scale: f64,
    pub(crate) last: LastLayer,
}

/// (B, C, H, W) to the same shape.
#[derive(Debug)]
pub(crate) struct ImageAttention {
    norm: Option<GroupNorm>,
    attention: MultiHeadAttention,
    scale: f64,
}

impl ImageAttention {
    pub(crate) fn new(scope: &Scope<'_>, config: ImageAttentionConfig) -> Result<Self> {
        let ImageAttentionConfig { channels, .. } = config;
        let head_width = config.head_width.unwrap_or(channels);
        if head_width == 0 || !channels.is_multiple_of(head_width) {
            return Err(Error::Size {
                owner: "attention in an image",
                name: "head_width",
                value: head_width,
                allowed: "to divide the channels of every level with attention",
            });
        }
        let norm = |groups| -> Result<GroupNorm> {
            let norm = GroupNorm::new(&scope.at("group_norm"), groups, channels)?;
            Ok(norm.with_epsilon(config.epsilon)?)
        };
        let attention = MultiHeadAttentionConfig {
            width: channels,
            heads: channels / head_width,
            projections: Projections::Separate {
                context_width: channels,
            },
            projection_bias: ProjectionBias::Learned,
        };
        Ok(Self {
            norm: config.groups.map(norm).transpose()?,
            attention: MultiHeadAttention::with_output(scope, attention, config.last.init(channels))?,
            scale: config.scale,
        })
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let normed = self.norm.as_ref().map(|norm| norm.forward(x)).transpose()?;
        let tokens = normed.as_ref().unwrap_or(x).flatten_from(2)?;
        let tokens = tokens.transpose(1, 2)?.contiguous()?;
        let seen = self.attention.forward(&tokens)?.transpose(1, 2)?;
        scaled(&(x + seen.reshape(x.shape())?)?, self.scale)
    }
}

/// x/s.
pub(crate) fn scaled(x: &Tensor, scale: f64) -> Result<Tensor> {
    if scale == 1.0 {
        return Ok(x.clone());
    }
    Ok((x / scale)?)
}
