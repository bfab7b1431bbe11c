//! The weight in the order in which the tiles read it: [group][phase of the target][block][channel][tap][row of block].

use std::mem::MaybeUninit;

use super::Convolution;
use super::products::Turn;
use crate::buffer::written;
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
        direction: Direction,
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
        let blocks = blocks(targets);
        let mut starts = vec![0];
        let mut jobs = Vec::new();
        for group in 0..sizes.groups {
            for taps in taps {
                for block in &blocks {
                    let from = &weight[group * inputs * outputs * kernel + block.first * target_step..];
                    let len = channels * taps.len() * block.width;
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

/// Blocks of eight; what is left has four rows, or one.
fn blocks(targets: usize) -> Vec<Block> {
    (0..targets)
        .step_by(8)
        .map(|first| {
            let rows = (targets - first).min(8);
            let width = match rows {
                1 => 1,
                2..=4 => 4,
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
    target: &'a mut [MaybeUninit<f32>],
}

/// Values of a kernel up to which one channel of a block is turned on the stack.
const TURNED: usize = 64;

impl Kernel for Pack<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        let &Block { rows, width, .. } = self.block;
        let per_channel = self.taps.len() * width;
        let kernel = self.taps.iter().max().map_or(0, |tap| tap + 1);
        if per_channel == 0 {
            return;
        }
        for (channel, target) in self.target.chunks_exact_mut(per_channel).enumerate() {
            let from = &self.from[channel * self.channel_step..];
            if rows == 8 && kernel <= TURNED {
                let mut turned = [MaybeUninit::uninit(); 8 * TURNED];
                let turn = Turn {
                    from,
                    step: self.target_step,
                    rows,
                    lanes: width,
                    to: &mut turned[..8 * kernel],
                };
                turn.run::<I>();
                for (&tap, target) in self.taps.iter().zip(target.chunks_exact_mut(8)) {
                    target.copy_from_slice(&turned[8 * tap..][..8]);
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
}
