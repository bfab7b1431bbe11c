//! One level for a whole batch, or one for each row.

use std::sync::Arc;

use tallow_schedules::NoiseLevel;

use crate::{Error, Result};

/// Where on the path a batch is: one level when sampling; one for each row in training targets, teachers and per-sample
/// error control.
#[derive(Clone, Copy, Debug)]
pub enum Levels<'a> {
    /// All rows at one level.
    Shared(NoiseLevel),
    /// Each row at its own.
    PerRow(&'a [NoiseLevel]),
}

impl Levels<'_> {
    /// The level of a row, if there is one.
    #[must_use]
    pub fn row(&self, index: usize) -> Option<NoiseLevel> {
        match self {
            Self::Shared(level) => Some(*level),
            Self::PerRow(levels) => levels.get(index).copied(),
        }
    }

    /// The distinct entries: one, or one for each row.
    pub fn iter(&self) -> impl Iterator<Item = NoiseLevel> {
        match self {
            Self::Shared(level) => std::slice::from_ref(level),
            Self::PerRow(levels) => levels,
        }
        .iter()
        .copied()
    }

    /// Refuses levels that are not one for each of `rows` rows.
    ///
    /// # Errors
    ///
    /// When their number differs from `rows`.
    pub fn check_rows(&self, rows: usize) -> Result<()> {
        match self {
            Self::PerRow(levels) if levels.len() != rows => Err(Error::Rows {
                what: "levels".to_owned(),
                expected: rows,
                got: levels.len(),
            }),
            _ => Ok(()),
        }
    }

    pub(crate) fn to_owned(self) -> OwnedLevels {
        match self {
            Self::Shared(level) => OwnedLevels::Shared(level),
            Self::PerRow(levels) => OwnedLevels::PerRow(levels.into()),
        }
    }
}

impl From<NoiseLevel> for Levels<'_> {
    fn from(level: NoiseLevel) -> Self {
        Self::Shared(level)
    }
}

impl<'a> From<&'a [NoiseLevel]> for Levels<'a> {
    fn from(levels: &'a [NoiseLevel]) -> Self {
        Self::PerRow(levels)
    }
}

/// Levels that an estimate keeps.
#[derive(Clone, Debug)]
pub(crate) enum OwnedLevels {
    Shared(NoiseLevel),
    PerRow(Arc<[NoiseLevel]>),
}

impl OwnedLevels {
    pub(crate) fn borrow(&self) -> Levels<'_> {
        match self {
            Self::Shared(level) => Levels::Shared(*level),
            Self::PerRow(levels) => Levels::PerRow(levels),
        }
    }
}
