//! The gradient of the weight in f32, directly from flat images.
//!
//! The batch is cut into at most eight runs of pieces; a run adds to sums of its own, and the sums are added in order,
//! so that the bytes depend on the shape alone. With many output channels, dy is turned to [position][channel] and a
//! value of x multiplies a vector of channels; with few, vectors of positions are multiplied. Where Winograd's tiles pay,
//! the same sums run over tiles, once for each of their streams.

use super::direct::suits;
use super::fused::Prologue;
use super::gather::Source;
use super::layout::{Axis, Form, Layout, Piece};
use super::products::{Dy, Sums, Turn, accumulate, lanes};
use super::rows;
use super::shape::Shape;
use super::winograd::{self, STREAMS, SpreadGradient, TILE};
use crate::buffer::{as_place, assume_written, written};
use crate::dispatch::{self, Isa, Kernel, Path};
use crate::error::{Result, area};
use crate::linear::sum_in_order;
use crate::parallel;
use crate::scratch::with_scratch;

/// Output channels of a group up to which vectors of positions are faster.
const FEW: usize = 6;

/// Positions that are turned and multiplied while they are in the first-level cache.
const POSITIONS: usize = 224;

/// dw, (outputs, inputs/groups, kernel height, kernel width).
pub(super) fn weight_gradient(
    path: Path,
    shape: &Shape,
    x: (&[f32], Option<Prologue<'_, f32>>),
    dy: &[f32],
) -> Result<Vec<f32>> {
    debug_assert!(suits(path, shape));
    let sizes = &shape.sizes;
    let (inputs, outputs) = (sizes.inputs / sizes.groups, sizes.outputs / sizes.groups);
    let axes = [Axis::forward(shape, 0), Axis::forward(shape, 1)];
    let (form, layout) = Layout::chosen(axes, sizes.batch, inputs, outputs);
    let taps = layout.taps(
        &layout.axes[0].targets[0],
        &layout.axes[1].targets[0],
        sizes.kernel[1],
    );
    let offsets = Layout::read(form, taps.into_iter().map(|(offset, _)| offset).collect());
    let (block, lanes) = match (outputs, lanes(path)) {
        (..=FEW, lanes) => (1, lanes),
        (outputs, lanes) if outputs <= lanes => (lanes, lanes),
        (_, lanes) => (2 * lanes, 2 * lanes),
    };
    let job = Job {
        path,
        shape,
        layout: &layout,
        streams: match form {
            Form::Taps => 1,
            Form::Streams => STREAMS,
        },
        offsets: &offsets,
        x: x.0,
        prologue: x.1,
        dy,
        inputs,
        outputs,
        block,
        lanes,
        blocks: outputs.div_ceil(block),
    };
    let units = sizes.groups * job.blocks;
    let per_unit = area(area(inputs, offsets.len())?, lanes * job.streams)?;
    let total = area(units, per_unit)?;
    let runs = ((1 << 22) / total).clamp(2, 8);
    let run = layout.pieces.len().div_ceil(runs);
    let runs = layout.pieces.len().div_ceil(run);
    // Few runs share their units among threads.
    let part = units.div_ceil(4usize.div_ceil(runs).min(units));
    // SAFETY: every task fills all of its sums.
    let sums = unsafe {
        written(area(runs, total)?, |sums| {
            let mut tasks = Vec::new();
            for (pieces, sums) in layout.pieces.chunks(run).zip(sums.chunks_mut(total)) {
                for (index, sums) in sums.chunks_mut(part * per_unit).enumerate() {
                    tasks.push((pieces, index * part, sums));
                }
            }
            parallel::for_each(shape.cost(), tasks, |(pieces, unit, sums)| {
                sums.fill(std::mem::MaybeUninit::new(0.0));
                // Written by the line above.
                job.run(pieces, unit, assume_written(sums), per_unit);
            });
            Ok(())
        })?
    };
    unpack(&job, &sum_in_order(sums, total), per_unit)
}

struct Job<'a> {
    path: Path,
    shape: &'a Shape,
    layout: &'a Layout,
    /// Sums of one tap or, with Winograd's tiles, of three: 1 or `STREAMS`.
    streams: usize,
    offsets: &'a [usize],
    x: &'a [f32],
    prologue: Option<Prologue<'a, f32>>,
    dy: &'a [f32],
    /// Channels of a group.
    inputs: usize,
    outputs: usize,
    /// Output channels of a unit, and the lanes of its sums.
    block: usize,
    lanes: usize,
    /// Units of a group.
    blocks: usize,
}

