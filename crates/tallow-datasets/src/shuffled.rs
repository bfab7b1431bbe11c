//! Epochs: every row once, in an order that the seed and the epoch's number decide.

use std::collections::BTreeMap;

use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tallow_denoisers::{Batch, Batches};

use crate::{Error, Result, Rows, TensorDataset};

/// Where a [`Shuffled`] is: all that a checkpoint has to keep of it, with the seed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// How many epochs are behind.
    pub epoch: u64,
    /// How many rows of this epoch are behind.
    pub row: usize,
}

/// What becomes of the rows that are left over when an epoch is not a whole number of batches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LastBatch {
    /// A batch that is smaller.
    #[default]
    Partial,
    /// Nothing in this epoch: every batch has the same size, and another epoch leaves out others.
    Dropped,
}

/// Batches without replacement: each epoch holds every row once, its last batch what is left over.
///
/// As an iterator it never ends; [`Shuffled::position`] tells where an epoch does. The order of an epoch depends on the
/// seed and its number alone, so a position restores a run without repeating it.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use tallow_datasets::{Shuffled, TensorDataset};
///
/// let data = TensorDataset::new(&Tensor::arange(0f32, 10.0, &Device::Cpu)?)?;
/// let mut batches = Shuffled::new(data, 4, 1)?;
/// let mut sizes = Vec::new();
/// for batch in batches.by_ref().take(3) {
///     sizes.push(batch?.rows()?);
/// }
/// assert_eq!(sizes, [4, 4, 2]);
/// assert_eq!(batches.position().epoch, 1);
/// # Ok::<(), tallow_datasets::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Shuffled<D = TensorDataset> {
    data: D,
    batch: usize,
    seed: u64,
    position: Position,
    last: LastBatch,
    order: Vec<u32>,
}

impl<D: Rows> Shuffled<D> {
    /// Goes through `data` in batches of `batch` rows, or all rows where there are fewer.
    ///
    /// # Errors
    ///
    /// When `batch` is 0, there is no row, or there are more than 32 bits can count.
    pub fn new(data: D, batch: usize, seed: u64) -> Result<Self> {
        if batch == 0 {
            let (name, value, allowed) = ("batch", 0.0, "of at least 1");
            return Err(Error::Parameter {
                owner: "Shuffled",
                name,
                value,
                allowed,
            });
        }
        match data.rows() {
            0 => return Err(Error::Empty { shape: vec![0] }),
            rows if u32::try_from(rows).is_err() => return Err(Error::TooManyRows { rows }),
            _ => {}
        }
        let order = order(data.rows(), seed, 0);
        Ok(Self {
            data,
            batch,
            seed,
            position: Position::default(),
            last: LastBatch::default(),
            order,
        })
    }

    /// The same from its start, with or without a smaller batch at the end of an epoch.
    ///
    /// # Errors
    ///
    /// When no batch would be left, because there are fewer rows than one has.
    pub fn with_last_batch(mut self, last: LastBatch) -> Result<Self> {
        if last == LastBatch::Dropped && self.order.len() < self.batch {
            return Err(Error::Parameter {
                owner: "Shuffled without partial batches",
                name: "batch",
                value: self.batch as f64,
                allowed: "of at most the number of rows",
            });
        }
        self.last = last;
        self.seek(Position::default())?;
        Ok(self)
    }

    /// How many batches an epoch has.
    #[must_use]
    pub fn batches_per_epoch(&self) -> usize {
        self.rows_per_epoch().div_ceil(self.batch)
    }

    /// The rows of an epoch that are in a batch.
    fn rows_per_epoch(&self) -> usize {
        match self.last {
            LastBatch::Partial => self.order.len(),
            LastBatch::Dropped => self.order.len() / self.batch * self.batch,
        }
    }

    /// The seed of the orders.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Where the next batch starts; at row 0 of the next epoch once one is through.
    #[must_use]
    pub fn position(&self) -> Position {
        self.position
    }

