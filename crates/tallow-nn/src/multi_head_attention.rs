//! The attention layer: projections to heads, attention, and a projection back.
//!
//! ```text
//! y = (heads of attention(x W_q, c W_k, c W_v), side by side) W_o + b_o,      c = x for self-attention
//! ```
//!
//! Source: Vaswani et al. 2017, arXiv:1706.03762, section 3.2.2.

use candle_core::{Module, Tensor};

use crate::attention::{AttentionMask, attention, attention_dual, fused_attention, fuses};
use crate::dual::Dual;
use crate::error::{Error, Result};
use crate::linear::{Linear, LinearInit};
use crate::scope::Scope;

/// The sizes and names of a [`MultiHeadAttention`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MultiHeadAttentionConfig {
    /// Values of a token of x and of y.
    pub width: usize,
    /// Heads; they share the width evenly.
    pub heads: usize,
    /// How queries, keys and values are projected.
    pub projections: Projections,
    /// Whether these projections have a bias.
    pub projection_bias: ProjectionBias,
}

impl MultiHeadAttentionConfig {
    /// Self-attention as in timm's `Attention` with `qkv_bias=True`, which DiT uses.
    #[must_use]
    pub fn new(width: usize, heads: usize) -> Self {
        Self {
            width,
            heads,
            projections: Projections::Fused,
            projection_bias: ProjectionBias::Learned,
        }
    }

    /// Attention to a context of tokens of `context_width` values, as in diffusers' `Attention`.
    #[must_use]
    pub fn cross(width: usize, heads: usize, context_width: usize) -> Self {
        Self {
            width,
            heads,
            projections: Projections::Separate { context_width },
            projection_bias: ProjectionBias::Absent,
        }
    }
}

/// How queries, keys and values are projected, and what the parameters are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Projections {
    /// One layer for all three, of the tokens themselves: `qkv` and `proj`, timm's names.
    Fused,
    /// Three layers, keys and values from tokens of `context_width` values: `to_q`, `to_k`, `to_v` and `to_out.0`,
    /// diffusers' names.
    Separate {
        /// Values of a token that keys and values are made of.
        context_width: usize,
    },
}

/// Whether queries, keys and values have a bias; the projection back always has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProjectionBias {
    /// They have.
    Learned,
    /// They have none.
    Absent,
}

/// Attention of many heads, to the tokens themselves or to a context: (B, N, width) to (B, N, width).
///
/// Source: Vaswani et al. 2017, arXiv:1706.03762, section 3.2.2.
#[derive(Clone, Debug)]
pub struct MultiHeadAttention {
    config: MultiHeadAttentionConfig,
    inputs: Inputs,
    output: Linear,
    name: String,
}

#[derive(Clone, Debug)]
enum Inputs {
    Fused(Linear),
    Separate([Linear; 3]),
}

impl MultiHeadAttention {
    /// A layer that starts as PyTorch's linear layers do.
    ///
    /// # Errors
    ///
    /// When the heads do not divide the width, and those of [`Scope::parameter`].
    pub fn new(scope: &Scope<'_>, config: MultiHeadAttentionConfig) -> Result<Self> {
        Self::with_output(scope, config, LinearInit::new(config.width))
    }

    /// A layer whose projection back starts as `output` says: with [`LinearInit::zeros`], one that answers 0.
    ///
    /// # Errors
    ///
    /// Those of [`new`](Self::new).
    pub fn with_output(
        scope: &Scope<'_>,
        config: MultiHeadAttentionConfig,
        output: LinearInit,
    ) -> Result<Self> {
        let MultiHeadAttentionConfig { width, heads, .. } = config;
        if heads == 0 || !width.is_multiple_of(heads) {
            return Err(Error::Heads { heads, width });
        }
        let linear = |name: &str, inputs, outputs| {
            let init = LinearInit::new(inputs);
            let init = match config.projection_bias {
                ProjectionBias::Learned => init,
                ProjectionBias::Absent => init.without_bias(),
            };
            Linear::with_init(&scope.at(name), inputs, outputs, init)
        };
        let (inputs, name) = match config.projections {
            Projections::Fused => (Inputs::Fused(linear("qkv", width, 3 * width)?), "proj"),
            Projections::Separate { context_width } => {
                let parts = [
                    linear("to_q", width, width)?,
                    linear("to_k", context_width, width)?,
                    linear("to_v", context_width, width)?,
                ];
                (Inputs::Separate(parts), "to_out.0")
            }
        };
        Ok(Self {
            config,
            inputs,
            output: Linear::with_init(&scope.at(name), width, width, output)?,
            name: format!("the attention layer `{}`", scope.path()),
        })
    }

    /// The sizes and names.
    #[must_use]
    pub fn config(&self) -> &MultiHeadAttentionConfig {
        &self.config
    }

