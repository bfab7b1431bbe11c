//! A cloud of points: what every distance is taken between.

use std::borrow::Cow;

use candle_core::{DType, Device, Tensor};

use crate::{Error, Result};

/// The largest coordinate in size: squared distances of such points, and sums of them, do not overflow.
pub(crate) const LARGEST: f64 = 1e140;

/// At least one point, each of the same number of finite coordinates, point by point.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use tallow_metrics::Points;
///
/// let images = Points::from_tensor(&Tensor::new(&[[[1f32, 2.0], [3.0, 4.0]]], &Device::Cpu)?)?;
/// assert_eq!((images.count(), images.dimension()), (1, 4));
/// # Ok::<(), tallow_metrics::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Points<'a> {
    values: Cow<'a, [f64]>,
    dimension: usize,
}

impl<'a> Points<'a> {
    /// The points whose `dimension` coordinates follow one another in `values`.
    ///
    /// # Errors
    ///
    /// When there is no point, the last is incomplete, or a coordinate is not finite or beyond ±1e140.
    pub fn new(values: &'a [f64], dimension: usize) -> Result<Self> {
        Self::checked(Cow::Borrowed(values), dimension)
    }

    fn checked(values: Cow<'a, [f64]>, dimension: usize) -> Result<Self> {
        if dimension == 0 || !values.len().is_multiple_of(dimension) {
            return Err(Error::Length {
                length: values.len(),
                dimension,
            });
        }
        if values.is_empty() {
            return Err(Error::Empty);
        }
        // NaN is in no range.
        if let Some(index) = values
            .iter()
            .position(|value| !(-LARGEST..=LARGEST).contains(value))
        {
            let (point, coordinate) = (index / dimension, index % dimension);
            return Err(Error::Value {
                point,
                coordinate,
                value: values[index],
            });
        }
        Ok(Self { values, dimension })
    }

    /// How many points there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.values.len() / self.dimension
    }

    /// How many coordinates a point has.
    #[must_use]
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// All coordinates, point by point.
    #[must_use]
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// The points one after another.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[f64]> {
        self.values.chunks_exact(self.dimension)
    }

    /// The coordinates of one point, if it exists.
    #[must_use]
    pub fn point(&self, index: usize) -> Option<&[f64]> {
        self.iter().nth(index)
    }
}

impl Points<'static> {
    /// The rows of a tensor, (N, …) of any float type on any device; what follows the first dimension is flattened.
    ///
    /// # Errors
    ///
    /// When the tensor is a scalar or a vector, and as [`Points::new`].
    pub fn from_tensor(tensor: &Tensor) -> Result<Self> {
        if tensor.rank() < 2 {
            return Err(Error::Shape {
                shape: tensor.dims().to_vec(),
            });
        }
        let dimension = tensor.dims()[1..].iter().product();
        if tensor.elem_count() == 0 {
            return Err(Error::Empty);
        }
        let values = tensor
            .to_device(&Device::Cpu)?
            .to_dtype(DType::F64)?
            .flatten_all()?
            .to_vec1()?;
        Self::checked(Cow::Owned(values), dimension)
    }
}

impl TryFrom<&Tensor> for Points<'static> {
    type Error = Error;

    fn try_from(tensor: &Tensor) -> Result<Self> {
        Self::from_tensor(tensor)
    }
}

/// Refuses clouds in different spaces.
pub(crate) fn check_dimensions(x: &Points<'_>, y: &Points<'_>) -> Result<()> {
    if x.dimension() == y.dimension() {
        Ok(())
    } else {
        Err(Error::Dimension {
            x: x.dimension(),
            y: y.dimension(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tensor_of_either_float_type_gives_its_rows() {
        let tensor = Tensor::arange(0f32, 12.0, &Device::Cpu)
            .unwrap()
            .reshape((3, 2, 2))
            .unwrap();
        let points = Points::from_tensor(&tensor).unwrap();
        assert_eq!(points.point(2).unwrap(), [8.0, 9.0, 10.0, 11.0]);
        assert_eq!(points.point(3), None);
        assert_eq!(
            Points::try_from(&tensor.to_dtype(DType::F64).unwrap()).unwrap(),
            points
        );
        // A view that is not contiguous is read in its own order.
        let flipped = Points::from_tensor(&tensor.flatten_from(1).unwrap().t().unwrap()).unwrap();
        assert_eq!(flipped.point(1).unwrap(), [1.0, 5.0, 9.0]);
    }

    #[test]
    fn what_is_no_cloud_is_refused() {
        assert!(matches!(Points::new(&[], 2), Err(Error::Empty)));
        assert!(matches!(
            Points::new(&[1.0; 3], 2),
            Err(Error::Length {
                length: 3,
                dimension: 2
            })
        ));
        assert!(matches!(Points::new(&[1.0; 3], 0), Err(Error::Length { .. })));
        for bad in [f64::NAN, f64::INFINITY, -1e141] {
            let values = [0.0, 0.0, 0.0, bad];
            assert!(matches!(
                Points::new(&values, 2),
                Err(Error::Value {
                    point: 1,
                    coordinate: 1,
                    ..
                })
            ));
        }
        let vector = Tensor::zeros(3, DType::F32, &Device::Cpu).unwrap();
        assert!(matches!(Points::from_tensor(&vector), Err(Error::Shape { .. })));
        let none = Tensor::zeros((0, 2), DType::F32, &Device::Cpu).unwrap();
        assert!(matches!(Points::from_tensor(&none), Err(Error::Empty)));
    }
}
