//! Loss-aware sampling: a step of the table is drawn the more often, the larger its loss was.
//!
//! ```text
//! p_n ∝ √(mean of L_n² over its last h losses)        p_n ← (1 − u) p_n + u/T        row's weight 1/(T p_n)
//! ```
//!
//! Uniform until every step has h losses. The weights keep the mean loss that of uniform steps, with the least variance.
//!
//! Source: Nichol & Dhariwal 2021, arXiv:2102.09672, section 3.3; h = 10 there, u = 0.001 in the released code.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use candle_core::{DType, Device, Tensor};
use tallow_schedules::Schedule;

use super::check_steps;
use crate::{Error, Loss, Result};

const LOSSES: &str = "time_sampling.losses";
const COUNTS: &str = "time_sampling.counts";

/// How a table's steps are drawn by their losses; learns what [`Objective::observe`](crate::Objective::observe) tells it.
///
/// Source: Nichol & Dhariwal 2021, arXiv:2102.09672, section 3.3; h = 10 there, u = 0.001 in the released code.
#[derive(Debug)]
pub struct LossAware {
    steps: usize,
    history: usize,
    uniform: f64,
    past: Mutex<Past>,
}

/// The last losses of each step, oldest first.
#[derive(Clone, Debug, PartialEq)]
struct Past {
    losses: Vec<Vec<f64>>,
}

/// A copy learns on its own.
impl Clone for LossAware {
    fn clone(&self) -> Self {
        Self {
            steps: self.steps,
            history: self.history,
            uniform: self.uniform,
            past: Mutex::new(self.past().clone()),
        }
    }
}

impl LossAware {
    /// For a table of `steps` steps, with 10 losses of each and a share of 0.001 for uniform draws.
    ///
    /// # Errors
    ///
    /// When `steps` is 0 or above 10⁷.
    pub fn new(steps: usize) -> Result<Self> {
        check_steps("LossAware", steps)?;
        Ok(Self {
            steps,
            history: 10,
            uniform: 0.001,
            past: Mutex::new(Past {
                losses: vec![Vec::new(); steps],
            }),
        })
    }

    /// The same with the last `history` losses of each step, and the share `uniform` for uniform draws.
    ///
    /// # Errors
    ///
    /// When `history` is outside [1, 10 000], or `uniform` outside (0, 1]: at 0 a step whose losses vanish is never drawn again.
    pub fn with_memory(mut self, history: usize, uniform: f64) -> Result<Self> {
        let refused = |name, value, allowed| {
            Err(Error::Parameter {
                owner: "LossAware",
                name,
                value,
                allowed,
            })
        };
        if !(1..=10_000).contains(&history) {
            return refused("history", history as f64, "between 1 and 10000");
        }
        if !(uniform > 0.0 && uniform <= 1.0) {
            return refused("uniform", uniform, "above 0 and at most 1");
        }
        (self.history, self.uniform) = (history, uniform);
        self.past().losses.iter_mut().for_each(Vec::clear);
        Ok(self)
    }

    /// The probability of each step, from the least noisy.
    #[must_use]
    pub fn probabilities(&self) -> Vec<f64> {
        let past = self.past();
        let even = 1.0 / self.steps as f64;
        if past.losses.iter().any(|losses| losses.len() < self.history) {
            return vec![even; self.steps];
        }
        let roots: Vec<f64> = past
            .losses
            .iter()
            .map(|losses| (losses.iter().map(|loss| loss * loss).sum::<f64>() / losses.len() as f64).sqrt())
            .collect();
        let total: f64 = roots.iter().sum();
        if total == 0.0 {
            return vec![even; self.steps];
        }
        roots
            .into_iter()
            .map(|root| (1.0 - self.uniform) * (root / total) + self.uniform * even)
            .collect()
    }

    /// The factor that each step's losses count by in a mean, 1/(T p_n).
    #[must_use]
    pub fn importance(&self) -> Vec<f64> {
        let steps = self.steps as f64;
        self.probabilities()
            .into_iter()
            .map(|p| 1.0 / (steps * p))
            .collect()
    }

    /// Keeps one loss of a step, from the least noisy at 0.
    ///
    /// # Errors
    ///
    /// When there is no such step, or the loss is not finite or its square overflows.
    pub fn record(&self, step: usize, loss: f64) -> Result<()> {
        self.record_all(&[(step, loss)])
    }

    /// Times and importance of shares in [0, 1].
    pub(super) fn draw(&self, schedule: &dyn Schedule, shares: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let probabilities = self.probabilities();
        let sums: Vec<f64> = probabilities
            .iter()
            .scan(0.0, |sum, p| {
                *sum += p;
                Some(*sum)
            })
            .collect();
        let total = sums.last().copied().unwrap_or(1.0);
        shares
            .iter()
            .map(|u| {
                let step = sums.partition_point(|sum| *sum <= u * total).min(self.steps - 1);
                let time = (step + 1) as f64 / self.steps as f64 * schedule.t_max();
                let p = probabilities.get(step).copied().unwrap_or(1.0);
                (time, 1.0 / (self.steps as f64 * p))
            })
            .unzip()
    }

