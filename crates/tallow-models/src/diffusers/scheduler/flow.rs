//! Which times a scheduler of rectified flow visits, and how they are shifted.

use std::sync::Arc;

use tallow_schedules::{RectifiedFlow, TimeGrid, flow_shift_of_sequence, shift_time};

use crate::Result;

/// How far times are shifted towards the noise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FlowShift {
    /// By a factor.
    Fixed(f64),
    /// By a factor that grows with the length of the sequence, through (length, μ) at `low` and `high`.
    OfSequence {
        /// The shorter length and its μ.
        low: (f64, f64),
        /// The longer length and its μ.
        high: (f64, f64),
        /// Whether the factor is e^μ or μ.
        rise: FlowRise,
    },
}

/// What becomes of μ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowRise {
    /// The factor e^μ.
    Exponential,
    /// The factor μ.
    Linear,
}

/// Even times before the shift.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FlowBase {
    /// N from the noise to the least trained time, which is shifted already: twice in all.
    BothEnds,
    /// N + 1 from just below the noise to the data, which is left out.
    BelowNoise,
    /// N + 1 from the noise to the least trained time, which is left out.
    AboveData,
}

/// The visited times of a flow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct FlowSteps {
    /// T of `num_train_timesteps`.
    pub(super) trained: usize,
    pub(super) shift: FlowShift,
    pub(super) base: FlowBase,
}

impl FlowShift {
    /// The factor for a sequence of `tokens`; a fixed one does not ask.
    pub(super) fn factor(&self, tokens: usize) -> Result<f64> {
        match *self {
            Self::Fixed(shift) => Ok(shift),
            Self::OfSequence { low, high, rise } => {
                let factor = flow_shift_of_sequence(tokens as f64, low, high)?;
                Ok(match rise {
                    FlowRise::Exponential => factor,
                    FlowRise::Linear => factor.ln(),
                })
            }
        }
    }
}

impl FlowSteps {
    /// The grid of `count` steps for a sequence of `tokens`.
    pub(super) fn grid(&self, count: usize, tokens: usize) -> Result<TimeGrid> {
        let shift = self.shift.factor(tokens)?;
        // Refuses counts that make no grid.
        let even = TimeGrid::uniform(Arc::new(RectifiedFlow::default()), count)?;
        let least = 1.0 / self.trained as f64;
        let fallen = |k: usize, parts: usize| k as f64 / parts.max(1) as f64;
        let base = |k: usize| match self.base {
            FlowBase::BothEnds => {
                let last = match self.shift {
                    FlowShift::Fixed(shift) => shift_time(least, shift)?,
                    FlowShift::OfSequence { .. } => least,
                };
                Ok(1.0 - (1.0 - last) * fallen(k, count - 1))
            }
            FlowBase::BelowNoise => Ok((1.0 - least) * fallen(count - k, count)),
            FlowBase::AboveData => Ok(1.0 - (1.0 - least) * fallen(k, count)),
        };
        let shifted = (0..count).map(|k| base(k).and_then(|time| shift_time(time, shift)));
        let mut times = shifted.collect::<tallow_schedules::Result<Vec<f64>>>()?;
        times.push(0.0);
        Ok(TimeGrid::new(even.schedule().clone(), times)?)
    }
}
