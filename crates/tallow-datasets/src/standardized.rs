//! Data at mean 0 and standard deviation 1, and the way back.
//!
//! ```text
//! z = (x − shift)/scale      shift: (…item), the mean of each element      scale: the deviation of all elements together
//! ```
//!
//! One scale for all elements keeps shapes as they are, and lets an element be constant, as the corners of images are.

use candle_core::{DType, Tensor};
use rand::RngCore;
use tallow_denoisers::{Batch, Dataset};

use crate::{Error, Result};

/// A data set shifted to mean 0 and scaled to standard deviation 1, by numbers that are measured once and kept.
///
/// ```
/// use rand::SeedableRng;
/// use tallow_datasets::{Dataset, Gaussians, Standardized};
///
/// let rng = &mut rand_chacha::ChaCha8Rng::seed_from_u64(1);
/// let data = Standardized::measure(Box::new(Gaussians::eight()), 10_000, rng)?;
/// assert!((data.scale() - (12.5f64 + 0.1).sqrt()).abs() < 0.1);
/// let samples = data.draw(16, rng)?.x0;
/// assert_eq!(data.invert(&samples)?.dims(), [16, 2]);
/// # Ok::<(), tallow_datasets::Error>(())
/// ```
#[derive(Debug)]
pub struct Standardized {
    data: Box<dyn Dataset>,
    shift: Tensor,
    scale: f64,
}

impl Standardized {
    /// Measures shift and scale on `draws` rows of `data`.
    ///
    /// # Errors
    ///
    /// When `draws` is below 2, the rows are all the same, or the data cannot be drawn.
    pub fn measure(data: Box<dyn Dataset>, draws: usize, rng: &mut dyn RngCore) -> Result<Self> {
        if draws < 2 {
            let (name, value, allowed) = ("draws", draws as f64, "of at least 2");
            return Err(Error::Parameter {
                owner: "Standardized",
                name,
                value,
                allowed,
            });
        }
        let x0 = data.draw(draws, rng)?.x0.to_dtype(DType::F64)?;
        let shift = x0.mean(0)?;
        let scale = x0
            .broadcast_sub(&shift)?
            .sqr()?
            .mean_all()?
            .to_scalar::<f64>()?
            .sqrt();
        Self::new(data, &shift, scale)
    }

    /// With numbers that were measured before; `shift` is shaped like one item.
    ///
    /// # Errors
    ///
    /// When `shift` has another shape than an item, or `scale` is not positive and finite.
    pub fn new(data: Box<dyn Dataset>, shift: &Tensor, scale: f64) -> Result<Self> {
        if !(scale.is_normal() && scale > 0.0) {
            let (name, value, allowed) = (
                "scale",
                scale,
                "positive and finite: constant data cannot be standardised",
            );
            return Err(Error::Parameter {
                owner: "Standardized",
                name,
                value,
                allowed,
            });
        }
        if shift.dims() != data.item_shape() {
            let (expected, got) = (data.item_shape().into(), shift.shape().clone());
            return Err(tallow_denoisers::Error::Shape {
                what: "the shift".to_owned(),
                expected,
                got,
            }
            .into());
        }
        Ok(Self {
            data,
            shift: shift.to_dtype(DType::F64)?,
            scale,
        })
    }

    /// What is taken off, shaped like one item, in f64.
    #[must_use]
    pub fn shift(&self) -> &Tensor {
        &self.shift
    }

    /// What is divided by.
    #[must_use]
    pub fn scale(&self) -> f64 {
        self.scale
    }

    /// (x − shift)/scale of rows (B, …) in the data's units.
    ///
    /// # Errors
    ///
    /// When the rows are not shaped like the data's.
    pub fn apply(&self, x: &Tensor) -> tallow_denoisers::Result<Tensor> {
        self.map(x, |x, shift| x.broadcast_sub(shift)? / self.scale)
    }

    /// scale · z + shift: samples (B, …) of a model back in the data's units.
    ///
    /// # Errors
    ///
    /// When the rows are not shaped like the data's.
    pub fn invert(&self, z: &Tensor) -> tallow_denoisers::Result<Tensor> {
        self.map(z, |z, shift| (z * self.scale)?.broadcast_add(shift))
    }

