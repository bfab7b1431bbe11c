//! Averages of the weights, as a training loop and a checkpoint see them.

use tallow_nn::{Ema, PostHocEma};

use crate::{Part, Result};

/// Something that follows the weights: updated after every step, kept in checkpoints.
///
/// An average that writes snapshots of its own is a wrapper of one that does so in `update`.
pub trait Average: std::fmt::Debug {
    /// Moves towards the parameters.
    ///
    /// # Errors
    ///
    /// When a parameter is not finite.
    fn update(&mut self) -> Result<()>;

    /// All that it remembers.
    ///
    /// # Errors
    ///
    /// When a tensor cannot be copied.
    fn state(&self) -> Result<Part>;

    /// Goes on from a [`state`](Self::state): all of it, or nothing is changed.
    ///
    /// # Errors
    ///
    /// When names or shapes differ.
    fn restore(&mut self, state: &Part) -> Result<()>;
}

impl<A: Average + ?Sized> Average for Box<A> {
    fn update(&mut self) -> Result<()> {
        (**self).update()
    }

    fn state(&self) -> Result<Part> {
        (**self).state()
    }

    fn restore(&mut self, state: &Part) -> Result<()> {
        (**self).restore(state)
    }
}

const UPDATES: &str = "updates";

impl Average for Ema {
    fn update(&mut self) -> Result<()> {
        Ok(Self::update(self)?)
    }

    fn state(&self) -> Result<Part> {
        Ok(Part::of_tensors(Self::state(self)?).with_count(UPDATES, self.updates()))
    }

    fn restore(&mut self, state: &Part) -> Result<()> {
        Ok(Self::restore(
            self,
            &state.tensors,
            state.number("average", UPDATES)?,
        )?)
    }
}

impl Average for PostHocEma {
    fn update(&mut self) -> Result<()> {
        Ok(Self::update(self)?)
    }

    fn state(&self) -> Result<Part> {
        Ok(Part::of_tensors(Self::state(self)?).with_count(UPDATES, self.updates()))
    }

    fn restore(&mut self, state: &Part) -> Result<()> {
        Ok(Self::restore(
            self,
            &state.tensors,
            state.number("average", UPDATES)?,
        )?)
    }
}
