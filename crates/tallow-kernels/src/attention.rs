//! Attention of many heads: each query's mean of the values, weighted by how well the keys fit.
//!
//! ```text
//! S = scale · Q Kᵀ + mask,   P = softmax(S) by rows,   Y = P V
//! dV = Pᵀ dY,   dP = dY Vᵀ,   dS = P ⊙ (dP − Σ dY ⊙ Y),   dQ = scale · dS K,   dK = scale · dSᵀ Q
//! ```
//!
//! P is never kept: blocks of keys follow each other with a running largest score m and sum l of every query, and the
//! backward pass computes P = exp(S − m)/l again from those two numbers. (Their logarithm m + ln l would be one number,
//! but lose the digits of l where scores are large.) The memory is linear in the numbers of queries and keys. A query
//! that sees no key answers 0, and no gradient passes through it.
//!
//! Queries, keys and values are read where a linear layer wrote them, see [`HeadStrides`]; no copy is permuted.
//!
//! Laws: an image's results have the same bytes in every batch and on any number of threads.
//!
//! Sources: Vaswani et al. 2017, arXiv:1706.03762, equation 1; Milakov & Gimelshein 2018, arXiv:1805.02867 (running
//! softmax); Dao et al. 2022, arXiv:2205.14135 (backward by blocks).

mod backward;
mod forward;
mod heads;
mod mask;
mod product;
mod shared;

use std::ops::Range;

pub use self::heads::{HeadStrides, Heads};
pub use self::mask::Mask;

use crate::attention::backward::{Backward, BackwardScratch, Target, sum_partials};
use crate::attention::forward::{Forward, ForwardScratch};
use crate::attention::shared::Shared;
use crate::buffer::written;
use crate::dispatch::{self, Path};
use crate::error::{Result, area, check_length};
use crate::float::Float;
use crate::parallel;
use crate::scratch::with_scratch;

/// The sizes of an attention and the factor on its scores.
///
/// Sources: Vaswani et al. 2017, arXiv:1706.03762, equation 1; Milakov & Gimelshein 2018, arXiv:1805.02867 (running
/// softmax); Dao et al. 2022, arXiv:2205.14135 (backward by blocks).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Attention {
    /// B, images or sequences.
    pub batch: usize,
    /// H.
    pub heads: usize,
    /// N, queries of a head.
    pub queries: usize,
    /// M, keys and values of a head.
    pub keys: usize,
    /// D, values of a query and of a key.
    pub width: usize,
    /// Values of a value, and of an answer.
    pub value_width: usize,
    /// The factor on the scores, 1/√D as a rule.
    pub scale: f64,
}

/// What the backward pass needs of the forward pass.
#[derive(Clone, Copy, Debug)]
pub struct AttentionSaved<'a, T> {
    /// The queries.
    pub q: Heads<'a, T>,
    /// The keys.
    pub k: Heads<'a, T>,
    /// The values.
    pub v: Heads<'a, T>,
    /// The mask.
    pub mask: Mask<'a, T>,
    /// The answer, (B, N, H, value width).
    pub y: &'a [T],
    /// (m, 1/l) of every query, (B, H, N, 2).
    pub statistics: &'a [T],
}

/// Gradients of an attention.
#[derive(Clone, Debug, PartialEq)]
pub struct AttentionGradients<T> {
    /// dQ, (B, N, H, D).
    pub q: Vec<T>,
    /// dK, (B, M, H, D).
    pub k: Vec<T>,
    /// dV, (B, M, H, value width).
    pub v: Vec<T>,
}

impl Attention {
    /// The answer, (B, N, H, value width), and what the backward pass needs of every query, (B, H, N, 2).
    ///
    /// # Errors
    ///
    /// When a slice ends before its last token.
    pub fn forward<T: Float>(
        &self,
        q: Heads<'_, T>,
        k: Heads<'_, T>,
        v: Heads<'_, T>,
        mask: Mask<'_, T>,
    ) -> Result<(Vec<T>, Vec<T>)> {
        self.forward_on(Path::best(), q, k, v, mask)
    }

