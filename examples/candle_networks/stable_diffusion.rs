//! The U-Net of Stable Diffusion, from candle-transformers, as a [`Network`].

use candle_core::{Result, Tensor, bail};
use candle_transformers::models::stable_diffusion::unet_2d::{
    BlockConfig, UNet2DConditionModel, UNet2DConditionModelConfig,
};
use tallow::denoisers::{Call, Condition, Network};
use tallow::nn::Parameters;

/// Channels of a latent image.
pub(crate) const CHANNELS: usize = 4;
/// The name under which text embeddings, (B, tokens, width), travel.
const TEXT: &str = "text";
/// Numbers in the embedding of a token: 768 in Stable Diffusion 1.5.
pub(crate) const WIDTH: usize = 24;

/// The adapter: a type of one's own around somebody else's network, which says where its arguments come from.
pub(crate) struct StableDiffusion(UNet2DConditionModel);

impl Network for StableDiffusion {
    fn forward(&self, call: &Call<'_>) -> Result<Tensor> {
        // This network takes the index of the table as one number for the whole batch, which the call has on the host.
        let Some((&step, others)) = call.times.split_first() else {
            return Ok(call.x.clone());
        };
        if others.iter().any(|other| *other != step) {
            bail!(
                "this U-Net takes one time for the batch, got {:?}: call it row by row",
                call.times
            );
        }
        self.0.forward(call.x, step, call.condition.tensor(TEXT)?)
    }
}

impl StableDiffusion {
    /// A network of two levels; that of Stable Diffusion 1.5 has four, of 320 to 1280 channels.
    ///
    /// Its weights are drawn by tallow from the seed of `parameters`. Those of a file come the same way: build the network,
    /// then `parameters.load(file)`.
    pub(crate) fn tiny(parameters: &Parameters) -> Result<Self> {
        let level = |out_channels, use_cross_attn| BlockConfig {
            out_channels,
            use_cross_attn,
            // The number of heads, whatever its name says.
            attention_head_dim: 4,
        };
        let config = UNet2DConditionModelConfig {
            blocks: vec![level(32, Some(1)), level(64, None)],
            layers_per_block: 1,
            norm_num_groups: 8,
            cross_attention_dim: WIDTH,
            ..UNet2DConditionModelConfig::default()
        };
        let network = UNet2DConditionModel::new(parameters.var_builder(), CHANNELS, CHANNELS, false, config)?;
        Ok(Self(network))
    }

    /// What the network is told: the embedding of a text for each row, (B, tokens, [`WIDTH`]).
    pub(crate) fn told(text: Tensor) -> Condition {
        Condition::none().with(TEXT, text)
    }
}
