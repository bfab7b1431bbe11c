//! The convolution of images.
//!
//! ```text
//! y[b, o, i, j] = bias[o] + Σ_{c, k, l} w[o, c, k, l] x[b, c, i s − p + k d, j s − p + l d]
//! ```
//!
//! with stride s, padding p (zeros) and dilation d of each axis, c over the channels of the group of o. On the host, in f32
//! and f64, this is one operation of tallow-kernels with its three gradients; elsewhere it is composed of those operations
//! of candle whose gradients are right.

use candle_core::{Module, Tensor};
use tallow_kernels::Convolution;

use crate::convolution_composed::{self as composed, Reading};
use crate::convolution_op::{ConvolutionOp, Way};
use crate::dual::Dual;
use crate::error::Result;
use crate::filter::Filter;
use crate::linear::LinearInit;
use crate::scope::Scope;
use crate::slices::kernels_take;

/// How a convolution's kernel moves over the image; pairs are (vertical, horizontal).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Conv2dConfig {
    /// Steps from one output to the next.
    pub stride: [usize; 2],
    /// Zeros around the image, on each side.
    pub padding: [usize; 2],
    /// Steps between the values that one kernel reads.
    pub dilation: [usize; 2],
    /// Parts that the channels are split into; a part of the outputs sees only its part of the inputs.
    pub groups: usize,
}

impl Default for Conv2dConfig {
    /// Stride 1, no padding, no gaps, one group.
    fn default() -> Self {
        Self {
            stride: [1, 1],
            padding: [0, 0],
            dilation: [1, 1],
            groups: 1,
        }
    }
}

impl Conv2dConfig {
    /// Stride 1 with the padding that keeps the size of the image, for a kernel of odd sizes.
    #[must_use]
    pub fn same(kernel: [usize; 2]) -> Self {
        Self {
            padding: kernel.map(|kernel| kernel / 2),
            ..Self::default()
        }
    }

    /// The same with another stride.
    #[must_use]
    pub fn strided(self, stride: [usize; 2]) -> Self {
        Self { stride, ..self }
    }

    pub(crate) fn sizes(&self, batch: usize, image: [usize; 2], weight: &Tensor) -> Result<Convolution> {
        let (outputs, inputs, height, width) = weight.dims4()?;
        Ok(Convolution {
            batch,
            inputs: inputs.saturating_mul(self.groups),
            outputs,
            height: image[0],
            width: image[1],
            kernel: [height, width],
            stride: self.stride,
            padding: self.padding,
            dilation: self.dilation,
            groups: self.groups,
        })
    }

    /// Refuses settings that fit no image.
    pub(crate) fn check(&self, inputs: usize, outputs: usize, kernel: [usize; 2]) -> Result<()> {
        let span = |axis: usize| {
            self.dilation[axis]
                .saturating_mul(kernel[axis].saturating_sub(1))
                .saturating_add(1)
        };
        let smallest = Convolution {
            batch: 1,
            inputs,
            outputs,
            height: span(0),
            width: span(1),
            kernel,
            stride: self.stride,
            padding: self.padding,
            dilation: self.dilation,
            groups: self.groups,
        };
        smallest.output_size()?;
        Ok(())
    }
}

/// The convolution of images: (N, inputs, H, W) to (N, outputs, H′, W′), with PyTorch's names `weight` (outputs,
/// inputs/groups, kernel height, kernel width) and `bias`.
///
/// H′ = ⌊(H + 2 padding − dilation (kernel − 1) − 1)/stride⌋ + 1.
#[derive(Clone, Debug)]
pub struct Conv2d {
    filter: Filter,
    config: Conv2dConfig,
}

impl Conv2d {
    /// A layer with PyTorch's default start: both parameters uniform within ±1/√(inputs/groups · kernel's values).
    ///
    /// # Errors
    ///
    /// When kernel, stride, dilation or groups are 0, the groups do not divide both numbers of channels; those of
    /// [`Scope::parameter`].
    pub fn new(
        scope: &Scope<'_>,
        inputs: usize,
        outputs: usize,
        kernel: [usize; 2],
        config: Conv2dConfig,
    ) -> Result<Self> {
        let fan_in = inputs / config.groups.max(1) * kernel[0] * kernel[1];
        Self::with_init(scope, inputs, outputs, kernel, config, LinearInit::new(fan_in))
    }

