//! The inner loops of the gradient of the weight: sums over positions, in registers.
//!
//! ```text
//! outer   sums[channel][tap][o] += Σ_p memory[channel][p + offset] · dy[p][o]     lanes are channels of dy
//! dots    sums[channel][tap][i] += Σ_p memory[channel][p + offset] · dy[p]        lanes are positions p ≡ i
//! ```

#![allow(
    clippy::needless_range_loop,
    reason = "arrays of registers, indexed by constants once unrolled"
)]

use std::arch::x86_64::{__m256, __m512};
use std::marker::PhantomData;
use std::mem::MaybeUninit;

use super::lanes::{Lanes, transpose_8x8};
use crate::dispatch::{self, Isa, Kernel, Path};

/// Sums over some rows of positions.
#[derive(Debug)]
pub(super) struct Sums<'a> {
    pub(super) memory: &'a [f32],
    pub(super) channels: usize,
    pub(super) channel_len: usize,
    pub(super) offsets: &'a [usize],
    pub(super) dy: Dy<'a>,
    /// [channel][tap][`lanes`].
    pub(super) sums: &'a mut [f32],
}

/// dy, as the two forms read it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Dy<'a> {
    /// Rows of positions that start at `starts` in memory, `columns` long; `values` holds their dy without gaps,
    /// [position][lane].
    Outer {
        values: &'a [f32],
        starts: &'a [usize],
        columns: usize,
        /// One vector, or two.
        lanes: usize,
    },
    /// One channel of dy, flat like the memory, zero where there is no position; whole vectors.
    Dots(&'a [f32]),
}

/// Lanes of a vector on this path.
pub(super) fn lanes(path: Path) -> usize {
    if path.has_avx512() { 16 } else { 8 }
}

/// Adds to the sums on AVX-512 or AVX2.
pub(super) fn accumulate(path: Path, job: Sums<'_>) {
    let (end, width) = match job.dy {
        Dy::Outer {
            values,
            starts,
            columns,
            lanes: width,
        } => {
            assert!(starts.len() * columns * width <= values.len());
            assert!(width == lanes(path) || width == 2 * lanes(path));
            (starts.iter().max().map_or(0, |start| start + columns), width)
        }
        Dy::Dots(values) => {
            assert!(values.len().is_multiple_of(lanes(path)));
            (values.len(), lanes(path))
        }
    };
    let offset = job.offsets.iter().copied().max().unwrap_or(0);
    assert!(path.has_avx2());
    assert!(job.channels == 0 || (job.channels - 1) * job.channel_len + offset + end <= job.memory.len());
    assert!(job.channels * job.offsets.len() * width <= job.sums.len());
    if path.has_avx512() {
        dispatch::run(path, On::<__m512>(job, PhantomData));
    } else {
        dispatch::run(path, On::<__m256>(job, PhantomData));
    }
}

struct On<'a, V>(Sums<'a>, PhantomData<V>);

impl<V: Lanes> Kernel for On<'_, V> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        let mut job = self.0;
        // SAFETY: `accumulate` has checked that the path has the instructions of `V` and that all positions are inside
        // the memory, dy and the sums for every channel and tap.
        unsafe {
            match job.dy {
                Dy::Outer { lanes, .. } if lanes > V::LANES => {
                    if V::LANES == 16 {
                        all::<Outer<V, 2>, 4>(&mut job);
                    } else {
                        all::<Outer<V, 2>, 2>(&mut job);
                    }
                }
                Dy::Outer { .. } => all::<Outer<V, 1>, 4>(&mut job),
                Dy::Dots(_) => all::<Dots<V>, 4>(&mut job),
            }
        }
    }
}

