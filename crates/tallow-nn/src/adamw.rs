//! The optimiser: AdamW, and Adam with L2, with a state that can be read, saved and restored by name.
//!
//! The formulas are those of [`tallow_kernels::AdamStep`]. Sources: Kingma & Ba 2015, arXiv:1412.6980; Loshchilov &
//! Hutter 2019, arXiv:1711.05101.

use std::collections::BTreeMap;

use candle_core::backprop::GradStore;
use candle_core::{Tensor, Var};
pub use tallow_kernels::Decay;

use crate::error::{Error, Result};
use crate::gradients::{clip_scale, squared_norm};
use crate::moments::Moments;
use crate::parameters::{Parameters, check_same};

/// The settings of [`AdamW`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamWConfig {
    /// The learning rate η.
    pub learning_rate: f64,
    /// The decay of the first moment.
    pub beta1: f64,
    /// The decay of the second moment.
    pub beta2: f64,
    /// The floor ε of the denominator.
    pub epsilon: f64,
    /// The weight decay λ.
    pub weight_decay: f64,
    /// Where λ enters.
    pub decay: Decay,
    /// What happens when a parameter has no gradient.
    pub missing: MissingGradient,
}

impl Default for AdamWConfig {
    /// η = 1e-3, β = (0.9, 0.999), ε = 1e-8, no weight decay.
    fn default() -> Self {
        Self {
            learning_rate: 1e-3,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            weight_decay: 0.0,
            decay: Decay::Decoupled,
            missing: MissingGradient::Refuse,
        }
    }
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
    /// Not trained, and not missed when it has no gradient.
    Frozen,
}

/// AdamW over a set of parameters.
///
/// ```
/// # use candle_core::{DType, Device, Tensor};
/// # use tallow_nn::{AdamW, AdamWConfig, Group, Linear, Parameters};
/// let parameters = Parameters::new(1, DType::F32, &Device::Cpu);
/// let linear = Linear::new(&parameters.scope(), 2, 1)?;
/// let config = AdamWConfig { learning_rate: 1e-2, weight_decay: 0.1, ..AdamWConfig::default() };
/// let mut adam = AdamW::new(&parameters, config)?
///     .with_group(|name| name.ends_with("bias"), Group::Train { weight_decay: 0.0, learning_rate_factor: 1.0 })?;
/// let loss = linear.forward(&Tensor::ones((4, 2), DType::F32, &Device::Cpu)?)?.sqr()?.mean_all()?;
/// adam.backward_step(&loss)?;
/// # Ok::<(), tallow_nn::Error>(())
/// ```
#[derive(Debug)]
pub struct AdamW {
    config: AdamWConfig,
    slots: BTreeMap<String, Slot>,
    step: u64,
}

#[derive(Debug)]
struct Slot {
    variable: Var,
    moments: Moments,
    group: Group,
}

impl AdamW {
    /// An optimiser of all `parameters` that exist now.
    ///
    /// # Errors
    ///
    /// When a setting is outside its range.
    pub fn new(parameters: &Parameters, config: AdamWConfig) -> Result<Self> {
        check(&config)?;
        let group = Group::Train {
            weight_decay: config.weight_decay,
            learning_rate_factor: 1.0,
        };
        let mut slots = BTreeMap::new();
        for (name, variable) in parameters.named() {
            let moments = Moments::zeros(&variable)?;
            slots.insert(
                name,
                Slot {
                    variable,
                    moments,
                    group,
                },
            );
        }
        Ok(Self {
            config,
            slots,
            step: 0,
        })
    }

    /// Puts the parameters that `selects` names into `group`; a later call wins over an earlier one.
    ///
    /// # Errors
    ///
    /// When a number of the group is negative or not finite.
    pub fn with_group(mut self, selects: impl Fn(&str) -> bool, group: Group) -> Result<Self> {
        if let Group::Train {
            weight_decay,
            learning_rate_factor,
        } = group
        {
            not_negative("weight_decay", weight_decay)?;
            not_negative("learning_rate_factor", learning_rate_factor)?;
        }
        for (name, slot) in &mut self.slots {
            if selects(name) {
                slot.group = group;
            }
        }
        Ok(self)
    }

    /// One step along the gradients.
    ///
    /// # Errors
    ///
    /// When a parameter has no gradient (unless skipping is configured) or the gradient of another shape; nothing is then
    /// changed.
    pub fn step(&mut self, gradients: &GradStore) -> Result<()> {
        let gradients = self.collect(gradients)?;
        self.update(&gradients, 1.0)
    }

    /// One step along the gradients, scaled down to `max_norm` where their norm is larger; returns the norm before.
    ///
    /// # Errors
    ///
    /// Those of [`step`](Self::step), and when `max_norm` is not positive or the norm is not finite.
    pub fn step_clipped(&mut self, gradients: &GradStore, max_norm: f64) -> Result<f64> {
        let gradients = self.collect(gradients)?;
        let mut square = 0.0;
        for (_, gradient) in &gradients {
            square += squared_norm(gradient)?;
        }
        let norm = square.sqrt();
        self.update(&gradients, clip_scale(norm, max_norm)?)?;
        Ok(norm)
    }

