//! A transformer block whose norms are modulated by the condition, as one pass forward and one back.
//!
//! ```text
//! n₁ = LN(x)(1 + scale₁) + shift₁      h₁ = attention(n₁ W_qkvᵀ + b_qkv) W_projᵀ + b_proj      r = x + gate₁ h₁
//! n₂ = LN(r)(1 + scale₂) + shift₂      h₂ = act(n₂ W_fc1ᵀ + b_fc1) W_fc2ᵀ + b_fc2              y = r + gate₂ h₂
//! ```
//!
//! x is (batch, tokens, width), the modulation (batch, 6 · width) with columns shift₁, scale₁, gate₁, shift₂, scale₂,
//! gate₂; layer norms have no parameters of their own. What the steps leave for the way back stays in buffers of
//! [`TransformerSaved`], so nothing between them passes through the graph of a library.
//!
//! Laws: those of the steps ([`RowNorm`], [`Layer`], [`Attention`], [`GatedResidual`]).
//!
//! Source: Peebles & Xie 2023, arXiv:2212.09748, section 3.2 (adaLN-Zero block).

use crate::activation::Activation;
use crate::affine::{Affine, Modulation, ModulationGradients};
use crate::attention::{Attention, AttentionSaved, HeadStrides, Heads, Mask};
use crate::error::{Result, area, check_length};
use crate::float::Float;
use crate::gated_residual::GatedResidual;
use crate::layer_norm::{Centre, RowNorm};
use crate::linear::{Gradients, Layer, Saved, Wanted};
use crate::statistics::Statistics;

/// The sizes of a block.
///
/// Source: Peebles & Xie 2023, arXiv:2212.09748, section 3.2 (adaLN-Zero block).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TransformerBlock {
    /// Entries of the batch.
    pub batch: usize,
    /// Tokens of an entry.
    pub tokens: usize,
    /// Values of a token.
    pub width: usize,
    /// Heads, which divide the width.
    pub heads: usize,
    /// Values between the last two layers.
    pub hidden: usize,
    /// What follows the first of the last two layers.
    pub activation: Activation,
    /// What is added to the variance of the first and of the second norm.
    pub epsilon: [f64; 2],
}

/// Weight (outputs, inputs) and bias (outputs) of a linear layer.
#[derive(Clone, Copy, Debug)]
pub struct LayerWeights<'a, T> {
    /// W.
    pub weight: &'a [T],
    /// b.
    pub bias: &'a [T],
}

/// The four layers of a block.
#[derive(Clone, Copy, Debug)]
pub struct TransformerWeights<'a, T> {
    /// width → 3 · width.
    pub qkv: LayerWeights<'a, T>,
    /// width → width.
    pub proj: LayerWeights<'a, T>,
    /// width → hidden.
    pub fc1: LayerWeights<'a, T>,
    /// hidden → width.
    pub fc2: LayerWeights<'a, T>,
}

/// What the backward pass needs of the forward pass, besides x, modulation and weights.
#[derive(Clone, Debug)]
pub struct TransformerSaved<T> {
    first_norm: Statistics,
    n1: Vec<T>,
    qkv: Vec<T>,
    attended: Vec<T>,
    attention: Vec<T>,
    h1: Vec<T>,
    middle: Vec<T>,
    second_norm: Statistics,
    n2: Vec<T>,
    active: Vec<T>,
    slope: Vec<T>,
    h2: Vec<T>,
}

/// Gradients of a block.
#[derive(Clone, Debug, PartialEq)]
pub struct TransformerGradients<T> {
    /// dx, (batch, tokens, width).
    pub x: Vec<T>,
    /// (batch, 6 · width).
    pub modulation: Vec<T>,
    /// Weights and biases of qkv, proj, fc1 and fc2; `None` where they were not wanted.
    pub layers: [Option<(Vec<T>, Vec<T>)>; 4],
}

