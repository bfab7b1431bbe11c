//! Batches in an order that can be left and found again: what a training loop draws from.

use std::collections::BTreeMap;

use rand::RngCore;

use crate::{Batch, Dataset, Error, Result, Seeded};

/// An endless run of batches whose place is told by a few numbers, so that a checkpoint can keep it.
///
/// [`Drawn`] draws independent rows of any [`Dataset`]; epochs without replacement are `tallow_datasets::Shuffled`.
pub trait Batches: std::fmt::Debug + Send {
    /// The next batch, on the CPU.
    ///
    /// # Errors
    ///
    /// When the data cannot be read.
    fn next_batch(&mut self) -> Result<Batch>;

    /// Where the next batch starts, by name, and what must be the same for that place to mean the same.
    fn position(&self) -> BTreeMap<String, u128>;

    /// Goes to a [`position`](Self::position).
    ///
    /// # Errors
    ///
    /// When it is one of other data or another seed; the place is then as it was.
    fn seek(&mut self, position: &BTreeMap<String, u128>) -> Result<()>;
}

impl<B: Batches + ?Sized> Batches for Box<B> {
    fn next_batch(&mut self) -> Result<Batch> {
        (**self).next_batch()
    }

    fn position(&self) -> BTreeMap<String, u128> {
        (**self).position()
    }

    fn seek(&mut self, position: &BTreeMap<String, u128>) -> Result<()> {
        (**self).seek(position)
    }
}

/// Batches of independent draws from a data set.
///
/// ```
/// use tallow_denoisers::{Batches, Drawn, Seeded};
/// # use tallow_denoisers::{Batch, Dataset, Result, normals};
/// # #[derive(Debug)]
/// # struct Line;
/// # impl Dataset for Line {
/// #     fn item_shape(&self) -> &[usize] { &[1] }
/// #     fn draw(&self, count: usize, rng: &mut dyn rand::RngCore) -> Result<Batch> {
/// #         Ok(Batch::new(candle_core::Tensor::from_vec(normals(count, rng), (count, 1), &candle_core::Device::Cpu)?))
/// #     }
/// # }
/// let mut batches = Drawn::new(Line, 4, Seeded::stream(7, 0))?;
/// let place = batches.position();
/// let first = batches.next_batch()?.x0.to_vec2::<f64>()?;
/// batches.seek(&place)?;
/// assert_eq!(batches.next_batch()?.x0.to_vec2::<f64>()?, first);
/// # Ok::<(), tallow_denoisers::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Drawn<D> {
    data: D,
    rows: usize,
    rng: Seeded,
}

impl<D: Dataset> Drawn<D> {
    /// Batches of `rows` draws from a stream of one's own.
    ///
    /// # Errors
    ///
    /// When `rows` is 0.
    pub fn new(data: D, rows: usize, rng: Seeded) -> Result<Self> {
        if rows == 0 {
            return Err(Error::EmptyBatch {
                what: "a training step",
            });
        }
        Ok(Self { data, rows, rng })
    }
}

impl<D: Dataset> Batches for Drawn<D> {
    fn next_batch(&mut self) -> Result<Batch> {
        self.data.draw(self.rows, &mut self.rng)
    }

    fn position(&self) -> BTreeMap<String, u128> {
        BTreeMap::from([
            ("position".to_owned(), self.rng.position()),
            ("rows".to_owned(), self.rows as u128),
            ("stream".to_owned(), first_word(&self.rng)),
        ])
    }

    fn seek(&mut self, position: &BTreeMap<String, u128>) -> Result<()> {
        let here = self.position();
        for name in ["rows", "stream"] {
            if position.get(name) != here.get(name) {
                return Err(Error::Position {
                    name,
                    saved: position.get(name).copied(),
                    here: here.get(name).copied(),
                });
            }
        }
        let place = position.get("position").copied();
        self.rng.seek(place.ok_or(Error::Position {
            name: "position",
            saved: None,
            here: here.get("position").copied(),
        })?);
        Ok(())
    }
}

/// The first number of a stream: tells streams of other seeds apart.
fn first_word(rng: &Seeded) -> u128 {
    let mut start = rng.clone();
    start.seek(0);
    u128::from(start.next_u64())
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor};

    use super::*;
    use crate::normals;

    #[derive(Debug)]
    struct Line;

    impl Dataset for Line {
        fn item_shape(&self) -> &[usize] {
            &[1]
        }

        fn draw(&self, count: usize, rng: &mut dyn RngCore) -> Result<Batch> {
            let values = Tensor::from_vec(normals(count, rng), (count, 1), &Device::Cpu)?;
            Ok(Batch::new(values))
        }
    }

    fn values(batches: &mut Drawn<Line>) -> Vec<Vec<f64>> {
        batches.next_batch().unwrap().x0.to_vec2().unwrap()
    }

    #[test]
    fn a_position_finds_the_same_batches_again() {
        let of = |rows, seed| Drawn::new(Line, rows, Seeded::stream(seed, 0)).unwrap();
        let mut batches = of(3, 1);
        values(&mut batches);
        let position = batches.position();
        let next = [values(&mut batches), values(&mut batches)];
        let mut other = of(3, 1);
        other.seek(&position).unwrap();
        assert_eq!([values(&mut other), values(&mut other)], next);

        // Not with another seed or size, which leaves the place as it was.
        for mut other in [of(3, 2), of(4, 1)] {
            let before = other.position();
            assert!(matches!(other.seek(&position), Err(Error::Position { .. })));
            assert_eq!(other.position(), before);
        }
        assert!(batches.seek(&BTreeMap::new()).is_err());
        assert!(Drawn::new(Line, 0, Seeded::new(1)).is_err());
    }
}
