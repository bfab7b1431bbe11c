//! Data that somebody already has: the rows of a tensor.

use candle_core::{DType, Device, Tensor};
use rand::RngCore;
use tallow_denoisers::{Batch, Condition, Dataset, uniforms};

use crate::points::choice;
use crate::{Error, Result, Rows};

/// The rows of a tensor, drawn uniformly with replacement; [`Shuffled`](crate::Shuffled) goes through them in epochs.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use rand::SeedableRng;
/// use tallow_datasets::{Dataset, TensorDataset};
///
/// let images = Tensor::zeros((10, 1, 8, 8), candle_core::DType::F32, &Device::Cpu)?;
/// let labels = Tensor::arange(0u32, 10, &Device::Cpu)?;
/// let data = TensorDataset::new(&images)?.with_labels(&labels)?;
/// let batch = data.draw(32, &mut rand_chacha::ChaCha8Rng::seed_from_u64(1))?;
/// assert_eq!(batch.x0.dims(), [32, 1, 8, 8]);
/// assert_eq!(batch.condition.tensor("labels")?.dims(), [32]);
/// # Ok::<(), tallow_datasets::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct TensorDataset {
    data: Tensor,
    condition: Condition,
}

impl TensorDataset {
    /// The rows of `data`, (N, …) of any float type on any device; kept as f32 on the CPU.
    ///
    /// # Errors
    ///
    /// When there is no row, a row is empty, N does not fit 32 bits, or an element is not finite.
    pub fn new(data: &Tensor) -> Result<Self> {
        let empty = || Error::Empty {
            shape: data.dims().to_vec(),
        };
        let rows = *data.dims().first().ok_or_else(empty)?;
        if data.elem_count() == 0 {
            return Err(empty());
        }
        if u32::try_from(rows).is_err() {
            return Err(Error::TooManyRows { rows });
        }
        let data = data
            .to_device(&Device::Cpu)?
            .to_dtype(DType::F32)?
            .contiguous()?
            .detach();
        let per_row = data.elem_count() / rows;
        let values: Vec<f32> = data.flatten_all()?.to_vec1()?;
        if let Some(index) = values.iter().position(|value| !value.is_finite()) {
            let (row, value) = (index / per_row, values[index]);
            return Err(Error::NotFinite {
                row,
                index: index % per_row,
                value,
            });
        }
        Ok(Self {
            data,
            condition: Condition::none(),
        })
    }

    /// The same with a class label for each row: (N,) of u8, u32 or i64, kept as u32.
    ///
    /// # Errors
    ///
    /// When the labels are not one integer for each row, or one is negative or above 2³² − 1.
    pub fn with_labels(self, labels: &Tensor) -> Result<Self> {
        let integer = matches!(labels.dtype(), DType::U8 | DType::U32 | DType::I64);
        if !integer || labels.dims() != [self.rows()] {
            let (dtype, shape) = (labels.dtype(), labels.dims().to_vec());
            return Err(Error::Labels {
                dtype,
                shape,
                rows: self.rows(),
            });
        }
        let wide: Vec<i64> = labels.to_device(&Device::Cpu)?.to_dtype(DType::I64)?.to_vec1()?;
        let label = |label: &i64| {
            let (name, value, allowed) = ("labels", *label as f64, "between 0 and 4294967295");
            u32::try_from(*label).map_err(|_| Error::Parameter {
                owner: "TensorDataset",
                name,
                value,
                allowed,
            })
        };
        let labels = wide.iter().map(label).collect::<Result<Vec<_>>>()?;
        let rows = labels.len();
        let labels = Tensor::from_vec(labels, rows, &Device::Cpu)?;
        let condition = self.condition.clone().with(tallow_denoisers::LABELS, labels);
        self.with_condition(&condition)
    }

    /// The same with everything that is known of each row, one row for each; takes the place of labels given before.
    ///
    /// # Errors
    ///
    /// When a tensor does not have one row for each row of the data.
    pub fn with_condition(self, condition: &Condition) -> Result<Self> {
        let batch = Batch::new(self.data).with_condition(condition.to_device(&Device::Cpu)?)?;
        Ok(Self {
            data: batch.x0,
            condition: batch.condition,
        })
    }

    /// How many rows there are.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.data.dims().first().copied().unwrap_or(0)
    }

    /// All rows, (N, …) in f32 on the CPU.
    #[must_use]
    pub fn data(&self) -> &Tensor {
        &self.data
    }

    /// The rows of some numbers, in their order, with their condition.
    ///
    /// # Errors
    ///
    /// When there is no number, or one is not that of a row.
    pub fn select(&self, rows: &[u32]) -> tallow_denoisers::Result<Batch> {
        if rows.is_empty() {
            return Err(tallow_denoisers::Error::EmptyBatch {
                what: "a draw of a tensor's rows",
            });
        }
        let rows = Tensor::new(rows, &Device::Cpu)?;
        Batch::new(self.data.index_select(&rows, 0)?).with_condition(self.condition.select(&rows)?)
    }
}

