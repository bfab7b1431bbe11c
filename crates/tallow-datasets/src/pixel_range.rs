//! From bytes to the numbers that models see, and back.
//!
//! ```text
//! symmetric: x = (2 v − 255)/255      unit: x = v/255      v = 0, …, 255
//! ```
//!
//! Both ends are exact, and so is the way back.

use candle_core::{DType, Device, Tensor};

use crate::Result;

/// The interval that the bytes of an image are spread over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PixelRange {
    /// [−1, 1], as diffusion models have it.
    #[default]
    Symmetric,
    /// [0, 1], as classifiers have it.
    Unit,
}

impl PixelRange {
    /// The number that a byte stands for.
    #[must_use]
    pub fn value(self, byte: u8) -> f32 {
        match self {
            Self::Symmetric => (2.0 * f32::from(byte) - 255.0) / 255.0,
            Self::Unit => f32::from(byte) / 255.0,
        }
    }

    /// The bytes nearest to samples of any shape, in row-major order: what a picture file takes. What lies outside of the
    /// interval becomes its end, and what is no number 0.
    ///
    /// # Errors
    ///
    /// When the tensor cannot be read.
    pub fn bytes(self, samples: &Tensor) -> Result<Vec<u8>> {
        let samples = samples.to_device(&Device::Cpu)?.to_dtype(DType::F32)?;
        let values: Vec<f32> = samples.flatten_all()?.to_vec1()?;
        let byte = |value: f32| match self {
            Self::Symmetric => 127.5 * (value + 1.0),
            Self::Unit => 255.0 * value,
        };
        // A cast to u8 clamps, and makes 0 of NaN.
        Ok(values
            .into_iter()
            .map(|value| byte(value).round() as u8)
            .collect())
    }

    /// The numbers of all bytes.
    pub(crate) fn table(self) -> [f32; 256] {
        std::array::from_fn(|byte| self.value(byte as u8))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn black_and_white_are_the_ends_exactly_and_the_middle_is_between() {
        for (range, ends) in [
            (PixelRange::Symmetric, [-1.0, 1.0]),
            (PixelRange::Unit, [0.0, 1.0]),
        ] {
            assert_eq!([range.value(0), range.value(255)], ends);
            assert!(range.table().is_sorted());
            let fifth = (range.value(51) - ends[0]) / (ends[1] - ends[0]);
            assert!((fifth - 0.2).abs() < f32::EPSILON, "{fifth}");
        }
        // Symmetric about 0, so that no byte has more weight than its mirror image.
        for byte in 0..=255 {
            assert_eq!(
                PixelRange::Symmetric.value(byte),
                -PixelRange::Symmetric.value(255 - byte)
            );
        }
    }

    #[test]
    fn every_byte_comes_back_and_what_is_outside_is_clamped() {
        for range in [PixelRange::Symmetric, PixelRange::Unit] {
            let all = Tensor::new(&range.table(), &Device::Cpu).unwrap();
            assert_eq!(range.bytes(&all).unwrap(), (0..=255).collect::<Vec<u8>>());
            let outside = Tensor::new(&[-9f32, 9.0, f32::NAN, f32::INFINITY], &Device::Cpu).unwrap();
            assert_eq!(range.bytes(&outside).unwrap(), [0, 255, 0, 255]);
        }
    }
}
