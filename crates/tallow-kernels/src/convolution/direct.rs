//! Direct convolution in f32: y from x, or dx from dy, by tiles over flat images.
//!
//! A task takes some images, or a band of one: it copies them into its flat memory ([`Layout`]), sweeps every block of
//! target channels over them, and writes the rows back while they are in the cache. The method has no source that we
//! follow; it is a register-tiled direct convolution with the border turned into zeros that rows share.

use std::mem::MaybeUninit;
use std::ops::Range;

use super::columns::is_image;
use super::fused::Prologue;
use super::gather::Source;
use super::layout::{Axis, Form, Layout, Piece};
use super::pack::{Direction, Packed};
use super::shape::Shape;
use super::tiles::{Sweep, sweep};
use super::winograd::{self, STREAMS, TILE};
use super::write_back::{Finish, Target, WriteBack};
use crate::dispatch::{self, Path};
use crate::error::Result;
use crate::parallel;
use crate::scratch::with_scratch;

/// Whether the direct convolution applies.
pub(super) fn suits(path: Path, shape: &Shape) -> bool {
    let sizes = &shape.sizes;
    // The image itself is best left to one matrix product. More padding than the kernel reaches would let rows of y overlap.
    let fits = |axis: usize| sizes.padding[axis] <= (sizes.kernel[axis] - 1) * sizes.dilation[axis];
    path.has_avx2() && !is_image(shape) && fits(0) && fits(1) && shape.x_len > 0 && shape.y_len > 0
}

