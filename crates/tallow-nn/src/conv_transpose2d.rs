//! The transposed convolution of images: the way back of a convolution, as a layer that enlarges.
//!
//! ```text
//! y[b, o, i s − p + k d, j s − p + l d] += w[c, o, k, l] x[b, c, i, j],    from y = bias[o]
//! ```
//!
//! with stride s, padding p (cut off) and dilation d of each axis, o over the channels of the group of c. On the host, in
//! f32 and f64, this is one operation of tallow-kernels with its three gradients; elsewhere it is composed of those
//! operations of candle whose gradients are right.

use candle_core::{Module, Tensor};
use tallow_kernels::Convolution;

use crate::conv2d::Conv2dConfig;
use crate::convolution_composed::{self as composed, Reading};
use crate::convolution_op::{ConvolutionOp, Way};
use crate::dual::Dual;
use crate::error::{Error, Result};
use crate::filter::Filter;
use crate::linear::LinearInit;
use crate::scope::Scope;
use crate::slices::kernels_take;

/// How a transposed convolution's kernel moves over its output; pairs are (vertical, horizontal).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConvTranspose2dConfig {
    /// Steps between the outputs that neighbouring inputs reach.
    pub stride: [usize; 2],
    /// Rows and columns cut off from each side of the output.
    pub padding: [usize; 2],
    /// Rows and columns added to the end of the output: below the stride, which leaves that many sizes open.
    pub output_padding: [usize; 2],
    /// Steps between the values that one kernel writes.
    pub dilation: [usize; 2],
    /// Parts that the channels are split into; a part of the outputs sees only its part of the inputs.
    pub groups: usize,
}

impl Default for ConvTranspose2dConfig {
    /// Stride 1, no padding, no gaps, one group.
    fn default() -> Self {
        Self {
            stride: [1, 1],
            padding: [0, 0],
            output_padding: [0, 0],
            dilation: [1, 1],
            groups: 1,
        }
    }
}

impl ConvTranspose2dConfig {
    /// The convolution that this one transposes.
    fn convolution(&self) -> Conv2dConfig {
        Conv2dConfig {
            stride: self.stride,
            padding: self.padding,
            dilation: self.dilation,
            groups: self.groups,
        }
    }

    fn check(&self, inputs: usize, outputs: usize, kernel: [usize; 2]) -> Result<()> {
        self.convolution().check(outputs, inputs, kernel)?;
        for axis in 0..2 {
            if self.output_padding[axis] >= self.stride[axis] {
                return Err(Error::Setting {
                    name: "output_padding",
                    value: self.output_padding[axis] as f64,
                    allowed: "below the stride",
                });
            }
        }
        Ok(())
    }

    /// (size − 1) stride + dilation (kernel − 1) + 1 + output_padding − 2 padding.
    fn output(&self, image: [usize; 2], kernel: [usize; 2]) -> Result<[usize; 2]> {
        let size = |axis: usize| {
            let steps = image[axis].checked_sub(1)?.checked_mul(self.stride[axis])?;
            let span = self.dilation[axis].checked_mul(kernel[axis] - 1)?;
            let uncut = steps
                .checked_add(span)?
                .checked_add(1 + self.output_padding[axis])?;
            uncut
                .checked_sub(self.padding[axis].checked_mul(2)?)
                .filter(|&size| size > 0)
        };
        match (size(0), size(1)) {
            (Some(height), Some(width)) => Ok([height, width]),
            _ => Err(Error::NothingLeft {
                image,
                padding: self.padding,
            }),
        }
    }
}

/// The transposed convolution of images: (N, inputs, H, W) to (N, outputs, H′, W′), with PyTorch's names `weight` (inputs,
/// outputs/groups, kernel height, kernel width) and `bias`.
///
/// H′ = (H − 1) stride − 2 padding + dilation (kernel − 1) + output_padding + 1.
#[derive(Clone, Debug)]
pub struct ConvTranspose2d {
    filter: Filter,
    config: ConvTranspose2dConfig,
}

impl ConvTranspose2d {
    /// A layer with PyTorch's default start: both parameters uniform within ±1/√(outputs/groups · kernel's values).
    ///
    /// # Errors
    ///
    /// When kernel, stride, dilation or groups are 0, the output padding is not below the stride, the groups do not divide
    /// both numbers of channels; those of [`Scope::parameter`].
    pub fn new(
        scope: &Scope<'_>,
        inputs: usize,
        outputs: usize,
        kernel: [usize; 2],
        config: ConvTranspose2dConfig,
    ) -> Result<Self> {
        // PyTorch counts the second dimension of the weight here, too.
        let fan = outputs / config.groups.max(1) * kernel[0] * kernel[1];
        Self::with_init(scope, inputs, outputs, kernel, config, LinearInit::new(fan))
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
        config: ConvTranspose2dConfig,
        init: LinearInit,
    ) -> Result<Self> {
        config.check(inputs, outputs, kernel)?;
        let shape = (inputs, outputs / config.groups, kernel[0], kernel[1]);
        Ok(Self {
            filter: Filter::new(scope, "transposed convolution", shape, outputs, init)?,
            config,
        })
    }

    /// A layer of given tensors: weight (inputs, outputs/groups, kernel height, kernel width), bias (outputs).
    ///
    /// # Errors
    ///
    /// When their shapes, types or devices do not fit each other or the configuration.
    pub fn from_tensors(
        weight: &Tensor,
        bias: Option<&Tensor>,
        config: ConvTranspose2dConfig,
    ) -> Result<Self> {
        let (inputs, outputs, height, width) = weight.dims4()?;
        let outputs = outputs.saturating_mul(config.groups);
        config.check(inputs, outputs, [height, width])?;
        Ok(Self {
            filter: Filter::from_tensors("transposed convolution", weight, bias, outputs)?,
            config,
        })
    }

    /// The weight, (inputs, outputs/groups, kernel height, kernel width).
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
    pub fn config(&self) -> ConvTranspose2dConfig {
        self.config
    }

    /// Channels of x.
    #[must_use]
    pub fn inputs(&self) -> usize {
        self.filter.weight.dims().first().copied().unwrap_or(0)
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
    /// When the shape, type or device of `x` does not fit the layer, or padding leaves nothing of the output.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (batch, image) = self.filter.check_images(x, self.inputs())?;
        let sizes = self.sizes(batch, image)?;
        let Filter { weight, bias, .. } = &self.filter;
        if kernels_take(x) {
            let op = ConvolutionOp {
                sizes,
                way: Way::Back,
                biased: self.filter.biased,
            };
            return Ok(x.contiguous()?.apply_op3(weight, bias, op)?);
        }
        let y = if composed::candle_is_right(x.device(), &sizes, image) {
            composed::transposed(x, weight, &sizes, image)?
        } else {
            composed::gathered(x, weight, &Reading::of_transpose(&sizes, image))?
        };
        self.filter.add_bias(y)
    }

    /// y with its derivative along the tangent of `x`: the transposed convolution of the tangent without the bias.
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

    /// The convolution that leads from an output back to an image of this size.
    fn sizes(&self, batch: usize, image: [usize; 2]) -> Result<Convolution> {
        let (_, _, height, width) = self.filter.weight.dims4()?;
        let output = self.config.output(image, [height, width])?;
        self.config
            .convolution()
            .sizes(batch, output, &self.filter.weight)
    }
}

impl Module for ConvTranspose2d {
    fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        Ok(Self::forward(self, x)?)
    }
}

#[cfg(test)]
#[path = "conv_transpose2d_tests.rs"]
mod tests;