    /// [`Attention::forward`] on a chosen instruction set: for tests and benchmarks.
    ///
    /// # Errors
    ///
    /// Those of [`Attention::forward`].
    pub fn forward_on<T: Float>(
        &self,
        path: Path,
        q: Heads<'_, T>,
        k: Heads<'_, T>,
        v: Heads<'_, T>,
        mask: Mask<'_, T>,
    ) -> Result<(Vec<T>, Vec<T>)> {
        self.check(&q, &k, &v, &mask)?;
        let groups = self.queries.div_ceil(Forward::<T>::GROUP);
        let units = area(area(self.batch, self.heads)?, groups)?;
        let mut statistics = Vec::new();
        // SAFETY: every query belongs to exactly one unit of the forward pass, which writes its answer and its two
        // statistics; where there is no query there is nothing to write.
        let y = unsafe {
            written(self.answers()?, |y| {
                statistics = written(area(self.rows()?, 2)?, |statistics| {
                    let (y, statistics) = (Shared::new(y), Shared::new(statistics));
                    parallel::for_each(self.cost(), runs_of(units), |units| {
                        with_scratch(ForwardScratch::<T>::lengths(self), |scratch| {
                            let forward = Forward {
                                shape: self,
                                q,
                                k,
                                v,
                                mask,
                                units,
                                y: &y,
                                statistics: &statistics,
                                scratch: ForwardScratch::new(scratch),
                            };
                            dispatch::run(path, forward);
                        });
                    });
                    Ok(())
                })?;
                Ok(())
            })?
        };
        Ok((y, statistics))
    }

    /// The gradients of a loss with respect to queries, keys and values, from its gradient `dy` with respect to the
    /// answer, (B, N, H, value width).
    ///
    /// # Errors
    ///
    /// When a slice does not have the length of its shape.
    pub fn backward<T: Float>(
        &self,
        saved: AttentionSaved<'_, T>,
        dy: &[T],
    ) -> Result<AttentionGradients<T>> {
        self.backward_on(Path::best(), saved, dy)
    }

    /// [`Attention::backward`] on a chosen instruction set: for tests and benchmarks.
    ///
    /// # Errors
    ///
    /// Those of [`Attention::backward`].
    pub fn backward_on<T: Float>(
        &self,
        path: Path,
        saved: AttentionSaved<'_, T>,
        dy: &[T],
    ) -> Result<AttentionGradients<T>> {
        let keys = area(area(self.batch, self.heads)?, self.keys)?;
        let queries = area(self.rows()?, self.width)?;
        let (key_values, values) = (area(keys, self.width)?, area(keys, self.value_width)?);
        let [by_query, by_key, by_value] = [
            (self.queries, self.width),
            (self.keys, self.width),
            (self.keys, self.value_width),
        ]
        .map(|(tokens, width)| HeadStrides::tokens_first(tokens, self.heads, width));
        let (mut dk, mut dv) = (Vec::new(), Vec::new());
        // SAFETY: `gradients` writes the gradient of every token, and the strides give every place one token.
        let dq = unsafe {
            written(queries, |dq| {
                dk = written(key_values, |dk| {
                    dv = written(values, |dv| {
                        let targets = [
                            Target::new(Shared::new(dq), 0, by_query),
                            Target::new(Shared::new(dk), 0, by_key),
                            Target::new(Shared::new(dv), 0, by_value),
                        ];
                        self.gradients(path, saved, dy, &targets)
                    })?;
                    Ok(())
                })?;
                Ok(())
            })?
        };
        Ok(AttentionGradients { q: dq, k: dk, v: dv })
    }