impl TransformerBlock {
    /// y, and what the backward pass needs if it is wanted.
    ///
    /// # Errors
    ///
    /// When a slice does not have the length of its shape, or the heads do not divide the width.
    pub fn forward<T: Float>(
        &self,
        x: &[T],
        modulation: &[T],
        weights: TransformerWeights<'_, T>,
        keep: Wanted,
    ) -> Result<(Vec<T>, Option<TransformerSaved<T>>)> {
        self.check(x, modulation)?;
        let (n1, first_norm) = self.norm(0).forward(x, self.affine(modulation, 0))?;
        let (qkv, _) = linear(self.qkv(), &n1, weights.qkv, Wanted::No)?;
        let [q, k, v] = self.parts(&qkv);
        let (attended, attention) = self.attention().forward(q, k, v, Mask::None)?;
        let (h1, _) = linear(self.proj(), &attended, weights.proj, Wanted::No)?;
        let residual = self.residual();
        let middle = residual.forward(x, self.gate(modulation, 0), &h1)?;
        let (n2, second_norm) = self.norm(1).forward(&middle, self.affine(modulation, 1))?;
        let (active, slope) = linear(self.fc1(), &n2, weights.fc1, keep)?;
        let (h2, _) = linear(self.fc2(), &active, weights.fc2, Wanted::No)?;
        let y = residual.forward(&middle, self.gate(modulation, 1), &h2)?;
        let saved = TransformerSaved {
            first_norm,
            n1,
            qkv,
            attended,
            attention,
            h1,
            middle,
            second_norm,
            n2,
            active,
            slope,
            h2,
        };
        Ok((y, (keep == Wanted::Yes).then_some(saved)))
    }

    /// The gradients of a loss from its gradient `dy` with respect to y.
    ///
    /// # Errors
    ///
    /// When a slice does not have the length of its shape.
    pub fn backward<T: Float>(
        &self,
        x: &[T],
        modulation: &[T],
        weights: TransformerWeights<'_, T>,
        saved: &TransformerSaved<T>,
        dy: &[T],
        layers: Wanted,
    ) -> Result<TransformerGradients<T>> {
        self.check(x, modulation)?;
        check_length("dy", dy.len(), x.len())?;
        let residual = self.residual();
        let (dh2, gate2) = residual.backward(self.gate(modulation, 1), &saved.h2, dy)?;
        let fc2 = back(self.fc2(), &saved.active, weights.fc2, &[], &dh2, layers)?;
        let fc1 = back(
            self.fc1(),
            &saved.n2,
            weights.fc1,
            &saved.slope,
            values(&fc2.x),
            layers,
        )?;
        let (affine, statistics) = (self.affine(modulation, 1), &saved.second_norm);
        let second = self
            .norm(1)
            .backward(&saved.middle, statistics, affine, values(&fc1.x))?;
        let middle = sum(second.x, dy);
        let (dh1, gate1) = residual.backward(self.gate(modulation, 0), &saved.h1, &middle)?;
        let proj = back(self.proj(), &saved.attended, weights.proj, &[], &dh1, layers)?;
        let [q, k, v] = self.parts(&saved.qkv);
        let attention = AttentionSaved {
            q,
            k,
            v,
            mask: Mask::None,
            y: &saved.attended,
            statistics: &saved.attention,
        };
        let dqkv = self.attention().backward_fused(attention, values(&proj.x))?;
        let qkv = back(self.qkv(), &saved.n1, weights.qkv, &[], &dqkv, layers)?;
        let (affine, statistics) = (self.affine(modulation, 0), &saved.first_norm);
        let first = self.norm(0).backward(x, statistics, affine, values(&qkv.x))?;
        Ok(TransformerGradients {
            x: sum(first.x, &middle),
            modulation: self.side_by_side(&[(first.modulation, gate1), (second.modulation, gate2)]),
            layers: [qkv, proj, fc1, fc2].map(|layer| layer.weight.zip(layer.bias)),
        })
    }

    fn check<T>(&self, x: &[T], modulation: &[T]) -> Result<()> {
        check_length("x", x.len(), area(area(self.batch, self.tokens)?, self.width)?)?;
        check_length(
            "modulation",
            modulation.len(),
            area(self.batch, area(6, self.width)?)?,
        )?;
        let heads = self.heads.max(1);
        check_length("values of the heads", self.width / heads * heads, self.width)
    }

