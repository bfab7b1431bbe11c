//! The linear layer with its activation: y = act(x Wᵀ + b).
//!
//! On the host, in f32 and f64, the product, the bias and the activation are one operation of the graph, worked on in
//! blocks of rows that stay in the cache; elsewhere the layer is composed of candle's operations.

use candle_core::{Module, Tensor};
use tallow_kernels::{Activation, Layer, Wanted};

use crate::activation::{Slope, activate_dual, composed};
use crate::dual::Dual;
use crate::error::{Error, Result};
use crate::init::Init;
use crate::linear_op::LinearOp;
use crate::scope::Scope;
use crate::slices::kernels_take;

/// y = act(x Wᵀ + b): x (…, inputs) to y (…, outputs), with PyTorch's names `weight` (outputs, inputs) and `bias`.
#[derive(Clone, Debug)]
pub struct Linear {
    weight: Tensor,
    /// Zeros outside the graph when the layer has none.
    bias: Tensor,
    biased: bool,
    activation: Activation,
    name: String,
}

/// How weight and bias of a linear layer or a convolution start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LinearInit {
    /// The weight's distribution.
    pub weight: Init,
    /// The bias's distribution; `None` for a layer without one.
    pub bias: Option<Init>,
}

impl LinearInit {
    /// PyTorch's default: both uniform within ±1/√inputs, where `inputs` values make one output.
    #[must_use]
    pub fn new(inputs: usize) -> Self {
        Self {
            weight: Init::fan_in(inputs),
            bias: Some(Init::fan_in(inputs)),
        }
    }

    /// All zeros: a last layer that starts by answering 0.
    #[must_use]
    pub fn zeros() -> Self {
        Self {
            weight: Init::ZEROS,
            bias: Some(Init::ZEROS),
        }
    }

    /// The same without a bias.
    #[must_use]
    pub fn without_bias(self) -> Self {
        Self { bias: None, ..self }
    }
}

impl Linear {
    /// A layer with PyTorch's default start and no activation.
    ///
    /// # Errors
    ///
    /// Those of [`Scope::parameter`].
    pub fn new(scope: &Scope<'_>, inputs: usize, outputs: usize) -> Result<Self> {
        Self::with_init(scope, inputs, outputs, LinearInit::new(inputs))
    }

    /// A layer that starts as `init` says, without activation.
    ///
    /// # Errors
    ///
    /// Those of [`Scope::parameter`].
    pub fn with_init(scope: &Scope<'_>, inputs: usize, outputs: usize, init: LinearInit) -> Result<Self> {
        let weight = scope.parameter("weight", (outputs, inputs), init.weight)?;
        let bias = match init.bias {
            Some(init) => scope.parameter("bias", outputs, init)?,
            None => Tensor::zeros(outputs, scope.dtype(), scope.device())?,
        };
        let name = format!("the linear layer `{}`", scope.path());
        Ok(Self {
            weight,
            bias,
            biased: init.bias.is_some(),
            activation: Activation::Identity,
            name,
        })
    }

    /// A layer of given tensors: weight (outputs, inputs), bias (outputs).
    ///
    /// # Errors
    ///
    /// When their shapes, types or devices do not fit each other.
    pub fn from_tensors(weight: &Tensor, bias: Option<&Tensor>) -> Result<Self> {
        let (outputs, _) = weight.dims2()?;
        let biased = bias.is_some();
        let bias = match bias {
            Some(bias) => bias.contiguous()?,
            None => Tensor::zeros(outputs, weight.dtype(), weight.device())?,
        };
        let name = "a linear layer".to_string();
        let layer = Self {
            weight: weight.contiguous()?,
            bias,
            biased,
            activation: Activation::Identity,
            name,
        };
        if layer.bias.dims() != [outputs] {
            let (wanted, got) = (outputs.into(), layer.bias.shape().clone());
            return Err(Error::ParameterShape {
                name: "bias".to_string(),
                wanted,
                got,
            });
        }
        layer.check_place(&layer.bias)?;
        Ok(Self {
            bias: layer.bias.contiguous()?,
            ..layer
        })
    }

    /// The same layer followed by `activation`, in the same pass over the data.
    #[must_use]
    pub fn activated(self, activation: Activation) -> Self {
        Self { activation, ..self }
    }

    /// The weight, (outputs, inputs).
    #[must_use]
    pub fn weight(&self) -> &Tensor {
        &self.weight
    }

    /// The bias, (outputs), if the layer has one.
    #[must_use]
    pub fn bias(&self) -> Option<&Tensor> {
        self.biased.then_some(&self.bias)
    }

    /// The bias, or the zeros in its place.
    pub(crate) fn bias_or_zeros(&self) -> &Tensor {
        &self.bias
    }

    /// The activation that follows the product.
    #[must_use]
    pub fn activation(&self) -> Activation {
        self.activation
    }

