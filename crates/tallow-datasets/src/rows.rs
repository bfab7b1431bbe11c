//! Data whose rows have numbers.

use rand::RngCore;
use tallow_denoisers::{Batch, Result};

/// Rows that can be asked for by their number: what [`Shuffled`](crate::Shuffled) goes through in epochs.
pub trait Rows: std::fmt::Debug + Send + Sync {
    /// How many there are; fewer than 2³².
    fn rows(&self) -> usize;

    /// The rows of some numbers, in their order. What is random about a row (a mirrored image) is decided by one number of
    /// 64 bits from `rng` for each of them, or by none.
    ///
    /// # Errors
    ///
    /// When there is no number, or one is not that of a row.
    fn gather(&self, rows: &[u32], rng: &mut dyn RngCore) -> Result<Batch>;

    /// A number that other data would not have, kept with a place in it; `None` where there is none at hand.
    fn fingerprint(&self) -> Option<u64> {
        None
    }
}
