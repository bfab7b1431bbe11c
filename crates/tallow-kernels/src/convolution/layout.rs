//! Images laid out flat, so that every value of the kernel is one constant offset.
//!
//! A task copies its images into working memory, [channel][phase][flat]: rows follow each other with a fixed step, and
//! the zeros to the right of a row are those to the left of the next one; the zeros below an image are those above the
//! next. The value of y at a flat position p is then Σ w[tap] x[p + offset of the tap], with no border left to check.
//! With a stride s, memory holds s images for each axis (the phases: values s apart), and a tap is still one offset.
//!
//! The gradient of x has the same form with dy as the source and the kernel turned: a target of s phases, each of which
//! sees only the taps that hit it.

use std::ops::Range;

use super::shape::Shape;
use super::winograd::{self, STREAMS, TILE};

/// One axis of the images in memory and of what is computed from them.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    /// Values of the source.
    pub(super) source: usize,
    /// Zeros in front of the source: position r of phase f holds source value r · step + f − lead.
    pub(super) lead: usize,
    /// The number of phases.
    pub(super) step: usize,
    /// The phases that some tap reads, in the order of their slots in memory.
    pub(super) phases: Vec<usize>,
    /// Positions from a row (or an image) to the next.
    pub(super) period: usize,
    /// The largest shift of a tap.
    pub(super) reach: usize,
    /// Values of the target.
    pub(super) target: usize,
    /// The phases of the target.
    pub(super) targets: Vec<Phase>,
}

/// The part of the target along one axis that sees the same taps.
#[derive(Clone, Debug)]
pub(super) struct Phase {
    /// Flat positions of the target.
    pub(super) range: Range<usize>,
    /// Where the first of them is in the target.
    pub(super) origin: usize,
    pub(super) taps: Vec<Tap>,
}

/// One value of the kernel along one axis.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tap {
    /// Its place in the kernel.
    pub(super) kernel: usize,
    /// The slot of the phase that it reads.
    pub(super) slot: usize,
    /// How far from the target's position it reads there.
    pub(super) shift: usize,
}

impl Axis {
    /// The axis of a forward pass: source x, target y.
    pub(super) fn forward(shape: &Shape, axis: usize) -> Self {
        let sizes = &shape.sizes;
        let (step, lead, target) = (sizes.stride[axis], sizes.padding[axis], shape.output[axis]);
        let source = [sizes.height, sizes.width][axis];
        let places = (0..sizes.kernel[axis]).map(|kernel| kernel * sizes.dilation[axis]);
        let mut phases: Vec<usize> = places.clone().map(|place| place % step).collect();
        phases.sort_unstable();
        phases.dedup();
        let taps: Vec<Tap> = places
            .enumerate()
            .map(|(kernel, place)| Tap {
                kernel,
                slot: phases.partition_point(|&phase| phase < place % step),
                shift: place / step,
            })
            .collect();
        let mut period = target;
        for (slot, phase) in phases.iter().enumerate() {
            let shifts = taps.iter().filter(|tap| tap.slot == slot).map(|tap| tap.shift);
            let read = target + shifts.max().unwrap_or(0);
            let zeros = lead.saturating_sub(*phase).div_ceil(step);
            let filled = (lead + source).saturating_sub(*phase).div_ceil(step);
            // What is read beyond the period must be zeros in front of the next row.
            period = period.max(filled.min(read)).max(read.saturating_sub(zeros));
        }
        Self {
            source,
            lead,
            step,
            phases,
            period,
            reach: taps.iter().map(|tap| tap.shift).max().unwrap_or(0),
            target,
            targets: vec![Phase {
                range: 0..target,
                origin: 0,
                taps,
            }],
        }
    }

    /// The axis of the gradient of x: source dy, target dx.
    pub(super) fn backward(shape: &Shape, axis: usize) -> Self {
        let sizes = &shape.sizes;
        let (step, padding, source) = (sizes.stride[axis], sizes.padding[axis], shape.output[axis]);
        let target = [sizes.height, sizes.width][axis];
        let reach = (sizes.kernel[axis] - 1) * sizes.dilation[axis] / step;
        // Positions count from the first that is in the target for some phase.
        let skipped = padding / step;
        let targets: Vec<Phase> = (0..step)
            .map(|phase| {
                let start = padding.saturating_sub(phase).div_ceil(step);
                let end = (padding + target).saturating_sub(phase).div_ceil(step);
                let start = start.min(end);
                Phase {
                    range: start.saturating_sub(skipped)..end.saturating_sub(skipped),
                    origin: (start * step + phase).saturating_sub(padding),
                    taps: (0..sizes.kernel[axis])
                        .map(|kernel| (kernel, kernel * sizes.dilation[axis]))
                        .filter(|(_, place)| place % step == phase)
                        .map(|(kernel, place)| Tap {
                            kernel,
                            slot: 0,
                            shift: reach - place / step,
                        })
                        .collect(),
                }
            })
            .collect();
        let end = targets.iter().map(|phase| phase.range.end).max().unwrap_or(0);
        let lead = reach - skipped;
        Self {
            source,
            lead,
            step: 1,
            phases: vec![0],
            // What is read beyond the period must be zeros in front of the next row.
            period: (source + lead).max(end + skipped),
            reach,
            target,
            targets,
        }
    }

    /// The axis with rows that begin at multiples of `tile`.
    fn tiled(mut self, tile: usize) -> Self {
        self.period = self.period.next_multiple_of(tile);
        self
    }