    /// Values of an input row.
    #[must_use]
    pub fn inputs(&self) -> usize {
        self.weight.dims().get(1).copied().unwrap_or(0)
    }

    /// Values of an output row.
    #[must_use]
    pub fn outputs(&self) -> usize {
        self.bias.elem_count()
    }

    /// Weight and bias, which is zeros outside the graph where the layer has none.
    pub(crate) fn tensors(&self) -> [&Tensor; 2] {
        [&self.weight, &self.bias]
    }

    /// Whether the output of `before` is an input of this layer.
    pub(crate) fn follows(&self, before: &Self) -> bool {
        self.inputs() == before.outputs()
            && self.weight.dtype() == before.weight.dtype()
            && self.weight.device().same_device(before.weight.device())
    }

    /// y, (…, outputs), of x, (…, inputs), which has at least two dimensions.
    ///
    /// # Errors
    ///
    /// When the shape, type or device of `x` does not fit the layer.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.check_input(x)?;
        if kernels_take(x) {
            let keep = x.track_op() || self.weight.track_op() || self.bias.track_op();
            let keep = if keep { Wanted::Yes } else { Wanted::No };
            Ok(self.fused(x, keep)?.0)
        } else {
            self.composed(x)
        }
    }

    /// y with its derivative along the tangent of `x`: ẏ = act′(z) ⊙ ẋ Wᵀ, with the slope of the same pass.
    ///
    /// # Errors
    ///
    /// Those of [`forward`](Self::forward).
    pub fn forward_dual(&self, x: &Dual) -> Result<Dual> {
        let (x, Some(direction)) = (x.value(), x.tangent()) else {
            return Ok(Dual::constant(self.forward(x.value())?));
        };
        self.check_input(x)?;
        let product = Self {
            weight: self.weight.detach(),
            bias: self.bias.zeros_like()?,
            biased: false,
            activation: Activation::Identity,
            name: String::new(),
        };
        let turning = product.forward(direction)?;
        if !kernels_take(x) {
            let straight = self.clone().activated(Activation::Identity);
            return activate_dual(&Dual::new(straight.composed(x)?, turning)?, self.activation);
        }
        if self.activation == Activation::Identity {
            return Dual::new(self.forward(x)?, turning);
        }
        let (y, slope) = self.fused(x, Wanted::Yes)?;
        Dual::new(y, slope.times(&turning)?)
    }

    pub(crate) fn check_input(&self, x: &Tensor) -> Result<()> {
        let dims = x.dims();
        if dims.len() < 2 || dims.last() != Some(&self.inputs()) {
            let wanted = format!("(batch, …, {})", self.inputs());
            return Err(Error::Input {
                layer: self.name.clone(),
                wanted,
                got: x.shape().clone(),
            });
        }
        self.check_place(x)
    }

    /// y and the slope that is kept for the way back.
    fn fused(&self, x: &Tensor, keep: Wanted) -> Result<(Tensor, Slope)> {
        let rows = x.elem_count().checked_div(self.inputs());
        let rows = rows.unwrap_or_else(|| x.dims().iter().rev().skip(1).product());
        let shape = Layer {
            rows,
            inputs: self.inputs(),
            outputs: self.outputs(),
            activation: self.activation,
        };
        let slope = Slope::default();
        let op = LinearOp {
            layer: shape,
            keep,
            slope: slope.clone(),
        };
        Ok((x.contiguous()?.apply_op3(&self.weight, &self.bias, op)?, slope))
    }

    /// The layer by candle's operations: for other devices and types, and as a reference in tests.
    fn composed(&self, x: &Tensor) -> Result<Tensor> {
        let mut dims = x.dims().to_vec();
        let rows = dims[..dims.len() - 1].iter().product::<usize>();
        if let Some(last) = dims.last_mut() {
            *last = self.outputs();
        }
        let mut z = x.reshape((rows, self.inputs()))?.matmul(&self.weight.t()?)?;
        if self.biased {
            z = z.broadcast_add(&self.bias)?;
        }
        Ok(composed(&z, self.activation)?.reshape(dims)?)
    }

    fn check_place(&self, x: &Tensor) -> Result<()> {
        if x.dtype() != self.weight.dtype() {
            let (wanted, got) = (self.weight.dtype(), x.dtype());
            return Err(Error::Type {
                layer: self.name.clone(),
                wanted,
                got,
            });
        }
        if !x.device().same_device(self.weight.device()) {
            let (wanted, got) = (self.weight.device().clone(), x.device().clone());
            return Err(Error::Place {
                layer: self.name.clone(),
                wanted,
                got,
            });
        }
        Ok(())
    }
}

impl Module for Linear {
    fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        Ok(Self::forward(self, x)?)
    }
}

#[cfg(test)]
#[path = "linear_tests.rs"]
mod tests;