impl Job<'_> {
    /// Adds some pieces to the sums of the units from `first` on.
    fn run(&self, pieces: &[Piece], first: usize, sums: &mut [f32], per_unit: usize) {
        let layout = self.layout;
        let columns = layout.axes[1].target;
        let rows = pieces
            .iter()
            .map(|piece| piece.images * piece.rows.len())
            .max()
            .unwrap_or(0);
        let dy_len = if self.block == 1 {
            layout.target_len
        } else {
            rows * columns * self.lanes
        };
        let plane_len = layout.axes[0].source * layout.axes[1].source;
        let plane_len = self.prologue.map_or(0, |_| plane_len);
        let (flat_len, spread_len) = if self.streams > 1 {
            let tiles = rows * columns.div_ceil(TILE);
            (layout.flat_len(), STREAMS * tiles * self.lanes)
        } else {
            (0, 0)
        };
        let sizes = [
            self.inputs * layout.channel_len,
            dy_len,
            plane_len,
            flat_len,
            spread_len,
        ];
        with_scratch(sizes, |[memory, turned, plane, flat, spread]| {
            for piece in pieces {
                let mut gathered = None;
                for (index, sums) in sums.chunks_exact_mut(per_unit).enumerate() {
                    let (group, block) = ((first + index) / self.blocks, (first + index) % self.blocks);
                    if gathered != Some(group) {
                        self.gather(piece, group, memory, [plane, flat]);
                        gathered = Some(group);
                    }
                    let channel = group * self.outputs + block * self.block;
                    let rows = (self.outputs - block * self.block).min(self.block);
                    if self.block == 1 {
                        self.dots(piece, channel, memory, turned, sums);
                    } else if self.streams > 1 {
                        self.turn(piece, channel, rows, turned);
                        self.tiles(piece, memory, turned, spread, sums);
                    } else {
                        self.turn(piece, channel, rows, turned);
                        self.outer(piece, memory, turned, sums);
                    }
                }
            }
        });
    }

    fn gather(&self, piece: &Piece, group: usize, memory: &mut [f32], [plane, flat]: [&mut [f32]; 2]) {
        let source = Source {
            values: self.x,
            of: self.shape.sizes.inputs,
            first: group * self.inputs,
            prologue: self.prologue,
        };
        if self.streams > 1 {
            source.spread(self.path, self.layout, piece, memory, [plane, flat]);
        } else {
            source.gather(self.path, self.layout, piece, memory, plane);
        }
    }

    /// dy of output channels `channel..channel + rows` as [position][lane].
    fn turn(&self, piece: &Piece, channel: usize, rows: usize, turned: &mut [f32]) {
        let columns = self.layout.axes[1].target;
        let positions = piece.rows.len() * columns;
        for image in 0..piece.images {
            let plane = (piece.image + image) * self.shape.sizes.outputs + channel;
            let turn = Turn {
                from: &self.dy[plane * self.shape.positions() + piece.rows.start * columns..],
                step: self.shape.positions(),
                rows,
                lanes: self.lanes,
                to: as_place(&mut turned[image * positions * self.lanes..][..positions * self.lanes]),
            };
            turn.run_on(self.path);
        }
    }

    /// Vectors of output channels.
    fn outer(&self, piece: &Piece, memory: &[f32], turned: &[f32], sums: &mut [f32]) {
        let columns = self.layout.axes[1].target;
        let starts: Vec<usize> = self.starts(piece).collect();
        let chunk = (POSITIONS / columns).max(1);
        let values = turned.chunks(chunk * columns * self.lanes);
        for (starts, values) in starts.chunks(chunk).zip(values) {
            let dy = Dy::Outer {
                values,
                starts,
                columns,
                lanes: self.lanes,
            };
            self.accumulate(memory, dy, sums);
        }
    }

    /// Vectors of output channels, tile by tile: the sums of every stream.
    fn tiles(&self, piece: &Piece, memory: &[f32], turned: &[f32], spread: &mut [f32], sums: &mut [f32]) {
        let columns = self.layout.axes[1].target;
        let row = columns.div_ceil(TILE);
        let starts: Vec<usize> = self.starts(piece).map(|start| start / TILE).collect();
        let stream_len = starts.len() * row * self.lanes;
        let job = SpreadGradient {
            dy: &turned[..starts.len() * columns * self.lanes],
            columns,
            lanes: self.lanes,
            streams: &mut spread[..STREAMS * stream_len],
        };
        dispatch::run(self.path, job);
        let chunk = (POSITIONS / row).max(1);
        let per_stream = sums.len() / STREAMS;
        for (stream, sums) in sums.chunks_exact_mut(per_stream).enumerate() {
            let values = spread[stream * stream_len..][..stream_len].chunks(chunk * row * self.lanes);
            for (starts, values) in starts.chunks(chunk).zip(values) {
                let dy = Dy::Outer {
                    values,
                    starts,
                    columns: row,
                    lanes: self.lanes,
                };
                self.accumulate(&memory[stream * self.layout.phase_len..], dy, sums);
            }
        }
    }

    /// Vectors of positions of one output channel.
    fn dots(&self, piece: &Piece, channel: usize, memory: &[f32], flat: &mut [f32], sums: &mut [f32]) {
        let columns = self.layout.axes[1].target;
        flat.fill(0.0);
        let mut starts = self.starts(piece);
        for image in 0..piece.images {
            let plane = (piece.image + image) * self.shape.sizes.outputs + channel;
            let dy = &self.dy[plane * self.shape.positions()..][..self.shape.positions()];
            let lines = dy[piece.rows.start * columns..].chunks_exact(columns);
            for (line, start) in lines.take(piece.rows.len()).zip(starts.by_ref()) {
                rows::copy(line, &mut flat[start..start + columns]);
            }
        }
        let rows = (piece.images - 1) * self.layout.axes[0].period + piece.rows.len();
        let end = (rows * self.layout.axes[1].period).next_multiple_of(16);
        self.accumulate(memory, Dy::Dots(&flat[..end]), sums);
    }

    fn accumulate(&self, memory: &[f32], dy: Dy<'_>, sums: &mut [f32]) {
        let job = Sums {
            memory,
            channels: self.inputs,
            channel_len: self.layout.channel_len,
            offsets: self.offsets,
            dy,
            sums,
        };
        accumulate(self.path, job);
    }

    /// Where the rows of a piece start in flat memory.
    fn starts(&self, piece: &Piece) -> impl Iterator<Item = usize> + use<> {
        let [vertical, horizontal] = &self.layout.axes;
        let (period, step, rows) = (vertical.period, horizontal.period, piece.rows.len());
        (0..piece.images).flat_map(move |image| (0..rows).map(move |row| (image * period + row) * step))
    }
}