    /// Attention of tokens (B, N, width) to themselves.
    ///
    /// # Errors
    ///
    /// When the shape, type or device of `x` does not fit the layer.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.forward_masked(x, &AttentionMask::None)
    }

    /// Attention of tokens (B, N, width) to those among themselves that the mask lets them see.
    ///
    /// # Errors
    ///
    /// Those of [`forward`](Self::forward), and when the mask does not fit.
    pub fn forward_masked(&self, x: &Tensor, mask: &AttentionMask) -> Result<Tensor> {
        let Inputs::Fused(linear) = &self.inputs else {
            return self.forward_context(x, x, mask);
        };
        self.check(x, self.config.width)?;
        let fused = linear.forward(x)?;
        if fuses(&fused, mask) {
            return self
                .output
                .forward(&fused_attention(&fused, self.config.heads, mask)?);
        }
        let part = |part| self.split(&fused.narrow(2, part * self.config.width, self.config.width)?);
        let y = attention(&part(0)?, &part(1)?, &part(2)?, mask, None)?;
        self.output.forward(&self.join(&y)?)
    }

    /// Attention of tokens (B, N, width) to those of a context, (B, M, context width).
    ///
    /// # Errors
    ///
    /// When a shape, type or device does not fit, or the projections are fused: those read one input only.
    pub fn forward_context(&self, x: &Tensor, context: &Tensor, mask: &AttentionMask) -> Result<Tensor> {
        let [q, k, v] = self.separate()?;
        self.check(x, q.inputs())?;
        self.check(context, k.inputs())?;
        let part = |layer: &Linear, x: &Tensor| self.split(&layer.forward(x)?);
        let y = attention(&part(q, x)?, &part(k, context)?, &part(v, context)?, mask, None)?;
        self.output.forward(&self.join(&y)?)
    }

    /// [`forward_masked`](Self::forward_masked) with its derivative along the tangent of `x`.
    ///
    /// # Errors
    ///
    /// Those of [`forward_masked`](Self::forward_masked).
    pub fn forward_dual(&self, x: &Dual, mask: &AttentionMask) -> Result<Dual> {
        let Inputs::Fused(linear) = &self.inputs else {
            return self.forward_context_dual(x, x, mask);
        };
        self.check(x.value(), self.config.width)?;
        let fused = linear.forward_dual(x)?;
        let width = self.config.width;
        let part = |part| {
            let part = fused.linear(|t| t.narrow(2, part * width, width))?;
            part.linear(|t| Ok(self.split(t)?))
        };
        let y = attention_dual(&part(0)?, &part(1)?, &part(2)?, mask, None)?;
        self.output.forward_dual(&y.linear(|y| Ok(self.join(y)?))?)
    }

    /// [`forward_context`](Self::forward_context) with its derivative along both tangents.
    ///
    /// # Errors
    ///
    /// Those of [`forward_context`](Self::forward_context).
    pub fn forward_context_dual(&self, x: &Dual, context: &Dual, mask: &AttentionMask) -> Result<Dual> {
        let [q, k, v] = self.separate()?;
        self.check(x.value(), q.inputs())?;
        self.check(context.value(), k.inputs())?;
        let part = |layer: &Linear, x: &Dual| layer.forward_dual(x)?.linear(|t| Ok(self.split(t)?));
        let y = attention_dual(&part(q, x)?, &part(k, context)?, &part(v, context)?, mask, None)?;
        self.output.forward_dual(&y.linear(|y| Ok(self.join(y)?))?)
    }

    /// (B, N, width) as (B, heads, N, width of a head), a view.
    fn split(&self, x: &Tensor) -> Result<Tensor> {
        let (batch, tokens, width) = x.dims3()?;
        let heads = self.config.heads;
        let x = x.reshape((batch, tokens, heads, width / heads))?;
        Ok(x.transpose(1, 2)?)
    }

    /// The way back.
    fn join(&self, y: &Tensor) -> Result<Tensor> {
        let (batch, heads, tokens, width) = y.dims4()?;
        Ok(y.transpose(1, 2)?.reshape((batch, tokens, heads * width))?)
    }

    fn separate(&self) -> Result<&[Linear; 3]> {
        match &self.inputs {
            Inputs::Separate(parts) => Ok(parts),
            Inputs::Fused(_) => Err(Error::FusedContext {
                layer: self.name.clone(),
            }),
        }
    }

    fn check(&self, x: &Tensor, width: usize) -> Result<()> {
        match x.dims() {
            &[_, _, got] if got == width => Ok(()),
            _ => Err(Error::Input {
                layer: self.name.clone(),
                wanted: format!("(batch, tokens, {width})"),
                got: x.shape().clone(),
            }),
        }
    }
}

impl Module for MultiHeadAttention {
    fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        Ok(Self::forward(self, x)?)
    }
}

#[cfg(test)]
#[path = "multi_head_attention_tests.rs"]
mod tests;