    /// Scale and shift of the first or second norm.
    fn affine<'a, T>(&self, modulation: &'a [T], index: usize) -> Affine<'a, T> {
        let shift = 3 * index * self.width;
        Affine {
            gamma: None,
            beta: None,
            modulation: Some(Modulation {
                values: modulation,
                stride: 6 * self.width,
                shift,
                scale: shift + self.width,
            }),
        }
    }

    fn gate<'a, T>(&self, modulation: &'a [T], index: usize) -> &'a [T] {
        modulation.get((3 * index + 2) * self.width..).unwrap_or_default()
    }

    /// The gradient of the modulation from those of its columns.
    fn side_by_side<T: Float>(&self, halves: &[(Option<ModulationGradients<T>>, Vec<T>); 2]) -> Vec<T> {
        let width = self.width;
        let mut all = Vec::with_capacity(self.batch * 6 * width);
        for row in 0..self.batch {
            for (norm, gate) in halves {
                let row = |values: &[T]| values[row * width..][..width].to_vec();
                if let Some(ModulationGradients { scale, shift }) = norm {
                    all.extend(row(shift));
                    all.extend(row(scale));
                }
                all.extend(row(gate));
            }
        }
        all
    }

    /// The first or second norm.
    fn norm(&self, index: usize) -> RowNorm {
        RowNorm {
            batch: self.batch,
            tokens: self.tokens,
            width: self.width,
            centre: Centre::Mean,
            epsilon: self.epsilon[index],
        }
    }

    fn residual(&self) -> GatedResidual {
        GatedResidual {
            batch: self.batch,
            tokens: self.tokens,
            width: self.width,
            stride: 6 * self.width,
        }
    }

    fn attention(&self) -> Attention {
        let width = self.width / self.heads.max(1);
        Attention {
            batch: self.batch,
            heads: self.heads,
            queries: self.tokens,
            keys: self.tokens,
            width,
            value_width: width,
            scale: (width.max(1) as f64).sqrt().recip(),
        }
    }

    fn parts<'a, T>(&self, qkv: &'a [T]) -> [Heads<'a, T>; 3] {
        let strides = HeadStrides::fused(self.tokens, self.heads, self.attention().width);
        [0, 1, 2].map(|part| Heads {
            values: qkv.get(part * self.width..).unwrap_or_default(),
            strides,
        })
    }

    fn layer(&self, inputs: usize, outputs: usize, activation: Activation) -> Layer {
        Layer {
            rows: self.batch * self.tokens,
            inputs,
            outputs,
            activation,
        }
    }

    fn qkv(&self) -> Layer {
        self.layer(self.width, 3 * self.width, Activation::Identity)
    }

    fn proj(&self) -> Layer {
        self.layer(self.width, self.width, Activation::Identity)
    }

    fn fc1(&self) -> Layer {
        self.layer(self.width, self.hidden, self.activation)
    }

    fn fc2(&self) -> Layer {
        self.layer(self.hidden, self.width, Activation::Identity)
    }
}

fn linear<T: Float>(
    layer: Layer,
    x: &[T],
    weights: LayerWeights<'_, T>,
    slope: Wanted,
) -> Result<(Vec<T>, Vec<T>)> {
    layer.forward(x, weights.weight, Some(weights.bias), slope)
}

fn back<T: Float>(
    layer: Layer,
    x: &[T],
    weights: LayerWeights<'_, T>,
    slope: &[T],
    dy: &[T],
    wanted: Wanted,
) -> Result<Gradients<T>> {
    let weight = weights.weight;
    layer.backward(Saved { x, weight, slope }, dy, Wanted::Yes, wanted)
}

/// The gradient of an input that was wanted.
fn values<T>(gradient: &Option<Vec<T>>) -> &[T] {
    gradient.as_deref().unwrap_or_default()
}

fn sum<T: Float>(mut a: Vec<T>, b: &[T]) -> Vec<T> {
    a.iter_mut().zip(b).for_each(|(a, &b)| *a = *a + b);
    a
}

#[cfg(test)]
#[path = "transformer_block_tests.rs"]
mod tests;
