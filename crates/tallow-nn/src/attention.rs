//! Attention: each query's mean of the values, weighted by how well the keys fit.
//!
//! ```text
//! y = softmax(scale · q kᵀ + mask) v
//! ẏ = Ṗ v + P v̇,    Ṗ = P ⊙ (Ṡ − Σ_keys P ⊙ Ṡ),    Ṡ = scale · (q̇ kᵀ + q k̇ᵀ)
//! ```
//!
//! On the host, in f32 and f64, it is one operation that keeps two numbers for every query in place of the weights, so
//! its memory is linear in the tokens; elsewhere it is composed of candle's operations. A query that sees no key answers
//! 0 (PyTorch: NaN, or 0, depending on the kernel it picks).
//!
//! Source: Vaswani et al. 2017, arXiv:1706.03762, equation 1.

use candle_core::{D, DType, Tensor};
use tallow_kernels::Attention;

use crate::activation::Slope as Kept;
use crate::attention_op::{AttentionOp, FusedAttentionOp, OpMask};
use crate::dual::Dual;
use crate::error::{Error, Result};
use crate::slices::kernels_take;

/// Which keys a query sees. Masks have a shape that broadcasts to (B, H, N, M).
///
/// Source: Vaswani et al. 2017, arXiv:1706.03762, equation 1.
#[derive(Clone, Debug, Default)]
pub enum AttentionMask {
    /// Every query sees every key.
    #[default]
    None,
    /// Query i sees keys 0 … i, counted from the first of both (PyTorch's `is_causal`).
    Causal,
    /// U8: a query sees the keys whose value is not 0 (PyTorch's boolean mask).
    Keep(Tensor),
    /// Of the type of the queries: added to the scaled scores; −∞ hides a key. A mask that is being trained gets its
    /// gradient, by candle's operations.
    Bias(Tensor),
}

/// The answers, (B, H, N, value width), of queries (B, H, N, D) to keys (B, H, M, D) and values (B, H, M, value width);
/// the scale is 1/√D unless given.
///
/// The inputs may be views whose rows are contiguous, the answer is a view of (B, N, H, value width): with transposes
/// around it, attention copies nothing.
///
/// Source: Vaswani et al. 2017, arXiv:1706.03762, equation 1.
///
/// # Errors
///
/// When shapes, types or devices do not fit each other, or the scale is not finite.
pub fn attention(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    mask: &AttentionMask,
    scale: Option<f64>,
) -> Result<Tensor> {
    let sizes = sizes(q, k, v, scale)?;
    let mask = Checked::new(mask, q, &sizes)?;
    if !kernels_take(q) || mask.trained() {
        return Ok(weights(q, k, &mask, sizes.scale)?.matmul(&v.contiguous()?)?);
    }
    let op = AttentionOp {
        sizes,
        mask: mask.into_op()?,
        statistics: Kept::default(),
    };
    let y = rows(q)?.apply_op3(&rows(k)?, &rows(v)?, op)?;
    Ok(y.transpose(1, 2)?)
}

/// [`attention`] with its derivative along the tangents of queries, keys and values.
///
/// # Errors
///
/// Those of [`attention`].
pub fn attention_dual(
    q: &Dual,
    k: &Dual,
    v: &Dual,
    mask: &AttentionMask,
    scale: Option<f64>,
) -> Result<Dual> {
    let value = attention(q.value(), k.value(), v.value(), mask, scale)?;
    if [q, k, v].iter().all(|part| part.tangent().is_none()) {
        return Ok(Dual::constant(value));
    }
    let [qs, ks, vs] = [q, k, v].map(|part| part.value().detach());
    let sizes = sizes(&qs, &ks, &vs, scale)?;
    let checked = Checked::new(mask, &qs, &sizes)?;
    let p = weights(&qs, &ks, &checked, sizes.scale)?.detach();
    let product = |a: &Tensor, b: &Tensor| a.contiguous()?.matmul(&b.t()?.contiguous()?);
    let mut tangent = value.zeros_like()?;
    let by_query = q.tangent().map(|q| product(q, &ks)).transpose()?;
    let by_key = k.tangent().map(|k| product(&qs, k)).transpose()?;
    for scores in [by_query, by_key].into_iter().flatten() {
        let scores = (p.mul(&scores)? * sizes.scale)?;
        let turn = scores.sub(&p.broadcast_mul(&scores.sum_keepdim(D::Minus1)?)?)?;
        tangent = (tangent + turn.matmul(&vs.contiguous()?)?)?;
    }
    if let Some(v) = v.tangent() {
        tangent = (tangent + p.matmul(&v.contiguous()?)?)?;
    }
    Dual::new(value, tangent)
}