    /// The gradients in one tensor, (B, N, 3, H, D), as one linear layer for all three wants them.
    ///
    /// # Errors
    ///
    /// When a slice does not have the length of its shape, or the sizes of queries, keys and values differ.
    pub fn backward_fused<T: Float>(&self, saved: AttentionSaved<'_, T>, dy: &[T]) -> Result<Vec<T>> {
        check_length("keys", self.keys, self.queries)?;
        check_length("values of a value", self.value_width, self.width)?;
        let one = area(self.rows()?, self.width)?;
        let strides = HeadStrides::fused(self.queries, self.heads, self.width);
        // SAFETY: `gradients` writes the gradient of every token, and the strides give every place one token.
        unsafe {
            written(area(one, 3)?, |gradient| {
                let shared = Shared::new(gradient);
                let part = self.heads * self.width;
                let targets = [0, 1, 2].map(|index| Target::new(shared, index * part, strides));
                self.gradients(Path::best(), saved, dy, &targets)
            })
        }
    }

    /// Writes the gradients of every query, key and value.
    fn gradients<T: Float>(
        &self,
        path: Path,
        saved: AttentionSaved<'_, T>,
        dy: &[T],
        targets: &[Target<T>; 3],
    ) -> Result<()> {
        self.check(&saved.q, &saved.k, &saved.v, &saved.mask)?;
        check_length("y", saved.y.len(), self.answers()?)?;
        check_length("dy", dy.len(), self.answers()?)?;
        check_length("statistics", saved.statistics.len(), area(self.rows()?, 2)?)?;
        let chunks = Backward::<T>::chunks(self.keys);
        let units = area(area(self.batch, self.heads)?, chunks)?;
        let partial = if chunks == 1 {
            0
        } else {
            area(units, area(self.queries, self.width)?)?
        };
        let mut partials: Vec<T> = Vec::with_capacity(partial);
        let places = Shared::new(&mut partials.spare_capacity_mut()[..partial]);
        parallel::for_each(self.cost().saturating_mul(2), runs_of(units), |units| {
            with_scratch(BackwardScratch::<T>::lengths(self), |scratch| {
                let backward = Backward {
                    shape: self,
                    saved,
                    dy,
                    units,
                    chunks,
                    targets,
                    partials: &places,
                    scratch: BackwardScratch::new(scratch),
                };
                dispatch::run(path, backward);
            });
        });
        if chunks > 1 {
            // SAFETY: every unit has written its part of dQ.
            unsafe { partials.set_len(partial) };
            sum_partials(self, &partials, chunks, &targets[0]);
        }
        Ok(())
    }

    fn check<T: Float>(
        &self,
        q: &Heads<'_, T>,
        k: &Heads<'_, T>,
        v: &Heads<'_, T>,
        mask: &Mask<'_, T>,
    ) -> Result<()> {
        let (queries, keys) = (
            [self.batch, self.heads, self.queries],
            [self.batch, self.heads, self.keys],
        );
        q.check("q", queries, self.width)?;
        k.check("k", keys, self.width)?;
        v.check("v", keys, self.value_width)?;
        match mask {
            Mask::Keep(keep) => keep.check("keep mask", queries, self.keys),
            Mask::Bias(bias) => bias.check("bias mask", queries, self.keys),
            _ => Ok(()),
        }
    }

    /// Queries of all heads.
    fn rows(&self) -> Result<usize> {
        area(area(self.batch, self.heads)?, self.queries)
    }

    /// Values of the answer.
    fn answers(&self) -> Result<usize> {
        area(self.rows()?, self.value_width)
    }

    /// Multiply-adds of the forward pass.
    fn cost(&self) -> usize {
        [
            self.batch,
            self.heads,
            self.queries,
            self.keys,
            self.width + self.value_width,
        ]
        .into_iter()
        .fold(1, usize::saturating_mul)
    }
}

/// Units of work in runs, one a task: enough to share out evenly, few enough to use a task's scratch again.
fn runs_of(units: usize) -> Vec<Range<usize>> {
    let run = units.div_ceil(32).max(1);
    (0..units)
        .step_by(run)
        .map(|first| first..(first + run).min(units))
        .collect()
}

#[cfg(test)]
mod case;
#[cfg(test)]
mod tests;
