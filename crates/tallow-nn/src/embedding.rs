//! A table of learned rows: labels to vectors.
//!
//! ```text
//! y[…, :] = W[label[…], :],    dW[k, :] = Σ over the labels equal to k, in their order, of dy
//! ```

use candle_core::{DType, Tensor};

use crate::error::{Error, Result};
use crate::init::Init;
use crate::scope::Scope;

/// Vectors of labels: (…) of u32 to (…, width), with PyTorch's name `weight` (count, width).
#[derive(Clone, Debug)]
pub struct Embedding {
    weight: Tensor,
    name: String,
}

impl Embedding {
    /// A table of `count` rows that starts as PyTorch's, normal with deviation 1.
    ///
    /// # Errors
    ///
    /// Those of [`Scope::parameter`].
    pub fn new(scope: &Scope<'_>, count: usize, width: usize) -> Result<Self> {
        Self::with_init(scope, count, width, Init::Normal { std: 1.0 })
    }

    /// A table that starts as `init` says.
    ///
    /// # Errors
    ///
    /// Those of [`Scope::parameter`].
    pub fn with_init(scope: &Scope<'_>, count: usize, width: usize, init: Init) -> Result<Self> {
        Ok(Self {
            weight: scope.parameter("weight", (count, width), init)?,
            name: format!("the embedding `{}`", scope.path()),
        })
    }

    /// A table of a given tensor, (count, width).
    ///
    /// # Errors
    ///
    /// When it is not of rank 2.
    pub fn from_tensor(weight: &Tensor) -> Result<Self> {
        weight.dims2()?;
        Ok(Self {
            weight: weight.contiguous()?,
            name: "an embedding".to_string(),
        })
    }

    /// The table, (count, width).
    #[must_use]
    pub fn weight(&self) -> &Tensor {
        &self.weight
    }

