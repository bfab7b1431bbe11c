//! The loops over the values of a group.

use std::mem::MaybeUninit;

use super::GroupNorm;
use crate::activation::Body;
use crate::affine::Folded;
use crate::buffer::assume_written;
use crate::dispatch::{Isa, Kernel};
use crate::float::Float;
use crate::statistics::{Moments, Statistics, centred};

impl GroupNorm {
    fn channels_of_a_group(&self) -> usize {
        self.channels / self.groups
    }

    fn values_of_a_group(&self) -> usize {
        self.channels_of_a_group() * self.spatial
    }

    /// (G, H) of the channels of the group `index` of the batch.
    #[inline(always)]
    fn factors<'a, T>(&self, folded: &'a Folded<T>, index: usize) -> (&'a [T], &'a [T]) {
        let channels = self.channels_of_a_group();
        let start = index % self.groups * channels;
        let (gains, offsets) = folded.row(index / self.groups);
        (&gains[start..][..channels], &offsets[start..][..channels])
    }
}

/// Statistics of some groups.
pub(super) struct Measure<'a, T> {
    pub(super) norm: &'a GroupNorm,
    pub(super) x: &'a [T],
    pub(super) mean: &'a mut [f64],
    pub(super) rstd: &'a mut [f64],
}

impl<T: Float> Kernel for Measure<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        let groups = self.x.chunks_exact(self.norm.values_of_a_group().max(1));
        for (x, (mean, rstd)) in groups.zip(self.mean.iter_mut().zip(self.rstd)) {
            (*mean, *rstd) = centred(x, self.norm.epsilon);
        }
    }
}

/// Statistics and y of some groups, the first of which is `first`.
pub(super) struct Forward<'a, T> {
    pub(super) norm: &'a GroupNorm,
    pub(super) folded: &'a Folded<T>,
    pub(super) first: usize,
    pub(super) x: &'a [T],
    pub(super) y: &'a mut [MaybeUninit<T>],
    pub(super) mean: &'a mut [f64],
    pub(super) rstd: &'a mut [f64],
}

impl<T: Float> Kernel for Forward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        self.norm.activation.inside::<T, I, _>(self);
    }
}

impl<T: Float, I: Isa> Body<T, I> for Forward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self, f: impl Fn(T) -> (T, T)) {
        let (norm, values) = (self.norm, self.norm.values_of_a_group());
        let groups = self.x.chunks_exact(values).zip(self.y.chunks_exact_mut(values));
        for (group, (x, y)) in groups.enumerate() {
            let (mean, rstd) = centred(x, norm.epsilon);
            (self.mean[group], self.rstd[group]) = (mean, rstd);
            let moments = Moments::<T>::new(mean, rstd);
            let (gains, offsets) = norm.factors(self.folded, self.first + group);
            let channels = x.chunks_exact(norm.spatial).zip(y.chunks_exact_mut(norm.spatial));
            for ((x, y), (&gain, &offset)) in channels.zip(gains.iter().zip(offsets)) {
                let (centre, gain, offset) = moments.line(gain, offset);
                for (y, &x) in y.iter_mut().zip(x) {
                    y.write(f(I::mul_add(x - centre, gain, offset)).0);
                }
            }
        }
    }
}

/// dx, S₀ and S₁ of some groups.
pub(super) struct Backward<'a, T> {
    pub(super) norm: &'a GroupNorm,
    pub(super) statistics: &'a Statistics,
    pub(super) folded: &'a Folded<T>,
    pub(super) first: usize,
    pub(super) x: &'a [T],
    pub(super) dy: &'a [T],
    pub(super) dx: &'a mut [MaybeUninit<T>],
    /// [S₀, S₁] of every channel.
    pub(super) sums: &'a mut [[f64; 2]],
}

impl<T: Float> Kernel for Backward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        self.norm.activation.inside::<T, I, _>(self);
    }
}