/// The answers, (B, N, H · D), to queries, keys and values in one tensor, (B, N, 3 · H · D), on the host.
pub(crate) fn fused_attention(fused: &Tensor, heads: usize, mask: &AttentionMask) -> Result<Tensor> {
    let (batch, queries, all) = fused.dims3()?;
    let width = all.checked_div(3 * heads).unwrap_or(0);
    let sizes = Attention {
        batch,
        heads,
        queries,
        keys: queries,
        width,
        value_width: width,
        scale: default_scale(width),
    };
    let mask = Checked::new(mask, fused, &sizes)?.into_op()?;
    let op = AttentionOp {
        sizes,
        mask,
        statistics: Kept::default(),
    };
    Ok(fused.contiguous()?.apply_op1(FusedAttentionOp(op))?)
}

/// Whether [`fused_attention`] takes these.
pub(crate) fn fuses(fused: &Tensor, mask: &AttentionMask) -> bool {
    kernels_take(fused) && !matches!(mask, AttentionMask::Bias(bias) if bias.track_op())
}

/// 1/√D, which is as good as any other number where there is nothing to multiply.
fn default_scale(width: usize) -> f64 {
    (width.max(1) as f64).sqrt().recip()
}

fn sizes(q: &Tensor, k: &Tensor, v: &Tensor, scale: Option<f64>) -> Result<Attention> {
    let refuse = |what: &str, wanted: String, got: &Tensor| Error::Input {
        layer: format!("attention, {what},"),
        wanted,
        got: got.shape().clone(),
    };
    let &[batch, heads, queries, width] = q.dims() else {
        return Err(refuse("queries", "(batch, heads, tokens, width)".to_string(), q));
    };
    let &[k_batch, k_heads, keys, k_width] = k.dims() else {
        return Err(refuse("keys", "(batch, heads, tokens, width)".to_string(), k));
    };
    if [k_batch, k_heads, k_width] != [batch, heads, width] {
        let wanted = format!(
            "({batch}, {heads}, tokens, {width}) beside queries of {:?}",
            q.shape()
        );
        return Err(refuse("keys", wanted, k));
    }
    let &[v_batch, v_heads, v_keys, value_width] = v.dims() else {
        return Err(refuse("values", "(batch, heads, tokens, width)".to_string(), v));
    };
    if [v_batch, v_heads, v_keys] != [batch, heads, keys] {
        let wanted = format!("({batch}, {heads}, {keys}, width) beside keys of {:?}", k.shape());
        return Err(refuse("values", wanted, v));
    }
    for other in [k, v] {
        check_place(q, other)?;
    }
    let scale = scale.unwrap_or_else(|| default_scale(width));
    if !scale.is_finite() {
        return Err(Error::Setting {
            name: "the scale of attention",
            value: scale,
            allowed: "a finite number",
        });
    }
    Ok(Attention {
        batch,
        heads,
        queries,
        keys,
        width,
        value_width,
        scale,
    })
}

fn check_place(q: &Tensor, other: &Tensor) -> Result<()> {
    let layer = || "attention, by its queries,".to_string();
    if other.dtype() != q.dtype() {
        let (wanted, got) = (q.dtype(), other.dtype());
        return Err(Error::Type {
            layer: layer(),
            wanted,
            got,
        });
    }
    if !other.device().same_device(q.device()) {
        let (wanted, got) = (q.device().clone(), other.device().clone());
        return Err(Error::Place {
            layer: layer(),
            wanted,
            got,
        });
    }
    Ok(())
}

/// The tensor with contiguous rows, itself if it has them.
fn rows(tensor: &Tensor) -> candle_core::Result<Tensor> {
    match (tensor.stride().last(), tensor.dims().last()) {
        (Some(1), _) | (_, Some(0 | 1)) => Ok(tensor.clone()),
        _ => tensor.contiguous(),
    }
}

/// A mask whose shape, type and device fit.
struct Checked {
    mask: AttentionMask,
    /// (B, H, N, M).
    shape: [usize; 4],
}

