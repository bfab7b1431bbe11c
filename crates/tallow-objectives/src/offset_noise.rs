//! Offset noise: each channel's noise has a mean of its own.
//!
//! ```text
//! ε' = ε + s δ        ε: one normal number for each element        δ: one for each row and channel
//! ```
//!
//! The mean of an image is the last thing noise hides: a path that does not end in pure noise never teaches a model to
//! choose it. With s around 0.1 it does.
//!
//! Source: Guttenberg 2023, "Diffusion with offset noise"; strength 0.05 in Podell et al. 2023 (SDXL), arXiv:2307.01952.

use candle_core::Tensor;
use rand::RngCore;
use tallow_denoisers::{Batch, Error as DenoiserError, normal_like};

use crate::{Coupling, Error, Result};

/// A coupling that draws offset noise as the source of every batch of images, (B, C, …).
///
/// Source: Guttenberg 2023, "Diffusion with offset noise"; strength 0.05 in Podell et al. 2023 (SDXL),
/// arXiv:2307.01952.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OffsetNoise {
    strength: f64,
}

impl OffsetNoise {
    /// With the strength s.
    ///
    /// # Errors
    ///
    /// When it is negative or not finite.
    pub fn new(strength: f64) -> Result<Self> {
        if strength >= 0.0 && strength.is_finite() {
            return Ok(Self { strength });
        }
        Err(Error::Parameter {
            owner: "OffsetNoise",
            name: "strength",
            value: strength,
            allowed: "finite and not negative",
        })
    }

    /// Noise shaped like `like`, (B, C, …).
    ///
    /// # Errors
    ///
    /// When `like` has no dimension behind the channels: there offset noise would be wider noise.
    pub fn draw(&self, like: &Tensor, rng: &mut dyn RngCore) -> Result<Tensor> {
        if like.rank() < 3 {
            return Err(Error::NoPixels {
                what: "offset noise",
                shape: like.shape().clone(),
            });
        }
        let noise = normal_like(like, rng)?;
        let mut channels = vec![1; like.rank()];
        if let [rows, count, ..] = channels.as_mut_slice() {
            (*rows, *count) = (like.dim(0)?, like.dim(1)?);
        }
        let means = normal_like(&Tensor::zeros(channels, like.dtype(), like.device())?, rng)?;
        Ok(noise.broadcast_add(&(means * self.strength)?)?)
    }
}

impl Coupling for OffsetNoise {
    /// # Errors
    ///
    /// When the batch is empty, has a source of its own, or its data no dimension behind the channels.
    fn pair(&self, batch: Batch, rng: &mut dyn RngCore) -> Result<Batch> {
        if batch.rows()? == 0 {
            return Err(DenoiserError::EmptyBatch { what: "a coupling" }.into());
        }
        if batch.x1.is_some() {
            return Err(Error::OwnSource {
                coupling: "OffsetNoise",
            });
        }
        let noise = self.draw(&batch.x0, rng)?;
        Ok(batch.with_source(noise)?)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};
    use tallow_denoisers::Seeded;

    use super::*;

    #[test]
    fn elements_have_variance_one_plus_s_squared_and_share_s_squared_within_a_channel() {
        let (count, strength) = (20_000, 0.7);
        let images = Tensor::zeros((count, 2, 2), DType::F64, &Device::Cpu).unwrap();
        let batch = OffsetNoise::new(strength)
            .unwrap()
            .pair(Batch::new(images), &mut Seeded::new(6))
            .unwrap();
        let rows = batch.x1.unwrap().to_vec3::<f64>().unwrap();
        let mean = |f: &dyn Fn(&Vec<Vec<f64>>) -> f64| rows.iter().map(f).sum::<f64>() / count as f64;
        let total = 1.0 + strength * strength;
        // A product of two normal numbers has a variance of at most 2 · (their variance)².
        let bound = 6.1 * total * (2.0 / count as f64).sqrt();
        for (got, want) in [
            (mean(&|r| r[0][0] * r[0][0]), total),
            (mean(&|r| r[0][0] * r[0][1]), strength * strength),
            (mean(&|r| r[0][0] * r[1][0]), 0.0),
        ] {
            assert!((got - want).abs() < bound, "{got}, not {want}");
        }
    }

    #[test]
    fn points_a_source_and_impossible_strengths_are_refused() {
        let noise = OffsetNoise::new(0.1).unwrap();
        let points = Batch::new(Tensor::zeros((3, 2), DType::F32, &Device::Cpu).unwrap());
        let message = noise.pair(points, &mut Seeded::new(0)).unwrap_err().to_string();
        assert!(message.contains("[3, 2]"), "{message}");
        let images = Tensor::zeros((1, 1, 2), DType::F32, &Device::Cpu).unwrap();
        let given = Batch::new(images.clone()).with_source(images).unwrap();
        assert!(noise.pair(given, &mut Seeded::new(0)).is_err());
        assert!(OffsetNoise::new(-0.1).is_err() && OffsetNoise::new(f64::NAN).is_err());
    }
}
