//! The residual block of the U-Nets of DDPM and ADM: two normed convolutions that are told the time, and a way around.
//!
//! ```text
//! h = conv₁(silu(norm₁(x)))
//! shift        h = conv₂(silu(norm₂(h + W silu(e))))                                  DDPM
//! scale-shift  h = conv₂(silu(norm₂(h) (1 + s) + b)),  [s, b] = W silu(e)             ADM
//! y = h + skip(x)                         skip: a 1×1 convolution where the channels differ, else nothing
//! ```
//!
//! On the host, in f32 and f64, all but the small product with W is one operation of tallow-kernels; elsewhere, and along a
//! direction, the block is composed of its layers. Parameters have the names of diffusers' `ResnetBlock2D`.
//!
//! Sources: Ho et al. 2020, arXiv:2006.11239, appendix B; Dhariwal & Nichol 2021, arXiv:2105.05233, section 3.1.

use candle_core::Tensor;
use tallow_kernels::{Activation, Injection, ResidualBlock as Sizes};

use crate::activation::{activate, activate_dual};
use crate::channels::{shift_channels, shift_channels_dual};
use crate::conv2d::{Conv2d, Conv2dConfig};
use crate::dual::Dual;
use crate::error::{Error, Result};
use crate::group_norm::GroupNorm;
use crate::linear::Linear;
use crate::residual_block_op::ResidualBlockOp;
use crate::scope::Scope;
use crate::slices::kernels_take;

/// The shape of a [`ResidualBlock`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ResidualBlockConfig {
    /// Channels of x.
    pub inputs: usize,
    /// Channels of y.
    pub outputs: usize,
    /// Values of the embedding e of time and class.
    pub embedding: usize,
    /// Groups of both norms; must divide `inputs` and `outputs`.
    pub groups: usize,
    /// What both norms add to the variance.
    pub epsilon: f64,
    /// How e enters.
    pub injection: Injection,
}

impl ResidualBlockConfig {
    /// DDPM's block: a shift, norms of 32 groups with ε = 1e-5.
    #[must_use]
    pub fn new(inputs: usize, outputs: usize, embedding: usize) -> Self {
        Self {
            inputs,
            outputs,
            embedding,
            groups: 32,
            epsilon: 1e-5,
            injection: Injection::Shift,
        }
    }
}

/// Two normed convolutions that are told the time, and a way around: (N, inputs, H, W) to (N, outputs, H, W).
#[derive(Clone, Debug)]
pub struct ResidualBlock {
    norm1: GroupNorm,
    conv1: Conv2d,
    time: Linear,
    norm2: GroupNorm,
    conv2: Conv2d,
    skip: Option<Conv2d>,
    config: ResidualBlockConfig,
    name: String,
}

impl ResidualBlock {
    /// A block with PyTorch's default start.
    ///
    /// # Errors
    ///
    /// When the groups do not divide the channels, a size is 0, ε is not positive; those of [`Scope::parameter`].
    pub fn new(scope: &Scope<'_>, config: ResidualBlockConfig) -> Result<Self> {
        let ResidualBlockConfig { inputs, outputs, .. } = config;
        let norm = |name: &str, channels| -> Result<GroupNorm> {
            let norm = GroupNorm::new(&scope.at(name), config.groups, channels)?;
            Ok(norm.with_epsilon(config.epsilon)?.activated(Activation::Silu))
        };
        let conv = |name: &str, inputs, side: usize| {
            let kernel = [side; 2];
            Conv2d::new(
                &scope.at(name),
                inputs,
                outputs,
                kernel,
                Conv2dConfig::same(kernel),
            )
        };
        let told = match config.injection {
            Injection::Shift => outputs,
            Injection::ScaleShift => outputs.saturating_mul(2),
        };
        Ok(Self {
            norm1: norm("norm1", inputs)?,
            conv1: conv("conv1", inputs, 3)?,
            time: Linear::new(&scope.at("time_emb_proj"), config.embedding, told)?,
            norm2: norm("norm2", outputs)?,
            conv2: conv("conv2", outputs, 3)?,
            skip: if inputs == outputs {
                None
            } else {
                Some(conv("conv_shortcut", inputs, 1)?)
            },
            config,
            name: format!("the residual block `{}`", scope.path()),
        })
    }

    /// The shape of the block.
    #[must_use]
    pub fn config(&self) -> &ResidualBlockConfig {
        &self.config
    }

