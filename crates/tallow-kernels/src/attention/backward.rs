//! The backward pass of attention: P again, block by block, and the three gradients from it.
//!
//! A unit owns a chunk of keys of one head: it sums dK and dV over all queries in order, and its part of dQ over its keys.
//! Parts of dQ are added in the order of the chunks, which depend on the number of keys alone.

use std::ops::Range;

use crate::attention::forward::{QUERY_BLOCK, key_block};
use crate::attention::product::{Left, Onto, Rows, Sizes, block_len, dot, multiply, padded};
use crate::attention::shared::Shared;
use crate::attention::{Attention, AttentionSaved, HeadStrides, Heads};
use crate::dispatch::{Isa, Kernel};
use crate::float::Float;
use crate::parallel;

/// Where a gradient is written.
#[derive(Clone, Copy)]
pub(crate) struct Target<T> {
    places: Shared<T>,
    offset: usize,
    strides: HeadStrides,
}

impl<T: Float> Target<T> {
    pub(crate) fn new(places: Shared<T>, offset: usize, strides: HeadStrides) -> Self {
        Self {
            places,
            offset,
            strides,
        }
    }

    /// Writes `factor` times a token.
    ///
    /// # Safety
    ///
    /// Nobody else reads or writes the token meanwhile, and the places are still borrowed.
    #[inline(always)]
    unsafe fn write(&self, head: (usize, usize), token: usize, values: &[T], factor: T) {
        let HeadStrides {
            batch,
            head: by_head,
            token: by_token,
        } = self.strides;
        let start = self.offset + head.0 * batch + head.1 * by_head + token * by_token;
        // SAFETY: the caller's promise.
        let places = unsafe { self.places.slice(start, values.len()) };
        for (place, &value) in places.iter_mut().zip(values) {
            place.write(value * factor);
        }
    }
}

/// Some units of the backward pass; a unit is a chunk of keys of one head.
pub(crate) struct Backward<'a, T> {
    pub(crate) shape: &'a Attention,
    pub(crate) saved: AttentionSaved<'a, T>,
    pub(crate) dy: &'a [T],
    pub(crate) units: Range<usize>,
    pub(crate) chunks: usize,
    /// Of dQ, dK and dV.
    pub(crate) targets: &'a [Target<T>; 3],
    /// The parts of dQ, (B, H, chunk, N, D), where there are several chunks.
    pub(crate) partials: &'a Shared<T>,
    pub(crate) scratch: BackwardScratch<'a, T>,
}

impl<T> Backward<'_, T> {
    /// Chunks of the keys: one for short sequences, at most 8, so that a single long head has work for several threads
    /// and its parts of dQ stay few.
    pub(crate) fn chunks(keys: usize) -> usize {
        keys.div_ceil(1024).clamp(1, 8)
    }
}

/// Blocks that a task uses again for each of its units.
pub(crate) struct BackwardScratch<'a, T> {
    q: &'a mut [T],
    dy: &'a mut [T],
    keys: &'a mut [T],
    keys_turned: &'a mut [T],
    values_turned: &'a mut [T],
    weights: &'a mut [T],
    slopes: &'a mut [T],
    dq: &'a mut [T],
    dk: &'a mut [T],
    dv: &'a mut [T],
    /// Σ dY ⊙ Y of each query.
    shares: &'a mut [T],
}

impl<'a, T: Float> BackwardScratch<'a, T> {
    /// Lengths of the slices for [`BackwardScratch::new`].
    pub(crate) fn lengths(shape: &Attention) -> [usize; 11] {
        let keys = key_block(shape.keys).min(shape.keys);
        let queries = QUERY_BLOCK.min(shape.queries);
        [
            block_len(queries, shape.width),
            block_len(queries, shape.value_width),
            block_len(keys, shape.width),
            block_len(shape.width, keys),
            block_len(shape.value_width, keys),
            block_len(queries, keys),
            block_len(queries, keys),
            block_len(shape.queries, shape.width),
            block_len(keys, shape.width),
            block_len(keys, shape.value_width),
            shape.queries,
        ]
    }

