//! The residual block of the U-Nets of DDPM and ADM: two normed convolutions that are told the time, and a way around.
//!
//! ```text
//! h = conv₁(silu(norm₁(x)))
//! shift        h = conv₂(silu(norm₂(h + W silu(e))))                                  DDPM
//! scale-shift  h = conv₂(silu(norm₂(h) (1 + s) + b)),  [s, b] = W silu(e)             ADM
//! y = h + skip(x)                         skip: a 1×1 convolution where the channels differ, else nothing
//! ```
//!
//! A block that resamples makes both silu(norm₁(x)) and the x of the way around twice or half as large (ADM); one that is told
//! nothing leaves out the shift (autoencoders); dropout stands before conv₂.
//!
//! On the host, in f32 and f64, all but the small product with W is one operation of tallow-kernels; elsewhere, along a
//! direction, under dropout and where it resamples, the block is composed of its layers. Parameters have the names of
//! diffusers' `ResnetBlock2D`.
//!
//! Sources: Ho et al. 2020, arXiv:2006.11239, appendix B; Dhariwal & Nichol 2021, arXiv:2105.05233, section 3.1.

use candle_core::{Shape, Tensor};
use rand::RngCore;
use tallow_kernels::{Activation, Injection, ResidualBlock as Sizes};

use crate::activation::{activate, activate_dual};
use crate::channels::{shift_channels, shift_channels_dual};
use crate::conv2d::{Conv2d, Conv2dConfig};
use crate::dropout::Dropout;
use crate::dual::Dual;
use crate::error::{Error, Result};
use crate::group_norm::GroupNorm;
use crate::linear::{Linear, LinearInit};
use crate::resample::{AveragePool, Interpolation, Resize};
use crate::residual_block_op::ResidualBlockOp;
use crate::scope::Scope;
use crate::slices::kernels_take;

/// What a [`ResidualBlock`] does to the size of its images.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Resampling {
    /// Nothing.
    #[default]
    None,
    /// Halves height and width: means of 2×2 values.
    Down,
    /// Doubles them: every value four times.
    Up,
}

/// How the last layer of a block with a way around starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum LastLayer {
    /// As PyTorch's layers do.
    #[default]
    Drawn,
    /// As zeros: the block starts as its way around.
    Zeros,
}

impl LastLayer {
    /// The start of a layer where `inputs` values make one output.
    #[must_use]
    pub fn init(self, inputs: usize) -> LinearInit {
        match self {
            Self::Drawn => LinearInit::new(inputs),
            Self::Zeros => LinearInit::zeros(),
        }
    }
}

const HALF: AveragePool = AveragePool::by([2, 2]);
const TWICE: Resize = Resize::by([2, 2], Interpolation::Nearest);

/// The shape of a [`ResidualBlock`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ResidualBlockConfig {
    /// Channels of x.
    pub inputs: usize,
    /// Channels of y.
    pub outputs: usize,
    /// Values of the embedding e of time and class; 0 for a block that is told nothing.
    pub embedding: usize,
    /// Groups of both norms; must divide `inputs` and `outputs`.
    pub groups: usize,
    /// What both norms add to the variance.
    pub epsilon: f64,
    /// How e enters.
    pub injection: Injection,
    /// What the block does to the size of the images.
    pub resampling: Resampling,
    /// The probability that a value before the second convolution is left out in training.
    pub dropout: f64,
    /// How the second convolution starts.
    pub last: LastLayer,
}

impl ResidualBlockConfig {
    /// DDPM's block: a shift, norms of 32 groups with ε = 1e-5; the size stays, nothing is left out.
    #[must_use]
    pub fn new(inputs: usize, outputs: usize, embedding: usize) -> Self {
        Self {
            inputs,
            outputs,
            embedding,
            groups: 32,
            epsilon: 1e-5,
            injection: Injection::Shift,
            resampling: Resampling::None,
            dropout: 0.0,
            last: LastLayer::Drawn,
        }
    }
}