    /// Goes to a position that [`Shuffled::position`] gave, of the same data and seed.
    ///
    /// # Errors
    ///
    /// When an epoch does not have such a row.
    pub fn seek(&mut self, position: Position) -> Result<()> {
        let rows = self.rows_per_epoch();
        if position.row >= rows {
            return Err(Error::Position {
                row: position.row,
                rows,
            });
        }
        if position.epoch != self.position.epoch {
            self.order = order(self.order.len(), self.seed, position.epoch);
        }
        self.position = position;
        Ok(())
    }

    /// The next rows of the epoch.
    ///
    /// # Errors
    ///
    /// When the tensors cannot be read.
    pub fn next_batch(&mut self) -> tallow_denoisers::Result<Batch> {
        let (from, rows) = (self.position.row, self.rows_per_epoch());
        let to = rows.min(from.saturating_add(self.batch));
        let mut rng = augmentation(self.seed, self.position);
        let batch = self.data.gather(&self.order[from..to], &mut rng)?;
        if to < rows {
            self.position.row = to;
        } else {
            self.position = Position {
                epoch: self.position.epoch.wrapping_add(1),
                row: 0,
            };
            self.order = order(self.order.len(), self.seed, self.position.epoch);
        }
        Ok(batch)
    }
}

impl<D: Rows> Iterator for Shuffled<D> {
    type Item = tallow_denoisers::Result<Batch>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.next_batch())
    }
}

impl<D: Rows> Batches for Shuffled<D> {
    fn next_batch(&mut self) -> tallow_denoisers::Result<Batch> {
        Self::next_batch(self)
    }

    fn position(&self) -> BTreeMap<String, u128> {
        let named = [
            ("epoch", u128::from(self.position.epoch)),
            ("row", self.position.row as u128),
            ("batch", self.batch as u128),
            ("rows", self.order.len() as u128),
            ("seed", u128::from(self.seed)),
        ];
        let data = self.data.fingerprint().map(|data| ("data", u128::from(data)));
        let dropped = (self.last == LastBatch::Dropped).then_some(("dropped", 1));
        let named = named.into_iter().chain(data).chain(dropped);
        named.map(|(name, value)| (name.to_owned(), value)).collect()
    }

    fn seek(&mut self, position: &BTreeMap<String, u128>) -> tallow_denoisers::Result<()> {
        let here = Batches::position(self);
        let differs = |name| tallow_denoisers::Error::Position {
            name,
            saved: position.get(name).copied(),
            here: here.get(name).copied(),
        };
        for name in ["batch", "rows", "seed", "data", "dropped"] {
            if position.get(name) != here.get(name) {
                return Err(differs(name));
            }
        }
        let number = |name| position.get(name).copied().ok_or_else(|| differs(name));
        let (epoch, row) = (number("epoch")?, number("row")?);
        let position = Position {
            epoch: u64::try_from(epoch).map_err(|_| differs("epoch"))?,
            row: usize::try_from(row).map_err(|_| differs("row"))?,
        };
        Self::seek(self, position).map_err(|_| differs("row"))
    }
}

/// A uniform permutation, by Fisher and Yates, from the stream of an epoch.
pub(crate) fn order(rows: usize, seed: u64, epoch: u64) -> Vec<u32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(epoch);
    let mut order: Vec<u32> = (0..rows as u32).collect();
    for last in (1..rows).rev() {
        // The upper half of a product of 128 bits is below last + 1, and uniform to 2⁻³².
        let other = (u128::from(rng.next_u64()) * (last as u128 + 1)) >> 64;
        order.swap(last, other as usize);
    }
    order
}

/// Where the random choices of the rows from a position on stand: one number of 64 bits each, in a stream that no order has,
/// so that they depend on the place of a row in its epoch and not on the size of a batch.
fn augmentation(seed: u64, position: Position) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(!position.epoch);
    rng.set_word_pos(2 * position.row as u128);
    rng
}

#[cfg(test)]
#[path = "shuffled_tests.rs"]
mod tests;
