//! The block of a diffusion transformer: attention and two layers, each after a norm that the condition modulates and
//! before a gate that it opens.
//!
//! ```text
//! r = x + gate₁ attn(LN(x)(1 + scale₁) + shift₁)
//! y = r + gate₂ fc2(act(fc1(LN(r)(1 + scale₂) + shift₂)))
//! ```
//!
//! On the host, in f32 and f64, the whole block is one operation of the graph: what lies between its layers stays in
//! buffers of its own. Elsewhere it is composed of candle's operations.
//!
//! Source: Peebles & Xie 2023, arXiv:2212.09748, section 3.2 (adaLN-Zero block).

use candle_core::{D, Tensor};
use tallow_kernels::{Activation, TransformerBlock as Sizes};

use crate::attention::{AttentionMask, attention_dual};
use crate::dual::Dual;
use crate::error::{Error, Result};
use crate::init::Init;
use crate::linear::{Linear, LinearInit};
use crate::scope::Scope;
use crate::slices::kernels_take;
use crate::transformer_block_op::transformer_block;

/// The sizes of a [`TransformerBlock`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TransformerBlockConfig {
    /// Values of a token.
    pub width: usize,
    /// Heads, which divide the width.
    pub heads: usize,
    /// Values between `fc1` and `fc2`.
    pub hidden: usize,
    /// What follows `fc1`.
    pub activation: Activation,
    /// What is added to the variance of the first and of the second norm.
    pub epsilon: [f64; 2],
}

impl TransformerBlockConfig {
    /// DiT's: a hidden layer of four widths, GELU in its tanh form, ε = 1e-6.
    #[must_use]
    pub fn new(width: usize, heads: usize) -> Self {
        Self {
            width,
            heads,
            hidden: 4 * width,
            activation: Activation::Gelu,
            epsilon: [1e-6; 2],
        }
    }
}

/// A block of a diffusion transformer. Parameters: `attn.qkv`, `attn.proj`, `mlp.fc1`, `mlp.fc2`, DiT's names.
///
/// The modulation, (B, 6 · width), is the caller's, made of the condition by a layer of its own (DiT's
/// `adaLN_modulation.1`): shift₁, scale₁, gate₁, shift₂, scale₂, gate₂ side by side.
///
/// Source: Peebles & Xie 2023, arXiv:2212.09748, section 3.2 (adaLN-Zero block).
#[derive(Clone, Debug)]
pub struct TransformerBlock {
    config: TransformerBlockConfig,
    qkv: Linear,
    proj: Linear,
    fc1: Linear,
    fc2: Linear,
    name: String,
}

impl TransformerBlock {
    /// A block that starts as DiT's do: weights uniform within ±√(6/(inputs + outputs)), biases zero.
    ///
    /// # Errors
    ///
    /// When the heads do not divide the width, ε is not positive, and those of [`Scope::parameter`].
    pub fn new(scope: &Scope<'_>, config: TransformerBlockConfig) -> Result<Self> {
        let TransformerBlockConfig {
            width, heads, hidden, ..
        } = config;
        if heads == 0 || !width.is_multiple_of(heads) {
            return Err(Error::Heads { heads, width });
        }
        for value in config.epsilon {
            if !(value > 0.0 && value.is_finite()) {
                return Err(Error::Setting {
                    name: "epsilon of a transformer block",
                    value,
                    allowed: "a positive number",
                });
            }
        }
        let linear = |name: &str, inputs: usize, outputs: usize| {
            let bound = (6.0 / (inputs + outputs).max(1) as f64).sqrt();
            let init = LinearInit {
                weight: Init::Uniform { bound },
                bias: Some(Init::ZEROS),
            };
            Linear::with_init(&scope.at(name), inputs, outputs, init)
        };
        Ok(Self {
            config,
            qkv: linear("attn.qkv", width, 3 * width)?,
            proj: linear("attn.proj", width, width)?,
            fc1: linear("mlp.fc1", width, hidden)?.activated(config.activation),
            fc2: linear("mlp.fc2", hidden, width)?,
            name: format!("the transformer block `{}`", scope.path()),
        })
    }

    /// The sizes.
    #[must_use]
    pub fn config(&self) -> &TransformerBlockConfig {
        &self.config
    }

