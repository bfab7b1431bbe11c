//! One generator for each row: a batch of four is four batches of one, bit for bit.

use candle_core::Tensor;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::{Noise, like_of, normals};
use crate::{Error, Result};

/// One ChaCha8 stream for each row, so that a sample does not depend on the batch it is drawn in.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use tallow_denoisers::{Noise, PerSample};
///
/// let like = |rows: usize| Tensor::zeros((rows, 3), DType::F32, &Device::Cpu);
/// let four = PerSample::new(7, 4).fresh(&like(4)?)?;
/// let third = PerSample::starting_at(7, 2, 1).fresh(&like(1)?)?;
/// assert_eq!(four.get(2)?.to_vec1::<f32>()?, third.get(0)?.to_vec1::<f32>()?);
/// # Ok::<(), tallow_denoisers::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct PerSample {
    rows: Vec<ChaCha8Rng>,
}

impl PerSample {
    /// The streams of samples 0 to `rows` − 1 of a seed.
    #[must_use]
    pub fn new(seed: u64, rows: usize) -> Self {
        Self::starting_at(seed, 0, rows)
    }

    /// The streams of the samples `first` to `first + rows − 1` of a seed: a later part of the same set.
    #[must_use]
    pub fn starting_at(seed: u64, first: u64, rows: usize) -> Self {
        let rows = (0..rows as u64)
            .map(|row| {
                let mut rng = ChaCha8Rng::seed_from_u64(seed);
                rng.set_stream(first.wrapping_add(row));
                rng
            })
            .collect();
        Self { rows }
    }
}

impl Noise for PerSample {
    fn increment(&mut self, like: &Tensor, _from_lambda: f64, _to_lambda: f64) -> Result<Tensor> {
        self.fresh(like)
    }

    fn fresh(&mut self, like: &Tensor) -> Result<Tensor> {
        let count = row_count("PerSample noise", like, self.rows.len())?;
        let values = self.rows.iter_mut().flat_map(|rng| normals(count, rng)).collect();
        like_of(values, like)
    }
}

/// Elements of a row of `like`; refuses another number of rows than `rows`.
pub(super) fn row_count(what: &str, like: &Tensor, rows: usize) -> Result<usize> {
    let got = like
        .dims()
        .first()
        .copied()
        .ok_or_else(|| Error::NoRows { what: "x".to_owned() })?;
    if got != rows {
        return Err(Error::Rows {
            what: what.to_owned(),
            expected: got,
            got: rows,
        });
    }
    Ok(like.dims()[1..].iter().product())
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::*;

    #[test]
    fn a_batch_of_seven_is_seven_batches_of_one() {
        let like = |rows: usize| Tensor::zeros((rows, 3), DType::F32, &Device::Cpu).unwrap();
        let mut together = PerSample::new(9, 7);
        let mut alone: Vec<_> = (0..7).map(|row| PerSample::starting_at(9, row, 1)).collect();
        for _ in 0..2 {
            let batch = together.fresh(&like(7)).unwrap().to_vec2::<f32>().unwrap();
            for (row, noise) in batch.iter().zip(&mut alone) {
                assert_eq!(*row, noise.fresh(&like(1)).unwrap().to_vec2::<f32>().unwrap()[0]);
            }
        }
    }

    #[test]
    fn another_number_of_rows_is_refused() {
        let like = Tensor::zeros((3, 2), DType::F32, &Device::Cpu).unwrap();
        let error = PerSample::new(0, 4).fresh(&like).unwrap_err().to_string();
        assert!(error.contains("has 4 rows, the batch has 3"), "{error}");
    }
}
