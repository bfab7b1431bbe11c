//! The inner loops of a direct convolution: a few channels of the target by a few vectors of flat positions, summed in
//! registers over channels and taps.
//!
//! Every sum is one chain of fused multiply-adds in the order (channel, tap), whatever the tile: the bytes of a value do
//! not depend on where it is computed.

#![allow(
    clippy::needless_range_loop,
    reason = "arrays of registers, indexed by constants once unrolled"
)]

use std::arch::x86_64::{__m256, __m512};
use std::marker::PhantomData;
use std::ops::Range;

use super::lanes::Lanes;
use crate::dispatch::{self, Isa, Kernel, Path};

/// target[row][p] = Σ_{channel, tap} weights[channel][tap][row] · memory[channel][p + offset of the tap].
#[derive(Debug)]
pub(super) struct Sweep<'a> {
    pub(super) memory: &'a [f32],
    pub(super) channels: usize,
    pub(super) channel_len: usize,
    pub(super) offsets: &'a [usize],
    pub(super) weights: &'a [f32],
    /// Rows of the target: 8, 4 or 1.
    pub(super) width: usize,
    /// `width` × `target_len` values.
    pub(super) target: &'a mut [f32],
    pub(super) target_len: usize,
    /// The positions p; up to 15 more are written.
    pub(super) range: Range<usize>,
}

/// Runs a sweep on AVX-512 or AVX2.
pub(super) fn sweep(path: Path, job: Sweep<'_>) {
    let end = job.range.start + job.range.len().next_multiple_of(16);
    let offset = job.offsets.iter().copied().max().unwrap_or(0);
    assert!(path.has_avx2() && matches!(job.width, 1 | 4 | 8));
    assert!(end <= job.target_len && job.width * job.target_len <= job.target.len());
    assert!(job.channels == 0 || (job.channels - 1) * job.channel_len + offset + end <= job.memory.len());
    assert!(job.channels * job.offsets.len() * job.width <= job.weights.len());
    if path.has_avx512() {
        dispatch::run(path, On::<__m512>(job, PhantomData));
    } else {
        dispatch::run(path, On::<__m256>(job, PhantomData));
    }
}

struct On<'a, V>(Sweep<'a>, PhantomData<V>);

impl<V: Lanes> Kernel for On<'_, V> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        let mut job = self.0;
        let range = job.range.start..job.range.start + job.range.len().next_multiple_of(V::LANES);
        let wide = V::LANES == 16;
        // SAFETY: `sweep` has checked that the path has the instructions of `V`, and that all positions of the range,
        // rounded up to whole vectors, are inside memory and target for every channel, tap and row.
        unsafe {
            match (job.width, wide) {
                (8, true) => {
                    let at = tiles::<V, 8, 3>(&mut job, 0, range.start, range.end);
                    let at = tiles::<V, 8, 2>(&mut job, 0, at, range.end);
                    tiles::<V, 8, 1>(&mut job, 0, at, range.end);
                }
                (8, false) => {
                    for first in [0, 4] {
                        let at = tiles::<V, 4, 3>(&mut job, first, range.start, range.end);
                        tiles::<V, 4, 1>(&mut job, first, at, range.end);
                    }
                }
                (4, true) => {
                    let at = tiles::<V, 4, 6>(&mut job, 0, range.start, range.end);
                    let at = tiles::<V, 4, 3>(&mut job, 0, at, range.end);
                    tiles::<V, 4, 1>(&mut job, 0, at, range.end);
                }
                (4, false) => {
                    let at = tiles::<V, 4, 3>(&mut job, 0, range.start, range.end);
                    tiles::<V, 4, 1>(&mut job, 0, at, range.end);
                }
                _ => {
                    let at = tiles::<V, 1, 8>(&mut job, 0, range.start, range.end);
                    tiles::<V, 1, 1>(&mut job, 0, at, range.end);
                }
            }
        }
    }
}

/// As many tiles of `M` rows and `N` vectors as fit before `end`; returns where the next would start.
#[inline(always)]
unsafe fn tiles<V: Lanes, const M: usize, const N: usize>(
    job: &mut Sweep<'_>,
    first: usize,
    mut at: usize,
    end: usize,
) -> usize {
    while at + N * V::LANES <= end {
        // SAFETY: the caller's.
        unsafe { tile::<V, M, N>(job, first, at) };
        at += N * V::LANES;
    }
    at
}

/// Rows `first..first + M` at `N` vectors of positions from `at`.
#[inline(always)]
unsafe fn tile<V: Lanes, const M: usize, const N: usize>(job: &mut Sweep<'_>, first: usize, at: usize) {
    // SAFETY: the caller's: all addresses are inside the slices of the job.
    unsafe {
        let mut sums = [[V::zero(); N]; M];
        let mut weights = job.weights.as_ptr().wrapping_add(first);
        let mut memory = job.memory.as_ptr().wrapping_add(at);
        for _ in 0..job.channels {
            for &offset in job.offsets {
                let x = memory.add(offset);
                let mut values = [V::zero(); N];
                for n in 0..N {
                    values[n] = V::load(x.add(n * V::LANES));
                }
                for m in 0..M {
                    let weight = V::splat(weights.add(m));
                    for n in 0..N {
                        sums[m][n] = weight.mul_add(values[n], sums[m][n]);
                    }
                }
                weights = weights.wrapping_add(job.width);
            }
            memory = memory.wrapping_add(job.channel_len);
        }
        let target = job.target.as_mut_ptr();
        for m in 0..M {
            for n in 0..N {
                sums[m][n].store(target.add((first + m) * job.target_len + at + n * V::LANES));
            }
        }
    }
}
