//! Copies images into the flat working memory of a task.

use std::ops::Range;

use super::fused::Prologue;
use super::layout::{Axis, Layout, Piece};
use super::{rows, winograd};
use crate::dispatch::{self, Isa, Kernel, Path};

/// Channels of a tensor (batch, channels, height, width).
#[derive(Clone, Copy, Debug)]
pub(super) struct Source<'a> {
    pub(super) values: &'a [f32],
    /// Channels of the tensor.
    pub(super) of: usize,
    /// The first that is read.
    pub(super) first: usize,
    /// What is applied to the values on the way.
    pub(super) prologue: Option<Prologue<'a, f32>>,
}

impl<'a> Source<'a> {
    /// Fills `memory`, [channel][phase][flat]; `plane` has room for one channel of an image if there is a prologue.
    pub(super) fn gather(
        self,
        path: Path,
        layout: &Layout,
        piece: &Piece,
        memory: &mut [f32],
        plane: &mut [f32],
    ) {
        let channel_len = layout.channel_len;
        let gather = Gather {
            layout,
            piece,
            source: self,
            memory,
            lens: [channel_len, layout.phase_len],
            plane,
        };
        dispatch::run(path, gather);
    }

    /// Fills `memory`, [channel][stream][tile]; `flat` has room for one channel.
    pub(super) fn spread(
        self,
        path: Path,
        layout: &Layout,
        piece: &Piece,
        memory: &mut [f32],
        [plane, flat]: [&mut [f32]; 2],
    ) {
        for (channel, streams) in memory.chunks_exact_mut(layout.channel_len).enumerate() {
            let gather = Gather {
                layout,
                piece,
                source: Source {
                    first: self.first + channel,
                    ..self
                },
                lens: [flat.len(); 2],
                memory: flat,
                plane,
            };
            dispatch::run(path, gather);
            winograd::spread(path, flat, streams);
        }
    }

    fn plane(&self, image: usize, channel: usize, len: usize) -> &'a [f32] {
        &self.values[(image * self.of + self.first + channel) * len..][..len]
    }
}

/// Fills `memory`, [channel][phase][flat].
struct Gather<'a> {
    layout: &'a Layout,
    piece: &'a Piece,
    source: Source<'a>,
    memory: &'a mut [f32],
    /// Values of a channel, and of one of its phases.
    lens: [usize; 2],
    /// Room for one channel of an image, if there is a prologue.
    plane: &'a mut [f32],
}

impl Kernel for Gather<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        let Self {
            layout,
            piece,
            source,
            memory,
            lens: [channel_len, phase_len],
            plane: room,
        } = self;
        let [vertical, horizontal] = &layout.axes;
        let plane_len = vertical.source * horizontal.source;
        for (channel, memory) in memory.chunks_exact_mut(channel_len).enumerate() {
            memory.fill(0.0);
            for image in 0..piece.images {
                let mut plane = source.plane(piece.image + image, channel, plane_len);
                if let Some(prologue) = &source.prologue {
                    let lines = lines(vertical, piece);
                    let lines = lines.start * horizontal.source..lines.end * horizontal.source;
                    let index = (piece.image + image) * source.of + source.first + channel;
                    prologue.apply::<I>(index, &plane[lines.clone()], &mut room[lines], None);
                    plane = &*room;
                }
                let phases = vertical
                    .phases
                    .iter()
                    .flat_map(|&row| horizontal.phases.iter().map(move |&column| [row, column]));
                for (phase, memory) in phases.zip(memory.chunks_exact_mut(phase_len)) {
                    let start = image * vertical.period * horizontal.period;
                    copy_phase(layout, piece, phase, plane, &mut memory[start..]);
                }
            }
        }
    }
}

/// The rows of the source that a piece may read.
#[inline(always)]
fn lines(vertical: &Axis, piece: &Piece) -> Range<usize> {
    let start = (piece.rows.start * vertical.step).saturating_sub(vertical.lead);
    let end = ((piece.rows.end + vertical.reach) * vertical.step).saturating_sub(vertical.lead);
    let end = end.min(vertical.source);
    start.min(end)..end
}

/// One phase of one channel of one image; zeros are there already.
#[inline(always)]
fn copy_phase(layout: &Layout, piece: &Piece, phase: [usize; 2], plane: &[f32], memory: &mut [f32]) {
    let [vertical, horizontal] = &layout.axes;
    // Rows of memory that hold a row of the source.
    let first = vertical.lead.saturating_sub(phase[0]).div_ceil(vertical.step);
    let end = (vertical.lead + vertical.source)
        .saturating_sub(phase[0])
        .div_ceil(vertical.step);
    let end = if piece.images > 1 {
        end.min(vertical.period)
    } else {
        end
    };
    let first = first.max(piece.rows.start);
    let end = end.min(piece.rows.end + vertical.reach);
    let left = horizontal.lead.saturating_sub(phase[1]).div_ceil(horizontal.step);
    let right = (horizontal.lead + horizontal.source)
        .saturating_sub(phase[1])
        .div_ceil(horizontal.step)
        .min(horizontal.period);
    if right <= left {
        return;
    }
    let from = left * horizontal.step + phase[1] - horizontal.lead;
    for row in first..end {
        let line = row * vertical.step + phase[0] - vertical.lead;
        let line = &plane[line * horizontal.source..][..horizontal.source][from..];
        let start = (row - piece.rows.start) * horizontal.period;
        let target = &mut memory[start + left..start + right];
        match horizontal.step {
            1 => rows::copy(line, target),
            2 => {
                let Some((last, target)) = target.split_last_mut() else {
                    return;
                };
                for (target, pair) in target.iter_mut().zip(line.chunks_exact(2)) {
                    *target = pair[0];
                }
                *last = line[2 * target.len()];
            }
            step => {
                for (target, &value) in target.iter_mut().zip(line.iter().step_by(step)) {
                    *target = value;
                }
            }
        }
    }
}
