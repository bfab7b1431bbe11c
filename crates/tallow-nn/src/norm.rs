//! What the norms share: the choice between the kernels of the host and candle's operations, and the checks.

use candle_core::{DType, Tensor};
use tallow_kernels::{Activation, Centre, GroupNorm, RowNorm};

use crate::activation::activate_dual;
use crate::dual::Dual;
use crate::error::{Error, Result};
use crate::init::Init;
use crate::modulation::Modulation;
use crate::norm_op::{NormOp, Sizes, with_contiguous_rows};
use crate::scope::Scope;
use crate::slices::kernels_take;

/// A norm over groups of channels or over rows, with what follows it.
#[derive(Clone, Debug)]
pub(crate) struct Norm {
    pub(crate) kind: Kind,
    /// Channels, or values of a row.
    pub(crate) width: usize,
    pub(crate) epsilon: f64,
    pub(crate) weight: Option<Tensor>,
    pub(crate) bias: Option<Tensor>,
    pub(crate) activation: Activation,
    pub(crate) name: String,
}

/// What is normalised together.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// Channels (the second dimension) in this many groups, with all positions.
    Groups(usize),
    /// The last dimension.
    Rows(Centre),
}

/// Which parameters a norm learns.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Learned {
    Nothing,
    Weight,
    WeightAndBias,
}

impl Norm {
    pub(crate) fn new(
        scope: &Scope<'_>,
        kind: Kind,
        width: usize,
        epsilon: f64,
        learned: Learned,
    ) -> Result<Self> {
        if let Kind::Groups(groups) = kind
            && (groups == 0 || width == 0 || !width.is_multiple_of(groups))
        {
            let (inputs, outputs) = (width, width);
            return Err(tallow_kernels::Error::Groups {
                groups,
                inputs,
                outputs,
            }
            .into());
        }
        let weight = || scope.parameter("weight", width, Init::ONES);
        let bias = || scope.parameter("bias", width, Init::ZEROS);
        let (weight, bias) = match learned {
            Learned::Nothing => (None, None),
            Learned::Weight => (Some(weight()?), None),
            Learned::WeightAndBias => (Some(weight()?), Some(bias()?)),
        };
        let what = match kind {
            Kind::Groups(_) => "group norm",
            Kind::Rows(Centre::Mean) => "layer norm",
            Kind::Rows(Centre::Zero) => "RMS norm",
        };
        Ok(Self {
            kind,
            width,
            epsilon,
            weight,
            bias,
            activation: Activation::Identity,
            name: format!("the {what} `{}`", scope.path()),
        })
    }

    pub(crate) fn with_epsilon(self, epsilon: f64) -> Result<Self> {
        if !(epsilon > 0.0 && epsilon.is_finite()) {
            let (name, value, allowed) = ("the epsilon of a norm", epsilon, "a positive number");
            return Err(Error::Setting { name, value, allowed });
        }
        Ok(Self { epsilon, ..self })
    }

    pub(crate) fn forward(&self, x: &Tensor, modulation: Option<&Modulation>) -> Result<Tensor> {
        self.check(x, modulation)?;
        if kernels_take(x) {
            let (op, inputs) = self.op(x, modulation)?;
            return apply(op, &inputs);
        }
        let modulation = modulation.map(|m| m.of(Dual::constant(m.values.clone())));
        let y = self.composed(&Dual::constant(x.clone()), modulation.as_ref())?;
        Ok(y.value().clone())
    }

    pub(crate) fn forward_dual(&self, x: &Dual, modulation: Option<&Modulation<Dual>>) -> Result<Dual> {
        let direction = modulation.and_then(|m| m.values.tangent());
        let values = modulation.map(|m| m.of(m.values.value().clone()));
        if x.tangent().is_none() && direction.is_none() {
            return Ok(Dual::constant(self.forward(x.value(), values.as_ref())?));
        }
        self.check(x.value(), values.as_ref())?;
        if !kernels_take(x.value()) {
            return self.composed(x, modulation);
        }
        let (op, inputs) = self.op(x.value(), values.as_ref())?;
        let y = apply(op.clone(), &inputs)?;
        let [x_value, parameters, matrix] = &inputs;
        let tangent = op.tangent([x_value, parameters, matrix], x.tangent(), direction)?;
        Dual::new(y, tangent)
    }