    /// y, (B, N, width), of tokens x, (B, N, width), under the modulation, (B, 6 · width).
    ///
    /// # Errors
    ///
    /// When a shape, type or device does not fit.
    pub fn forward(&self, x: &Tensor, modulation: &Tensor) -> Result<Tensor> {
        self.check(x, modulation)?;
        if !kernels_take(x) {
            let constant = |tensor: &Tensor| Dual::constant(tensor.clone());
            return Ok(self
                .composed(&constant(x), &constant(modulation))?
                .value()
                .clone());
        }
        let (batch, tokens, width) = x.dims3()?;
        let sizes = Sizes {
            batch,
            tokens,
            width,
            heads: self.config.heads,
            hidden: self.config.hidden,
            activation: self.config.activation,
            epsilon: self.config.epsilon,
        };
        let layers = [&self.qkv, &self.proj, &self.fc1, &self.fc2];
        Ok(transformer_block(sizes, x, modulation, layers)?)
    }

    /// y with its derivative along the tangents of x and the modulation.
    ///
    /// # Errors
    ///
    /// Those of [`forward`](Self::forward).
    pub fn forward_dual(&self, x: &Dual, modulation: &Dual) -> Result<Dual> {
        self.check(x.value(), modulation.value())?;
        self.composed(x, modulation)
    }

    /// The block layer by layer.
    fn composed(&self, x: &Dual, modulation: &Dual) -> Result<Dual> {
        let (width, [first, second]) = (self.config.width, self.config.epsilon);
        let part = |index| modulation.linear(|m| m.narrow(1, index * width, width)?.unsqueeze(1));
        let heads = |qkv: &Dual, index: usize| {
            qkv.linear(|qkv| {
                let (batch, tokens, all) = qkv.dims3()?;
                let heads = self.config.heads;
                let qkv = qkv.reshape((batch, tokens, 3, heads, all / 3 / heads.max(1)))?;
                qkv.narrow(2, index, 1)?.squeeze(2)?.transpose(1, 2)
            })
        };
        let qkv = self
            .qkv
            .forward_dual(&self.normed(x, &part(0)?, &part(1)?, first)?)?;
        let (q, k, v) = (heads(&qkv, 0)?, heads(&qkv, 1)?, heads(&qkv, 2)?);
        let attended = attention_dual(&q, &k, &v, &AttentionMask::None, None)?;
        let attended = attended.linear(|y| y.transpose(1, 2)?.flatten_from(2))?;
        let middle = self.proj.forward_dual(&attended)?.mul(&part(2)?)?.add(x)?;
        let hidden = self
            .fc1
            .forward_dual(&self.normed(&middle, &part(3)?, &part(4)?, second)?)?;
        self.fc2.forward_dual(&hidden)?.mul(&part(5)?)?.add(&middle)
    }

    /// LN(x)(1 + scale) + shift.
    fn normed(&self, x: &Dual, shift: &Dual, scale: &Dual, epsilon: f64) -> Result<Dual> {
        let centred = x.sub(&x.linear(|x| x.mean_keepdim(D::Minus1))?)?;
        let variance = centred.mul(&centred)?.linear(|x| x.mean_keepdim(D::Minus1))?;
        // r = (variance + ε)^(−½), ṙ = −½ r³ v̇
        let r = (variance.value() + epsilon)?.sqrt()?.recip()?;
        let r = match variance.tangent() {
            Some(slope) => {
                let tangent = ((r.detach().powf(3.0)? * slope)? * -0.5)?;
                Dual::new(r, tangent)?
            }
            None => Dual::constant(r),
        };
        let normal = centred.mul(&r)?;
        normal.mul(scale)?.add(&normal)?.add(shift)
    }

    fn check(&self, x: &Tensor, modulation: &Tensor) -> Result<()> {
        let width = self.config.width;
        let refuse = |wanted: String, got: &Tensor| Error::Input {
            layer: self.name.clone(),
            wanted,
            got: got.shape().clone(),
        };
        let &[batch, _, own] = x.dims() else {
            return Err(refuse(format!("tokens (batch, tokens, {width})"), x));
        };
        if own != width {
            return Err(refuse(format!("tokens (batch, tokens, {width})"), x));
        }
        if modulation.dims() != [batch, 6 * width] {
            return Err(refuse(
                format!("a modulation ({batch}, {})", 6 * width),
                modulation,
            ));
        }
        for tensor in [x, modulation] {
            if tensor.dtype() != self.qkv.weight().dtype() {
                return Err(Error::Type {
                    layer: self.name.clone(),
                    wanted: self.qkv.weight().dtype(),
                    got: tensor.dtype(),
                });
            }
            if !tensor.device().same_device(self.qkv.weight().device()) {
                return Err(Error::Place {
                    layer: self.name.clone(),
                    wanted: self.qkv.weight().device().clone(),
                    got: tensor.device().clone(),
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "transformer_block_tests.rs"]
mod tests;
