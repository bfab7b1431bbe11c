//! The transformer of FLUX.1, from candle-transformers, as a [`Network`].

use candle_core::{DType, Result, Tensor};
use candle_transformers::models::flux::WithForward;
use candle_transformers::models::flux::model::{Config, Flux};
use tallow::denoisers::{Call, Condition, Network};
use tallow::nn::Parameters;

/// Channels of a latent image: 16 in FLUX.1.
pub(crate) const CHANNELS: usize = 4;
/// Numbers in the embedding of a token, and of the whole text.
pub(crate) const WIDTHS: [usize; 2] = [24, 16];
/// The side of a square of latent pixels that makes a token.
const PATCH: usize = 2;

/// The adapter. Its images are (B, channels, height, width) as everywhere; that the transformer wants a sequence of tokens
/// and their places is nobody's business but this type's.
pub(crate) struct FluxNetwork(Flux);

impl Network for FluxNetwork {
    fn forward(&self, call: &Call<'_>) -> Result<Tensor> {
        let (rows, channels, height, width) = call.x.dims4()?;
        let (down, across) = (height / PATCH, width / PATCH);
        let tokens = call
            .x
            .reshape(vec![rows, channels, down, PATCH, across, PATCH])?
            .permute(vec![0, 2, 4, 1, 3, 5])?
            .reshape((rows, down * across, channels * PATCH * PATCH))?;
        let text = call.condition.tensor("text")?;
        let places_of_text = Tensor::zeros((rows, text.dim(1)?, 3), call.x.dtype(), call.x.device())?;
        let velocity = self.0.forward(
            &tokens,
            &places(call.x, down, across)?,
            text,
            &places_of_text,
            // A tensor of one time for each row: FLUX multiplies t by 1000 itself.
            call.time()?,
            call.condition.tensor("pooled")?,
            Some(call.condition.tensor("guidance")?),
        )?;
        velocity
            .reshape(vec![rows, down, across, channels, PATCH, PATCH])?
            .permute(vec![0, 3, 1, 4, 2, 5])?
            .reshape((rows, channels, height, width))
    }
}

/// The row and column of each token, (B, tokens, 3); the first number is 0 for images.
fn places(like: &Tensor, down: usize, across: usize) -> Result<Tensor> {
    let count = |side: usize| Tensor::arange(0, side as u32, like.device())?.to_dtype(like.dtype());
    let grid = (down, across);
    let rows = count(down)?.unsqueeze(1)?.broadcast_as(grid)?;
    let columns = count(across)?.unsqueeze(0)?.broadcast_as(grid)?;
    Tensor::stack(&[&rows.zeros_like()?, &rows, &columns], 2)?
        .reshape((1, down * across, 3))?
        .repeat((like.dim(0)?, 1, 1))
}

impl FluxNetwork {
    /// A network of one block of each kind, for a guidance that was distilled into it; FLUX.1 has 19 and 38 of 3072 channels.
    pub(crate) fn tiny(parameters: &Parameters) -> Result<Self> {
        let config = Config {
            in_channels: CHANNELS * PATCH * PATCH,
            vec_in_dim: WIDTHS[1],
            context_in_dim: WIDTHS[0],
            hidden_size: 48,
            mlp_ratio: 2.0,
            num_heads: 2,
            depth: 1,
            depth_single_blocks: 1,
            axes_dim: vec![4, 10, 10],
            theta: 10_000,
            qkv_bias: true,
            guidance_embed: true,
        };
        let network = Flux::new(&config, parameters.var_builder())?;
        // A fresh network of candle's has zeros for the scales of its norms, which its files overwrite: ones make it see.
        for (name, scale) in parameters.named() {
            if name.ends_with("_norm.scale") {
                scale.set(&scale.ones_like()?)?;
            }
        }
        Ok(Self(network))
    }

    /// What the network is told: a text by token, (B, tokens, 24), and as a whole, (B, 16), and how strongly to follow it.
    pub(crate) fn told(text: Tensor, pooled: Tensor, guidance: f64) -> Result<Condition> {
        let guidance = Tensor::full(guidance, text.dim(0)?, text.device())?.to_dtype(DType::F32)?;
        Ok(Condition::none()
            .with("text", text)
            .with("pooled", pooled)
            .with("guidance", guidance))
    }
}
