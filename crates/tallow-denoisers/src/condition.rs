//! What a model is told besides x and the time: labels, text, masks, each under a name.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};

use crate::{Error, Result};

/// The name under which class labels travel.
pub const LABELS: &str = "labels";

/// An ordered map from name to tensor, one row for each row of the batch.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use tallow_denoisers::Condition;
///
/// let labels = Tensor::new(&[3u32, 7], &Device::Cpu)?;
/// let condition = Condition::labels(labels).with("mask", Tensor::ones((2, 4), candle_core::DType::F32, &Device::Cpu)?);
/// assert_eq!(condition.tensor("labels")?.dims(), [2]);
/// assert!(condition.tensor("text").is_err());
/// # Ok::<(), tallow_denoisers::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Condition {
    tensors: BTreeMap<String, Tensor>,
}

impl Condition {
    /// No condition.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Class labels, (B,) of an integer type, under the name [`LABELS`].
    #[must_use]
    pub fn labels(labels: Tensor) -> Self {
        Self::none().with(LABELS, labels)
    }

    /// The same with one more tensor, (B, …); it takes the place of one of that name.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, tensor: Tensor) -> Self {
        self.tensors.insert(name.into(), tensor);
        self
    }

    /// The tensor of a name.
    ///
    /// # Errors
    ///
    /// When there is none of that name; the error lists those there are.
    pub fn tensor(&self, name: &str) -> Result<&Tensor> {
        self.tensors.get(name).ok_or_else(|| Error::MissingCondition {
            name: name.to_owned(),
            known: if self.tensors.is_empty() {
                "none".to_owned()
            } else {
                self.tensors
                    .keys()
                    .map(String::as_str)
                    .collect::<Vec<_>>()
                    .join(", ")
            },
        })
    }

    /// Names and tensors, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.tensors.iter().map(|(name, tensor)| (name.as_str(), tensor))
    }

    /// Whether nothing is said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tensors.is_empty()
    }

    /// The same for the rows that `rows`, (N,) of u32, names.
    ///
    /// # Errors
    ///
    /// When a tensor cannot be indexed so.
    pub fn select(&self, rows: &Tensor) -> Result<Self> {
        self.map(|tensor| tensor.index_select(rows, 0))
    }

    /// The rows of `self`, then those of `other`: one condition for a doubled batch.
    ///
    /// # Errors
    ///
    /// When `other` lacks a name of `self`, or two tensors do not join.
    pub fn stacked(&self, other: &Self) -> Result<Self> {
        let mut tensors = BTreeMap::new();
        for (name, tensor) in &self.tensors {
            tensors.insert(name.clone(), Tensor::cat(&[tensor, other.tensor(name)?], 0)?);
        }
        Ok(Self { tensors })
    }

    /// The same on another device.
    ///
    /// # Errors
    ///
    /// When a tensor cannot be moved.
    pub fn to_device(&self, device: &Device) -> Result<Self> {
        self.map(|tensor| tensor.to_device(device))
    }

    /// Refuses tensors that do not have `rows` rows.
    pub(crate) fn check_rows(&self, rows: usize) -> Result<()> {
        for (name, tensor) in &self.tensors {
            let what = || format!("the condition {name:?}");
            let got = tensor
                .dims()
                .first()
                .copied()
                .ok_or_else(|| Error::NoRows { what: what() })?;
            if got != rows {
                return Err(Error::Rows {
                    what: what(),
                    expected: rows,
                    got,
                });
            }
        }
        Ok(())
    }

    fn map(&self, f: impl Fn(&Tensor) -> candle_core::Result<Tensor>) -> Result<Self> {
        let tensors = self
            .tensors
            .iter()
            .map(|(name, tensor)| Ok((name.clone(), f(tensor)?)))
            .collect::<Result<_>>()?;
        Ok(Self { tensors })
    }
}