impl Dataset for TensorDataset {
    fn item_shape(&self) -> &[usize] {
        self.data.dims().get(1..).unwrap_or_default()
    }

    fn draw(&self, count: usize, rng: &mut dyn RngCore) -> tallow_denoisers::Result<Batch> {
        let row = |u: f64| choice(u, self.rows()) as u32;
        self.select(&uniforms(count, rng).into_iter().map(row).collect::<Vec<_>>())
    }
}

impl Rows for TensorDataset {
    fn rows(&self) -> usize {
        Self::rows(self)
    }

    fn gather(&self, rows: &[u32], _rng: &mut dyn RngCore) -> tallow_denoisers::Result<Batch> {
        self.select(rows)
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use tallow_denoisers::LABELS;

    use super::*;

    /// Row i is (2i, 2i + 1), its label i + 100.
    fn numbered(rows: u32) -> TensorDataset {
        let data = Tensor::arange(0.0, 2.0 * f64::from(rows), &Device::Cpu).unwrap();
        let labels = Tensor::arange(100i64, 100 + i64::from(rows), &Device::Cpu).unwrap();
        let data = data.reshape((rows as usize, 2)).unwrap();
        TensorDataset::new(&data).unwrap().with_labels(&labels).unwrap()
    }

    #[test]
    fn draws_are_uniform_rows_with_their_own_label() {
        let data = numbered(10);
        let batch = data.draw(20_000, &mut ChaCha8Rng::seed_from_u64(1)).unwrap();
        let rows = batch.x0.to_vec2::<f32>().unwrap();
        let labels = batch.condition.tensor(LABELS).unwrap().to_vec1::<u32>().unwrap();
        let mut counts = [0_u32; 10];
        for (row, label) in rows.iter().zip(labels) {
            let index = (label - 100) as usize;
            assert_eq!(row, &[2.0 * index as f32, 2.0 * index as f32 + 1.0]);
            counts[index] += 1;
        }
        // Standard deviation of a count: √(20000 · 0.09) = 42. Five of them.
        assert!(
            counts.iter().all(|count| count.abs_diff(2000) < 212),
            "{counts:?}"
        );
    }

    #[test]
    fn a_seed_gives_the_same_rows() {
        let draw = |seed| {
            let batch = numbered(50)
                .draw(20, &mut ChaCha8Rng::seed_from_u64(seed))
                .unwrap();
            batch.x0.to_vec2::<f32>().unwrap()
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }

    #[test]
    fn what_is_no_data_is_refused() {
        let new =
            |shape: &[usize]| TensorDataset::new(&Tensor::zeros(shape, DType::F64, &Device::Cpu).unwrap());
        assert!(matches!(new(&[]), Err(Error::Empty { .. })));
        assert!(matches!(new(&[0, 2]), Err(Error::Empty { .. })));
        assert!(matches!(new(&[2, 0]), Err(Error::Empty { .. })));
        assert!(new(&[2]).is_ok());
        let bad = Tensor::new(&[[0f32, 1.0], [f32::NAN, 0.0]], &Device::Cpu).unwrap();
        assert!(matches!(
            TensorDataset::new(&bad),
            Err(Error::NotFinite { row: 1, index: 0, .. })
        ));
        let data = numbered(3);
        assert!(data.draw(0, &mut ChaCha8Rng::seed_from_u64(1)).is_err());
        assert!(data.select(&[3]).is_err());
    }

    #[test]
    fn labels_must_be_one_integer_for_each_row() {
        let data = TensorDataset::new(&Tensor::zeros((3, 1), DType::F32, &Device::Cpu).unwrap()).unwrap();
        let with = |labels: Tensor| data.clone().with_labels(&labels);
        assert!(matches!(
            with(Tensor::new(&[0u32, 1], &Device::Cpu).unwrap()),
            Err(Error::Labels { .. })
        ));
        assert!(matches!(
            with(Tensor::new(&[0f32, 1.0, 2.0], &Device::Cpu).unwrap()),
            Err(Error::Labels { .. })
        ));
        assert!(matches!(
            with(Tensor::new(&[0i64, -1, 2], &Device::Cpu).unwrap()),
            Err(Error::Parameter { .. })
        ));
        assert!(with(Tensor::new(&[0u8, 1, 2], &Device::Cpu).unwrap()).is_ok());
    }
}
