//! Which keys a query sees.

use crate::attention::Heads;
use crate::float::Float;

/// What is done to the scores before the softmax.
///
/// The values of a mask are (B, H, N, M) with any stride but the last, which is 1; a stride of 0 repeats them.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub enum Mask<'a, T> {
    /// Every query sees every key.
    #[default]
    None,
    /// Query i sees keys 0 … i, counted from the first of both (PyTorch's `is_causal`).
    Causal,
    /// A query sees the keys whose value is not 0.
    Keep(Heads<'a, u8>),
    /// The values are added to the scaled scores; −∞ hides a key.
    Bias(Heads<'a, T>),
}

impl<T: Float> Mask<'_, T> {
    /// The first key behind all that queries before `queries` see.
    pub(crate) fn keys_seen(&self, queries: usize, keys: usize) -> usize {
        match self {
            Self::Causal => keys.min(queries),
            _ => keys,
        }
    }

    /// The first query that may see keys from `first_key` on.
    pub(crate) fn first_query(&self, first_key: usize) -> usize {
        match self {
            Self::Causal => first_key,
            _ => 0,
        }
    }

    /// Masks the scores of one query with the keys from `first_key` on.
    #[inline(always)]
    pub(crate) fn apply(&self, head: (usize, usize), query: usize, first_key: usize, scores: &mut [T]) {
        let hidden = T::from_f64(f64::NEG_INFINITY);
        match self {
            Self::None => {}
            Self::Causal => {
                let seen = (query + 1).saturating_sub(first_key).min(scores.len());
                scores[seen..].fill(hidden);
            }
            Self::Keep(keep) => {
                let keep = &keep.token(head, query)[first_key..];
                for (score, &keep) in scores.iter_mut().zip(keep) {
                    *score = if keep == 0 { hidden } else { *score };
                }
            }
            Self::Bias(bias) => {
                let bias = &bias.token(head, query)[first_key..];
                for (score, &bias) in scores.iter_mut().zip(bias) {
                    *score = *score + bias;
                }
            }
        }
    }
}