    /// The operation and its inputs: x, parameters, modulation.
    fn op(&self, x: &Tensor, modulation: Option<&Modulation>) -> Result<(NormOp, [Tensor; 3])> {
        let nothing = |shape: &[usize]| Tensor::zeros(shape, x.dtype(), x.device());
        let parameters = match (&self.weight, &self.bias) {
            (Some(weight), Some(bias)) => Tensor::cat(&[weight, bias], 0)?,
            (Some(only), None) | (None, Some(only)) => only.contiguous()?,
            (None, None) => nothing(&[0])?,
        };
        let matrix = match modulation {
            Some(modulation) => with_contiguous_rows(&modulation.values)?,
            None => nothing(&[0, 0])?,
        };
        let op = NormOp {
            sizes: self.sizes(x.dims(), modulation.is_some()),
            scaled: self.weight.is_some(),
            shifted: self.bias.is_some(),
            columns: modulation.map(|m| m.columns(self.width)),
            kept: std::sync::Arc::default(),
        };
        Ok((op, [x.contiguous()?, parameters, matrix]))
    }

    fn sizes(&self, dims: &[usize], modulated: bool) -> Sizes {
        match self.kind {
            Kind::Groups(groups) => Sizes::Group(GroupNorm {
                batch: dims[0],
                channels: self.width,
                spatial: dims[2..].iter().product(),
                groups,
                epsilon: self.epsilon,
                activation: self.activation,
            }),
            Kind::Rows(centre) => {
                let inner = &dims[..dims.len() - 1];
                let batch = if modulated { inner[0] } else { 1 };
                let tokens = if modulated { &inner[1..] } else { inner };
                Sizes::Row(RowNorm {
                    batch,
                    tokens: tokens.iter().product(),
                    width: self.width,
                    centre,
                    epsilon: self.epsilon,
                })
            }
        }
    }

    /// The norm by candle's operations: for other devices and types, and as a reference in tests. Half precision is
    /// normalised in f32.
    pub(crate) fn composed(&self, x: &Dual, modulation: Option<&Modulation<Dual>>) -> Result<Dual> {
        let dtype = x.value().dtype();
        let wide = match dtype {
            DType::F16 | DType::BF16 => DType::F32,
            other => other,
        };
        let dims = x.value().dims().to_vec();
        let mut z = self.normalised(&x.linear(|x| x.to_dtype(wide))?)?;
        // Factors stand along the channels: (1 or B, …, channels, …).
        let mut along = vec![1; dims.len()];
        along[self.channel_dim(dims.len())] = self.width;
        let learned = |values: &Tensor| -> Result<Dual> {
            Ok(Dual::constant(values.to_dtype(wide)?.reshape(along.as_slice())?))
        };
        if let Some(weight) = &self.weight {
            z = z.mul(&learned(weight)?)?;
        }
        if let Some(bias) = &self.bias {
            z = z.add(&learned(bias)?)?;
        }
        if let Some(modulation) = modulation {
            let mut along = along.clone();
            along[0] = dims[0];
            let columns = modulation.columns(self.width);
            let part = |first| {
                let narrow = |values: &Tensor| {
                    let part = values.narrow(1, first, self.width)?.contiguous()?;
                    part.to_dtype(wide)?.reshape(along.as_slice())
                };
                modulation.values.linear(narrow)
            };
            z = z
                .add(&z.mul(&part(columns.scale)?)?)?
                .add(&part(columns.shift)?)?;
        }
        activate_dual(&z, self.activation)?.linear(|y| y.to_dtype(dtype))
    }

