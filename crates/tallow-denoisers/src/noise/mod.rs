//! Where random numbers come from: a generator that the caller owns and seeds.

mod brownian;
mod per_sample;
mod seeded;

use candle_core::{Device, Tensor};
use rand::RngCore;

pub use brownian::BrownianPath;
pub use per_sample::PerSample;
pub use seeded::Seeded;

use crate::Result;

/// Unit normal numbers for the steps of a sampler.
///
/// The two methods differ in what they promise when an interval is visited twice: `increment` may answer with the same
/// path ([`BrownianPath`] does), `fresh` never.
pub trait Noise {
    /// Unit normal numbers shaped like `like`, (B, …), for the step of an SDE between two values of λ = ln(α/σ).
    ///
    /// # Errors
    ///
    /// When the shape does not fit the source, or the device refuses.
    fn increment(&mut self, like: &Tensor, from_lambda: f64, to_lambda: f64) -> Result<Tensor>;

    /// Unit normal numbers shaped like `like`, (B, …), new at each call: for the start of a run, churn, Langevin steps,
    /// restarts and training, which visit an interval again.
    ///
    /// # Errors
    ///
    /// When the shape does not fit the source, or the device refuses.
    fn fresh(&mut self, like: &Tensor) -> Result<Tensor>;
}

impl<N: Noise + ?Sized> Noise for &mut N {
    fn increment(&mut self, like: &Tensor, from_lambda: f64, to_lambda: f64) -> Result<Tensor> {
        (**self).increment(like, from_lambda, to_lambda)
    }

    fn fresh(&mut self, like: &Tensor) -> Result<Tensor> {
        (**self).fresh(like)
    }
}

impl<N: Noise + ?Sized> Noise for Box<N> {
    fn increment(&mut self, like: &Tensor, from_lambda: f64, to_lambda: f64) -> Result<Tensor> {
        (**self).increment(like, from_lambda, to_lambda)
    }

    fn fresh(&mut self, like: &Tensor) -> Result<Tensor> {
        (**self).fresh(like)
    }
}

/// `count` unit normal numbers: the same bits from the same generator on every processor.
pub fn normals(count: usize, rng: &mut dyn RngCore) -> Vec<f64> {
    let bits = words(count + count % 2, rng);
    let mut out = vec![0.0; count];
    // The only failure is a mismatch of the two lengths, which are right by the line above.
    let _ = tallow_kernels::normals_from_bits(&bits, &mut out);
    out
}

/// `count` uniform numbers in [0, 1).
pub fn uniforms(count: usize, rng: &mut dyn RngCore) -> Vec<f64> {
    words(count, rng)
        .into_iter()
        .map(|word| (word >> 11) as f64 * (-53f64).exp2())
        .collect()
}

/// Unit normal numbers shaped like `like`, drawn in f64 in row-major order on the CPU, then converted and moved: the same
/// numbers in every type and on every device.
///
/// # Errors
///
/// When the type or device of `like` cannot take them.
pub fn normal_like(like: &Tensor, rng: &mut dyn RngCore) -> Result<Tensor> {
    like_of(normals(like.elem_count(), rng), like)
}

/// Numbers in the shape, type and on the device of `like`.
fn like_of(values: Vec<f64>, like: &Tensor) -> Result<Tensor> {
    Ok(Tensor::from_vec(values, like.shape(), &Device::Cpu)?
        .to_dtype(like.dtype())?
        .to_device(like.device())?)
}

/// `count` words of 64 bits, read as little-endian bytes so that they do not depend on the processor.
fn words(count: usize, rng: &mut dyn RngCore) -> Vec<u64> {
    let mut bytes = vec![0; count * 8];
    rng.fill_bytes(&mut bytes);
    let word = |chunk: &[u8]| chunk.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    bytes.chunks_exact(8).map(word).collect()
}