/// One of the two forms.
///
/// # Safety
///
/// As [`accumulate`] checks; `channel < channels` and `tap < offsets.len()` for all of the `C` channels and `T` taps.
trait Form {
    unsafe fn tile<const C: usize, const T: usize>(job: &mut Sums<'_>, channel: usize, tap: usize);
}

/// All channels and taps, `C` by 3 where that many are left.
#[inline(always)]
unsafe fn all<F: Form, const C: usize>(job: &mut Sums<'_>) {
    let mut channel = 0;
    // SAFETY: the caller's; the bounds of channels and taps are kept here.
    unsafe {
        while channel + C <= job.channels {
            taps::<F, C>(job, channel);
            channel += C;
        }
        while channel < job.channels {
            taps::<F, 1>(job, channel);
            channel += 1;
        }
    }
}

#[inline(always)]
unsafe fn taps<F: Form, const C: usize>(job: &mut Sums<'_>, channel: usize) {
    let taps = job.offsets.len();
    let mut tap = 0;
    // SAFETY: as above.
    unsafe {
        while tap + 3 <= taps {
            F::tile::<C, 3>(job, channel, tap);
            tap += 3;
        }
        while tap < taps {
            F::tile::<C, 1>(job, channel, tap);
            tap += 1;
        }
    }
}

struct Outer<V, const N: usize>(PhantomData<V>);

impl<V: Lanes, const N: usize> Form for Outer<V, N> {
    #[inline(always)]
    unsafe fn tile<const C: usize, const T: usize>(job: &mut Sums<'_>, channel: usize, tap: usize) {
        let Dy::Outer {
            values,
            starts,
            columns,
            ..
        } = job.dy
        else {
            return;
        };
        let step = N * V::LANES;
        let taps = job.offsets.len();
        // SAFETY: the caller's: all addresses are inside the slices of the job.
        unsafe {
            let target = job.sums.as_mut_ptr().add((channel * taps + tap) * step);
            let mut sums = [[[V::zero(); N]; T]; C];
            for c in 0..C {
                for t in 0..T {
                    for n in 0..N {
                        sums[c][t][n] = V::load(target.add((c * taps + t) * step + n * V::LANES));
                    }
                }
            }
            let mut dy = values.as_ptr();
            let channel_len = job.channel_len;
            let memory = job.memory.as_ptr().add(channel * channel_len);
            let mut from = [memory; T];
            for t in 0..T {
                from[t] = memory.add(job.offsets[tap + t]);
            }
            for &start in starts {
                for column in 0..columns {
                    let mut lanes = [V::zero(); N];
                    for n in 0..N {
                        lanes[n] = V::load(dy.add(n * V::LANES));
                    }
                    for t in 0..T {
                        let x = from[t].add(start + column);
                        for c in 0..C {
                            let x = V::splat(x.add(c * channel_len));
                            for n in 0..N {
                                sums[c][t][n] = x.mul_add(lanes[n], sums[c][t][n]);
                            }
                        }
                    }
                    dy = dy.add(step);
                }
            }
            for c in 0..C {
                for t in 0..T {
                    for n in 0..N {
                        sums[c][t][n].store(target.add((c * taps + t) * step + n * V::LANES));
                    }
                }
            }
        }
    }
}

struct Dots<V>(PhantomData<V>);

impl<V: Lanes> Form for Dots<V> {
    #[inline(always)]
    unsafe fn tile<const C: usize, const T: usize>(job: &mut Sums<'_>, channel: usize, tap: usize) {
        let Dy::Dots(dy) = job.dy else { return };
        let taps = job.offsets.len();
        // SAFETY: the caller's: all addresses are inside the slices of the job.
        unsafe {
            let target = job.sums.as_mut_ptr().add((channel * taps + tap) * V::LANES);
            let memory = job.memory.as_ptr().add(channel * job.channel_len);
            let mut sums = [[V::zero(); T]; C];
            let mut at = 0;
            while at < dy.len() {
                let dy = V::load(dy.as_ptr().add(at));
                for t in 0..T {
                    let x = memory.add(job.offsets[tap + t] + at);
                    for c in 0..C {
                        sums[c][t] = V::load(x.add(c * job.channel_len)).mul_add(dy, sums[c][t]);
                    }
                }
                at += V::LANES;
            }
            for c in 0..C {
                for t in 0..T {
                    let target = target.add((c * taps + t) * V::LANES);
                    V::load(target).add(sums[c][t]).store(target);
                }
            }
        }
    }
}

/// Turns `rows` channels of dy, `step` values apart, into [position][lane] with `lanes` lanes; those beyond the rows are 0.
pub(super) struct Turn<'a> {
    pub(super) from: &'a [f32],
    pub(super) step: usize,
    pub(super) rows: usize,
    pub(super) lanes: usize,
    pub(super) to: &'a mut [MaybeUninit<f32>],
}

impl Turn<'_> {
    /// Runs it on AVX2, whatever the path has beyond.
    pub(super) fn run_on(self, path: Path) {
        assert!(path.has_avx2());
        dispatch::run(path, self);
    }
}

impl Kernel for Turn<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        let Self {
            from,
            step,
            rows,
            lanes,
            to,
        } = self;
        let positions = to.len() / lanes;
        if rows < lanes {
            to.fill(MaybeUninit::new(0.0));
        }
        let (whole_rows, whole_positions) = (rows / 8 * 8, positions / 8 * 8);
        for row in (0..whole_rows).step_by(8) {
            let from = &from[row * step..][..7 * step + positions];
            for position in (0..whole_positions).step_by(8) {
                let to = &mut to[position * lanes + row..][..7 * lanes + 8];
                // SAFETY: `run_on` has checked for AVX2; eight values from each of eight rows are inside both slices.
                unsafe { transpose_8x8(from[position..].as_ptr(), step, to.as_mut_ptr().cast(), lanes) };
            }
        }
        for position in 0..positions {
            let first = if position < whole_positions { whole_rows } else { 0 };
            for row in first..rows {
                to[position * lanes + row].write(from[row * step + position]);
            }
        }
    }
}