    /// x̂, of the shape of x.
    fn normalised(&self, x: &Dual) -> Result<Dual> {
        let dims = x.value().dims().to_vec();
        if x.value().elem_count() == 0 {
            return Ok(x.clone());
        }
        let (together, centre) = match self.kind {
            Kind::Groups(groups) => (
                vec![dims[0], groups, x.value().elem_count() / dims[0] / groups],
                Centre::Mean,
            ),
            Kind::Rows(centre) => (vec![x.value().elem_count() / self.width, self.width], centre),
        };
        let last = together.len() - 1;
        let mut x = x.linear(|x| x.reshape(together.as_slice()))?;
        if centre == Centre::Mean {
            x = x.sub(&x.linear(|x| x.mean_keepdim(last))?)?;
        }
        let square = x.mul(&x)?.linear(|square| square.mean_keepdim(last))?;
        let size = (square.value() + self.epsilon)?;
        let rstd = size.sqrt()?.recip()?;
        let rstd = match square.tangent() {
            // d v^(−1/2) = −½ v^(−3/2) dv
            Some(tangent) => Dual::new(rstd.clone(), ((&rstd / &size)? * (tangent * -0.5)?)?)?,
            None => Dual::constant(rstd),
        };
        x.mul(&rstd)?.linear(|x| x.reshape(dims.as_slice()))
    }

    fn channel_dim(&self, rank: usize) -> usize {
        match self.kind {
            Kind::Groups(_) => 1,
            Kind::Rows(_) => rank - 1,
        }
    }

    fn check(&self, x: &Tensor, modulation: Option<&Modulation>) -> Result<()> {
        let dims = x.dims();
        if dims.len() < 2 || dims[self.channel_dim(dims.len())] != self.width {
            let wanted = match self.kind {
                Kind::Groups(_) => format!("(batch, {}, …)", self.width),
                Kind::Rows(_) => format!("(batch, …, {})", self.width),
            };
            return Err(self.misfit(wanted, x));
        }
        if let Some(weight) = &self.weight {
            same_place(&self.name, weight, x)?;
        }
        let Some(modulation) = modulation else {
            return Ok(());
        };
        let columns = modulation.columns(self.width);
        let end = columns.shift.max(columns.scale).saturating_add(self.width);
        if !matches!(*modulation.values.dims(), [rows, found] if rows == dims[0] && found >= end) {
            let wanted = format!("a modulation of {} rows and at least {end} columns", dims[0]);
            return Err(self.misfit(wanted, &modulation.values));
        }
        same_place(&format!("the input of {}", self.name), x, &modulation.values)
    }

    fn misfit(&self, wanted: String, got: &Tensor) -> Error {
        Error::Input {
            layer: self.name.clone(),
            wanted,
            got: got.shape().clone(),
        }
    }
}

fn apply(op: NormOp, [x, parameters, modulation]: &[Tensor; 3]) -> Result<Tensor> {
    Ok(x.apply_op3(parameters, modulation, op)?)
}

/// Refuses an input of another type or device than `own`.
pub(crate) fn same_place(layer: &str, own: &Tensor, input: &Tensor) -> Result<()> {
    if own.dtype() != input.dtype() {
        return Err(Error::Type {
            layer: layer.to_string(),
            wanted: own.dtype(),
            got: input.dtype(),
        });
    }
    if !own.device().same_device(input.device()) {
        return Err(Error::Place {
            layer: layer.to_string(),
            wanted: own.device().clone(),
            got: input.device().clone(),
        });
    }
    Ok(())
}

/// scale and shift, (B, width) each, side by side.
pub(crate) fn side_by_side(scale: &Tensor, shift: &Tensor) -> Result<Modulation> {
    Ok(Modulation::scale_then_shift(&Tensor::cat(&[scale, shift], 1)?, 0))
}

/// The same of duals.
pub(crate) fn side_by_side_dual(scale: &Dual, shift: &Dual) -> Result<Modulation<Dual>> {
    let both = Dual::cat(&[scale.clone(), shift.clone()], 1)?;
    Ok(Modulation::scale_then_shift(&both, 0))
}