    /// Works in f64 and returns the type that came in.
    fn map(
        &self,
        x: &Tensor,
        f: impl Fn(&Tensor, &Tensor) -> candle_core::Result<Tensor>,
    ) -> tallow_denoisers::Result<Tensor> {
        let item = x.dims().get(1..);
        if item != Some(self.shift.dims()) {
            let rows = x.dims().first().copied().unwrap_or(1);
            let expected = [&[rows], self.shift.dims()].concat().into();
            let what = "a batch to standardise".to_owned();
            return Err(tallow_denoisers::Error::Shape {
                what,
                expected,
                got: x.shape().clone(),
            });
        }
        let shift = self.shift.to_device(x.device())?;
        Ok(f(&x.to_dtype(DType::F64)?, &shift)?.to_dtype(x.dtype())?)
    }
}

impl Dataset for Standardized {
    fn item_shape(&self) -> &[usize] {
        self.data.item_shape()
    }

    /// Data and, where there is one, source, both in the same units.
    fn draw(&self, count: usize, rng: &mut dyn RngCore) -> tallow_denoisers::Result<Batch> {
        let Batch { x0, x1, condition } = self.data.draw(count, rng)?;
        let x1 = x1.map(|x1| self.apply(&x1)).transpose()?;
        Ok(Batch {
            x0: self.apply(&x0)?,
            x1,
            condition,
        })
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use tallow_denoisers::LABELS;

    use super::*;
    use crate::points::testing::{draw, mean};
    use crate::{Gaussians, Moons, TensorDataset};

    #[test]
    fn draws_have_mean_zero_and_deviation_one_over_all_elements() {
        let data = Box::new(Moons::flow_matching());
        let data = Standardized::measure(data, 100_000, &mut ChaCha8Rng::seed_from_u64(1)).unwrap();
        let points = draw::<2>(&data, 100_000, 2);
        // Two samples of 10⁵: standard errors below 0.0045 and 0.0045. Five of them.
        assert!(mean(&points, |[x, _], _| x).abs() < 0.023);
        assert!(mean(&points, |[_, y], _| y).abs() < 0.023);
        assert!((mean(&points, |[x, y], _| (x * x + y * y) / 2.0) - 1.0).abs() < 0.023);
    }

    #[test]
    fn inverting_gives_the_data_back_with_its_labels() {
        let shift = Tensor::new(&[10.0, -3.0], &Device::Cpu).unwrap();
        let data = Standardized::new(Box::new(Gaussians::eight()), &shift, 4.0).unwrap();
        let draw = |data: &dyn Dataset| data.draw(100, &mut ChaCha8Rng::seed_from_u64(3)).unwrap();
        let (plain, scaled) = (draw(&Gaussians::eight()), draw(&data));
        let labels = |batch: &Batch| batch.condition.tensor(LABELS).unwrap().to_vec1::<u32>().unwrap();
        assert_eq!(labels(&plain), labels(&scaled));
        let back = data.invert(&scaled.x0).unwrap();
        let error = (back - &plain.x0)
            .unwrap()
            .abs()
            .unwrap()
            .max_all()
            .unwrap()
            .to_scalar::<f32>()
            .unwrap();
        // One rounding to f32 of numbers up to 4, times the scale.
        assert!(error < 2e-6, "{error}");
    }

    #[test]
    fn what_has_no_scale_is_refused() {
        let constant = || Box::new(Gaussians::new(1, 1.0, 0.0).unwrap());
        let rng = &mut ChaCha8Rng::seed_from_u64(4);
        assert!(matches!(
            Standardized::measure(constant(), 100, rng),
            Err(Error::Parameter { .. })
        ));
        assert!(matches!(
            Standardized::measure(constant(), 1, rng),
            Err(Error::Parameter { .. })
        ));
        let shift = Tensor::zeros(3, DType::F32, &Device::Cpu).unwrap();
        assert!(Standardized::new(constant(), &shift, 1.0).is_err());
        let shift = Tensor::zeros(2, DType::F32, &Device::Cpu).unwrap();
        assert!(Standardized::new(constant(), &shift, f64::NAN).is_err());
        let data = Standardized::new(constant(), &shift, 1.0).unwrap();
        assert!(
            data.invert(&Tensor::zeros((4, 3), DType::F32, &Device::Cpu).unwrap())
                .is_err()
        );
        assert!(
            data.invert(&Tensor::zeros((), DType::F32, &Device::Cpu).unwrap())
                .is_err()
        );
    }

    #[test]
    fn a_constant_element_only_loses_its_mean() {
        let rows = Tensor::new(&[[7f32, 1.0], [7.0, -1.0]], &Device::Cpu).unwrap();
        let data = Box::new(TensorDataset::new(&rows).unwrap());
        let data = Standardized::measure(data, 1000, &mut ChaCha8Rng::seed_from_u64(5)).unwrap();
        assert!(
            draw::<2>(&data, 40, 6)
                .iter()
                .all(|([constant, _], _)| constant.abs() < 1e-6)
        );
    }
}