/// dw from the sums: lanes are output channels, or parts of one sum.
fn unpack(job: &Job<'_>, sums: &[f32], per_unit: usize) -> Result<Vec<f32>> {
    let shape = job.shape;
    // SAFETY: one task for each output channel writes all of its values.
    unsafe {
        written(shape.weight_len, |weight| {
            let tasks = weight.chunks_mut(shape.depth).enumerate().collect();
            parallel::for_each(
                shape.weight_len * 8,
                tasks,
                |(output, target): (usize, &mut [_])| {
                    let (group, output) = (output / job.outputs, output % job.outputs);
                    let unit = group * job.blocks + output / job.block;
                    let sums = &sums[unit * per_unit..][..per_unit];
                    let lane = output % job.block;
                    if job.streams > 1 {
                        let lanes = job.lanes;
                        dispatch::run(
                            job.path,
                            UnpackStreams {
                                sums,
                                lanes,
                                lane,
                                target,
                            },
                        );
                        return;
                    }
                    dispatch::run(
                        job.path,
                        Unpack {
                            sums: sums.chunks_exact(job.lanes),
                            lane: (job.block > 1).then_some(lane),
                            target,
                        },
                    );
                },
            );
            Ok(())
        })
    }
}

struct Unpack<'a> {
    sums: std::slice::ChunksExact<'a, f32>,
    /// The lane of the output channel, or all lanes to be summed.
    lane: Option<usize>,
    target: &'a mut [std::mem::MaybeUninit<f32>],
}

impl Kernel for Unpack<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        for (target, lanes) in self.target.iter_mut().zip(self.sums) {
            target.write(match self.lane {
                Some(lane) => lanes[lane],
                None => lanes.iter().sum(),
            });
        }
    }
}

struct UnpackStreams<'a> {
    /// [stream][channel][row of the kernel][lane].
    sums: &'a [f32],
    lanes: usize,
    lane: usize,
    target: &'a mut [std::mem::MaybeUninit<f32>],
}

impl Kernel for UnpackStreams<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        let per_stream = self.sums.len() / STREAMS;
        for (index, target) in self.target.chunks_exact_mut(3).enumerate() {
            let at = index * self.lanes + self.lane;
            let six = [0, 1, 2, 3, 4, 5].map(|stream| self.sums[stream * per_stream + at]);
            for (target, value) in target.iter_mut().zip(winograd::taps(six)) {
                target.write(value);
            }
        }
    }
}
