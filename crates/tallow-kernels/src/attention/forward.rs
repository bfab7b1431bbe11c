//! The forward pass of attention: a group of queries against blocks of keys, with a running softmax.

use std::ops::Range;

use crate::attention::mask::Mask;
use crate::attention::product::{LANES, Left, Onto, Rows, Sizes, block_len, fold, multiply, padded, vector};
use crate::attention::shared::Shared;
use crate::attention::{Attention, Heads};
use crate::dispatch::{Isa, Kernel};
use crate::float::Float;

/// Queries of a block: whole tiles on every processor, few enough for the first-level cache.
pub(crate) const QUERY_BLOCK: usize = 84;

/// The most keys that are one block whatever their number.
const WHOLE: usize = 256;

/// Keys of a block.
pub(crate) fn key_block(keys: usize) -> usize {
    if keys <= WHOLE { keys.max(1) } else { WHOLE / 2 }
}

/// Some units of the forward pass; a unit is a group of queries of one head.
pub(crate) struct Forward<'a, T> {
    pub(crate) shape: &'a Attention,
    pub(crate) q: Heads<'a, T>,
    pub(crate) k: Heads<'a, T>,
    pub(crate) v: Heads<'a, T>,
    pub(crate) mask: Mask<'a, T>,
    pub(crate) units: Range<usize>,
    pub(crate) y: &'a Shared<T>,
    pub(crate) statistics: &'a Shared<T>,
    pub(crate) scratch: ForwardScratch<'a, T>,
}

impl<T> Forward<'_, T> {
    /// Queries that share one packing of the keys.
    pub(crate) const GROUP: usize = 8 * QUERY_BLOCK;
}

/// Blocks that a task uses again for each of its units.
pub(crate) struct ForwardScratch<'a, T> {
    q: &'a mut [T],
    keys_turned: &'a mut [T],
    values: &'a mut [T],
    scores: &'a mut [T],
    /// The answers of a group, not yet divided by l.
    answers: &'a mut [T],
    /// (m, l) of each query of a group.
    running: &'a mut [[T; 2]],
}

impl<'a, T: Float> ForwardScratch<'a, T> {
    /// Lengths of the slices for [`ForwardScratch::new`].
    pub(crate) fn lengths(shape: &Attention) -> [usize; 6] {
        let group = Forward::<T>::GROUP.min(shape.queries);
        let (keys, queries) = (key_block(shape.keys).min(shape.keys), QUERY_BLOCK.min(group));
        [
            block_len(group, shape.width),
            block_len(shape.width, keys),
            block_len(keys, shape.value_width),
            block_len(queries, keys),
            block_len(group, shape.value_width),
            2 * group,
        ]
    }

    pub(crate) fn new([q, keys_turned, values, scores, answers, running]: [&'a mut [T]; 6]) -> Self {
        Self {
            q,
            keys_turned,
            values,
            scores,
            answers,
            running: running.as_chunks_mut().0,
        }
    }
}

impl<T: Float> Kernel for Forward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(mut self) {
        let groups = self.shape.queries.div_ceil(Self::GROUP);
        for unit in self.units.clone() {
            let (head, group) = (unit / groups, unit % groups);
            let head = (head / self.shape.heads, head % self.shape.heads);
            let first = group * Self::GROUP;
            let queries = first..(first + Self::GROUP).min(self.shape.queries);
            self.unit::<I>(head, queries);
        }
    }
}