    pub(super) fn observe(&self, schedule: &dyn Schedule, loss: &Loss) -> Result<()> {
        let losses = loss
            .per_row
            .to_device(&Device::Cpu)?
            .to_dtype(DType::F64)?
            .to_vec1::<f64>()?;
        if losses.len() != loss.levels.len() {
            return Err(tallow_denoisers::Error::Rows {
                what: "the loss per row".to_owned(),
                expected: loss.levels.len(),
                got: losses.len(),
            }
            .into());
        }
        let rows: Vec<_> = loss
            .levels
            .iter()
            .zip(losses)
            .map(|(level, loss)| {
                let node = (level.t / schedule.t_max() * self.steps as f64).round();
                // A time before the first node becomes a step that there is not.
                let step = if node >= 1.0 {
                    node as usize - 1
                } else {
                    usize::MAX
                };
                (step, loss)
            })
            .collect();
        self.record_all(&rows)
    }

    /// Keeps all of them or, where one is refused, none.
    fn record_all(&self, rows: &[(usize, f64)]) -> Result<()> {
        for (step, loss) in rows {
            let refused = |name, value, allowed| {
                Err(Error::Parameter {
                    owner: "LossAware",
                    name,
                    value,
                    allowed,
                })
            };
            if *step >= self.steps {
                return refused(
                    "a step of its table",
                    *step as f64,
                    "below the number of its steps",
                );
            }
            if !(loss * loss).is_finite() {
                return refused("a loss", *loss, "finite, as is its square");
            }
        }
        let mut past = self.past();
        for (step, loss) in rows {
            if let Some(losses) = past.losses.get_mut(*step) {
                if losses.len() >= self.history {
                    losses.remove(0);
                }
                losses.push(*loss);
            }
        }
        Ok(())
    }

    /// Losses (T, h), 0 where there is none yet, and how many there are of each step, (T,).
    pub(super) fn state(&self) -> Result<BTreeMap<String, Tensor>> {
        let past = self.past();
        let mut losses = Vec::with_capacity(self.steps * self.history);
        for kept in &past.losses {
            losses.extend_from_slice(kept);
            losses.resize(losses.len() + self.history - kept.len(), 0.0);
        }
        let counts: Vec<u32> = past.losses.iter().map(|kept| kept.len() as u32).collect();
        Ok(BTreeMap::from([
            (
                LOSSES.to_owned(),
                Tensor::from_vec(losses, (self.steps, self.history), &Device::Cpu)?,
            ),
            (COUNTS.to_owned(), Tensor::new(counts, &Device::Cpu)?),
        ]))
    }

    pub(super) fn restore(&self, state: &BTreeMap<String, Tensor>) -> Result<()> {
        if let Some(name) = state
            .keys()
            .find(|name| ![LOSSES, COUNTS].contains(&name.as_str()))
        {
            return Err(wrong(name, "is not of loss-aware sampling".to_owned()));
        }
        let losses = tensor(state, LOSSES, &[self.steps, self.history])?
            .to_dtype(DType::F64)?
            .to_vec2::<f64>()?;
        let counts = tensor(state, COUNTS, &[self.steps])?
            .to_dtype(DType::U32)?
            .to_vec1::<u32>()?;
        let mut restored = Vec::with_capacity(self.steps);
        for (mut losses, count) in losses.into_iter().zip(counts) {
            if count as usize > self.history {
                let problem = format!("says {count} losses of a step, the history is {}", self.history);
                return Err(wrong(COUNTS, problem));
            }
            losses.truncate(count as usize);
            if let Some(loss) = losses.iter().find(|loss| !(*loss * *loss).is_finite()) {
                return Err(wrong(LOSSES, format!("holds the loss {loss}")));
            }
            restored.push(losses);
        }
        self.past().losses = restored;
        Ok(())
    }

    /// What was learned; a panic elsewhere cannot have left it half written.
    fn past(&self) -> MutexGuard<'_, Past> {
        self.past.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn tensor(state: &BTreeMap<String, Tensor>, name: &str, dims: &[usize]) -> Result<Tensor> {
    let found = state
        .get(name)
        .ok_or_else(|| wrong(name, "is missing".to_owned()))?;
    if found.dims() != dims {
        let problem = format!("has the shape {:?}, expected {dims:?}", found.dims());
        return Err(wrong(name, problem));
    }
    Ok(found.to_device(&Device::Cpu)?)
}

fn wrong(name: &str, problem: String) -> Error {
    Error::State {
        name: name.to_owned(),
        problem,
    }
}

#[cfg(test)]
#[path = "loss_aware_tests.rs"]
mod tests;
