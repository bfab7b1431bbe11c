//! Direct convolution in f32: y from x, or dx from dy, by tiles over flat images.
//!
//! A task takes some images, or a band of one: it copies them into its flat memory ([`Layout`]), sweeps every block of
//! target channels over them, and writes the rows back while they are in the cache. The method has no source that we
//! follow; it is a register-tiled direct convolution with the border turned into zeros that rows share.

use std::mem::MaybeUninit;
use std::ops::Range;

use super::columns::is_image;
use super::fused::{Epilogue, Prologue, slope_times};
use super::gather::{Gather, Source};
use super::layout::{Axis, Layout, Piece};
use super::pack::{Block, Direction, Packed};
use super::rows;
use super::shape::Shape;
use super::tiles::{Sweep, sweep};
use crate::buffer::assume_written;
use crate::dispatch::{self, Isa, Kernel, Path};
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

/// What happens to a row of the target when it is written back.
pub(super) trait Finish: Sync {
    fn row<I: Isa>(&self, place: Place, values: &[f32], target: &mut [MaybeUninit<f32>]);
}

/// One row of the target.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) image: usize,
    pub(super) channel: usize,
    /// Where the row starts in the tensor.
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
    fn row<I: Isa>(&self, place: Place, values: &[f32], target: &mut [MaybeUninit<f32>]) {
        rows::add(values, 0.0, None, target);
        if let Some((prologue, x, inputs)) = &self.0 {
            let x = &x[place.start..][..target.len()];
            let plane = place.image * inputs + place.channel;
            // SAFETY: `add` has written the row.
            slope_times::<f32, I>(prologue, plane, x, unsafe { assume_written(target) });
        }
    }
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
    let layout = Layout::new(axes, sizes.batch, of / sizes.groups);
    let [vertical, horizontal] = &layout.axes;
    let mut offsets = Vec::new();
    let mut places = Vec::new();
    for row in &vertical.targets {
        for column in &horizontal.targets {
            let mut taps = layout.taps(row, column, sizes.kernel[1]);
            // Memory is read fastest upwards.
            taps.sort_unstable();
            let (o, p): (Vec<_>, Vec<_>) = taps.into_iter().unzip();
            offsets.push(o);
            places.push(p);
        }
    }
    let weights = Packed::new(path, sizes, direction, weight, &places)?;
    let job = Job {
        path,
        layout: &layout,
        weights: &weights,
        offsets: &offsets,
        source: source.0,
        prologue: source.1,
        source_channels: of,
        target_channels: targets,
        finish,
        target: Target(target.as_mut_ptr(), target.len()),
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

/// Where tasks write: each its own rows.
struct Target(*mut MaybeUninit<f32>, usize);

// SAFETY: the pointer is that of a slice which `convolve` borrows exclusively while its tasks run, and no two tasks
// write the same row: their pieces differ in images or rows, or their units in channels.
unsafe impl Sync for Target {}

impl Target {
    /// # Safety
    ///
    /// No two rows overlap, and each is asked for once.
    #[allow(clippy::mut_from_ref, reason = "rows are apart")]
    unsafe fn row(&self, start: usize, len: usize) -> &mut [MaybeUninit<f32>] {
        assert!(start + len <= self.1);
        // SAFETY: inside the slice, and the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.0.add(start), len) }
    }
}

struct Job<'a, F> {
    path: Path,
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
        let sizes = [
            weights.channels * layout.channel_len,
            8 * columns * layout.target_len,
            horizontal.target,
            self.prologue.map_or(0, |_| vertical.source * horizontal.source),
        ];
        with_scratch(sizes, |[memory, results, line, plane]| {
            let mut gathered = None;
            for unit in units {
                let (group, block) = (unit / weights.blocks.len(), unit % weights.blocks.len());
                if gathered != Some(group) {
                    self.gather(piece, group, memory, plane);
                    gathered = Some(group);
                }
                for row in 0..vertical.targets.len() {
                    for (column, target) in results.chunks_exact_mut(8 * layout.target_len).enumerate() {
                        let phase = row * columns + column;
                        let end = (piece.images - 1) * vertical.period + piece.rows.len();
                        let end = (end - 1) * horizontal.period + horizontal.targets[column].range.end;
                        let job = Sweep {
                            memory,
                            channels: weights.channels,
                            channel_len: layout.channel_len,
                            offsets: &self.offsets[phase],
                            weights: weights.of(group, phase, block),
                            width: weights.blocks[block].width,
                            target,
                            target_len: layout.target_len,
                            range: horizontal.targets[column].range.start..end,
                        };
                        sweep(self.path, job);
                    }
                    let back = WriteBack {
                        job: self,
                        piece,
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

    fn gather(&self, piece: &Piece, group: usize, memory: &mut [f32], plane: &mut [f32]) {
        let source = Source {
            values: self.source,
            of: self.source_channels,
            first: group * self.weights.channels,
            prologue: self.prologue,
        };
        let layout = self.layout;
        dispatch::run(
            self.path,
            Gather {
                layout,
                piece,
                source,
                memory,
                plane,
            },
        );
    }
}

/// Writes the rows of one phase of the target that a piece computed.
struct WriteBack<'a, F> {
    job: &'a Job<'a, F>,
    piece: &'a Piece,
    block: Block,
    /// The block's first channel in the tensor.
    channel: usize,
    /// The phase.
    row: usize,
    /// [phase of columns][row of block][flat].
    results: &'a [f32],
    line: &'a mut [f32],
}

impl<F: Finish> Kernel for WriteBack<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        let Self {
            job,
            piece,
            block,
            results,
            line,
            ..
        } = self;
        let layout = job.layout;
        let [vertical, horizontal] = &layout.axes;
        let (height, width) = (vertical.target, horizontal.target);
        let phase = &vertical.targets[self.row];
        let rows = phase.range.start.max(piece.rows.start)..phase.range.end.min(piece.rows.end);
        for image in 0..piece.images {
            for channel in 0..block.rows {
                let plane = (piece.image + image) * job.target_channels + self.channel + channel;
                for flat_row in rows.clone() {
                    let from = (image * vertical.period + flat_row - piece.rows.start) * horizontal.period;
                    let results = &results[channel * layout.target_len + from..];
                    let row = phase.origin + (flat_row - phase.range.start) * vertical.targets.len();
                    let place = Place {
                        image: piece.image + image,
                        channel: self.channel + channel,
                        start: (plane * height + row) * width,
                    };
                    // SAFETY: every row of the target belongs to one piece, block and phase.
                    let target = unsafe { job.target.row(place.start, width) };
                    let values = if horizontal.targets.len() == 1 {
                        &results[horizontal.targets[0].range.start..][..width]
                    } else {
                        interleave(layout, results, line);
                        &*line
                    };
                    job.finish.row::<I>(place, values, target);
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