    /// Flat positions of the target, over all of its phases.
    fn extent(&self) -> usize {
        self.targets
            .iter()
            .map(|phase| phase.range.end)
            .max()
            .unwrap_or(0)
    }
}

/// What one task works on: whole images, or a band of rows of one image.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    pub(super) image: usize,
    pub(super) images: usize,
    /// Rows of flat positions.
    pub(super) rows: Range<usize>,
}

/// What the memory of a task holds, and what the inner loop multiplies it by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Flat images, by the taps as they are.
    Taps,
    /// The streams of Winograd's tiles, by their six weights of every three neighbouring taps.
    Streams,
}

/// The memory of one task, and the pieces that a batch is cut into.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    /// Vertical, horizontal.
    pub(super) axes: [Axis; 2],
    /// Values of one phase of one channel.
    pub(super) phase_len: usize,
    /// Values of one channel of the source.
    pub(super) channel_len: usize,
    /// Values of one channel of the target.
    pub(super) target_len: usize,
    pub(super) pieces: Vec<Piece>,
}

/// Values that a tile may read or write beyond the last position: less than one vector.
const OVERRUN: usize = 16;

impl Layout {
    /// The layout for a batch of images with `channels` channels of the source at a time, for so many of the target.
    pub(super) fn chosen(axes: [Axis; 2], batch: usize, channels: usize, targets: usize) -> (Form, Self) {
        if !winograd::pays(&axes, channels, targets) {
            return (Form::Taps, Self::of_taps(axes, batch, channels));
        }
        let [vertical, horizontal] = axes;
        let axes = [vertical, horizontal.tiled(TILE)];
        (Form::Streams, Self::of_streams(axes, batch, channels))
    }

    /// The layout of flat images.
    fn of_taps(axes: [Axis; 2], batch: usize, channels: usize) -> Self {
        let (extent, step) = (axes[0].extent(), axes[1].period);
        // About a quarter of a second-level cache, and enough positions to fill the tiles.
        let wanted = ((1 << 17) / channels.max(1)).clamp(192, 960);
        let bands = if extent * step > 2 * wanted {
            (extent * step).div_ceil(wanted)
        } else {
            1
        };
        let rows = extent.div_ceil(bands).max(1);
        // At least four tasks, if there are as many images.
        let images = if bands > 1 {
            1
        } else {
            (wanted / (axes[0].period * step)).min(batch.div_ceil(4)).max(1)
        };
        let pieces = (0..batch)
            .step_by(images)
            .flat_map(|image| {
                (0..extent).step_by(rows).map(move |row| Piece {
                    image,
                    images: images.min(batch - image),
                    rows: row..extent.min(row + rows),
                })
            })
            .collect();
        let target_rows = (images - 1) * axes[0].period + rows;
        let phase_len = (target_rows + axes[0].reach) * step + axes[1].reach + OVERRUN;
        // An odd number of cache lines, lest channels compete for the same sets of the cache.
        let phase_len = (phase_len.div_ceil(16) | 1) * 16;
        let phases = axes[0].phases.len() * axes[1].phases.len();
        let channel_len = ((phases * phase_len / 16) | 1) * 16;
        Self {
            phase_len,
            channel_len,
            target_len: (target_rows * step + OVERRUN).next_multiple_of(16),
            axes,
            pieces,
        }
    }

    /// The layout of images whose memory is the streams of Winograd's tiles: a channel has [`STREAMS`] of `phase_len`
    /// tiles each, and is copied to [`Layout::flat_len`] values first. The horizontal axis must be tiled.
    fn of_streams(axes: [Axis; 2], batch: usize, channels: usize) -> Self {
        let mut layout = Self::of_taps(axes, batch, channels * STREAMS / TILE);
        let [vertical, horizontal] = &layout.axes;
        let row = horizontal.period / TILE;
        let rows = |piece: &Piece| (piece.images - 1) * vertical.period + piece.rows.len();
        let rows = layout.pieces.iter().map(rows).max().unwrap_or(0);
        let tiles = (rows * row).next_multiple_of(16);
        let tiles_read = vertical.reach * row + tiles;
        layout.phase_len = (tiles_read.div_ceil(16) | 1) * 16;
        layout.channel_len = STREAMS * layout.phase_len;
        layout.target_len = TILE * tiles;
        layout
    }

    /// Flat values of a channel from which its streams are made.
    pub(super) fn flat_len(&self) -> usize {
        TILE * self.phase_len + TILE * 16
    }

    /// The offsets that the inner loop reads at, from those of all taps in ascending order: with tiles one for each row of the
    /// kernel, counted in tiles.
    pub(super) fn read(form: Form, offsets: Vec<usize>) -> Vec<usize> {
        match form {
            Form::Taps => offsets,
            Form::Streams => offsets
                .into_iter()
                .step_by(3)
                .map(|offset| offset / TILE)
                .collect(),
        }
    }

    /// Offsets in memory of the taps of one phase of the target, each with its place in the kernel of width `width`.
    pub(super) fn taps(&self, rows: &Phase, columns: &Phase, width: usize) -> Vec<(usize, usize)> {
        let slots = self.axes[1].phases.len();
        let step = self.axes[1].period;
        let pair = |row: &Tap, column: &Tap| {
            let slot = row.slot * slots + column.slot;
            (
                slot * self.phase_len + row.shift * step + column.shift,
                row.kernel * width + column.kernel,
            )
        };
        rows.taps
            .iter()
            .flat_map(|row| columns.taps.iter().map(move |column| pair(row, column)))
            .collect()
    }
}
