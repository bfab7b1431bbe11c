//! How the rows that a task computed get to where they belong, while they are in the cache.

use std::mem::MaybeUninit;

use super::fused::{Epilogue, Prologue, slope_times};
use super::layout::{Layout, Piece};
use super::pack::Block;
use super::rows;
use crate::buffer::assume_written;
use crate::dispatch::{Isa, Kernel};

/// What happens to the target when it is written back.
pub(super) trait Finish: Sync {
    /// Writes a row.
    fn row<I: Isa>(&self, place: Place, values: &[f32], target: &mut [MaybeUninit<f32>]);

    /// Works on as many rows of a channel as were written and follow each other, which are still in the cache.
    #[inline(always)]
    fn rows<I: Isa>(&self, _place: Place, _target: &mut [f32]) {}
}

/// Where some rows of the target are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) image: usize,
    pub(super) channel: usize,
    /// Where they start in the tensor.
    pub(super) start: usize,
}

/// y: adds the epilogue.
pub(super) struct Add<'a> {
    pub(super) outputs: usize,
    pub(super) epilogue: Epilogue<'a, f32>,
}

impl Finish for Add<'_> {
    #[inline(always)]
    fn row<I: Isa>(&self, place: Place, values: &[f32], target: &mut [MaybeUninit<f32>]) {
        let plane = place.image * self.outputs + place.channel;
        let constant = self.epilogue.constant(plane, place.channel);
        let residual = self
            .epilogue
            .residual
            .map(|residual| &residual[place.start..][..target.len()]);
        rows::add(values, constant, residual, target);
    }
}

/// dx, or, with a prologue, its x and the number of its channels, dz.
pub(super) struct Slope<'a>(pub(super) Option<(Prologue<'a, f32>, &'a [f32], usize)>);

impl Finish for Slope<'_> {
    #[inline(always)]
    fn row<I: Isa>(&self, _: Place, values: &[f32], target: &mut [MaybeUninit<f32>]) {
        rows::add(values, 0.0, None, target);
    }

    #[inline(always)]
    fn rows<I: Isa>(&self, place: Place, target: &mut [f32]) {
        if let Some((prologue, x, inputs)) = &self.0 {
            let x = &x[place.start..][..target.len()];
            slope_times::<f32, I>(prologue, place.image * inputs + place.channel, x, target);
        }
    }
}

/// Where tasks write: each its own rows.
pub(super) struct Target(*mut MaybeUninit<f32>, usize);

// SAFETY: the pointer is that of a slice which is borrowed exclusively while its tasks run, and no two tasks
// write the same row: their pieces differ in images or rows, or their units in channels.
unsafe impl Sync for Target {}

impl Target {
    /// # Safety
    ///
    /// The result is not used once the borrow of `values` has ended.
    pub(super) unsafe fn new(values: &mut [MaybeUninit<f32>]) -> Self {
        Self(values.as_mut_ptr(), values.len())
    }

    /// # Safety
    ///
    /// No two rows that are in use at the same time overlap.
    #[allow(clippy::mut_from_ref, reason = "rows are apart")]
    unsafe fn row(&self, start: usize, len: usize) -> &mut [MaybeUninit<f32>] {
        assert!(start + len <= self.1);
        // SAFETY: inside the slice, and the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.0.add(start), len) }
    }
}

/// Writes the rows of one phase of the target that a piece computed.
pub(super) struct WriteBack<'a, F> {
    pub(super) layout: &'a Layout,
    pub(super) piece: &'a Piece,
    pub(super) finish: &'a F,
    pub(super) target: &'a Target,
    /// Channels of the target.
    pub(super) channels: usize,
    pub(super) block: Block,
    /// The block's first channel in the tensor.
    pub(super) channel: usize,
    /// The phase.
    pub(super) row: usize,
    /// [phase of columns][row of block][flat].
    pub(super) results: &'a [f32],
    /// Room for one row.
    pub(super) line: &'a mut [f32],
}

impl<F: Finish> Kernel for WriteBack<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        let Self {
            layout,
            piece,
            block,
            results,
            line,
            ..
        } = self;
        let [vertical, horizontal] = &layout.axes;
        let (height, width) = (vertical.target, horizontal.target);
        let phase = &vertical.targets[self.row];
        let rows = phase.range.start.max(piece.rows.start)..phase.range.end.min(piece.rows.end);
        let phases = vertical.targets.len();
        let row_of = |flat_row: usize| phase.origin + (flat_row - phase.range.start) * phases;
        for image in 0..piece.images {
            for channel in 0..block.rows {
                let place = Place {
                    image: piece.image + image,
                    channel: self.channel + channel,
                    start: 0,
                };
                let plane = (place.image * self.channels + place.channel) * height;
                for flat_row in rows.clone() {
                    let from = (image * vertical.period + flat_row - piece.rows.start) * horizontal.period;
                    let results = &results[channel * layout.target_len + from..];
                    let start = (plane + row_of(flat_row)) * width;
                    // SAFETY: every row of the target belongs to one piece, block and phase.
                    let target = unsafe { self.target.row(start, width) };
                    let values = if horizontal.targets.len() == 1 {
                        &results[horizontal.targets[0].range.start..][..width]
                    } else {
                        interleave(layout, results, line);
                        &*line
                    };
                    let place = Place { start, ..place };
                    self.finish.row::<I>(place, values, target);
                    if phases > 1 {
                        // SAFETY: `row` has written it.
                        self.finish.rows::<I>(place, unsafe { assume_written(target) });
                    }
                }
                if phases == 1 && !rows.is_empty() {
                    let start = (plane + row_of(rows.start)) * width;
                    // SAFETY: as above; the rows follow each other, all are written, and no borrow of one is left.
                    let target = unsafe { self.target.row(start, rows.len() * width) };
                    // SAFETY: `row` has written all of them.
                    self.finish
                        .rows::<I>(Place { start, ..place }, unsafe { assume_written(target) });
                }
            }
        }
    }
}

/// One row of the target from its phases, each 8 × `target_len` values after the one before.
#[inline(always)]
fn interleave(layout: &Layout, results: &[f32], line: &mut [f32]) {
    let phases = &layout.axes[1].targets;
    let of = |phase: usize| {
        let from = phase * 8 * layout.target_len + phases[phase].range.start;
        &results[from..][..phases[phase].range.len()]
    };
    if phases.len() == 2 {
        let first = usize::from(phases[0].origin != 0 || phases[0].range.is_empty());
        let (even, odd) = (of(first), of(1 - first));
        for ((pair, &even), &odd) in line.chunks_exact_mut(2).zip(even).zip(odd) {
            pair[0] = even;
            pair[1] = odd;
        }
        if let (Some(last), true) = (line.last_mut(), even.len() > odd.len()) {
            *last = even[odd.len()];
        }
        return;
    }
    for (index, phase) in phases.iter().enumerate() {
        let target = line.iter_mut().skip(phase.origin).step_by(phases.len());
        for (target, &value) in target.zip(of(index)) {
            *target = value;
        }
    }
}
