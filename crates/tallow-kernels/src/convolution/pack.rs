//! The weight in the order in which the tiles read it: [group][phase of the target][block][channel][tap][row of block];
//! for Winograd's tiles [group][block][stream][channel][row of the kernel][row of block].

use std::mem::MaybeUninit;

use super::Convolution;
use super::layout::Form;
use super::products::Turn;
use super::winograd::{self, STREAMS};
use crate::buffer::{as_place, written};
use crate::dispatch::{self, Isa, Kernel, Path};
use crate::error::Result;
use crate::parallel;

/// Which channels are computed from which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// y from x.
    Forward,
    /// dx from dy.
    Backward,
}

/// Neighbouring channels of the target that are computed together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block {
    /// The first channel, within its group.
    pub(super) first: usize,
    pub(super) rows: usize,
    /// Rows of a tile: at least `rows`, the rest has weights of zero.
    pub(super) width: usize,
}

/// The weight, packed.
#[derive(Debug)]
pub(super) struct Packed {
    values: Vec<f32>,
    /// The blocks of one group.
    pub(super) blocks: Vec<Block>,
    /// Channels of the source in one group.
    pub(super) channels: usize,
    /// Channels of the target in one group.
    pub(super) targets: usize,
    /// Where each (group, phase, block) starts.
    starts: Vec<usize>,
    phases: usize,
}

impl Packed {
    /// `taps` holds, for each phase of the target, the taps' places in the kernel.
    pub(super) fn new(
        path: Path,
        sizes: &Convolution,
        (direction, form): (Direction, Form),
        weight: &[f32],
        taps: &[Vec<usize>],
    ) -> Result<Self> {
        let (inputs, outputs) = (sizes.inputs / sizes.groups, sizes.outputs / sizes.groups);
        let kernel = sizes.kernel[0] * sizes.kernel[1];
        // Steps in the weight from a channel of the target, and of the source, to the next.
        let (channels, targets, target_step, channel_step) = match direction {
            Direction::Forward => (inputs, outputs, inputs * kernel, kernel),
            Direction::Backward => (outputs, inputs, kernel, inputs * kernel),
        };
        let blocks = blocks(targets, form);
        let mut starts = vec![0];
        let mut jobs = Vec::new();
        for group in 0..sizes.groups {
            for taps in taps {
                for block in &blocks {
                    let from = &weight[group * inputs * outputs * kernel + block.first * target_step..];
                    let per_channel = match form {
                        Form::Taps => taps.len() * block.width,
                        Form::Streams => taps.len() / 3 * STREAMS * block.width,
                    };
                    let len = channels * per_channel;
                    jobs.push((from, taps, block, len));
                    starts.push(starts.last().copied().unwrap_or(0) + len);
                }
            }
        }
        let len = starts.last().copied().unwrap_or(0);
        // SAFETY: the jobs share all of the values among them, and each writes its own in full.
        let values = unsafe {
            written(len, |mut values| {
                let mut tasks = Vec::with_capacity(jobs.len());
                for (from, taps, block, len) in jobs {
                    let (target, rest) = std::mem::take(&mut values).split_at_mut(len);
                    values = rest;
                    tasks.push(Pack {
                        from,
                        target_step,
                        channel_step,
                        taps,
                        block,
                        form,
                        target,
                    });
                }
                parallel::for_each(len.saturating_mul(8), tasks, |task| dispatch::run(path, task));
                Ok(())
            })?
        };
        Ok(Self {
            values,
            blocks,
            channels,
            targets,
            starts,
            phases: taps.len(),
        })
    }

    /// The weights of one block, [channel][tap][row].
    pub(super) fn of(&self, group: usize, phase: usize, block: usize) -> &[f32] {
        let index = (group * self.phases + phase) * self.blocks.len() + block;
        &self.values[self.starts[index]..self.starts[index + 1]]
    }
}