impl<T: Float, I: Isa> Body<T, I> for Backward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self, f: impl Fn(T) -> (T, T)) {
        let (norm, values) = (self.norm, self.norm.values_of_a_group());
        let groups = self.x.chunks_exact(values).zip(self.dy.chunks_exact(values));
        let groups = groups.zip(self.dx.chunks_exact_mut(values));
        let sums = self.sums.chunks_exact_mut(norm.channels_of_a_group());
        for (group, (((x, dy), dx), sums)) in groups.zip(sums).enumerate() {
            let index = self.first + group;
            let moments = Moments::new(self.statistics.mean[index], self.statistics.rstd[index]);
            let (gains, offsets) = norm.factors(self.folded, index);
            let mut means = [0.0; 2];
            let channels = x.chunks_exact(norm.spatial).zip(dy.chunks_exact(norm.spatial));
            let channels = channels.zip(dx.chunks_exact_mut(norm.spatial));
            for (c, ((x, dy), dx)) in channels.enumerate() {
                let (centre, a, b) = moments.line(gains[c], offsets[c]);
                for ((dz, &x), &dy) in dx.iter_mut().zip(x).zip(dy) {
                    dz.write(dy * f(I::mul_add(x - centre, a, b)).1);
                }
                // SAFETY: written by the loop above, since all three have the length of a channel.
                let dz = unsafe { assume_written(dx) };
                sums[c] = moments.gradient_sums(x, dz);
                for (mean, sum) in means.iter_mut().zip(sums[c]) {
                    *mean += gains[c].to_f64() * sum / values as f64;
                }
            }
            // SAFETY: written by the loop above, channel by channel.
            let dx = unsafe { assume_written(dx) };
            let channels = x
                .chunks_exact(norm.spatial)
                .zip(dx.chunks_exact_mut(norm.spatial));
            for ((x, dx), &gain) in channels.zip(gains) {
                let (p, q, r) = moments.pull(gain, means);
                for (dx, &x) in dx.iter_mut().zip(x) {
                    *dx = I::mul_add(*dx, p, I::mul_add(x - moments.centre, q, r));
                }
            }
        }
    }
}

/// ẏ of some groups.
pub(super) struct Tangent<'a, T> {
    pub(super) norm: &'a GroupNorm,
    pub(super) statistics: &'a Statistics,
    pub(super) folded: &'a Folded<T>,
    pub(super) moving: &'a Folded<T>,
    pub(super) first: usize,
    pub(super) x: &'a [T],
    pub(super) x_tangent: Option<&'a [T]>,
    pub(super) out: &'a mut [MaybeUninit<T>],
}

impl<T: Float> Kernel for Tangent<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        self.norm.activation.inside::<T, I, _>(self);
    }
}

impl<T: Float, I: Isa> Body<T, I> for Tangent<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self, f: impl Fn(T) -> (T, T)) {
        let (norm, values) = (self.norm, self.norm.values_of_a_group());
        let groups = self.x.chunks_exact(values).zip(self.out.chunks_exact_mut(values));
        for (group, (x, out)) in groups.enumerate() {
            let index = self.first + group;
            let moments = Moments::new(self.statistics.mean[index], self.statistics.rstd[index]);
            let moved = self.x_tangent.map(|tangent| &tangent[group * values..][..values]);
            let means = moved.map(|u| moments.gradient_sums(x, u).map(|sum| sum / values as f64));
            let (gains, offsets) = norm.factors(self.folded, index);
            let (gain_tangents, offset_tangents) = norm.factors(self.moving, index);
            let channels = x
                .chunks_exact(norm.spatial)
                .zip(out.chunks_exact_mut(norm.spatial));
            for (c, (x, out)) in channels.enumerate() {
                let (centre, a, b) = moments.line(gains[c], offsets[c]);
                let slope = |x: T| f(I::mul_add(x - centre, a, b)).1;
                let (_, own, rest) = moments.line(gain_tangents[c], offset_tangents[c]);
                let (Some(moved), Some(means)) = (moved, means) else {
                    for (out, &x) in out.iter_mut().zip(x) {
                        out.write(slope(x) * I::mul_add(x - centre, own, rest));
                    }
                    continue;
                };
                let (p, q, r) = moments.pull(gains[c], means.map(|mean| mean * gains[c].to_f64()));
                let (q, r) = (q + own, r + rest);
                let moved = &moved[c * norm.spatial..][..norm.spatial];
                for ((out, &x), &u) in out.iter_mut().zip(x).zip(moved) {
                    out.write(slope(x) * I::mul_add(u, p, I::mul_add(x - centre, q, r)));
                }
            }
        }
    }
}