    /// How many labels there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.weight.dims().first().copied().unwrap_or(0)
    }

    /// Values of a row.
    #[must_use]
    pub fn width(&self) -> usize {
        self.weight.dims().last().copied().unwrap_or(0)
    }

    /// The rows of `labels`, which are u32 of any shape: (…) to (…, width).
    ///
    /// Labels do not move, so there is no tangent: [`Dual::constant`](crate::Dual::constant) of the rows is their dual.
    ///
    /// # Errors
    ///
    /// When the labels have another type or device, or one of them is not below the count; nothing is read then.
    pub fn forward(&self, labels: &Tensor) -> Result<Tensor> {
        if labels.dtype() != DType::U32 {
            return Err(Error::LabelType {
                layer: self.name.clone(),
                got: labels.dtype(),
            });
        }
        if !labels.device().same_device(self.weight.device()) {
            return Err(Error::Place {
                layer: self.name.clone(),
                wanted: self.weight.device().clone(),
                got: labels.device().clone(),
            });
        }
        let flat = labels.flatten_all()?;
        let all = flat.to_vec1::<u32>()?;
        if let Some(&label) = all.iter().find(|&&label| label as usize >= self.count()) {
            return Err(Error::Label {
                layer: self.name.clone(),
                label,
                count: self.count(),
            });
        }
        let mut dims = labels.dims().to_vec();
        dims.push(self.width());
        if all.is_empty() {
            return Ok(Tensor::zeros(dims, self.weight.dtype(), self.weight.device())?);
        }
        Ok(self.weight.index_select(&flat.contiguous()?, 0)?.reshape(dims)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parameters::Parameters;
    use crate::testing::{check_gradients, distance, numbers, random};
    use candle_core::Device;

    fn labels(values: &[u32], shape: &[usize]) -> Tensor {
        Tensor::from_slice(values, shape, &Device::Cpu).unwrap()
    }

    #[test]
    fn each_label_has_its_row_whatever_the_shape_of_the_labels() {
        let table = random((5, 3), 1);
        let embedding = Embedding::from_tensor(&table).unwrap();
        let rows = embedding.forward(&labels(&[4, 0, 2, 2, 1, 4], &[2, 3])).unwrap();
        assert_eq!(rows.dims(), [2, 3, 3]);
        for (i, label) in [4, 0, 2, 2, 1, 4].into_iter().enumerate() {
            let row = rows.get(i / 3).unwrap().get(i % 3).unwrap();
            assert_eq!(distance(&row, &table.get(label).unwrap()), 0.0);
        }
        let turned = labels(&[4, 0, 2, 2, 1, 4], &[2, 3]).t().unwrap();
        let turned = embedding.forward(&turned).unwrap();
        assert_eq!(
            distance(&turned, &rows.transpose(0, 1).unwrap().contiguous().unwrap()),
            0.0
        );
        let repeated = labels(&[3], &[1]).broadcast_as(4).unwrap();
        assert_eq!(embedding.forward(&repeated).unwrap().dims(), [4, 3]);
        assert_eq!(embedding.forward(&labels(&[], &[0])).unwrap().dims(), [0, 3]);
        assert_eq!(embedding.forward(&labels(&[1], &[])).unwrap().dims(), [3]);
    }

    #[test]
    fn gradients_are_central_differences_and_add_up_over_equal_labels() {
        let labels = labels(&[1, 3, 1, 1, 0], &[5]);
        check_gradients(&[random((4, 3), 2)], |table| {
            Embedding::from_tensor(&table[0])?.forward(&labels)
        });
        let parameters = Parameters::new(1, DType::F32, &Device::Cpu);
        let embedding = Embedding::new(&parameters.scope(), 4, 2).unwrap();
        let loss = embedding.forward(&labels).unwrap().sum_all().unwrap();
        let gradient = loss.backward().unwrap().remove(embedding.weight()).unwrap();
        assert_eq!(numbers(&gradient), [1.0, 1.0, 3.0, 3.0, 0.0, 0.0, 1.0, 1.0]);
    }

    #[test]
    fn gradients_have_the_same_bytes_every_time() {
        let parameters = Parameters::new(1, DType::F32, &Device::Cpu);
        let embedding = Embedding::new(&parameters.scope(), 7, 33).unwrap();
        let all: Vec<u32> = (0..512).map(|i| i * i % 7).collect();
        let labels = labels(&all, &[512]);
        let weights = random((512, 33), 3).to_dtype(DType::F32).unwrap();
        let gradient = || {
            let y = (embedding.forward(&labels).unwrap() * &weights).unwrap();
            y.sum_all()
                .unwrap()
                .backward()
                .unwrap()
                .remove(embedding.weight())
                .unwrap()
        };
        let first = gradient();
        // Summed one after the other, in the order of the labels.
        let mut sums = vec![0f32; 7 * 33];
        for (row, &label) in weights.to_vec2::<f32>().unwrap().iter().zip(&all) {
            for (sum, value) in sums[label as usize * 33..].iter_mut().zip(row) {
                *sum += value;
            }
        }
        assert_eq!(first.flatten_all().unwrap().to_vec1::<f32>().unwrap(), sums);
        assert_eq!(distance(&first, &gradient()), 0.0);
    }

    #[test]
    fn the_start_is_normal_with_deviation_one() {
        let parameters = Parameters::new(5, DType::F64, &Device::Cpu);
        let embedding = Embedding::new(&parameters.scope().at("labels"), 128, 128).unwrap();
        assert_eq!(parameters.names(), ["labels.weight"]);
        let variance = numbers(embedding.weight()).iter().map(|w| w * w).sum::<f64>() / 16384.0;
        // The standard error is √(2/16384) = 0.011.
        assert!((variance - 1.0).abs() < 0.04, "{variance}");
    }

    #[test]
    fn labels_that_are_none_are_named() {
        let parameters = Parameters::new(5, DType::F32, &Device::Cpu);
        let embedding = Embedding::new(&parameters.scope().at("classes"), 10, 4).unwrap();
        let message = embedding
            .forward(&labels(&[3, 11], &[2]))
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("`classes`") && message.contains("11") && message.contains("10"),
            "{message}"
        );
        assert!(embedding.forward(&labels(&[10], &[1])).is_err());
        let floats = Tensor::zeros(2, DType::F32, &Device::Cpu).unwrap();
        let message = embedding.forward(&floats).unwrap_err().to_string();
        assert!(message.contains("U32") && message.contains("F32"), "{message}");
    }
}
