//! What convolution layers have in common: a weight, a bias for each output channel, and the images they take.

use candle_core::{Shape, Tensor};

use crate::error::{Error, Result};
use crate::linear::LinearInit;
use crate::scope::Scope;

/// Weight and bias of a convolution layer.
#[derive(Clone, Debug)]
pub(crate) struct Filter {
    /// Rank 4, contiguous.
    pub(crate) weight: Tensor,
    /// One value for each output channel; zeros outside the graph when the layer has none.
    pub(crate) bias: Tensor,
    pub(crate) biased: bool,
    name: String,
}

impl Filter {
    pub(crate) fn new(
        scope: &Scope<'_>,
        kind: &str,
        weight: impl Into<Shape>,
        outputs: usize,
        init: LinearInit,
    ) -> Result<Self> {
        Ok(Self {
            weight: scope.parameter("weight", weight, init.weight)?,
            bias: match init.bias {
                Some(init) => scope.parameter("bias", outputs, init)?,
                None => Tensor::zeros(outputs, scope.dtype(), scope.device())?,
            },
            biased: init.bias.is_some(),
            name: format!("the {kind} `{}`", scope.path()),
        })
    }

    /// Of given tensors; `outputs` are the channels that the weight makes.
    pub(crate) fn from_tensors(
        kind: &str,
        weight: &Tensor,
        bias: Option<&Tensor>,
        outputs: usize,
    ) -> Result<Self> {
        let given = match bias {
            Some(bias) => bias.contiguous()?,
            None => Tensor::zeros(outputs, weight.dtype(), weight.device())?,
        };
        if given.dims() != [outputs] {
            return Err(Error::ParameterShape {
                name: "bias".to_string(),
                wanted: outputs.into(),
                got: given.shape().clone(),
            });
        }
        let filter = Self {
            weight: weight.contiguous()?,
            bias: given,
            biased: bias.is_some(),
            name: format!("a {kind}"),
        };
        filter.check_place(&filter.bias)?;
        Ok(filter)
    }

    /// The same product without a bias and without a graph: what tangents go through.
    pub(crate) fn straight(&self) -> Result<Self> {
        Ok(Self {
            weight: self.weight.detach(),
            bias: self.bias.zeros_like()?,
            biased: false,
            name: self.name.clone(),
        })
    }

    /// Batch, height and width of images with `channels` channels.
    pub(crate) fn check_images(&self, x: &Tensor, channels: usize) -> Result<(usize, [usize; 2])> {
        let &[batch, got, height, width] = x.dims() else {
            return Err(self.misfit(x, channels));
        };
        if got != channels {
            return Err(self.misfit(x, channels));
        }
        self.check_place(x)?;
        Ok((batch, [height, width]))
    }

    /// y + bias, for y made by candle's operations.
    pub(crate) fn add_bias(&self, y: Tensor) -> Result<Tensor> {
        if !self.biased {
            return Ok(y);
        }
        Ok(y.broadcast_add(&self.bias.reshape((1, (), 1, 1))?)?)
    }

    fn misfit(&self, x: &Tensor, channels: usize) -> Error {
        Error::Input {
            layer: self.name.clone(),
            wanted: format!("(batch, {channels}, height, width)"),
            got: x.shape().clone(),
        }
    }

    fn check_place(&self, x: &Tensor) -> Result<()> {
        if x.dtype() != self.weight.dtype() {
            return Err(Error::Type {
                layer: self.name.clone(),
                wanted: self.weight.dtype(),
                got: x.dtype(),
            });
        }
        if !x.device().same_device(self.weight.device()) {
            return Err(Error::Place {
                layer: self.name.clone(),
                wanted: self.weight.device().clone(),
                got: x.device().clone(),
            });
        }
        Ok(())
    }
}