    /// The backward pass of `loss` and one step.
    ///
    /// # Errors
    ///
    /// When the backward pass fails, and those of [`step`](Self::step).
    pub fn backward_step(&mut self, loss: &Tensor) -> Result<()> {
        self.step(&loss.backward()?)
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> &AdamWConfig {
        &self.config
    }

    /// How many steps have been made.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.step
    }

    /// The learning rate of the next step.
    #[must_use]
    pub fn learning_rate(&self) -> f64 {
        self.config.learning_rate
    }

    /// Sets the learning rate of the steps to come: what a schedule calls.
    ///
    /// # Errors
    ///
    /// When it is negative or not finite.
    pub fn set_learning_rate(&mut self, learning_rate: f64) -> Result<()> {
        not_negative("learning_rate", learning_rate)?;
        self.config.learning_rate = learning_rate;
        Ok(())
    }

    /// A deep copy of the moments, as `NAME.first` and `NAME.second`; with [`steps`](Self::steps) it is the whole state.
    ///
    /// # Errors
    ///
    /// When a tensor cannot be made.
    pub fn state(&self) -> Result<BTreeMap<String, Tensor>> {
        let mut state = BTreeMap::new();
        for (name, slot) in &self.slots {
            let [first, second] = slot.moments.copy(slot.variable.shape())?;
            state.insert(format!("{name}.first"), first);
            state.insert(format!("{name}.second"), second);
        }
        Ok(state)
    }

    /// Goes on from a [`state`](Self::state) after `steps` steps, bit for bit: all of it, or nothing is changed.
    ///
    /// # Errors
    ///
    /// When names or shapes differ; the error lists every difference.
    pub fn restore(&mut self, state: &BTreeMap<String, Tensor>, steps: u64) -> Result<()> {
        let names: Vec<_> = self
            .slots
            .iter()
            .flat_map(|(name, slot)| {
                ["first", "second"].map(|part| (format!("{name}.{part}"), slot.variable.shape()))
            })
            .collect();
        let wanted = names.iter().map(|(name, shape)| (name.as_str(), *shape));
        check_same("the state of the optimiser", wanted, state)?;
        let mut moments = Vec::with_capacity(self.slots.len());
        for (name, slot) in &self.slots {
            let pair = [
                state.get(&format!("{name}.first")),
                state.get(&format!("{name}.second")),
            ];
            if let [Some(first), Some(second)] = pair {
                moments.push(Moments::from_tensors(&slot.variable, first, second)?);
            }
        }
        for (slot, moments) in self.slots.values_mut().zip(moments) {
            slot.moments = moments;
        }
        self.step = steps;
        Ok(())
    }

    /// The gradients of the slots that are trained, checked before anything is changed.
    fn collect(&self, gradients: &GradStore) -> Result<Vec<(String, Tensor)>> {
        let mut found = Vec::with_capacity(self.slots.len());
        let mut missing = Vec::new();
        for (name, slot) in &self.slots {
            if slot.group == Group::Frozen {
                continue;
            }
            match gradients.get(&slot.variable) {
                None => missing.push(name.clone()),
                Some(gradient) if gradient.shape() != slot.variable.shape() => {
                    let (wanted, got) = (slot.variable.shape().clone(), gradient.shape().clone());
                    return Err(Error::ParameterShape {
                        name: format!("gradient of {name}"),
                        wanted,
                        got,
                    });
                }
                Some(gradient) => {
                    let gradient = gradient.to_dtype(slot.variable.dtype())?.contiguous()?;
                    found.push((name.clone(), gradient));
                }
            }
        }
        if !missing.is_empty() && self.config.missing == MissingGradient::Refuse {
            return Err(Error::MissingGradients { names: missing });
        }
        Ok(found)
    }

    fn update(&mut self, gradients: &[(String, Tensor)], gradient_scale: f64) -> Result<()> {
        let step = self.step + 1;
        for (name, gradient) in gradients {
            let Some(slot) = self.slots.get_mut(name) else {
                continue;
            };
            let Group::Train {
                weight_decay,
                learning_rate_factor,
            } = slot.group
            else {
                continue;
            };
            let AdamWConfig {
                learning_rate,
                beta1,
                beta2,
                epsilon,
                decay,
                ..
            } = self.config;
            let learning_rate = learning_rate * learning_rate_factor;
            let constants = tallow_kernels::AdamStep {
                learning_rate,
                beta1,
                beta2,
                epsilon,
                weight_decay,
                decay,
                step,
                gradient_scale,
            };
            slot.moments.update(&slot.variable, gradient, constants)?;
        }
        self.step = step;
        Ok(())
    }
}

fn check(config: &AdamWConfig) -> Result<()> {
    not_negative("learning_rate", config.learning_rate)?;
    not_negative("weight_decay", config.weight_decay)?;
    not_negative("epsilon", config.epsilon)?;
    for (name, value) in [("beta1", config.beta1), ("beta2", config.beta2)] {
        if !(0.0..1.0).contains(&value) {
            return Err(Error::Setting {
                name,
                value,
                allowed: "at least 0 and less than 1",
            });
        }
    }
    Ok(())
}

fn not_negative(name: &'static str, value: f64) -> Result<()> {
    if value.is_finite() && value >= 0.0 {
        return Ok(());
    }
    Err(Error::Setting {
        name,
        value,
        allowed: "a finite number, 0 or more",
    })
}

#[cfg(test)]
#[path = "adamw_tests.rs"]
mod tests;
