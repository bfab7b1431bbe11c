//! What one part of a training run keeps: tensors and whole numbers, by name.

use std::collections::BTreeMap;

use candle_core::Tensor;

use crate::{Error, Result};

/// The state of one part of a run: the weights, an average, the optimiser, a generator.
///
/// Tensors keep every bit; numbers are whole, so that no text has to round them.
#[derive(Clone, Debug, Default)]
pub struct Part {
    /// Tensors by name.
    pub tensors: BTreeMap<String, Tensor>,
    /// Counters and positions by name.
    pub counts: BTreeMap<String, u128>,
}

impl Part {
    /// A part of tensors alone.
    #[must_use]
    pub fn of_tensors(tensors: BTreeMap<String, Tensor>) -> Self {
        Self {
            tensors,
            counts: BTreeMap::new(),
        }
    }

    /// A part of one number alone: the position of a generator.
    #[must_use]
    pub fn of_count(name: &str, count: u128) -> Self {
        Self::default().with_count(name, count)
    }

    /// The same with a number more.
    #[must_use]
    pub fn with_count(mut self, name: &str, count: impl Into<u128>) -> Self {
        self.counts.insert(name.to_owned(), count.into());
        self
    }
}

impl Part {
    /// A number that must be there, as one of 64 bits; `part` is named in the error.
    pub(crate) fn number(&self, part: &str, name: &str) -> Result<u64> {
        let problem = match self.counts.get(name) {
            None => format!("has no number {name:?}"),
            Some(count) => match u64::try_from(*count) {
                Ok(count) => return Ok(count),
                Err(_) => format!("has {name:?} = {count}, which is too large"),
            },
        };
        Err(Error::PartContent {
            part: part.to_owned(),
            problem,
        })
    }
}
