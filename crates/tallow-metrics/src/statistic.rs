//! Two ways to average over the pairs of one sample.

use crate::{Error, Points, Result};

/// How the mean over pairs of points of one cloud is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Statistic {
    /// Over all n² pairs, a point with itself among them: never negative, biased upwards by O(1/n).
    V,
    /// Over the n(n − 1) pairs of two points: unbiased, and below zero by chance when the clouds agree.
    U,
}

impl Statistic {
    /// The number of pairs in a cloud of `count`.
    pub(crate) fn pairs(self, count: usize) -> f64 {
        match self {
            Self::V => (count as f64).powi(2),
            Self::U => count as f64 * (count as f64 - 1.0),
        }
    }

    /// Refuses clouds without a pair.
    pub(crate) fn check(self, x: &Points<'_>, y: &Points<'_>) -> Result<()> {
        let count = x.count().min(y.count());
        if self == Self::U && count < 2 {
            Err(Error::TooFew { count })
        } else {
            Ok(())
        }
    }
}
