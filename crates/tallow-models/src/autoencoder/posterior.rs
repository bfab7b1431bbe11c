//! The Gaussian around the latents of an image.
//!
//! ```text
//! z = mean + exp(½ l) ε,  ε ~ N(0, I)                    KL(q ‖ N(0, I)) = ½ Σ (mean² + exp(l) − 1 − l)
//! ```
//!
//! with l the logarithm of the variance, kept in [−30, 20], so that neither it nor its exponential is infinite.
//!
//! Source: Kingma & Welling 2014, arXiv:1312.6114, appendix B.

use candle_core::Tensor;
use tallow_denoisers::Noise;

use crate::Result;

/// What the logarithm of a variance may be.
const RANGE: [f64; 2] = [-30.0, 20.0];

/// Independent Gaussians, one for each value of the latents, (B, latents, h, w).
///
/// Source: Kingma & Welling 2014, arXiv:1312.6114, appendix B.
#[derive(Clone, Debug)]
pub struct Posterior {
    /// The means, (B, latents, h, w).
    pub mean: Tensor,
    /// The logarithms of the variances, of the same shape.
    pub log_variance: Tensor,
}

impl Posterior {
    /// The Gaussians of an encoder's answer: means, then logarithms of variances, along the channels; these are kept in
    /// [−30, 20].
    ///
    /// # Errors
    ///
    /// When `moments`, (B, 2 · latents, h, w), has fewer than two dimensions, or its channels do not split in two.
    pub fn from_moments(moments: &Tensor) -> Result<Self> {
        let channels = moments.dim(1)?;
        let half = channels / 2;
        let [lowest, highest] = RANGE;
        let mean = moments.narrow(1, 0, half)?.contiguous()?;
        let log_variance = moments.narrow(1, half, channels - half)?.contiguous()?;
        if mean.shape() != log_variance.shape() {
            return Err(crate::Error::Size {
                owner: "Posterior",
                name: "the number of channels",
                value: channels,
                allowed: "even: a mean and a variance for each latent",
            });
        }
        Ok(Self {
            mean,
            log_variance: log_variance.clamp(lowest, highest)?,
        })
    }

    /// Latents drawn from it; differentiable in both moments.
    ///
    /// # Errors
    ///
    /// When the noise cannot be drawn in the type or on the device of the mean.
    pub fn sample(&self, noise: &mut dyn Noise) -> Result<Tensor> {
        let noise = noise.fresh(&self.mean)?;
        Ok((&self.mean + (self.standard_deviation()? * noise)?)?)
    }

    /// The likeliest latents: the means.
    #[must_use]
    pub fn mode(&self) -> &Tensor {
        &self.mean
    }

    /// exp(½ log_variance), of its shape.
    ///
    /// # Errors
    ///
    /// When candle's operations fail.
    pub fn standard_deviation(&self) -> Result<Tensor> {
        Ok((&self.log_variance * 0.5)?.exp()?)
    }

    /// The divergence from N(0, I) of each row, (B,), in nats.
    ///
    /// # Errors
    ///
    /// When candle's operations fail.
    pub fn kl(&self) -> Result<Tensor> {
        let spread = (self.log_variance.exp()? - &self.log_variance)?;
        let terms = ((self.mean.sqr()? + spread)? - 1.0)?;
        Ok((terms.flatten_from(1)?.sum(1)? * 0.5)?)
    }

    /// −ln q(z) of each row, (B,), in nats: ½ Σ (ln 2π + l + (z − mean)² exp(−l)).
    ///
    /// # Errors
    ///
    /// When `z` is not shaped like the mean.
    pub fn negative_log_likelihood(&self, z: &Tensor) -> Result<Tensor> {
        let square = ((z - &self.mean)?.sqr()? * self.log_variance.neg()?.exp()?)?;
        let terms = ((&self.log_variance + square)? + std::f64::consts::TAU.ln())?;
        Ok((terms.flatten_from(1)?.sum(1)? * 0.5)?)
    }
}
