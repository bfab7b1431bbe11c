//! Computing in half precision with weights in f32.
//!
//! ```text
//! w₁₆ = cast(w₃₂)        g₃₂ = cast(∇(s L(w₁₆)))/s
//! ```
//!
//! In f16 small gradients vanish, so the loss is multiplied by s = 2ᵏ on the way back. Where a gradient overflows, k falls
//! and the same step is taken again; after 2000 steps without an overflow it rises. bf16 has the range of f32 and needs no
//! scale.
//!
//! Source: Micikevicius et al. 2018, arXiv:1710.03740, sections 3.1 and 3.2.

use candle_core::{DType, Device, Tensor};
use tallow_denoisers::{Call, Condition, Network};
use tallow_nn::{Gradients, Parameters, Scope};
use tallow_objectives::Loss;

use crate::{Error, Result};

/// Builds the network whose parameters a scope has.
type Build<'a> = Box<dyn Fn(&Scope<'_>) -> candle_core::Result<Box<dyn Network>> + 'a>;

pub(crate) struct MixedPrecision<'a> {
    dtype: DType,
    build: Build<'a>,
    pub(crate) scale: LossScale,
}

impl<'a> MixedPrecision<'a> {
    pub(crate) fn new(parameters: &Parameters, dtype: DType, build: Build<'a>) -> Result<Self> {
        let refused = |problem| Error::Precision { dtype, problem };
        if !matches!(dtype, DType::F16 | DType::BF16) {
            return Err(refused("is not a half precision: take F16 or BF16"));
        }
        if parameters.dtype() != DType::F32 {
            return Err(refused("needs parameters in F32, from which it is converted"));
        }
        if dtype == DType::BF16 && matches!(parameters.device(), Device::Cpu) {
            return Err(refused(
                "has no matrix products on the CPU: take F32 there, or another device",
            ));
        }
        Ok(Self {
            dtype,
            build,
            scale: LossScale::of(dtype),
        })
    }

    /// The network at the present weights.
    pub(crate) fn network(&self, parameters: &Parameters) -> Result<Converting> {
        let view = parameters.cast(self.dtype)?;
        Ok(Converting {
            network: (self.build)(&view.scope())?,
            dtype: self.dtype,
        })
    }

    /// The gradients of a loss, with the scale lowered as far as they overflow.
    pub(crate) fn gradients(
        &mut self,
        loss: &Loss,
        collect: impl Fn(&Tensor) -> Result<Gradients>,
    ) -> Result<Gradients> {
        loop {
            let factor = self.scale.factor();
            let mut gradients = collect(&(&loss.mean * factor)?)?;
            gradients.scale(1.0 / factor)?;
            if gradients.norm().is_ok() || !self.scale.lower() {
                return Ok(gradients);
            }
        }
    }
}

impl std::fmt::Debug for MixedPrecision<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MixedPrecision")
            .field("dtype", &self.dtype)
            .field("scale", &self.scale)
            .finish_non_exhaustive()
    }
}

/// The power of two that a loss is multiplied by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LossScale {
    pub(crate) exponent: u64,
    /// Steps since it last changed.
    pub(crate) steady: u64,
    highest: u64,
}

/// Steps without an overflow after which the scale rises.
const PATIENCE: u64 = 2000;

impl LossScale {
    fn of(dtype: DType) -> Self {
        let (exponent, highest) = if dtype == DType::F16 { (16, 24) } else { (0, 0) };
        Self {
            exponent,
            steady: 0,
            highest,
        }
    }

    fn factor(self) -> f64 {
        (self.exponent as f64).exp2()
    }

    /// Halves the scale; false at 1.
    fn lower(&mut self) -> bool {
        self.steady = 0;
        let lowered = self.exponent > 0;
        self.exponent = self.exponent.saturating_sub(1);
        lowered
    }

    /// A step went well.
    pub(crate) fn succeed(&mut self) {
        self.steady += 1;
        if self.steady >= PATIENCE && self.exponent < self.highest {
            self.exponent += 1;
            self.steady = 0;
        }
    }
}

/// A network in another type than the state's: inputs are converted, the output is converted back.
pub(crate) struct Converting {
    network: Box<dyn Network>,
    dtype: DType,
}

impl Network for Converting {
    fn forward(&self, call: &Call<'_>) -> candle_core::Result<Tensor> {
        let x = call.x.to_dtype(self.dtype)?;
        let told = call
            .self_condition
            .map(|x0| x0.to_dtype(self.dtype))
            .transpose()?;
        let mut condition = Condition::none();
        for (name, tensor) in call.condition.iter() {
            let float = matches!(tensor.dtype(), DType::F32 | DType::F64);
            let dtype = if float { self.dtype } else { tensor.dtype() };
            condition = condition.with(name, tensor.to_dtype(dtype)?);
        }
        let mut converted = Call::new(&x, call.times, &condition)?;
        if let Some(end_times) = call.end_times {
            converted = converted.with_end_times(end_times)?;
        }
        if let Some(told) = &told {
            converted = converted.with_self_condition(told)?;
        }
        self.network.forward(&converted)?.to_dtype(call.x.dtype())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_falls_to_one_and_rises_with_patience() {
        let mut scale = LossScale::of(DType::F16);
        assert_eq!(scale.factor(), 65536.0);
        assert!((0..16).all(|_| scale.lower()) && !scale.lower());
        for _ in 0..9 * PATIENCE {
            scale.succeed();
        }
        assert_eq!(scale.factor(), 512.0);
        let mut none = LossScale::of(DType::BF16);
        (0..2 * PATIENCE).for_each(|_| none.succeed());
        assert_eq!(none.factor(), 1.0);
    }
}