    /// y of images `x`, (N, inputs, H, W), and what is known of each, `embedding`, (N, embedding).
    ///
    /// # Errors
    ///
    /// When shapes, types or devices do not fit the block.
    pub fn forward(&self, x: &Tensor, embedding: &Tensor) -> Result<Tensor> {
        let sizes = self.sizes(x, embedding)?;
        let told = self.time.forward(&activate(embedding, Activation::Silu)?)?;
        if !(kernels_take(x) && x.dtype() == told.dtype() && told.device().is_cpu()) {
            return self.composed(x, &told);
        }
        let parameters = self.parameters()?;
        let op = ResidualBlockOp::new(sizes);
        Ok(x.contiguous()?.apply_op3(&told, &parameters, op)?)
    }

    /// y with its derivative along the tangents of `x` and `embedding`.
    ///
    /// # Errors
    ///
    /// Those of [`forward`](Self::forward).
    pub fn forward_dual(&self, x: &Dual, embedding: &Dual) -> Result<Dual> {
        self.sizes(x.value(), embedding.value())?;
        let told = self
            .time
            .forward_dual(&activate_dual(embedding, Activation::Silu)?)?;
        let h = self.conv1.forward_dual(&self.norm1.forward_dual(x)?)?;
        let h = match self.config.injection {
            Injection::Shift => self.norm2.forward_dual(&shift_channels_dual(&h, &told)?)?,
            Injection::ScaleShift => {
                let half =
                    |at| told.linear(|t: &Tensor| t.narrow(1, at * self.config.outputs, self.config.outputs));
                self.norm2.forward_modulated_dual(&h, &half(0)?, &half(1)?)?
            }
        };
        let h = self.conv2.forward_dual(&h)?;
        match &self.skip {
            Some(skip) => h.add(&skip.forward_dual(x)?),
            None => h.add(x),
        }
    }

    /// The block by its layers: for other devices and types, and as a reference in tests.
    fn composed(&self, x: &Tensor, told: &Tensor) -> Result<Tensor> {
        let h = self.conv1.forward(&self.norm1.forward(x)?)?;
        let h = match self.config.injection {
            Injection::Shift => self.norm2.forward(&shift_channels(&h, told)?)?,
            Injection::ScaleShift => {
                let half = |at| told.narrow(1, at * self.config.outputs, self.config.outputs);
                self.norm2.forward_modulated(&h, &half(0)?, &half(1)?)?
            }
        };
        let h = self.conv2.forward(&h)?;
        Ok(match &self.skip {
            Some(skip) => (h + skip.forward(x)?)?,
            None => (h + x)?,
        })
    }

    /// All parameters but W in the order of the kernel.
    fn parameters(&self) -> Result<Tensor> {
        let mut parts = Vec::with_capacity(10);
        for (norm, conv) in [(&self.norm1, &self.conv1), (&self.norm2, &self.conv2)] {
            parts.extend([norm.weight(), norm.bias(), Some(conv.weight()), conv.bias()]);
        }
        if let Some(skip) = &self.skip {
            parts.extend([Some(skip.weight()), skip.bias()]);
        }
        let flat = parts.into_iter().flatten().map(Tensor::flatten_all);
        Ok(Tensor::cat(&flat.collect::<candle_core::Result<Vec<_>>>()?, 0)?)
    }

    fn sizes(&self, x: &Tensor, embedding: &Tensor) -> Result<Sizes> {
        let refuse = |wanted: String, got: &Tensor| Error::Input {
            layer: self.name.clone(),
            wanted,
            got: got.shape().clone(),
        };
        let &[batch, channels, height, width] = x.dims() else {
            return Err(refuse(
                format!("(batch, {}, height, width)", self.config.inputs),
                x,
            ));
        };
        if channels != self.config.inputs {
            return Err(refuse(
                format!("(batch, {}, height, width)", self.config.inputs),
                x,
            ));
        }
        if embedding.dims() != [batch, self.config.embedding] {
            return Err(refuse(
                format!("an embedding ({batch}, {})", self.config.embedding),
                embedding,
            ));
        }
        let weight = self.conv1.weight();
        if x.dtype() != weight.dtype() {
            return Err(Error::Type {
                layer: self.name.clone(),
                wanted: weight.dtype(),
                got: x.dtype(),
            });
        }
        if !x.device().same_device(weight.device()) {
            return Err(Error::Place {
                layer: self.name.clone(),
                wanted: weight.device().clone(),
                got: x.device().clone(),
            });
        }
        Ok(Sizes {
            batch,
            inputs: self.config.inputs,
            outputs: self.config.outputs,
            height,
            width,
            groups: self.config.groups,
            epsilon: self.config.epsilon,
            injection: self.config.injection,
        })
    }
}

#[cfg(test)]
#[path = "residual_block_tests.rs"]
mod tests;