/// Writes all of y.
pub(super) fn forward(
    path: Path,
    shape: &Shape,
    x: (&[f32], Option<Prologue<'_, f32>>),
    weight: &[f32],
    finish: &impl Finish,
    y: &mut [MaybeUninit<f32>],
) -> Result<()> {
    let axes = [Axis::forward(shape, 0), Axis::forward(shape, 1)];
    convolve(path, shape, Direction::Forward, axes, x, weight, finish, y)
}

/// Writes all of dx.
pub(super) fn input_gradient(
    path: Path,
    shape: &Shape,
    dy: &[f32],
    weight: &[f32],
    finish: &impl Finish,
    dx: &mut [MaybeUninit<f32>],
) -> Result<()> {
    let axes = [Axis::backward(shape, 0), Axis::backward(shape, 1)];
    convolve(
        path,
        shape,
        Direction::Backward,
        axes,
        (dy, None),
        weight,
        finish,
        dx,
    )
}

#[allow(clippy::too_many_arguments, reason = "the two functions above, in one")]
fn convolve(
    path: Path,
    shape: &Shape,
    direction: Direction,
    axes: [Axis; 2],
    source: (&[f32], Option<Prologue<'_, f32>>),
    weight: &[f32],
    finish: &impl Finish,
    target: &mut [MaybeUninit<f32>],
) -> Result<()> {
    let sizes = &shape.sizes;
    let (of, targets) = match direction {
        Direction::Forward => (sizes.inputs, sizes.outputs),
        Direction::Backward => (sizes.outputs, sizes.inputs),
    };
    let (form, layout) = Layout::chosen(axes, sizes.batch, of / sizes.groups, targets / sizes.groups);
    let [vertical, horizontal] = &layout.axes;
    let mut offsets = Vec::new();
    let mut places = Vec::new();
    for row in &vertical.targets {
        for column in &horizontal.targets {
            let mut taps = layout.taps(row, column, sizes.kernel[1]);
            // Memory is read fastest upwards.
            taps.sort_unstable();
            let (o, p): (Vec<_>, Vec<_>) = taps.into_iter().unzip();
            offsets.push(Layout::read(form, o));
            places.push(p);
        }
    }
    let weights = Packed::new(path, sizes, (direction, form), weight, &places)?;
    let job = Job {
        path,
        form,
        layout: &layout,
        weights: &weights,
        offsets: &offsets,
        source: source.0,
        prologue: source.1,
        source_channels: of,
        target_channels: targets,
        finish,
        // SAFETY: `target` is borrowed until after the tasks have run.
        target: unsafe { Target::new(target) },
    };
    // Few pieces share their blocks among threads.
    let units = sizes.groups * weights.blocks.len();
    let parts = 4usize.div_ceil(layout.pieces.len().max(1)).min(units);
    let part = units.div_ceil(parts.max(1)).max(1);
    let tasks = layout
        .pieces
        .iter()
        .flat_map(|piece| {
            (0..units)
                .step_by(part)
                .map(move |unit| (piece, unit..units.min(unit + part)))
        })
        .collect();
    parallel::for_each(shape.cost(), tasks, |(piece, units)| job.piece(piece, units));
    Ok(())
}

struct Job<'a, F> {
    path: Path,
    form: Form,
    layout: &'a Layout,
    weights: &'a Packed,
    /// For each phase of the target, the taps' offsets.
    offsets: &'a [Vec<usize>],
    source: &'a [f32],
    prologue: Option<Prologue<'a, f32>>,
    source_channels: usize,
    target_channels: usize,
    finish: &'a F,
    target: Target,
}

impl<F: Finish> Job<'_, F> {
    /// Blocks of channels `units` (group by group) of the target of one piece.
    fn piece(&self, piece: &Piece, units: Range<usize>) {
        let (layout, weights) = (self.layout, self.weights);
        let [vertical, horizontal] = &layout.axes;
        let columns = horizontal.targets.len();
        let (flat_len, products_len) = match self.form {
            Form::Taps => (0, 0),
            Form::Streams => (layout.flat_len(), 8 * STREAMS * layout.target_len / TILE),
        };
        let sizes = [
            weights.channels * layout.channel_len,
            8 * columns * layout.target_len,
            horizontal.target,
            self.prologue.map_or(0, |_| vertical.source * horizontal.source),
            flat_len,
            products_len,
        ];
        with_scratch(sizes, |[memory, results, line, plane, flat, products]| {
            let mut gathered = None;
            for unit in units {
                let (group, block) = (unit / weights.blocks.len(), unit % weights.blocks.len());
                if gathered != Some(group) {
                    let source = Source {
                        values: self.source,
                        of: self.source_channels,
                        first: group * weights.channels,
                        prologue: self.prologue,
                    };
                    match self.form {
                        Form::Taps => source.gather(self.path, layout, piece, memory, plane),
                        Form::Streams => source.spread(self.path, layout, piece, memory, [plane, flat]),
                    }
                    gathered = Some(group);
                }
                for row in 0..vertical.targets.len() {
                    match self.form {
                        Form::Taps => self.taps(piece, (group, row, block), memory, results),
                        Form::Streams => self.streams(piece, (group, block), memory, [products, results]),
                    }
                    let back = WriteBack {
                        layout,
                        piece,
                        finish: self.finish,
                        target: &self.target,
                        channels: self.target_channels,
                        block: weights.blocks[block],
                        channel: group * weights.targets + weights.blocks[block].first,
                        row,
                        results,
                        line,
                    };
                    dispatch::run(self.path, back);
                }
            }
        });
    }

    /// A block of the target, as flat rows: all taps of all channels, for each phase of the columns.
    fn taps(
        &self,
        piece: &Piece,
        (group, row, block): (usize, usize, usize),
        memory: &[f32],
        results: &mut [f32],
    ) {
        let (layout, weights) = (self.layout, self.weights);
        let phases = &layout.axes[1].targets;
        for (column, target) in results.chunks_exact_mut(8 * layout.target_len).enumerate() {
            let phase = row * phases.len() + column;
            let job = Sweep {
                memory,
                channels: weights.channels,
                channel_len: layout.channel_len,
                offsets: &self.offsets[phase],
                weights: weights.of(group, phase, block),
                width: weights.blocks[block].width,
                target,
                target_len: layout.target_len,
                range: phases[column].range.start..self.end(piece, phases[column].range.end),
            };
            sweep(self.path, job);
        }
    }

    /// A block of the target, as flat rows: the products of each stream, and what they come to.
    fn streams(
        &self,
        piece: &Piece,
        (group, block): (usize, usize),
        memory: &[f32],
        [products, results]: [&mut [f32]; 2],
    ) {
        let (layout, weights) = (self.layout, self.weights);
        let tiles = layout.target_len / TILE;
        let end = self.end(piece, layout.axes[1].target).div_ceil(TILE);
        let weights = weights.of(group, 0, block);
        let (products, results) = (
            &mut products[..8 * STREAMS * tiles],
            &mut results[..8 * TILE * tiles],
        );
        let parts = products
            .chunks_exact_mut(8 * tiles)
            .zip(weights.chunks_exact(weights.len() / STREAMS));
        for (stream, (target, weights)) in parts.enumerate() {
            let job = Sweep {
                memory: &memory[stream * layout.phase_len..],
                channels: self.weights.channels,
                channel_len: layout.channel_len,
                offsets: &self.offsets[0],
                weights,
                width: 8,
                target,
                target_len: tiles,
                range: 0..end,
            };
            sweep(self.path, job);
        }
        winograd::combine(self.path, products, results, tiles);
    }

    /// Where the flat positions of a piece end, of which the last row has `columns`.
    fn end(&self, piece: &Piece, columns: usize) -> usize {
        let [vertical, horizontal] = &self.layout.axes;
        let rows = (piece.images - 1) * vertical.period + piece.rows.len();
        (rows - 1) * horizontal.period + columns
    }
}
