//! One generator for all rows.

use candle_core::{DType, Tensor};
use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tallow_kernels::{ChaCha8, Float};

use super::{Noise, like_of};
use crate::Result;

/// One ChaCha8 stream for everything: the simplest source, for training and for sampling where a row's noise may depend on
/// the rows before it.
///
/// It is a generator of rand, too, so one seed serves a whole program. ChaCha8 gives the same numbers in every version and
/// on every platform, and its position can be read and set.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use tallow_denoisers::{Noise, Seeded};
///
/// let like = Tensor::zeros((2, 3), DType::F32, &Device::Cpu)?;
/// let (mut a, mut b) = (Seeded::new(7), Seeded::new(7));
/// assert_eq!(a.fresh(&like)?.to_vec2::<f32>()?, b.fresh(&like)?.to_vec2::<f32>()?);
/// # Ok::<(), tallow_denoisers::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Seeded {
    rng: ChaCha8Rng,
}

impl Seeded {
    /// The stream of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            rng: ChaCha8Rng::seed_from_u64(seed),
        }
    }

    /// One of 2⁶⁴ independent streams of a seed: for purposes that must not disturb one another (data, times, noise).
    #[must_use]
    pub fn stream(seed: u64, stream: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(stream);
        Self { rng }
    }

    /// What [`normals`](super::normals) draws, on all threads.
    fn normals<T: Float>(&mut self, count: usize) -> Result<Vec<T>> {
        let position = self.rng.get_word_pos();
        let chacha = ChaCha8::new(self.rng.get_seed(), self.rng.get_stream());
        let values = chacha
            .normals(position, count)
            .map_err(candle_core::Error::wrap)?;
        let words = 2 * count.next_multiple_of(2) as u128;
        self.rng.set_word_pos(position.wrapping_add(words));
        Ok(values)
    }

    /// The position in the stream, in words of 32 bits: what a checkpoint keeps.
    #[must_use]
    pub fn position(&self) -> u128 {
        self.rng.get_word_pos()
    }

    /// Goes to a position that [`position`](Self::position) told.
    pub fn seek(&mut self, position: u128) {
        self.rng.set_word_pos(position);
    }
}

impl From<ChaCha8Rng> for Seeded {
    fn from(rng: ChaCha8Rng) -> Self {
        Self { rng }
    }
}

impl RngCore for Seeded {
    fn next_u32(&mut self) -> u32 {
        self.rng.next_u32()
    }

    fn next_u64(&mut self) -> u64 {
        self.rng.next_u64()
    }

    /// The bytes are those of the generator; large requests are filled on all threads.
    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        /// Below this, finding the position again costs more than it gains.
        const BULK: usize = 1 << 12;
        if bytes.len() < BULK {
            self.rng.fill_bytes(bytes);
            return;
        }
        let position = self.rng.get_word_pos();
        ChaCha8::new(self.rng.get_seed(), self.rng.get_stream()).fill(position, bytes);
        // The generator, too, uses whole words.
        self.rng
            .set_word_pos(position.wrapping_add(bytes.len().div_ceil(4) as u128));
    }
}

impl Noise for Seeded {
    fn increment(&mut self, like: &Tensor, _from_lambda: f64, _to_lambda: f64) -> Result<Tensor> {
        self.fresh(like)
    }

    fn fresh(&mut self, like: &Tensor) -> Result<Tensor> {
        match like.dtype() {
            DType::F32 => like_of(self.normals::<f32>(like.elem_count())?, like),
            _ => like_of(self.normals::<f64>(like.elem_count())?, like),
        }
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::normal_like;

    #[test]
    fn the_numbers_of_a_seed_never_change() {
        let like = Tensor::zeros(4, DType::F64, &Device::Cpu).unwrap();
        let drawn = Seeded::new(0).fresh(&like).unwrap().to_vec1::<f64>().unwrap();
        assert_eq!(drawn, VALUE_STABILITY);
    }

    // Changing these changes every sample of every user.
    const VALUE_STABILITY: [f64; 4] = [
        -0.8102724983810923,
        0.1761966433541538,
        0.786301250909937,
        0.312297307092687,
    ];

    #[test]
    fn moments_are_those_of_the_unit_normal() {
        let count = 100_000;
        let values = super::super::normals(count, &mut Seeded::new(1));
        let mean = values.iter().sum::<f64>() / count as f64;
        let square = values.iter().map(|v| v * v).sum::<f64>() / count as f64;
        let fourth = values.iter().map(|v| v.powi(4)).sum::<f64>() / count as f64;
        // 6.1 standard errors: 1, √2 and √96 over √n.
        let bound = 6.1 / (count as f64).sqrt();
        assert!(mean.abs() < bound, "mean {mean}");
        assert!((square - 1.0).abs() < bound * 2f64.sqrt(), "variance {square}");
        assert!(
            (fourth - 3.0).abs() < bound * 96f64.sqrt(),
            "fourth moment {fourth}"
        );
    }

    #[test]
    fn a_stream_is_that_of_rand_chacha_however_it_is_cut_into_requests() {
        let mut theirs = ChaCha8Rng::seed_from_u64(11);
        theirs.set_stream(4);
        let mut ours = Seeded::stream(11, 4);
        for n in [3, 8, 5000, 1, 70_000, 64, 4096, 2_000_003, 12] {
            let (mut a, mut b) = (vec![0; n], vec![0; n]);
            ours.fill_bytes(&mut a);
            theirs.fill_bytes(&mut b);
            assert!(a == b, "a request of {n} bytes");
            assert_eq!(ours.position(), theirs.get_word_pos());
        }
        assert_eq!(ours.next_u32(), theirs.next_u32());
    }

    #[test]
    fn a_large_tensor_is_the_numbers_of_many_small_ones() {
        let like = |n| Tensor::zeros(n, DType::F32, &Device::Cpu).unwrap();
        let all = Seeded::new(6)
            .fresh(&like(300_000))
            .unwrap()
            .to_vec1::<f32>()
            .unwrap();
        let mut rng = Seeded::new(6);
        let drawn = normal_like(&like(300_000), &mut rng)
            .unwrap()
            .to_vec1::<f32>()
            .unwrap();
        assert!(all == drawn);
        rng.seek(0);
        let parts: Vec<f32> = (0..30)
            .flat_map(|_| rng.fresh(&like(10_000)).unwrap().to_vec1::<f32>().unwrap())
            .collect();
        assert!(all == parts);
    }

    #[test]
    fn streams_of_one_seed_differ_and_a_position_can_be_found_again() {
        let (mut a, mut b) = (Seeded::stream(3, 0), Seeded::stream(3, 1));
        assert_ne!(a.next_u64(), b.next_u64());
        let position = a.position();
        let next = a.next_u64();
        a.seek(position);
        assert_eq!(a.next_u64(), next);
    }

    #[test]
    fn the_type_asked_for_does_not_change_the_numbers() {
        let f64s = Tensor::zeros(9, DType::F64, &Device::Cpu).unwrap();
        let f32s = f64s.to_dtype(DType::F32).unwrap();
        let wide = Seeded::new(5)
            .fresh(&f64s)
            .unwrap()
            .to_dtype(DType::F32)
            .unwrap()
            .to_vec1::<f32>()
            .unwrap();
        assert_eq!(
            wide,
            Seeded::new(5).fresh(&f32s).unwrap().to_vec1::<f32>().unwrap()
        );
    }
}
