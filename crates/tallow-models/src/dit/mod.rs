//! A diffusion transformer: an image as a sequence of patches, blocks whose norms time and label modulate.
//!
//! ```text
//! h₀ = W_p patches(x) + b_p + positions        c = embedding of t + embedding of the label
//! hᵢ = blockᵢ(hᵢ₋₁, Mᵢ silu(c) + mᵢ)             output = patches⁻¹(W (LN(h)(1 + scale) + shift) + b),   [shift, scale] = M silu(c) + m
//! ```
//!
//! With [`DitStart::Zero`], all Mᵢ, mᵢ, W and b start at zero: each block as the identity, the network as zero.
//!
//! Source: Peebles & Xie 2023, arXiv:2212.09748.

mod config;
mod embedder;
mod positions;

use std::sync::OnceLock;

use candle_core::{DType, Tensor};
use tallow_denoisers::{Call, Network};
use tallow_nn::{
    Activation, Init, LayerNorm, Linear, LinearInit, Modulation, Scope, TransformerBlock,
    TransformerBlockConfig, activate, add_positions,
};

pub use config::{DitConfig, DitStart, Embedders, TimeWaves};
use embedder::Embedder;
use positions::positions;

use crate::{Error, Result};

/// A diffusion transformer, (B, channels, size, size) to (B, outputs, size, size). Parameters bear the names of the paper's
/// code: `x_embedder.proj`, `t_embedder.mlp.0` and `.2`, `y_embedder.embedding_table`, `blocks.{i}.attn.qkv`,
/// `blocks.{i}.attn.proj`, `blocks.{i}.mlp.fc1` and `.fc2`, `blocks.{i}.adaLN_modulation.1`,
/// `final_layer.adaLN_modulation.1` and `final_layer.linear`; with [`Embedders::PerBlock`] the embedders lie in
/// `blocks.{i}`.
///
/// Labels come as the condition [`LABELS`](tallow_denoisers::LABELS); [`DitConfig::null_label`] means "none".
///
/// Source: Peebles & Xie 2023, arXiv:2212.09748.
#[derive(Debug)]
pub struct Dit {
    config: DitConfig,
    patch: (Tensor, Tensor),
    embedders: Vec<Embedder>,
    blocks: Vec<(Linear, TransformerBlock)>,
    last: (Linear, LayerNorm),
    out: Linear,
    dtype: DType,
    /// Made when first asked for.
    positions: OnceLock<Tensor>,
}

impl Dit {
    /// Builds the network in a scope: its parameters are made there, or read from a view.
    ///
    /// # Errors
    ///
    /// When a size does not fit, or the scope refuses a parameter.
    pub fn new(scope: &Scope<'_>, config: DitConfig) -> Result<Self> {
        config.check()?;
        let DitConfig { width, patch, .. } = config;
        let mut embedders = Vec::new();
        if config.embedders == Embedders::Shared {
            embedders.push(Embedder::new(scope, &config)?);
        }
        let mut blocks = Vec::new();
        for index in 0..config.depth {
            let scope = scope.at("blocks").at(index);
            if config.embedders == Embedders::PerBlock {
                embedders.push(Embedder::new(&scope, &config)?);
            }
            let block = TransformerBlock::new(&scope, block_config(&config))?;
            blocks.push((modulation(&scope, &config, 6)?, block));
        }
        let last = scope.at("final_layer");
        let outputs = patch * patch * config.outputs;
        let norm = LayerNorm::without_affine(&last.at("norm_final"), width)?.with_epsilon(1e-6)?;
        Ok(Self {
            patch: patches(&scope.at("x_embedder.proj"), &config)?,
            embedders,
            blocks,
            last: (modulation(&last, &config, 2)?, norm),
            out: Linear::with_init(&last.at("linear"), width, outputs, start(&config, outputs))?,
            dtype: scope.dtype(),
            positions: OnceLock::new(),
            config,
        })
    }

    /// The network's shape.
    #[must_use]
    pub fn config(&self) -> &DitConfig {
        &self.config
    }

    fn output(&self, call: &Call<'_>) -> Result<Tensor> {
        let shared = self
            .embedders
            .first()
            .map(|first| self.condition(first, call))
            .transpose()?;
        let Some(first) = shared else {
            // The constructor refuses a depth of zero.
            return Ok(call.x.zeros_like()?);
        };
        let mut h = self.tokens(call.x)?;
        for (index, (modulation, block)) in self.blocks.iter().enumerate() {
            let own = self.embedders.get(index).filter(|_| index > 0);
            let condition = match own {
                Some(embedder) => self.condition(embedder, call)?,
                None => first.clone(),
            };
            h = block.forward(&h, &modulation.forward(&condition)?)?;
        }
        let (modulation, norm) = &self.last;
        let modulation = Modulation::shift_then_scale(&modulation.forward(&first)?, 0);
        self.image(&self.out.forward(&norm.forward_with(&h, &modulation)?)?)
    }

