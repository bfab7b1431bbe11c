//! Data whose denoiser is known exactly: points of a data set, each blurred by a Gaussian.

use candle_core::{DType, Tensor};
use rand::RngCore;
use tallow::datasets::Standardized;
use tallow::denoisers::{Dataset, ExactMixture, Seeded, lincomb, normal_like};

use crate::Failure;

/// A mixture of equal Gaussians around points of a data set, at mean 0 and standard deviation 1.
#[derive(Debug)]
pub struct Blurred {
    /// The exact denoiser.
    pub model: ExactMixture,
    centres: Tensor,
    spread: f64,
}

impl Blurred {
    /// `count` points of `data`, each with a Gaussian of standard deviation `spread` around it.
    ///
    /// # Errors
    ///
    /// When the data cannot be drawn, or the spread is negative.
    pub fn new(data: Box<dyn Dataset>, count: usize, spread: f64, seed: u64) -> Result<Self, Failure> {
        let mut draws = Seeded::stream(seed, 10);
        let data = Standardized::measure(data, 20_000, &mut draws)?;
        let centres = data.draw(count, &mut draws)?.x0.to_dtype(DType::F64)?;
        let model = ExactMixture::new(&vec![1.0; count], centres.to_vec2()?, vec![spread; count])?;
        Ok(Self {
            model,
            centres,
            spread,
        })
    }

    /// Samples, (count, 2): the centres in turn, and noise.
    ///
    /// # Errors
    ///
    /// When a tensor operation fails.
    pub fn draw(&self, count: usize, rng: &mut dyn RngCore) -> Result<Tensor, Failure> {
        let rows = self.centres.dim(0)?;
        let chosen: Vec<u32> = (0..count).map(|row| (row % rows) as u32).collect();
        let centres = self
            .centres
            .index_select(&Tensor::new(chosen, self.centres.device())?, 0)?;
        let noise = normal_like(&centres, rng)?;
        Ok(lincomb([(1.0, &centres), (self.spread, &noise)])?)
    }
}
