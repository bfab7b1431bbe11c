//! What travels beside the images through a network of residual blocks.

use candle_core::Tensor;
use tallow_nn::{ResidualBlock, RngCore};

use crate::Result;

/// The embedding that the blocks are told, and the generator of dropout while training.
pub(crate) struct Told<'e, 'r> {
    embedding: Option<&'e Tensor>,
    rng: Option<&'r mut dyn RngCore>,
}

impl<'e, 'r> Told<'e, 'r> {
    pub(crate) fn new(embedding: Option<&'e Tensor>, rng: Option<&'r mut dyn RngCore>) -> Self {
        Self { embedding, rng }
    }

    /// The answer of a block to `x`.
    pub(crate) fn to(&mut self, block: &ResidualBlock, x: &Tensor) -> Result<Tensor> {
        let rng: Option<&mut dyn RngCore> = match &mut self.rng {
            Some(rng) => Some(&mut **rng),
            None => None,
        };
        Ok(block.forward_with(x, self.embedding, rng)?)
    }
}