impl Checked {
    fn new(mask: &AttentionMask, q: &Tensor, sizes: &Attention) -> Result<Self> {
        let shape = [sizes.batch, sizes.heads, sizes.queries, sizes.keys];
        let (tensor, wanted) = match mask {
            AttentionMask::Keep(keep) => (keep, DType::U8),
            AttentionMask::Bias(bias) => (bias, q.dtype()),
            _ => {
                return Ok(Self {
                    mask: mask.clone(),
                    shape,
                });
            }
        };
        let fits = |(&have, &want): (&usize, &usize)| have == want || have == 1;
        let dims = tensor.dims();
        if dims.len() > 4 || !dims.iter().rev().zip(shape.iter().rev()).all(fits) {
            return Err(Error::Input {
                layer: "attention".to_string(),
                wanted: format!("a mask that broadcasts to {shape:?} (batch, heads, queries, keys)"),
                got: tensor.shape().clone(),
            });
        }
        if tensor.dtype() != wanted {
            return Err(Error::Type {
                layer: "attention, whose mask is of another type,".to_string(),
                wanted,
                got: tensor.dtype(),
            });
        }
        if !tensor.device().same_device(q.device()) {
            let (wanted, got) = (q.device().clone(), tensor.device().clone());
            return Err(Error::Place {
                layer: "attention, by its queries,".to_string(),
                wanted,
                got,
            });
        }
        Ok(Self {
            mask: mask.clone(),
            shape,
        })
    }

    fn trained(&self) -> bool {
        matches!(&self.mask, AttentionMask::Bias(bias) if bias.track_op())
    }

    fn into_op(self) -> candle_core::Result<OpMask> {
        let keys = self.shape[3];
        let whole = |mask: &Tensor| {
            let mut dims = mask.dims().to_vec();
            match dims.last_mut() {
                Some(last) => *last = keys,
                None => dims.push(keys),
            }
            // One row of keys is made whole; images, heads and queries are repeated by strides of 0.
            rows(&mask.broadcast_as(dims)?)?.broadcast_as(&self.shape[..])
        };
        Ok(match &self.mask {
            AttentionMask::None => OpMask::None,
            AttentionMask::Causal => OpMask::Causal,
            AttentionMask::Keep(keep) => OpMask::Keep(whole(keep)?),
            AttentionMask::Bias(bias) => OpMask::Bias(whole(bias)?),
        })
    }
}

/// P by candle's operations.
fn weights(q: &Tensor, k: &Tensor, mask: &Checked, scale: f64) -> candle_core::Result<Tensor> {
    let scores = (q.contiguous()?.matmul(&k.t()?.contiguous()?)? * scale)?;
    let hide = |scores: &Tensor, keep: &Tensor| {
        let hidden = Tensor::new(f32::NEG_INFINITY, scores.device())?
            .to_dtype(scores.dtype())?
            .broadcast_as(scores.shape())?;
        keep.broadcast_as(scores.shape())?.where_cond(scores, &hidden)
    };
    let scores = match &mask.mask {
        AttentionMask::None => scores,
        AttentionMask::Causal => {
            let [_, _, queries, keys] = mask.shape;
            let keep = (0..queries).flat_map(|i| (0..keys).map(move |j| u8::from(j <= i)));
            let keep = Tensor::from_vec(keep.collect::<Vec<_>>(), (queries, keys), q.device())?;
            hide(&scores, &keep)?
        }
        AttentionMask::Keep(keep) => hide(&scores, &keep.ne(0u8)?)?,
        AttentionMask::Bias(bias) => scores.broadcast_add(bias)?,
    };
    if mask.shape.contains(&0) {
        return Ok(scores);
    }
    // A query that sees no key has m = −∞; measured from 0, its weights are e^−∞ = 0, and l = 0 is made 1.
    let m = scores.max_keepdim(D::Minus1)?.detach();
    let m = m.eq(f64::NEG_INFINITY)?.where_cond(&m.zeros_like()?, &m)?;
    let e = scores.broadcast_sub(&m)?.exp()?;
    let l = e.sum_keepdim(D::Minus1)?;
    let l = (&l + l.eq(0.0)?.to_dtype(l.dtype())?)?;
    e.broadcast_div(&l)
}

#[cfg(test)]
#[path = "attention_tests.rs"]
mod tests;
