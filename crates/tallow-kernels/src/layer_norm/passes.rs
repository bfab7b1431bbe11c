//! The loops over the values of a row.

use std::mem::MaybeUninit;

use super::{Centre, RowNorm};
use crate::affine::Folded;
use crate::buffer::assume_written;
use crate::dispatch::{Isa, Kernel};
use crate::float::Float;
use crate::statistics::{Moments, Statistics, centred, uncentred};

impl RowNorm {
    /// Means over a row of u and u x̂, the first only where the mean is taken off.
    #[inline(always)]
    fn means<T: Float>(&self, moments: &Moments<T>, x: &[T], u: &[T]) -> [f64; 2] {
        let [plain, normalised] = moments.gradient_sums(x, u);
        let n = self.width as f64;
        match self.centre {
            Centre::Mean => [plain / n, normalised / n],
            Centre::Zero => [0.0, normalised / n],
        }
    }
}

/// Statistics and y of some rows, the first of which is `first`.
pub(super) struct Forward<'a, T> {
    pub(super) norm: &'a RowNorm,
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
        let norm = self.norm;
        let rows = self
            .x
            .chunks_exact(norm.width)
            .zip(self.y.chunks_exact_mut(norm.width));
        for (row, (x, y)) in rows.enumerate() {
            let (mean, rstd) = match norm.centre {
                Centre::Mean => centred(x, norm.epsilon),
                Centre::Zero => (0.0, uncentred(x, norm.epsilon)),
            };
            (self.mean[row], self.rstd[row]) = (mean, rstd);
            let (centre, a, c) = Moments::new(mean, rstd).line(T::from_f64(1.0), T::default());
            let (gains, offsets) = self.folded.row((self.first + row) / norm.tokens);
            let factors = gains.iter().zip(offsets);
            for ((y, &x), (&gain, &offset)) in y.iter_mut().zip(x).zip(factors) {
                let normalised = I::mul_add(x - centre, a, c);
                y.write(I::mul_add(normalised, gain, offset));
            }
        }
    }
}

/// dx of some rows of one entry and their part of S₀ and S₁, which start as zeros.
pub(super) struct Backward<'a, T> {
    pub(super) norm: &'a RowNorm,
    pub(super) statistics: &'a Statistics,
    pub(super) folded: &'a Folded<T>,
    pub(super) first: usize,
    pub(super) x: &'a [T],
    pub(super) dy: &'a [T],
    pub(super) dx: &'a mut [MaybeUninit<T>],
    pub(super) sums: &'a mut [T],
}

impl<T: Float> Kernel for Backward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        let (norm, width) = (self.norm, self.norm.width);
        let one = T::from_f64(1.0);
        let (gains, _) = self.folded.row(self.first / norm.tokens);
        let (plain, normalised) = self.sums.split_at_mut(width);
        let rows = self.x.chunks_exact(width).zip(self.dy.chunks_exact(width));
        for (row, ((x, dy), dx)) in rows.zip(self.dx.chunks_exact_mut(width)).enumerate() {
            let row = self.first + row;
            let moments = Moments::new(self.statistics.mean[row], self.statistics.rstd[row]);
            for ((dx, &dy), &gain) in dx.iter_mut().zip(dy).zip(gains) {
                dx.write(gain * dy);
            }
            // SAFETY: written by the loop above, since all three have the length of a row.
            let dx = unsafe { assume_written(dx) };
            let (p, q, r) = moments.pull(one, norm.means(&moments, x, dx));
            let (centre, a, c) = moments.line(one, T::default());
            let sums = plain.iter_mut().zip(normalised.iter_mut());
            for (((dx, &x), &dy), (plain, normalised)) in dx.iter_mut().zip(x).zip(dy).zip(sums) {
                let d = x - centre;
                *dx = I::mul_add(*dx, p, I::mul_add(d, q, r));
                *plain = *plain + dy;
                *normalised = I::mul_add(dy, I::mul_add(d, a, c), *normalised);
            }
        }
    }
}

/// ẏ of some rows.
pub(super) struct Tangent<'a, T> {
    pub(super) norm: &'a RowNorm,
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
        let (norm, width) = (self.norm, self.norm.width);
        let one = T::from_f64(1.0);
        let rows = self.x.chunks_exact(width).zip(self.out.chunks_exact_mut(width));
        for (row, (x, out)) in rows.enumerate() {
            let index = self.first + row;
            let moments = Moments::new(self.statistics.mean[index], self.statistics.rstd[index]);
            let (centre, a, c) = moments.line(one, T::default());
            let (own, rest) = self.moving.row(index / norm.tokens);
            for ((out, &x), (&own, &rest)) in out.iter_mut().zip(x).zip(own.iter().zip(rest)) {
                out.write(I::mul_add(I::mul_add(x - centre, a, c), own, rest));
            }
            let Some(moved) = self.x_tangent else { continue };
            let moved = &moved[row * width..][..width];
            // SAFETY: written by the loop above, since all have the length of a row.
            let out = unsafe { assume_written(out) };
            let (p, q, r) = moments.pull(one, norm.means(&moments, x, moved));
            let (gains, _) = self.folded.row(index / norm.tokens);
            for (((out, &x), &u), &gain) in out.iter_mut().zip(x).zip(moved).zip(gains) {
                let normalised = I::mul_add(u, p, I::mul_add(x - centre, q, r));
                *out = I::mul_add(normalised, gain, *out);
            }
        }
    }
}
