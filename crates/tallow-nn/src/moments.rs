//! What Adam, AdamW and RAdam share: running means of the gradient and of its square.

use candle_core::Tensor;
use tallow_kernels::{AdamStep, Decay, Float, Variance};

use crate::error::{Error, Result};
use crate::rule::{At, below_one, not_negative};

/// The tensors that the family remembers.
pub(crate) const NAMES: &[&str] = &["first", "second"];

/// The settings of the family's update.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moments {
    pub(crate) beta1: f64,
    pub(crate) beta2: f64,
    pub(crate) epsilon: f64,
    pub(crate) decay: Decay,
    pub(crate) variance: Variance,
}

impl Moments {
    pub(crate) fn check(&self) -> Result<()> {
        below_one("beta1", self.beta1)?;
        below_one("beta2", self.beta2)?;
        not_negative("epsilon", self.epsilon)
    }

    pub(crate) fn fused<T: Float>(
        &self,
        parameter: &mut [T],
        gradient: &[T],
        memory: &mut [Vec<T>],
        at: &At,
    ) -> Result<()> {
        let [first, second] = memory else {
            return Err(forgotten(memory.len()));
        };
        Ok(self.step(at).apply(parameter, gradient, first, second)?)
    }

    pub(crate) fn composed(
        &self,
        parameter: &Tensor,
        gradient: &Tensor,
        memory: &mut [Tensor],
        at: &At,
    ) -> Result<Tensor> {
        let step = self.step(at);
        let mut gradient = (gradient * step.gradient_scale)?;
        let mut shrunk = parameter.clone();
        match step.decay {
            Decay::L2 => gradient = (gradient + (parameter * step.weight_decay)?)?,
            Decay::Decoupled => shrunk = (parameter * (1.0 - step.learning_rate * step.weight_decay))?,
        }
        let [m, v] = memory else {
            return Err(forgotten(memory.len()));
        };
        *m = ((&*m * step.beta1)? + (&gradient * (1.0 - step.beta1))?)?;
        *v = ((&*v * step.beta2)? + (gradient.sqr()? * (1.0 - step.beta2))?)?;
        let divisor = step.divisor();
        let rate = step.learning_rate / -(step.step as f64 * step.beta1.ln()).exp_m1();
        let divisor = ((v.sqrt()? * divisor.of_root)? + divisor.plus)?;
        Ok((shrunk - ((&*m * rate)? / divisor)?)?)
    }

    fn step(&self, at: &At) -> AdamStep {
        AdamStep {
            learning_rate: at.learning_rate,
            beta1: self.beta1,
            beta2: self.beta2,
            epsilon: self.epsilon,
            weight_decay: at.weight_decay,
            decay: self.decay,
            variance: self.variance,
            step: at.step,
            gradient_scale: at.gradient_scale,
        }
    }
}

/// A rule was handed another number of tensors than it remembers.
pub(crate) fn forgotten(got: usize) -> Error {
    Error::Setting {
        name: "the number of tensors that an optimiser's rule was handed",
        value: got as f64,
        allowed: "as many as it remembers",
    }
}
