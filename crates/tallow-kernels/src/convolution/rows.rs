//! Short rows in whole vectors: a row that is no multiple of a vector ends with one that overlaps the one before.

#![allow(
    clippy::needless_range_loop,
    reason = "arrays of registers, indexed by constants once unrolled"
)]

use std::mem::MaybeUninit;

/// Something that is done to `N` neighbouring values, and may be done twice to some of them.
pub(super) trait Rows {
    fn apply<const N: usize>(&mut self, at: usize);
}

/// Does it to all of `len` values.
#[inline(always)]
pub(super) fn in_vectors(len: usize, work: &mut impl Rows) {
    if len >= 16 {
        overlapping::<16>(len, work);
    } else if len >= 8 {
        overlapping::<8>(len, work);
    } else if len >= 4 {
        overlapping::<4>(len, work);
    } else {
        for at in 0..len {
            work.apply::<1>(at);
        }
    }
}

#[inline(always)]
fn overlapping<const N: usize>(len: usize, work: &mut impl Rows) {
    let mut at = 0;
    while at + N <= len {
        work.apply::<N>(at);
        at += N;
    }
    if at < len {
        work.apply::<N>(len - N);
    }
}

/// Copies `source` to `target`; the lengths are equal.
#[inline(always)]
pub(super) fn copy(source: &[f32], target: &mut [f32]) {
    in_vectors(target.len(), &mut Copy { source, target });
}

struct Copy<'a> {
    source: &'a [f32],
    target: &'a mut [f32],
}

impl Rows for Copy<'_> {
    #[inline(always)]
    fn apply<const N: usize>(&mut self, at: usize) {
        self.target[at..][..N].copy_from_slice(&self.source[at..][..N]);
    }
}

/// target = source + constant (+ residual); the lengths are equal.
#[inline(always)]
pub(super) fn add(source: &[f32], constant: f32, residual: Option<&[f32]>, target: &mut [MaybeUninit<f32>]) {
    match residual {
        None => in_vectors(
            target.len(),
            &mut Add {
                source,
                constant,
                target,
            },
        ),
        Some(residual) => {
            let constant = Add {
                source,
                constant,
                target,
            };
            in_vectors(residual.len(), &mut AddTwo { constant, residual });
        }
    }
}

struct Add<'a> {
    source: &'a [f32],
    constant: f32,
    target: &'a mut [MaybeUninit<f32>],
}

impl Rows for Add<'_> {
    #[inline(always)]
    fn apply<const N: usize>(&mut self, at: usize) {
        let (source, target) = (&self.source[at..][..N], &mut self.target[at..][..N]);
        for i in 0..N {
            target[i].write(source[i] + self.constant);
        }
    }
}

struct AddTwo<'a> {
    constant: Add<'a>,
    residual: &'a [f32],
}

impl Rows for AddTwo<'_> {
    #[inline(always)]
    fn apply<const N: usize>(&mut self, at: usize) {
        let source = &self.constant.source[at..][..N];
        let residual = &self.residual[at..][..N];
        let target = &mut self.constant.target[at..][..N];
        for i in 0..N {
            target[i].write(source[i] + self.constant.constant + residual[i]);
        }
    }
}
