//! Half and twice the size by learned layers: a convolution of stride 2, and one after doubling.
//!
//! Parameters: `conv`.

use candle_core::Tensor;
use tallow_nn::{Conv2d, Conv2dConfig, Interpolation, Resize, Scope};

use crate::Result;

/// Where a convolution of stride 2 sees zeros beyond its image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum DownsamplePadding {
    /// One row or column on every side.
    #[default]
    Around,
    /// One row below and one column to the right, as in DDPM's TensorFlow code and the autoencoders of latent diffusion.
    After,
}

/// (B, C, H, W) to (B, C, H/2, W/2), H and W even.
#[derive(Debug)]
pub(crate) struct Downsample {
    conv: Conv2d,
    padding: DownsamplePadding,
}

impl Downsample {
    pub(crate) fn new(scope: &Scope<'_>, channels: usize, padding: DownsamplePadding) -> Result<Self> {
        let zeros = match padding {
            DownsamplePadding::Around => 1,
            // One output more before the first, which reads one pixel, is cut off afterwards: cheaper than a padded copy.
            DownsamplePadding::After => 2,
        };
        let config = Conv2dConfig {
            stride: [2, 2],
            padding: [zeros; 2],
            ..Conv2dConfig::default()
        };
        let conv = Conv2d::new(&scope.at("conv"), channels, channels, [3, 3], config)?;
        Ok(Self { conv, padding })
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let y = self.conv.forward(x)?;
        if self.padding == DownsamplePadding::Around {
            return Ok(y);
        }
        let (_, _, height, width) = x.dims4()?;
        let y = y.narrow(2, 1, height / 2)?.narrow(3, 1, width / 2)?;
        Ok(y.contiguous()?)
    }
}

/// (B, C, H, W) to (B, C, 2H, 2W).
#[derive(Debug)]
pub(crate) struct Upsample(Conv2d);

impl Upsample {
    pub(crate) fn new(scope: &Scope<'_>, channels: usize) -> Result<Self> {
        let config = Conv2dConfig::same([3, 3]);
        Ok(Self(Conv2d::new(
            &scope.at("conv"),
            channels,
            channels,
            [3, 3],
            config,
        )?))
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let grown = Resize::by([2, 2], Interpolation::Nearest).forward(x)?;
        Ok(self.0.forward(&grown)?)
    }
}