/// Two normed convolutions that are told the time, and a way around: (N, inputs, H, W) to (N, outputs, H, W), or of
/// half or twice the height and width where it resamples.
///
/// Sources: Ho et al. 2020, arXiv:2006.11239, appendix B; Dhariwal & Nichol 2021, arXiv:2105.05233, section 3.1.
#[derive(Clone, Debug)]
pub struct ResidualBlock {
    norm1: GroupNorm,
    conv1: Conv2d,
    time: Option<Linear>,
    norm2: GroupNorm,
    dropout: Dropout,
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
    /// When the groups do not divide the channels, a number of channels is 0, ε is not positive, the rate of dropout is outside
    /// [0, 1), a block that is told nothing should be told scales; those of [`Scope::parameter`].
    pub fn new(scope: &Scope<'_>, config: ResidualBlockConfig) -> Result<Self> {
        let ResidualBlockConfig { inputs, outputs, .. } = config;
        let norm = |name: &str, channels| -> Result<GroupNorm> {
            let norm = GroupNorm::new(&scope.at(name), config.groups, channels)?;
            Ok(norm.with_epsilon(config.epsilon)?.activated(Activation::Silu))
        };
        let conv = |name: &str, inputs, side: usize, last: LastLayer| {
            let (kernel, scope) = ([side; 2], scope.at(name));
            let init = last.init(inputs * side * side);
            Conv2d::with_init(&scope, inputs, outputs, kernel, Conv2dConfig::same(kernel), init)
        };
        let time = match (config.embedding, config.injection) {
            (0, Injection::Shift) => None,
            (0, Injection::ScaleShift) => {
                return Err(Error::Setting {
                    name: "embedding of a residual block with scales and shifts",
                    value: 0.0,
                    allowed: "at least 1: only a block with shifts can be told nothing",
                });
            }
            (inputs, Injection::Shift) => Some((inputs, outputs)),
            (inputs, Injection::ScaleShift) => Some((inputs, outputs.saturating_mul(2))),
        };
        let time = time.map(|(inputs, told)| Linear::new(&scope.at("time_emb_proj"), inputs, told));
        Ok(Self {
            norm1: norm("norm1", inputs)?,
            conv1: conv("conv1", inputs, 3, LastLayer::Drawn)?,
            time: time.transpose()?,
            norm2: norm("norm2", outputs)?,
            dropout: Dropout::new(config.dropout)?,
            conv2: conv("conv2", outputs, 3, config.last)?,
            skip: if inputs == outputs {
                None
            } else {
                Some(conv("conv_shortcut", inputs, 1, LastLayer::Drawn)?)
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

    /// y of images `x`, (N, inputs, H, W), and what is known of each, `embedding`, (N, embedding); nothing is left out.
    ///
    /// # Errors
    ///
    /// When shapes, types or devices do not fit the block.
    pub fn forward(&self, x: &Tensor, embedding: &Tensor) -> Result<Tensor> {
        self.forward_with(x, Some(embedding), None)
    }

    /// y of images and what is known of each, nothing for a block that is told nothing; with a generator, values are left out
    /// as in training.
    ///
    /// # Errors
    ///
    /// Those of [`forward`](Self::forward).
    pub fn forward_with(
        &self,
        x: &Tensor,
        embedding: Option<&Tensor>,
        rng: Option<&mut dyn RngCore>,
    ) -> Result<Tensor> {
        let sizes = self.sizes(x, embedding)?;
        let told = match (&self.time, embedding) {
            (Some(time), Some(embedding)) => time.forward(&activate(embedding, Activation::Silu)?)?,
            _ => Tensor::zeros((sizes.batch, sizes.outputs), x.dtype(), x.device())?,
        };
        let whole =
            self.config.resampling == Resampling::None && (rng.is_none() || self.config.dropout == 0.0);
        if !(whole && kernels_take(x) && x.dtype() == told.dtype() && told.device().is_cpu()) {
            return self.composed(x, &told, rng);
        }
        let parameters = self.parameters()?;
        let op = ResidualBlockOp::new(sizes);
        Ok(x.contiguous()?.apply_op3(&told, &parameters, op)?)
    }

    /// y with its derivative along the tangents of `x` and `embedding`; nothing is left out.
    ///
    /// # Errors
    ///
    /// Those of [`forward`](Self::forward), and for a block that is told nothing.
    pub fn forward_dual(&self, x: &Dual, embedding: &Dual) -> Result<Dual> {
        self.sizes(x.value(), Some(embedding.value()))?;
        let h = self.resampled_dual(&self.norm1.forward_dual(x)?)?;
        let h = self.conv1.forward_dual(&h)?;
        let h = match (&self.time, self.config.injection) {
            (None, _) => self.norm2.forward_dual(&h)?,
            (Some(time), injection) => {
                let told = time.forward_dual(&activate_dual(embedding, Activation::Silu)?)?;
                let outputs = self.config.outputs;
                let half = |at| told.linear(|t: &Tensor| t.narrow(1, at * outputs, outputs));
                match injection {
                    Injection::Shift => self.norm2.forward_dual(&shift_channels_dual(&h, &told)?)?,
                    Injection::ScaleShift => self.norm2.forward_modulated_dual(&h, &half(0)?, &half(1)?)?,
                }
            }
        };
        let h = self.conv2.forward_dual(&h)?;
        let x = self.resampled_dual(x)?;
        match &self.skip {
            Some(skip) => h.add(&skip.forward_dual(&x)?),
            None => h.add(&x),
        }
    }

    /// The block by its layers: for other devices and types, for what the operation does not do, and as a reference in tests.
    fn composed(&self, x: &Tensor, told: &Tensor, rng: Option<&mut dyn RngCore>) -> Result<Tensor> {
        let h = self.conv1.forward(&self.resampled(&self.norm1.forward(x)?)?)?;
        let h = match self.config.injection {
            Injection::Shift => self.norm2.forward(&shift_channels(&h, told)?)?,
            Injection::ScaleShift => {
                let half = |at| told.narrow(1, at * self.config.outputs, self.config.outputs);
                self.norm2.forward_modulated(&h, &half(0)?, &half(1)?)?
            }
        };
        let h = self.conv2.forward(&self.dropout.forward(&h, rng)?)?;
        let x = self.resampled(x)?;
        Ok(match &self.skip {
            Some(skip) => (h + skip.forward(&x)?)?,
            None => (h + x)?,
        })
    }

    fn resampled(&self, x: &Tensor) -> Result<Tensor> {
        match self.config.resampling {
            Resampling::None => Ok(x.clone()),
            Resampling::Down => HALF.forward(x),
            Resampling::Up => TWICE.forward(x),
        }
    }

    fn resampled_dual(&self, x: &Dual) -> Result<Dual> {
        match self.config.resampling {
            Resampling::None => Ok(x.clone()),
            Resampling::Down => HALF.forward_dual(x),
            Resampling::Up => TWICE.forward_dual(x),
        }
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

    fn sizes(&self, x: &Tensor, embedding: Option<&Tensor>) -> Result<Sizes> {
        let refuse = |wanted: String, got: Shape| Error::Input {
            layer: self.name.clone(),
            wanted,
            got,
        };
        let images = || format!("(batch, {}, height, width)", self.config.inputs);
        let &[batch, channels, height, width] = x.dims() else {
            return Err(refuse(images(), x.shape().clone()));
        };
        if channels != self.config.inputs {
            return Err(refuse(images(), x.shape().clone()));
        }
        match (self.config.embedding, embedding) {
            (0, None) => {}
            (0, Some(embedding)) => return Err(refuse("no embedding".to_owned(), embedding.shape().clone())),
            (wanted, Some(embedding)) if embedding.dims() == [batch, wanted] => {}
            (wanted, embedding) => {
                let got = embedding.map_or_else(|| Shape::from(()), |embedding| embedding.shape().clone());
                return Err(refuse(format!("an embedding ({batch}, {wanted})"), got));
            }
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
