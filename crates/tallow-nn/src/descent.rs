//! What all optimisers share: parameters by name, groups, the learning rate, the checks, and the state.
//!
//! An optimiser is a [`Rule`], the update of one parameter, in the care of a [`Descent`].

use std::collections::BTreeMap;

use candle_core::backprop::GradStore;
use candle_core::{Shape, Tensor, Var};

use crate::error::{Error, Result};
use crate::gradients::Gradients;
use crate::memory::Memory;
use crate::optimizer::Optimizer;
use crate::parameters::{Parameters, check_same};
use crate::rule::{At, Group, MissingGradient, Rule, Settings, not_negative};

/// An optimiser: a set of parameters that descends along its gradients by the rule `R`.
///
/// A step costs one pass over each parameter, its gradient and what is remembered of it, on all threads of the host, and
/// has the same bits on any number of them.
#[derive(Debug)]
pub struct Descent<R> {
    rule: R,
    learning_rate: f64,
    slots: BTreeMap<String, Slot>,
    steps: u64,
}

#[derive(Debug)]
struct Slot {
    variable: Var,
    memory: Memory,
    group: Group,
    /// Updates of this parameter: fewer than steps if its gradient was missing at times.
    updates: u64,
}

impl<R: Rule> Descent<R> {
    /// An optimiser of all `parameters` that exist now.
    ///
    /// # Errors
    ///
    /// When a setting is outside its range.
    pub fn new(parameters: &Parameters, rule: R) -> Result<Self> {
        let Settings {
            learning_rate,
            weight_decay,
            ..
        } = rule.settings();
        not_negative("learning_rate", learning_rate)?;
        not_negative("weight_decay", weight_decay)?;
        rule.check()?;
        let group = Group::Train {
            weight_decay,
            learning_rate_factor: 1.0,
        };
        let mut slots = BTreeMap::new();
        for (name, variable) in parameters.named() {
            let slot = Slot {
                memory: Memory::zeros(&variable, rule.remembers().len())?,
                variable,
                group,
                updates: 0,
            };
            slots.insert(name, slot);
        }
        Ok(Self {
            rule,
            learning_rate,
            slots,
            steps: 0,
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
        let remembered = self.rule.remembers().len();
        for (name, slot) in &mut self.slots {
            if selects(name) {
                match (slot.group, group) {
                    (_, Group::Frozen) => slot.memory = Memory::zeros(&slot.variable, 0)?,
                    (Group::Frozen, _) => slot.memory = Memory::zeros(&slot.variable, remembered)?,
                    _ => {}
                }
                slot.group = group;
            }
        }
        Ok(self)
    }

    /// The settings that it was built with.
    #[must_use]
    pub fn config(&self) -> &R {
        &self.rule
    }

    /// How many steps have been made.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// [`Optimizer::learning_rate`], without the trait.
    #[must_use]
    pub fn learning_rate(&self) -> f64 {
        self.learning_rate
    }

    /// [`Optimizer::set_learning_rate`], without the trait.
    ///
    /// # Errors
    ///
    /// When it is negative or not finite.
    pub fn set_learning_rate(&mut self, learning_rate: f64) -> Result<()> {
        not_negative("learning_rate", learning_rate)?;
        self.learning_rate = learning_rate;
        Ok(())
    }

    /// [`Optimizer::step`], without the trait.
    ///
    /// # Errors
    ///
    /// When a gradient is absent, not finite or of another shape: the error names its parameter, and nothing is changed.
    pub fn step(&mut self, gradients: &GradStore) -> Result<()> {
        Optimizer::step(self, gradients)
    }

    /// [`Optimizer::step_clipped`], without the trait.
    ///
    /// # Errors
    ///
    /// Those of [`step`](Self::step), and when `max_norm` is not positive.
    pub fn step_clipped(&mut self, gradients: &GradStore, max_norm: f64) -> Result<f64> {
        Optimizer::step_clipped(self, gradients, max_norm)
    }

    /// [`Optimizer::backward_step`], without the trait.
    ///
    /// # Errors
    ///
    /// When the backward pass fails, and those of [`step`](Self::step).
    pub fn backward_step(&mut self, loss: &Tensor) -> Result<()> {
        Optimizer::backward_step(self, loss)
    }

    /// Refuses gradients that do not fit, before anything is changed.
    fn check(&self, gradients: &Gradients) -> Result<()> {
        for name in gradients.names() {
            let (Some(slot), Some((gradient, _))) = (self.slots.get(name), gradients.raw(name)) else {
                return Err(Error::unknown(name, &self.slots));
            };
            check_shape(name, slot.variable.shape(), gradient)?;
        }
        let trained = self.slots.iter().filter(|(_, slot)| slot.group != Group::Frozen);
        let missing = trained.filter(|(name, _)| gradients.raw(name).is_none());
        let names: Vec<_> = missing.map(|(name, _)| name.clone()).collect();
        if !names.is_empty() && self.rule.settings().missing == MissingGradient::Refuse {
            return Err(Error::MissingGradients { names });
        }
        gradients.norm().map(|_| ())
    }

    /// The names, shapes and parameters of what is remembered, in the order of [`Memory`].
    fn remembered(&self) -> BTreeMap<String, Shape> {
        let mut wanted = BTreeMap::from([(STEPS.to_string(), Shape::from(()))]);
        for (name, slot) in self.trained() {
            wanted.insert(format!("{name}.{UPDATES}"), Shape::from(()));
            for part in self.rule.remembers() {
                wanted.insert(format!("{name}.{part}"), slot.variable.shape().clone());
            }
        }
        wanted
    }

    fn trained(&self) -> impl Iterator<Item = (&String, &Slot)> {
        self.slots.iter().filter(|(_, slot)| slot.group != Group::Frozen)
    }
}

/// The number of steps in a state; no parameter's, since those have a dot.
const STEPS: &str = "steps";
/// The number of a parameter's updates in a state.
const UPDATES: &str = "updates";

impl<R: Rule> Optimizer for Descent<R> {
    fn collect(&self, gradients: &GradStore) -> Result<Gradients> {
        let mut found = BTreeMap::new();
        for (name, slot) in self.trained() {
            if let Some(gradient) = gradients.get(&slot.variable) {
                check_shape(name, slot.variable.shape(), gradient)?;
                found.insert(name.clone(), gradient.detach());
            }
        }
        Ok(Gradients::new(found))
    }

    fn apply(&mut self, gradients: &Gradients) -> Result<()> {
        self.check(gradients)?;
        for (name, slot) in &mut self.slots {
            let (
                Some((gradient, gradient_scale)),
                Group::Train {
                    weight_decay,
                    learning_rate_factor,
                },
            ) = (gradients.raw(name), slot.group)
            else {
                continue;
            };
            let at = At {
                learning_rate: self.learning_rate * learning_rate_factor,
                weight_decay,
                step: slot.updates + 1,
                gradient_scale,
            };
            slot.memory.update(&self.rule, &slot.variable, gradient, &at)?;
            slot.updates = at.step;
        }
        self.steps += 1;
        Ok(())
    }

    fn learning_rate(&self) -> f64 {
        self.learning_rate
    }

    fn set_learning_rate(&mut self, learning_rate: f64) -> Result<()> {
        Self::set_learning_rate(self, learning_rate)
    }

    fn state(&self) -> Result<BTreeMap<String, Tensor>> {
        let mut state = BTreeMap::from([(STEPS.to_string(), count(self.steps)?)]);
        for (name, slot) in self.trained() {
            state.insert(format!("{name}.{UPDATES}"), count(slot.updates)?);
            let copies = slot.memory.copy(slot.variable.shape())?;
            for (part, copy) in self.rule.remembers().iter().zip(copies) {
                state.insert(format!("{name}.{part}"), copy);
            }
        }
        Ok(state)
    }

    fn restore(&mut self, state: &BTreeMap<String, Tensor>) -> Result<()> {
        let wanted = self.remembered();
        let wanted = wanted.iter().map(|(name, shape)| (name.as_str(), shape));
        check_same("the state of the optimiser", wanted, state)?;
        let mut memories = Vec::new();
        for (name, slot) in self.trained() {
            let updates = read_count(state, &format!("{name}.{UPDATES}"))?;
            let parts = self.rule.remembers().iter();
            let parts: Vec<_> = parts
                .filter_map(|part| state.get(&format!("{name}.{part}")))
                .collect();
            memories.push((Memory::from_tensors(&slot.variable, &parts)?, updates));
        }
        self.steps = read_count(state, STEPS)?;
        let trained = self.slots.values_mut().filter(|slot| slot.group != Group::Frozen);
        for (slot, (memory, updates)) in trained.zip(memories) {
            slot.memory = memory;
            slot.updates = updates;
        }
        Ok(())
    }
}

fn count(value: u64) -> Result<Tensor> {
    // 2⁶³ steps are out of reach.
    Ok(Tensor::new(value as i64, &candle_core::Device::Cpu)?)
}

fn read_count(state: &BTreeMap<String, Tensor>, name: &str) -> Result<u64> {
    let Some(tensor) = state.get(name) else {
        return Ok(0);
    };
    let value: i64 = tensor.to_dtype(candle_core::DType::I64)?.to_scalar()?;
    u64::try_from(value).map_err(|_| Error::Setting {
        name: "a count in the state of an optimiser",
        value: value as f64,
        allowed: "0 or more",
    })
}

fn check_shape(name: &str, wanted: &Shape, gradient: &Tensor) -> Result<()> {
    if gradient.shape() == wanted {
        return Ok(());
    }
    Err(Error::ParameterShape {
        name: format!("gradient of {name}"),
        wanted: wanted.clone(),
        got: gradient.shape().clone(),
    })
}

#[cfg(test)]
#[path = "descent_tests.rs"]
mod tests;
