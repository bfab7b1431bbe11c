//! What a block is told of time and label.
//!
//! ```text
//! c = W₂ silu(W₁ waves(t) + b₁) + b₂ + table[label]
//! ```

use candle_core::{Device, Tensor};
use tallow_denoisers::{Call, LABELS};
use tallow_nn::{Activation, Embedding, Init, Linear, LinearInit, Scope, SinusoidalEmbedding};

use super::DitConfig;
use crate::Result;

/// The embedding of times and labels: `t_embedder.mlp.0`, `t_embedder.mlp.2` and `y_embedder.embedding_table`.
#[derive(Clone, Debug)]
pub(super) struct Embedder {
    waves: SinusoidalEmbedding,
    first: Linear,
    second: Linear,
    labels: Option<Embedding>,
}

impl Embedder {
    pub(super) fn new(scope: &Scope<'_>, config: &DitConfig) -> Result<Self> {
        let start = LinearInit {
            weight: Init::Normal { std: 0.02 },
            bias: Some(Init::ZEROS),
        };
        let (width, count) = (config.width, config.time.count);
        let time = scope.at("t_embedder.mlp");
        let first = Linear::with_init(&time.at(0), count, width, start)?.activated(Activation::Silu);
        let second = Linear::with_init(&time.at(2), width, width, start)?;
        let table = || {
            let scope = scope.at("y_embedder.embedding_table");
            Embedding::with_init(&scope, config.classes + 1, width, start.weight)
        };
        Ok(Self {
            labels: (config.classes > 0).then(table).transpose()?,
            // Last: its size has passed the parameters' check.
            waves: SinusoidalEmbedding::new(count, config.time.conventions())?,
            first,
            second,
        })
    }

    /// c, (B, width).
    pub(super) fn forward(&self, call: &Call<'_>) -> Result<Tensor> {
        // In double precision on the host: a half knows no step beyond 2048, and a float few digits of its sine.
        let times = Tensor::new(call.times, &Device::Cpu)?;
        let waves = self.waves.forward(&times)?;
        let waves = waves.to_dtype(call.x.dtype())?.to_device(call.x.device())?;
        let c = self.second.forward(&self.first.forward(&waves)?)?;
        let Some(table) = &self.labels else {
            return Ok(c);
        };
        let labels = call.condition.tensor(LABELS)?.to_dtype(candle_core::DType::U32)?;
        Ok((c + table.forward(&labels)?)?)
    }
}
