//! A network for images that works on patches of them as channels of a smaller image.
//!
//! ```text
//! (B, C, H, W)  →  (B, C p², H/p, W/p)  →  network  →  (B, K p², H/p, W/p)  →  (B, K, H, W)
//! ```
//!
//! Pixels (C, p, p) of a patch become channels in that order, as PyTorch's `pixel_unshuffle` has it. Noise stays noise and
//! paths stay paths, so nothing else of a method changes; a level of a U-Net at full resolution, whose time is memory more
//! than arithmetic, is saved.
//!
//! Source: Luhman and Luhman 2022, "Improving diffusion model efficiency through patching", arXiv:2207.04316.

use candle_core::Tensor;
use tallow_denoisers::{Call, Network};

use crate::error::{Error, Result};

/// A network of patches as a network of images.
///
/// Source: Luhman and Luhman 2022, "Improving diffusion model efficiency through patching", arXiv:2207.04316.
#[derive(Clone, Debug)]
pub struct Patched<N> {
    network: N,
    patch: usize,
}

impl<N: Network> Patched<N> {
    /// `network` works on images whose channels are the pixels of `patch` × `patch`.
    ///
    /// # Errors
    ///
    /// When `patch` is 0.
    pub fn new(network: N, patch: usize) -> Result<Self> {
        if patch == 0 {
            return Err(Error::Patch {
                patch,
                height: 0,
                width: 0,
            });
        }
        Ok(Self { network, patch })
    }

    /// The network within.
    #[must_use]
    pub fn network(&self) -> &N {
        &self.network
    }
}

impl<N: Network> Network for Patched<N> {
    /// # Errors
    ///
    /// When the patch divides not both sides of the images, or the network fails.
    fn forward(&self, call: &Call<'_>) -> candle_core::Result<Tensor> {
        let x = to_channels(call.x, self.patch)?;
        let told = match call.self_condition {
            Some(told) => Some(to_channels(told, self.patch)?),
            None => None,
        };
        let wrap = candle_core::Error::wrap;
        let mut inner = Call::new(&x, call.times, call.condition).map_err(wrap)?;
        if let Some(end_times) = call.end_times {
            inner = inner.with_end_times(end_times).map_err(wrap)?;
        }
        inner.self_condition = told.as_ref();
        from_channels(&self.network.forward(&inner)?, self.patch)
    }
}

/// Images (B, C, H, W) with every patch's pixels as channels, (B, C p², H/p, W/p).
///
/// # Errors
///
/// When `images` is not of rank 4, or `patch` is 0 or does not divide both sides.
pub fn to_channels(images: &Tensor, patch: usize) -> candle_core::Result<Tensor> {
    let (batch, channels, height, width) = images.dims4()?;
    if patch == 0 || height % patch != 0 || width % patch != 0 {
        return Err(candle_core::Error::wrap(Error::Patch { patch, height, width }));
    }
    let (rows, columns) = (height / patch, width / patch);
    images
        .reshape(vec![batch, channels, rows, patch, columns, patch])?
        .permute(vec![0, 1, 3, 5, 2, 4])?
        .reshape((batch, channels * patch * patch, rows, columns))
}

/// The reverse of [`to_channels`]: (B, C p², H, W) to (B, C, H p, W p).
///
/// # Errors
///
/// When `images` is not of rank 4, `patch` is 0, or the channels are not a multiple of p².
pub fn from_channels(images: &Tensor, patch: usize) -> candle_core::Result<Tensor> {
    let (batch, channels, rows, columns) = images.dims4()?;
    let pixels = patch * patch;
    if pixels == 0 || channels % pixels != 0 {
        let message = format!("{channels} channels are not those of patches of {patch} x {patch} pixels");
        return Err(candle_core::Error::Msg(message));
    }
    images
        .reshape(vec![batch, channels / pixels, patch, patch, rows, columns])?
        .permute(vec![0, 1, 4, 2, 5, 3])?
        .reshape((batch, channels / pixels, rows * patch, columns * patch))
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};
    use tallow_denoisers::{Condition, network};

    use super::*;

    fn counted(dims: (usize, usize, usize, usize)) -> Tensor {
        let count = (dims.0 * dims.1 * dims.2 * dims.3) as f64;
        let values = Tensor::arange(0.0, count, &Device::Cpu).unwrap();
        values.reshape(dims).unwrap()
    }

    #[test]
    fn a_patchs_pixels_are_neighbouring_channels_at_one_place() {
        let images = counted((2, 3, 4, 6));
        let channels = to_channels(&images, 2).unwrap();
        assert_eq!(channels.dims(), [2, 12, 2, 3]);
        let at = |image: usize, channel: usize, row: usize, column: usize| {
            (((image * 3 + channel) * 4 + row) * 6 + column) as f64
        };
        for (image, planes) in channels
            .to_dtype(DType::F64)
            .unwrap()
            .chunk(2, 0)
            .unwrap()
            .iter()
            .enumerate()
        {
            let planes = planes.squeeze(0).unwrap().to_vec3::<f64>().unwrap();
            for (plane, rows) in planes.iter().enumerate() {
                let (channel, i, j) = (plane / 4, plane / 2 % 2, plane % 2);
                for (row, values) in rows.iter().enumerate() {
                    for (column, &value) in values.iter().enumerate() {
                        assert_eq!(value, at(image, channel, 2 * row + i, 2 * column + j));
                    }
                }
            }
        }
        let back = from_channels(&channels, 2).unwrap();
        assert_eq!(
            (back - images)
                .unwrap()
                .abs()
                .unwrap()
                .sum_all()
                .unwrap()
                .to_scalar::<f64>()
                .unwrap(),
            0.0
        );
    }

    #[test]
    fn the_network_sees_small_images_and_its_answer_is_of_the_image() {
        let doubling = network(|call: &Call<'_>| {
            assert_eq!(call.x.dims(), [1, 4, 2, 2]);
            call.x.affine(2.0, 0.0)
        });
        let (images, condition) = (counted((1, 1, 4, 4)), Condition::none());
        let call = Call::new(&images, &[0.5], &condition).unwrap();
        let y = Patched::new(doubling, 2).unwrap().forward(&call).unwrap();
        let error = (y - images.affine(2.0, 0.0).unwrap()).unwrap().abs().unwrap();
        assert_eq!(error.sum_all().unwrap().to_scalar::<f64>().unwrap(), 0.0);
    }

    #[test]
    fn patches_that_do_not_fit_are_refused_in_words() {
        assert!(Patched::new(network(|call: &Call<'_>| Ok(call.x.clone())), 0).is_err());
        let message = to_channels(&counted((1, 1, 5, 4)), 2).unwrap_err().to_string();
        assert!(message.contains("5 x 4") && message.contains('2'), "{message}");
        assert!(from_channels(&counted((1, 3, 2, 2)), 2).is_err());
    }
}
