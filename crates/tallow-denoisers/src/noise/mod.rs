//! Where random numbers come from: a generator that the caller owns and seeds.

mod brownian;
mod per_sample;
mod seeded;

use candle_core::{DType, Device, Tensor, WithDType};
use rand::RngCore;
use tallow_kernels::Float;

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
    normals_of(count, rng)
}

/// [`normals`] rounded to another type, in pieces whose bytes stay in the cache between generator and transform.
fn normals_of<T: Float>(count: usize, rng: &mut dyn RngCore) -> Vec<T> {
    const PIECE: usize = 1 << 17;
    let mut out = vec![T::default(); count];
    let mut bytes = vec![0; 8 * PIECE.min(count.next_multiple_of(2))];
    for values in out.chunks_mut(PIECE) {
        let bytes = &mut bytes[..8 * values.len().next_multiple_of(2)];
        rng.fill_bytes(bytes);
        // The only failure is a mismatch of the two lengths, which are right by the line above.
        let _ = tallow_kernels::normals_from_bytes(bytes, values);
    }
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
    if like.dtype() == DType::F32 {
        return like_of(normals_of::<f32>(like.elem_count(), rng), like);
    }
    like_of(normals(like.elem_count(), rng), like)
}

/// Numbers in the shape, type and on the device of `like`.
fn like_of<T: WithDType>(values: Vec<T>, like: &Tensor) -> Result<Tensor> {
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
