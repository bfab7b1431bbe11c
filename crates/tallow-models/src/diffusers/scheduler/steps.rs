//! Which times a scheduler of a table visits.
//!
//! Where diffusers derives the step before the last from ⌊T/N⌋ alone, the next visited step is taken here, and a last
//! step between equal levels, which does nothing, is left out.

use std::sync::Arc;

use tallow_schedules::{
    Schedule, Table, TimeGrid, exponential_sigmas, karras_sigmas, leading_steps, linspace_n_plus_1_steps,
    linspace_steps, trailing_steps,
};

use super::class::Counting;
use crate::Result;

/// Which entries of the table are visited (diffusers' `timestep_spacing`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spacing {
    /// Multiples of ⌊T/N⌋, shifted by `offset`.
    Leading {
        /// `steps_offset`.
        offset: usize,
    },
    /// Evenly over the table.
    Linspace,
    /// Backwards from the last entry in strides of T/N.
    Trailing,
}

/// What is spaced (diffusers' `use_karras_sigmas` and its kin).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpacedIn {
    /// The entries of the table.
    Steps,
    /// σ^{1/7}, as in EDM.
    Karras,
    /// ln σ.
    LogSigma,
}

/// Where the last step ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// At the data.
    Clean,
    /// At the first entry of the table.
    FirstEntry,
}

/// The visited steps of a table.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct TableSteps {
    pub(super) table: Arc<Table>,
    pub(super) counting: Counting,
    pub(super) spacing: Spacing,
    pub(super) spaced_in: SpacedIn,
    pub(super) end: End,
    /// Entries from the first that may be visited.
    pub(super) visited: usize,
    /// σ/α at the ends, where the configuration fixes them.
    pub(super) sigma_min: Option<f64>,
    pub(super) sigma_max: Option<f64>,
}

impl TableSteps {
    /// The grid of `count` steps.
    pub(super) fn grid(&self, count: usize) -> Result<TimeGrid> {
        let mut times = match self.spaced_in {
            SpacedIn::Steps => self.spaced(count)?,
            SpacedIn::Karras | SpacedIn::LogSigma => self.levels(count)?,
        };
        let end = match self.end {
            End::Clean => 0.0,
            End::FirstEntry => self.table.time_of_index(0),
        };
        // Levels are found again to rounding, entries exactly.
        times.retain(|&time| time > end * (1.0 + 1e-9));
        times.push(end);
        Ok(TimeGrid::new(self.table.clone(), times)?)
    }

    /// Times of steps spaced in the table.
    fn spaced(&self, count: usize) -> Result<Vec<f64>> {
        let (all, length) = (self.table.len(), self.visited);
        if self.counting == Counting::Places && self.spacing == Spacing::Linspace && count > 1 {
            let last = (length - 1) as f64;
            let place = |k: usize| last - last * k as f64 / (count - 1) as f64;
            return Ok((0..count).map(|k| (place(k) + 1.0) / all as f64).collect());
        }
        let steps = match (self.spacing, self.counting) {
            (Spacing::Linspace, Counting::OneMore) => linspace_n_plus_1_steps(length, count)?,
            (Spacing::Linspace, _) if count == 1 => vec![0],
            (Spacing::Linspace, _) => linspace_steps(length, count)?,
            (Spacing::Leading { offset }, Counting::OneMore) => {
                let mut steps = leading_steps(length, count.saturating_add(1), offset)?;
                steps.truncate(count);
                steps
            }
            (Spacing::Leading { offset }, _) => leading_steps(length, count, offset)?,
            (Spacing::Trailing, _) => self.trailing(count)?,
        };
        Ok(steps
            .into_iter()
            .map(|step| self.table.time_of_index(step))
            .collect())
    }

    /// Strides of the whole table, backwards from the last entry that may be visited.
    fn trailing(&self, count: usize) -> Result<Vec<usize>> {
        let (all, last) = (self.table.len(), self.visited);
        let steps = trailing_steps(all, count)?;
        if last == all {
            return Ok(steps);
        }
        let stride = all as f64 / count as f64;
        let places = (0..count).map(|k| last as f64 - k as f64 * stride);
        let places = places.take_while(|&place| place > 0.0);
        Ok(places
            .map(|place| (place.round_ties_even() as usize).saturating_sub(1))
            .collect())
    }

    /// Times of levels spaced in σ.
    fn levels(&self, count: usize) -> Result<Vec<f64>> {
        let (first, last) = match self.counting {
            Counting::Places => {
                let times = self.spaced(count)?;
                (
                    times.last().copied().unwrap_or(1.0),
                    times.first().copied().unwrap_or(1.0),
                )
            }
            _ => (self.table.time_of_index(0), 1.0),
        };
        let sigma = |time: f64| (-self.table.lambda(time)).exp();
        let low = self.sigma_min.unwrap_or_else(|| sigma(first));
        let high = self.sigma_max.unwrap_or_else(|| sigma(last));
        let mut sigmas = match self.spaced_in {
            SpacedIn::Karras => karras_sigmas(low, high, 7.0, count)?,
            SpacedIn::Steps | SpacedIn::LogSigma => exponential_sigmas(low, high, count)?,
        };
        sigmas.pop();
        let grid = TimeGrid::of_noise_levels(self.table.clone(), &sigmas)?;
        let times = grid.times();
        Ok(times.get(..count).unwrap_or(times).to_vec())
    }
}