    /// A layer that starts as `init` says: with [`LinearInit::zeros`], one that answers 0.
    ///
    /// # Errors
    ///
    /// Those of [`new`](Self::new).
    pub fn with_init(
        scope: &Scope<'_>,
        inputs: usize,
        outputs: usize,
        kernel: [usize; 2],
        config: Conv2dConfig,
        init: LinearInit,
    ) -> Result<Self> {
        config.check(inputs, outputs, kernel)?;
        let shape = (outputs, inputs / config.groups, kernel[0], kernel[1]);
        Ok(Self {
            filter: Filter::new(scope, "convolution", shape, outputs, init)?,
            config,
        })
    }

    /// A layer of given tensors: weight (outputs, inputs/groups, kernel height, kernel width), bias (outputs).
    ///
    /// # Errors
    ///
    /// When their shapes, types or devices do not fit each other or the configuration.
    pub fn from_tensors(weight: &Tensor, bias: Option<&Tensor>, config: Conv2dConfig) -> Result<Self> {
        let (outputs, inputs, height, width) = weight.dims4()?;
        config.check(inputs.saturating_mul(config.groups), outputs, [height, width])?;
        Ok(Self {
            filter: Filter::from_tensors("convolution", weight, bias, outputs)?,
            config,
        })
    }

    /// The weight, (outputs, inputs/groups, kernel height, kernel width).
    #[must_use]
    pub fn weight(&self) -> &Tensor {
        &self.filter.weight
    }

    /// The bias, (outputs), if the layer has one.
    #[must_use]
    pub fn bias(&self) -> Option<&Tensor> {
        self.filter.biased.then_some(&self.filter.bias)
    }

    /// How the kernel moves.
    #[must_use]
    pub fn config(&self) -> Conv2dConfig {
        self.config
    }

    /// Channels of x.
    #[must_use]
    pub fn inputs(&self) -> usize {
        self.filter.weight.dims().get(1).copied().unwrap_or(0) * self.config.groups
    }

    /// Channels of y.
    #[must_use]
    pub fn outputs(&self) -> usize {
        self.filter.bias.elem_count()
    }

    /// y, (N, outputs, H′, W′), of x, (N, inputs, H, W).
    ///
    /// # Errors
    ///
    /// When the shape, type or device of `x` does not fit the layer, or the kernel is larger than the padded image.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (batch, image) = self.filter.check_images(x, self.inputs())?;
        let sizes = self.config.sizes(batch, image, &self.filter.weight)?;
        let output = sizes.output_size()?;
        let Filter { weight, bias, .. } = &self.filter;
        if kernels_take(x) {
            let op = ConvolutionOp {
                sizes,
                way: Way::Along,
                biased: self.filter.biased,
            };
            return Ok(x.contiguous()?.apply_op3(weight, bias, op)?);
        }
        let y = if composed::candle_is_right(x.device(), &sizes, output) {
            composed::convolution(x, weight, &sizes)?
        } else {
            composed::gathered(x, weight, &Reading::of(&sizes, output))?
        };
        self.filter.add_bias(y)
    }

    /// y with its derivative along the tangent of `x`: the convolution of the tangent without the bias.
    ///
    /// # Errors
    ///
    /// Those of [`forward`](Self::forward).
    pub fn forward_dual(&self, x: &Dual) -> Result<Dual> {
        let y = self.forward(x.value())?;
        let Some(direction) = x.tangent() else {
            return Ok(Dual::constant(y));
        };
        let straight = Self {
            filter: self.filter.straight()?,
            config: self.config,
        };
        Dual::new(y, straight.forward(direction)?)
    }
}

impl Module for Conv2d {
    fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        Ok(Self::forward(self, x)?)
    }
}

#[cfg(test)]
#[path = "conv2d_tests.rs"]
mod tests;