/// Blocks of eight; what is left has four rows, or one, where the taps are multiplied as they are.
fn blocks(targets: usize, form: Form) -> Vec<Block> {
    (0..targets)
        .step_by(8)
        .map(|first| {
            let rows = (targets - first).min(8);
            let width = match (form, rows) {
                (Form::Taps, 1) => 1,
                (Form::Taps, 2..=4) => 4,
                _ => 8,
            };
            Block { first, rows, width }
        })
        .collect()
}

struct Pack<'a> {
    from: &'a [f32],
    target_step: usize,
    channel_step: usize,
    taps: &'a [usize],
    block: &'a Block,
    form: Form,
    target: &'a mut [MaybeUninit<f32>],
}

/// Places of a kernel up to which one channel of a block is turned on the stack.
pub(super) const TURNED: usize = 64;

impl Kernel for Pack<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        match self.form {
            Form::Taps => self.taps::<I>(),
            Form::Streams => self.streams::<I>(),
        }
    }
}

impl Pack<'_> {
    #[inline(always)]
    fn taps<I: Isa>(self) {
        let &Block { rows, width, .. } = self.block;
        let per_channel = self.taps.len() * width;
        if per_channel == 0 {
            return;
        }
        let mut turned = [[0.0; 8]; TURNED];
        for (channel, target) in self.target.chunks_exact_mut(per_channel).enumerate() {
            let from = &self.from[channel * self.channel_step..];
            if width == 8 && kernel_of(self.taps) <= TURNED {
                turn::<I>(from, self.target_step, rows, self.taps, &mut turned);
                for (&tap, target) in self.taps.iter().zip(target.chunks_exact_mut(8)) {
                    for (target, value) in target.iter_mut().zip(turned[tap]) {
                        target.write(value);
                    }
                }
                continue;
            }
            for (&tap, target) in self.taps.iter().zip(target.chunks_exact_mut(width)) {
                let (full, empty) = target.split_at_mut(rows);
                for (row, value) in full.iter_mut().enumerate() {
                    value.write(from[row * self.target_step + tap]);
                }
                empty.fill(MaybeUninit::new(0.0));
            }
        }
    }

    #[inline(always)]
    fn streams<I: Isa>(self) {
        let lines = self.taps.len() / 3;
        let channels = self.target.len() / (STREAMS * lines * 8).max(1);
        let mut turned = [[0.0; 8]; TURNED];
        for channel in 0..channels {
            let from = &self.from[channel * self.channel_step..];
            turn::<I>(from, self.target_step, self.block.rows, self.taps, &mut turned);
            for (line, taps) in self.taps.chunks_exact(3).enumerate() {
                let [a, b, c] = [taps[0], taps[1], taps[2]].map(|tap| turned[tap]);
                let mut spread = [[0.0; 8]; STREAMS];
                for row in 0..8 {
                    let six = winograd::weights([a[row], b[row], c[row]]);
                    for (spread, value) in spread.iter_mut().zip(six) {
                        spread[row] = value;
                    }
                }
                for (stream, values) in spread.into_iter().enumerate() {
                    let at = ((stream * channels + channel) * lines + line) * 8;
                    self.target[at..at + 8].copy_from_slice(&values.map(MaybeUninit::new));
                }
            }
        }
    }
}

/// Places of a kernel, up to the last that is used.
fn kernel_of(taps: &[usize]) -> usize {
    taps.iter().max().map_or(0, |tap| tap + 1)
}

/// One channel of a block: for each place in the kernel (at most `TURNED`), the values of eight rows, zero beyond `rows`.
#[inline(always)]
fn turn<I: Isa>(from: &[f32], step: usize, rows: usize, taps: &[usize], turned: &mut [[f32; 8]; TURNED]) {
    let places = &mut turned[..kernel_of(taps)];
    let turn = Turn {
        from,
        step,
        rows,
        lanes: 8,
        to: as_place(places.as_flattened_mut()),
    };
    turn.run::<I>();
}
