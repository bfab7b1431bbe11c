//! What makes one optimiser differ from another: the update of one parameter, and its settings.

use std::fmt::Debug;

use candle_core::Tensor;
use tallow_kernels::Float;

use crate::error::{Error, Result};

/// The update of one parameter along its gradient: what makes an optimiser of a [`crate::Descent`].
///
/// [`crate::AdamWConfig`] and its like are rules. One of your own needs its settings and the two forms of its update.
pub trait Rule: Clone + Debug + Send + Sync {
    /// What every optimiser has.
    fn settings(&self) -> Settings;

    /// The names of the tensors that are remembered for each parameter; each has the parameter's shape and starts at 0.
    fn remembers(&self) -> &'static [&'static str];

    /// Refuses settings outside their range; called once, before anything else.
    ///
    /// # Errors
    ///
    /// When a setting is outside its range.
    fn check(&self) -> Result<()>;

    /// The update on the host, in place: `parameter`, `gradient` and every tensor of `memory` have one length.
    ///
    /// # Errors
    ///
    /// When a kernel refuses its arguments.
    fn fused<T: Float>(
        &self,
        parameter: &mut [T],
        gradient: &[T],
        memory: &mut [Vec<T>],
        at: &At,
    ) -> Result<()>;

    /// The same update by candle's operations, for other devices and types: changes `memory`, returns the new parameter.
    ///
    /// All tensors are in f32 or f64; the gradient is not yet multiplied by its factor.
    ///
    /// # Errors
    ///
    /// When an operation fails.
    fn composed(
        &self,
        parameter: &Tensor,
        gradient: &Tensor,
        memory: &mut [Tensor],
        at: &At,
    ) -> Result<Tensor>;
}

/// The settings that every optimiser has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// The learning rate η that a run starts with.
    pub learning_rate: f64,
    /// The weight decay λ of parameters in no group.
    pub weight_decay: f64,
    /// What happens when a parameter has no gradient.
    pub missing: MissingGradient,
}

/// What differs from step to step and from parameter to parameter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct At {
    /// η of this step and this parameter's group.
    pub learning_rate: f64,
    /// λ of this parameter's group.
    pub weight_decay: f64,
    /// The number of this update of the parameter, counted from 1.
    pub step: u64,
    /// Multiplies the gradient: accumulation and clipping.
    pub gradient_scale: f64,
}

/// What happens when a parameter that is not frozen has no gradient.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MissingGradient {
    /// The step is refused with the names, and nothing is changed.
    #[default]
    Refuse,
    /// The parameter stays as it is in this step.
    Skip,
}

/// What a group of parameters does differently.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Group {
    /// Trained with its own decay and a multiple of the learning rate.
    Train {
        /// The weight decay in place of the configuration's.
        weight_decay: f64,
        /// The factor on the learning rate.
        learning_rate_factor: f64,
    },
    /// Not trained, not missed when it has no gradient, and nothing is remembered for it.
    Frozen,
}

/// Refuses a setting that is not a finite number of at least 0.
pub(crate) fn not_negative(name: &'static str, value: f64) -> Result<()> {
    if value.is_finite() && value >= 0.0 {
        return Ok(());
    }
    Err(Error::Setting {
        name,
        value,
        allowed: "a finite number, 0 or more",
    })
}

/// Refuses a decay of a mean outside [0, 1).
pub(crate) fn below_one(name: &'static str, value: f64) -> Result<()> {
    if (0.0..1.0).contains(&value) {
        return Ok(());
    }
    Err(Error::Setting {
        name,
        value,
        allowed: "at least 0 and less than 1",
    })
}

#[cfg(test)]
#[path = "rule_tests.rs"]
pub(crate) mod tests;
