//! What travels from a data set through coupling and objective to a network.

use candle_core::{DType, Device, Tensor};
use rand::RngCore;

use crate::{Condition, Error, Result};

/// Clean data, where it comes from if not from Gaussian noise, and what is known of each row.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Clean data, (B, …).
    pub x0: Tensor,
    /// A second data set as the source of the flow, shaped like `x0`; Gaussian noise where there is none.
    pub x1: Option<Tensor>,
    /// What a conditional model is told, one row for each row of `x0`.
    pub condition: Condition,
}

impl Batch {
    /// Data alone.
    #[must_use]
    pub fn new(x0: Tensor) -> Self {
        Self {
            x0,
            x1: None,
            condition: Condition::none(),
        }
    }

    /// The same with a condition.
    ///
    /// # Errors
    ///
    /// When a tensor of the condition does not have one row for each datum.
    pub fn with_condition(mut self, condition: Condition) -> Result<Self> {
        condition.check_rows(self.rows()?)?;
        self.condition = condition;
        Ok(self)
    }

    /// The same with a source of its own.
    ///
    /// # Errors
    ///
    /// When the source is not shaped like the data.
    pub fn with_source(mut self, x1: Tensor) -> Result<Self> {
        if x1.shape() != self.x0.shape() {
            let (expected, got) = (self.x0.shape().clone(), x1.shape().clone());
            return Err(Error::Shape {
                what: "the source x1".to_owned(),
                expected,
                got,
            });
        }
        self.x1 = Some(x1);
        Ok(self)
    }

    /// The number of rows B.
    ///
    /// # Errors
    ///
    /// When the data is a scalar.
    pub fn rows(&self) -> Result<usize> {
        self.x0.dims().first().copied().ok_or_else(|| Error::NoRows {
            what: "x0".to_owned(),
        })
    }

    /// The same on a device and with an element type; integer conditions keep theirs.
    ///
    /// # Errors
    ///
    /// When a tensor cannot be moved or converted.
    pub fn to(&self, device: &Device, dtype: DType) -> Result<Self> {
        let float = |tensor: &Tensor| tensor.to_device(device)?.to_dtype(dtype);
        Ok(Self {
            x0: float(&self.x0)?,
            x1: self.x1.as_ref().map(float).transpose()?,
            condition: self.condition.to_device(device)?,
        })
    }
}

/// Something to draw batches from.
pub trait Dataset: std::fmt::Debug + Send + Sync {
    /// The shape of one datum, without the batch dimension.
    fn item_shape(&self) -> &[usize];

    /// `count` draws, `x0` of shape (count, …item_shape), f32 on the CPU.
    ///
    /// # Errors
    ///
    /// When `count` is 0, or the data cannot be read.
    fn draw(&self, count: usize, rng: &mut dyn RngCore) -> Result<Batch>;
}

impl<D: Dataset + ?Sized> Dataset for &D {
    fn item_shape(&self) -> &[usize] {
        (**self).item_shape()
    }

    fn draw(&self, count: usize, rng: &mut dyn RngCore) -> Result<Batch> {
        (**self).draw(count, rng)
    }
}

impl<D: Dataset + ?Sized> Dataset for Box<D> {
    fn item_shape(&self) -> &[usize] {
        (**self).item_shape()
    }

    fn draw(&self, count: usize, rng: &mut dyn RngCore) -> Result<Batch> {
        (**self).draw(count, rng)
    }
}