    pub(crate) fn new(slices: [&'a mut [T]; 11]) -> Self {
        let [
            q,
            dy,
            keys,
            keys_turned,
            values_turned,
            weights,
            slopes,
            dq,
            dk,
            dv,
            shares,
        ] = slices;
        Self {
            q,
            dy,
            keys,
            keys_turned,
            values_turned,
            weights,
            slopes,
            dq,
            dk,
            dv,
            shares,
        }
    }
}

/// One head's tensors.
#[derive(Clone, Copy)]
struct Head<'a, T> {
    index: (usize, usize),
    q: Rows<'a, T>,
    k: Rows<'a, T>,
    v: Rows<'a, T>,
    dy: Rows<'a, T>,
    /// (m, 1/l) of each query.
    statistics: &'a [T],
}

impl<T: Float> Kernel for Backward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(mut self) {
        for unit in self.units.clone() {
            self.unit::<I>(unit / self.chunks, unit % self.chunks);
        }
    }
}

impl<T: Float> Backward<'_, T> {
    #[inline(always)]
    fn unit<I: Isa>(&mut self, head: usize, chunk: usize) {
        let scratch = &mut self.scratch;
        let Attention {
            heads,
            queries,
            keys,
            width,
            value_width,
            ..
        } = *self.shape;
        let index = (head / heads, head % heads);
        let answers = |values| {
            let strides = HeadStrides::tokens_first(queries, heads, value_width);
            Heads { values, strides }.rows(index, queries, value_width)
        };
        let (y, dy) = (answers(self.saved.y), answers(self.dy));
        for (query, share) in scratch.shares.iter_mut().enumerate() {
            *share = dot::<T, I>(y.row(query), dy.row(query));
        }
        let tensors = Head {
            index,
            q: self.saved.q.rows(index, queries, width),
            k: self.saved.k.rows(index, keys, width),
            v: self.saved.v.rows(index, keys, value_width),
            dy,
            statistics: &self.saved.statistics[head * queries * 2..][..queries * 2],
        };
        scratch.dq.fill(T::default());
        let share = keys.div_ceil(self.chunks).next_multiple_of(key_block(keys));
        let end = (share * (chunk + 1)).min(keys);
        for first in (share * chunk..end).step_by(key_block(keys)) {
            self.keys::<I>(&tensors, first..(first + key_block(keys)).min(end));
        }
        self.write_queries(head, chunk);
    }

    /// One block of keys against all queries: its dK and dV, and what it adds to dQ.
    #[inline(always)]
    fn keys<I: Isa>(&mut self, head: &Head<'_, T>, keys: Range<usize>) {
        let scratch = &mut self.scratch;
        let (k, v) = (
            head.k.part(keys.start, keys.len()),
            head.v.part(keys.start, keys.len()),
        );
        k.pack(T::from_f64(1.0), scratch.keys);
        k.pack_transposed::<I>(scratch.keys_turned);
        v.pack_transposed::<I>(scratch.values_turned);
        scratch.dk.fill(T::default());
        scratch.dv.fill(T::default());
        let first = self.saved.mask.first_query(keys.start) / QUERY_BLOCK * QUERY_BLOCK;
        for start in (first..self.shape.queries).step_by(QUERY_BLOCK) {
            let queries = start..(start + QUERY_BLOCK).min(self.shape.queries);
            self.queries::<I>(head, queries, keys.clone());
        }
        let (width, value_width, scratch) = (k.width, v.width, &self.scratch);
        for (row, key) in keys.enumerate() {
            let dk = &scratch.dk[row * padded(width)..][..width];
            let dv = &scratch.dv[row * padded(value_width)..][..value_width];
            // SAFETY: a key belongs to one unit, and a unit to one task, so nobody else writes its gradients.
            unsafe {
                self.targets[1].write(head.index, key, dk, T::from_f64(1.0));
                self.targets[2].write(head.index, key, dv, T::from_f64(1.0));
            }
        }
    }

    /// One block of queries against one block of keys.
    #[inline(always)]
    fn queries<I: Isa>(&mut self, head: &Head<'_, T>, queries: Range<usize>, keys: Range<usize>) {
        let scratch = &mut self.scratch;
        let (width, value_width) = (head.q.width, head.v.width);
        let (rows, columns) = (queries.len(), padded(keys.len()));
        head.q
            .part(queries.start, rows)
            .pack(T::from_f64(self.shape.scale), scratch.q);
        head.dy
            .part(queries.start, rows)
            .pack(T::from_f64(1.0), scratch.dy);
        let (q, dy) = (
            Left::new(scratch.q, padded(width)),
            Left::new(scratch.dy, padded(value_width)),
        );
        let sizes = |depth| Sizes { rows, depth, columns };
        multiply::<T, I>(q, scratch.keys_turned, scratch.weights, sizes(width), Onto::Zero);
        multiply::<T, I>(
            dy,
            scratch.values_turned,
            scratch.slopes,
            sizes(value_width),
            Onto::Zero,
        );
        for (row, query) in queries.clone().enumerate() {
            let weights = &mut scratch.weights[row * columns..][..columns];
            let slopes = &mut scratch.slopes[row * columns..][..columns];
            self.saved
                .mask
                .apply(head.index, query, keys.start, &mut weights[..keys.len()]);
            let (m, part) = (head.statistics[2 * query], head.statistics[2 * query + 1]);
            let share = scratch.shares[query];
            for (score, slope) in weights.iter_mut().zip(slopes) {
                *score = (*score - m).exp_of_negative::<I>() * part;
                *slope = *score * (*slope - share);
            }
        }
        self.accumulate::<I>(queries.start, (rows, keys.len(), columns));
    }

    /// dV += Pᵀ dY, dK += dSᵀ Q, dQ += dS K.
    #[inline(always)]
    fn accumulate<I: Isa>(&mut self, first_query: usize, (rows, keys, columns): (usize, usize, usize)) {
        let scratch = &mut self.scratch;
        let (width, value_width) = (padded(self.shape.width), padded(self.shape.value_width));
        let by_key = |columns| Sizes {
            rows: keys,
            depth: rows,
            columns,
        };
        let weights = Left::transposed(scratch.weights, columns);
        multiply::<T, I>(weights, scratch.dy, scratch.dv, by_key(value_width), Onto::Target);
        let slopes = Left::transposed(scratch.slopes, columns);
        multiply::<T, I>(slopes, scratch.q, scratch.dk, by_key(width), Onto::Target);
        let by_query = Sizes {
            rows,
            depth: keys,
            columns: width,
        };
        multiply::<T, I>(
            Left::new(scratch.slopes, columns),
            scratch.keys,
            &mut scratch.dq[first_query * width..],
            by_query,
            Onto::Target,
        );
    }

    /// dQ itself if there is one chunk, else this chunk's part of it.
    #[inline(always)]
    fn write_queries(&self, head: usize, chunk: usize) {
        let scratch = &self.scratch;
        let Attention {
            heads,
            queries,
            width,
            scale,
            ..
        } = *self.shape;
        let index = (head / heads, head % heads);
        let target = if self.chunks == 1 {
            self.targets[0]
        } else {
            let strides = HeadStrides {
                batch: heads * self.chunks * queries * width,
                head: self.chunks * queries * width,
                token: width,
            };
            Target::new(*self.partials, chunk * queries * width, strides)
        };
        for query in 0..queries {
            let dq = &scratch.dq[query * padded(width)..][..width];
            // SAFETY: with one chunk a query belongs to one unit; with several, each has a part of its own.
            unsafe { target.write(index, query, dq, T::from_f64(scale)) };
        }
    }
}

/// dQ of every query: the parts of the chunks, added in order.
pub(crate) fn sum_partials<T: Float>(shape: &Attention, partials: &[T], chunks: usize, target: &Target<T>) {
    let part = shape.queries * shape.width;
    let heads: Vec<_> = partials
        .chunks_exact((chunks * part).max(1))
        .enumerate()
        .collect();
    parallel::for_each(partials.len(), heads, |(head, parts)| {
        let index = (head / shape.heads, head % shape.heads);
        let mut sum = vec![T::default(); shape.width];
        for query in 0..shape.queries {
            sum.fill(T::default());
            for part in parts.chunks_exact(part) {
                let part = &part[query * shape.width..][..shape.width];
                sum.iter_mut()
                    .zip(part)
                    .for_each(|(sum, &value)| *sum = *sum + value);
            }
            // SAFETY: a query belongs to one head, and a head to one task.
            unsafe { target.write(index, query, &sum, T::from_f64(1.0)) };
        }
    });
}