    /// silu(c), (B, width).
    fn condition(&self, embedder: &Embedder, call: &Call<'_>) -> Result<Tensor> {
        Ok(activate(&embedder.forward(call)?, Activation::Silu)?)
    }

    /// h₀, (B, tokens, width), of images (B, channels, size, size).
    fn tokens(&self, x: &Tensor) -> Result<Tensor> {
        let DitConfig {
            patch,
            channels,
            size,
            width,
            ..
        } = self.config;
        let (batch, side) = (x.dim(0)?, size / patch);
        let patches = x
            .reshape(vec![batch, channels, side, patch, side, patch])?
            .permute(vec![0, 2, 4, 1, 3, 5])?
            .reshape((batch, side * side, channels * patch * patch))?;
        let (weight, bias) = &self.patch;
        let weight = weight.reshape((width, channels * patch * patch))?;
        let tokens = Linear::from_tensors(&weight, Some(bias))?.forward(&patches)?;
        Ok(add_positions(&tokens, self.positions(x)?)?)
    }

    fn positions(&self, x: &Tensor) -> Result<&Tensor> {
        if let Some(table) = self.positions.get() {
            return Ok(table);
        }
        let side = self.config.size / self.config.patch;
        let table = positions(side, self.config.width, self.dtype, x.device())?;
        Ok(self.positions.get_or_init(|| table))
    }

    /// Images (B, outputs, size, size) of tokens (B, tokens, patch · patch · outputs).
    fn image(&self, tokens: &Tensor) -> Result<Tensor> {
        let DitConfig {
            patch, outputs, size, ..
        } = self.config;
        let (batch, side) = (tokens.dim(0)?, size / patch);
        Ok(tokens
            .reshape(vec![batch, side, side, patch, patch, outputs])?
            .permute(vec![0, 5, 1, 3, 2, 4])?
            .reshape((batch, outputs, size, size))?)
    }

    fn check(&self, x: &Tensor) -> Result<()> {
        let DitConfig { channels, size, .. } = self.config;
        let rows = x.dims().first().copied().unwrap_or(0);
        if x.dims() != [rows, channels, size, size] {
            return Err(Error::Call(tallow_denoisers::Error::Shape {
                what: "x of a Dit".to_owned(),
                expected: (rows, channels, size, size).into(),
                got: x.shape().clone(),
            }));
        }
        Ok(())
    }
}

/// Weight and bias of the layer that patches enter, shaped as a convolution's.
fn patches(scope: &Scope<'_>, config: &DitConfig) -> Result<(Tensor, Tensor)> {
    let DitConfig {
        width,
        patch,
        channels,
        ..
    } = *config;
    let init = Init::xavier(channels.saturating_mul(patch * patch), width);
    let weight = scope.parameter("weight", (width, channels, patch, patch), init)?;
    Ok((weight, scope.parameter("bias", width, Init::ZEROS)?))
}

/// The layer of a condition that makes `slices` of a modulation.
fn modulation(scope: &Scope<'_>, config: &DitConfig, slices: usize) -> Result<Linear> {
    let (scope, outputs) = (scope.at("adaLN_modulation.1"), slices * config.width);
    let init = start(config, outputs);
    Ok(Linear::with_init(&scope, config.width, outputs, init)?)
}

/// How a modulation or the output starts.
fn start(config: &DitConfig, outputs: usize) -> LinearInit {
    let weight = match config.start {
        DitStart::Zero => Init::ZEROS,
        DitStart::Random => Init::xavier(config.width, outputs),
    };
    let bias = Some(Init::ZEROS);
    LinearInit { weight, bias }
}

fn block_config(config: &DitConfig) -> TransformerBlockConfig {
    TransformerBlockConfig {
        width: config.width,
        heads: config.heads,
        hidden: config.width * config.mlp_ratio,
        activation: config.activation,
        epsilon: config.epsilon,
    }
}

impl Network for Dit {
    fn forward(&self, call: &Call<'_>) -> candle_core::Result<Tensor> {
        self.check(call.x)?;
        Ok(self.output(call)?)
    }
}

#[cfg(test)]
#[path = "dit_tests.rs"]
mod tests;
