//! What the numbers of an image mean: the slip that has cost others hundreds of points of FID.

use candle_core::{DType, Tensor};

use crate::{Error, Result};

/// How far beyond the range rounding may carry a pixel, in units of its width.
const SLACK: f64 = 1e-3;

/// The values that stand for black and white.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageRange {
    /// From 0 to 1.
    ZeroToOne,
    /// From −1 to 1, as networks are trained.
    MinusOneToOne,
    /// From 0 to 255, as bytes.
    ZeroTo255,
}

impl ImageRange {
    /// Black and white.
    #[must_use]
    pub fn ends(self) -> [f64; 2] {
        match self {
            Self::ZeroToOne => [0.0, 1.0],
            Self::MinusOneToOne => [-1.0, 1.0],
            Self::ZeroTo255 => [0.0, 255.0],
        }
    }

    /// Images (N, 3, H, W), or (N, 1, H, W) whose grey is repeated, with values from 0 to 1 in single precision.
    pub(crate) fn to_unit(self, images: &Tensor) -> Result<Tensor> {
        let refuse = |problem: String| Err(Error::Images { problem });
        let &[count, channels, height, width] = images.dims() else {
            return refuse(format!("the tensor has shape {:?}", images.dims()));
        };
        if count * height * width == 0 || !matches!(channels, 1 | 3) {
            return refuse(format!("the tensor has shape {:?}", images.dims()));
        }
        let images = images.to_dtype(DType::F32)?;
        let [black, white] = self.ends();
        let slack = SLACK * (white - black);
        for value in [images.min_all()?, images.max_all()?, images.sum_all()?] {
            // A sum of finite pixels is finite; the smallest and largest do not show NaN.
            let value = f64::from(value.to_scalar::<f32>()?);
            if !value.is_finite() {
                return refuse("a pixel is not finite".to_owned());
            }
        }
        for value in [images.min_all()?, images.max_all()?] {
            let value = f64::from(value.to_scalar::<f32>()?);
            if !(black - slack..=white + slack).contains(&value) {
                return refuse(format!("a pixel is {value}, outside of [{black}, {white}]"));
            }
        }
        let unit = images.affine(1.0 / (white - black), -black / (white - black))?;
        Ok(unit.expand((count, 3, height, width))?.contiguous()?)
    }
}

impl std::fmt::Display for ImageRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [black, white] = self.ends();
        write!(f, "[{black}, {white}]")
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn every_range_becomes_that_from_0_to_1_and_grey_becomes_three_channels() {
        for range in [
            ImageRange::ZeroToOne,
            ImageRange::MinusOneToOne,
            ImageRange::ZeroTo255,
        ] {
            let [black, white] = range.ends();
            let image = Tensor::new(&[[[[black as f32, white as f32]]]], &Device::Cpu).unwrap();
            let unit = range.to_unit(&image).unwrap();
            assert_eq!(unit.dims(), [1, 3, 1, 2]);
            assert_eq!(
                unit.flatten_all().unwrap().to_vec1::<f32>().unwrap(),
                [0.0, 1.0, 0.0, 1.0, 0.0, 1.0]
            );
        }
    }

    #[test]
    fn pixels_of_another_range_and_tensors_that_are_no_images_are_refused_in_words() {
        let refused = |tensor: &Tensor| ImageRange::ZeroToOne.to_unit(tensor).unwrap_err().to_string();
        let pixel = |value: f32| Tensor::new(&[[[[0.5, value]]]], &Device::Cpu).unwrap();
        assert!(refused(&pixel(-0.5)).contains("-0.5, outside of [0, 1]"));
        assert!(refused(&pixel(128.0)).contains("128"));
        assert!(refused(&pixel(f32::NAN)).contains("not finite"));
        assert!(refused(&pixel(f32::INFINITY)).contains("not finite"));
        assert!(ImageRange::ZeroToOne.to_unit(&pixel(1.0005)).is_ok());
        for shape in [&[2, 3][..], &[1, 2, 4, 4], &[0, 3, 4, 4], &[1, 3, 0, 4]] {
            let tensor = Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
            assert!(refused(&tensor).contains("shape"), "{shape:?}");
        }
    }
}