impl<T: Float> Forward<'_, T> {
    #[inline(always)]
    fn unit<I: Isa>(&mut self, head: (usize, usize), queries: Range<usize>) {
        let (shape, scratch) = (self.shape, &mut self.scratch);
        let q = self.q.rows(head, shape.queries, shape.width);
        let q = q.part(queries.start, queries.len());
        q.pack(T::from_f64(shape.scale), scratch.q);
        scratch.answers.fill(T::default());
        scratch
            .running
            .fill([T::from_f64(f64::NEG_INFINITY), T::default()]);
        let k = self.k.rows(head, shape.keys, shape.width);
        let v = self.v.rows(head, shape.keys, shape.value_width);
        let seen = self.mask.keys_seen(queries.end, shape.keys);
        for first in (0..seen).step_by(key_block(shape.keys)) {
            let keys = first..(first + key_block(shape.keys)).min(shape.keys);
            self.keys::<I>(head, queries.clone(), keys, (k, v));
        }
        self.finish(head, queries);
    }

    /// All queries of the group against one block of keys.
    #[inline(always)]
    fn keys<I: Isa>(
        &mut self,
        head: (usize, usize),
        queries: Range<usize>,
        keys: Range<usize>,
        (k, v): (Rows<'_, T>, Rows<'_, T>),
    ) {
        let scratch = &mut self.scratch;
        let (width, value_width) = (padded(self.shape.width), padded(self.shape.value_width));
        let columns = padded(keys.len());
        k.part(keys.start, keys.len())
            .pack_transposed::<I>(scratch.keys_turned);
        v.part(keys.start, keys.len())
            .pack(T::from_f64(1.0), scratch.values);
        let first_query = self.mask.first_query(keys.start).saturating_sub(queries.start);
        let first_block = first_query / QUERY_BLOCK * QUERY_BLOCK;
        for start in (first_block..queries.len()).step_by(QUERY_BLOCK) {
            let rows = QUERY_BLOCK.min(queries.len() - start);
            let score_sizes = Sizes {
                rows,
                depth: self.shape.width,
                columns,
            };
            let q = Left::new(&scratch.q[start * width..], width);
            multiply::<T, I>(q, scratch.keys_turned, scratch.scores, score_sizes, Onto::Zero);
            for row in 0..rows {
                let query = queries.start + start + row;
                let scores = &mut scratch.scores[row * columns..][..keys.len()];
                self.mask.apply(head, query, keys.start, scores);
            }
            let running = &mut scratch.running[start..start + rows];
            let answers = &mut scratch.answers[start * value_width..];
            if keys.start > 0 {
                weigh_more::<T, I>(scratch.scores, keys.len(), running, answers, value_width);
            } else {
                weigh::<T, I>(scratch.scores, keys.len(), running);
            }
            let answer_sizes = Sizes {
                rows,
                depth: keys.len(),
                columns: value_width,
            };
            multiply::<T, I>(
                Left::new(scratch.scores, columns),
                scratch.values,
                &mut scratch.answers[start * value_width..],
                answer_sizes,
                Onto::Target,
            );
        }
    }

    /// Divides by l and writes the answers and (m, 1/l).
    #[inline(always)]
    fn finish(&self, head: (usize, usize), queries: Range<usize>) {
        let scratch = &self.scratch;
        let Attention {
            heads,
            queries: all,
            value_width: width,
            ..
        } = *self.shape;
        let (zero, one) = (T::default(), T::from_f64(1.0));
        for (row, query) in queries.enumerate() {
            let [m, l] = scratch.running[row];
            let (m, part) = if l == zero { (zero, zero) } else { (m, one / l) };
            let (start, statistic) = (
                ((head.0 * all + query) * heads + head.1) * width,
                ((head.0 * heads + head.1) * all + query) * 2,
            );
            // SAFETY: a query of a head belongs to one unit, and a unit to one task, so nobody else writes here.
            let (y, statistics) =
                unsafe { (self.y.slice(start, width), self.statistics.slice(statistic, 2)) };
            let answer = &scratch.answers[row * padded(width)..][..width];
            for (y, &answer) in y.iter_mut().zip(answer) {
                y.write(answer * part);
            }
            statistics[0].write(m);
            statistics[1].write(part);
        }
    }
}

/// [`weigh`] for blocks of keys after the first: what was summed before shrinks to the new m.
#[inline(always)]
fn weigh_more<T: Float, I: Isa>(
    scores: &mut [T],
    keys: usize,
    running: &mut [[T; 2]],
    answers: &mut [T],
    value_width: usize,
) {
    let mut before = [[T::default(); 2]; QUERY_BLOCK];
    before[..running.len()].copy_from_slice(running);
    weigh::<T, I>(scores, keys, running);
    for (row, (running, before)) in running.iter_mut().zip(&before).enumerate() {
        let factor = (before[0] - shift(running[0])).exp_of_negative::<I>();
        running[1] = I::mul_add(before[1], factor, running[1]);
        let answer = &mut answers[row * value_width..][..value_width];
        answer.iter_mut().for_each(|y| *y = *y * factor);
    }
}

/// Replaces the scores of `keys` keys, padded to whole vectors, by their weights e^(s − m), m being the largest so far;
/// sets (m, l) of every row to m and the sum of these weights.
#[inline(always)]
fn weigh<T: Float, I: Isa>(scores: &mut [T], keys: usize, running: &mut [[T; 2]]) {
    let columns = padded(keys).max(LANES);
    let nothing = T::from_f64(f64::NEG_INFINITY);
    let larger = |a: T, b: T| if a > b { a } else { b };
    // Hides the padding of the last vector.
    let mut hidden = [nothing; LANES];
    for hidden in &mut hidden[..keys - (columns - LANES)] {
        *hidden = T::default();
    }
    // Each loop does one thing, so that the processor can work on several rows at once.
    for (scores, running) in scores.chunks_exact_mut(columns).zip(running.iter_mut()) {
        let (whole, last) = scores.split_at_mut(columns - LANES);
        let mut lanes = vector(last);
        for (lane, &hidden) in lanes.iter_mut().zip(&hidden) {
            *lane = *lane + hidden;
        }
        last.copy_from_slice(&lanes);
        for scores in whole.chunks_exact(LANES) {
            let scores = vector(scores);
            for (lane, &score) in lanes.iter_mut().zip(&scores) {
                *lane = larger(score, *lane);
            }
        }
        running[0] = larger(fold(lanes, larger), running[0]);
    }
    for (scores, running) in scores.chunks_exact_mut(columns).zip(running) {
        let shift = shift(running[0]);
        let mut sums = [T::default(); LANES];
        for scores in scores.chunks_exact_mut(LANES) {
            let mut weights = vector(scores);
            for (weight, sum) in weights.iter_mut().zip(&mut sums) {
                *weight = (*weight - shift).exp_of_negative::<I>();
                *sum = *sum + *weight;
            }
            scores.copy_from_slice(&weights);
        }
        running[1] = fold(sums, |a, b| a + b);
    }
}

/// What scores are measured from: the largest, or 0 as long as a query has seen no key, so that e^−∞ = 0 is the weight.
#[inline(always)]
fn shift<T: Float>(largest: T) -> T {
    if largest == T::from_f64(f64::NEG_INFINITY) {
        T::default()
    } else {
        largest
    }
}
