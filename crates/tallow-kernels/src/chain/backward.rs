//! The way back: chunks of blocks on all threads, each with its own partial sums, which are then added in order.

use std::mem::MaybeUninit;
use std::ops::Range;

use super::forward::{Trace, activate};
use super::packs::Part;
use super::{Chain, Link};
use crate::buffer::{as_place, assume_written, written};
use crate::dispatch::{self, Isa, Kernel, Path};
use crate::error::{Result, area, check_length};
use crate::float::Float;
use crate::kept::Kept;
use crate::linear::Wanted;
use crate::panel::{Start, Strip, TILE, Walk, from_panels, padded, panels, to_panels};
use crate::parallel;
use crate::scratch::with_scratch;

/// Gradients of a chain; those that were not wanted are empty.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChainGradients<T> {
    /// dx, (rows, inputs).
    pub x: Option<Vec<T>>,
    /// dW, (outputs, inputs), and db, (outputs), of each layer.
    pub links: Vec<[Vec<T>; 2]>,
}

impl Chain {
    /// The gradients of a loss with respect to x and the parameters, from its gradient `dy` with respect to the output.
    ///
    /// # Errors
    ///
    /// When the trace is another chain's or `dy` does not have the length of its shape.
    pub fn backward<T: Float>(
        &self,
        trace: &Trace<T>,
        dy: &[T],
        x_wanted: Wanted,
        weights_wanted: Wanted,
    ) -> Result<ChainGradients<T>> {
        let blocks = trace.blocks;
        check_length("dy", dy.len(), area(blocks.rows, self.outputs())?)?;
        check_length("layers of the trace", trace.places.inputs.len(), self.links.len())?;
        let stride: usize = self.links.iter().flat_map(sizes::<T>).sum();
        let (chunk, chunks) = (blocks.per_chunk(), blocks.count().div_ceil(blocks.per_chunk()));
        let stride = if weights_wanted == Wanted::Yes { stride } else { 0 };
        let mut sums = Kept::new::<T>(area(chunks, stride)?);
        let dx_len = if x_wanted == Wanted::Yes {
            area(blocks.rows, self.inputs())?
        } else {
            0
        };
        let fill = |dx: &mut [MaybeUninit<T>]| {
            let mut dxs = dx.chunks_mut(chunk * blocks.block * self.inputs());
            let mut parts = sums
                .numbers_mut::<T>(chunks * stride)
                .chunks_exact_mut(stride.max(1));
            let tasks = (0..chunks)
                .map(|index| (index, dxs.next(), parts.next()))
                .collect();
            parallel::try_for_each(2 * self.cost(blocks.rows), tasks, |(index, dx, sums)| {
                Back { chain: self, trace }.chunk(
                    dy,
                    index * chunk..((index + 1) * chunk).min(blocks.count()),
                    dx,
                    sums,
                )
            })
        };
        // SAFETY: each chunk writes its rows of dx in full, if there are any, or there is an error.
        let dx = unsafe { written(dx_len, fill)? };
        let links = if weights_wanted == Wanted::Yes {
            self.add_up(sums.numbers(chunks * stride), stride)
        } else {
            Vec::new()
        };
        Ok(ChainGradients {
            x: (x_wanted == Wanted::Yes).then_some(dx),
            links,
        })
    }

    /// The partial sums of all chunks, added in order, as gradients in rows.
    fn add_up<T: Float>(&self, sums: &[T], stride: usize) -> Vec<[Vec<T>; 2]> {
        /// Rows of a weight that one task adds up.
        const ROWS: usize = 32;
        let sizes_of = |link: &Link| [link.outputs * link.inputs, link.outputs];
        let mut gradients: Vec<[Vec<T>; 2]> = self
            .links
            .iter()
            .map(|link| sizes_of(link).map(Vec::with_capacity))
            .collect();
        let (mut tasks, mut offset) = (Vec::new(), 0);
        for (link, [weight, bias]) in self.links.iter().zip(&mut gradients) {
            let rows =
                weight.spare_capacity_mut()[..link.outputs * link.inputs].chunks_mut(ROWS * link.inputs);
            let biases = bias.spare_capacity_mut()[..link.outputs].chunks_mut(ROWS);
            let pieces = rows.zip(biases).enumerate();
            tasks.extend(pieces.map(|(piece, (weight, bias))| (link, offset, piece * ROWS, weight, bias)));
            offset += sizes::<T>(link).iter().sum::<usize>();
        }
        parallel::for_each(4 * sums.len(), tasks, |(link, offset, first, weight, bias)| {
            let [size, _] = sizes::<T>(link);
            let height = size / padded::<T>(link.inputs);
            let partial = |at: usize, len: usize| {
                sums.chunks_exact(stride.max(1))
                    .map(move |sums| &sums[offset + at..][..len])
            };
            for (row, out) in weight.chunks_exact_mut(link.inputs).enumerate() {
                for (panel, out) in out.chunks_mut(T::PANEL).enumerate() {
                    total(partial((panel * height + first + row) * T::PANEL, out.len()), out);
                }
            }
            total(partial(size + first, bias.len()), bias);
        });
        for (link, [weight, bias]) in self.links.iter().zip(&mut gradients) {
            // SAFETY: the capacity is at least that, and the tasks above have written every value.
            unsafe {
                weight.set_len(link.outputs * link.inputs);
                bias.set_len(link.outputs);
            }
        }
        gradients
    }
}

/// The length of a layer's partial sums: dW in panels of inputs, whole tiles of outputs high, and db.
fn sizes<T: Float>(link: &Link) -> [usize; 2] {
    [
        link.outputs.next_multiple_of(TILE) * padded::<T>(link.inputs),
        padded::<T>(link.outputs),
    ]
}

/// Adds up slices of the length of `out`, in order.
fn total<'a, T: Float>(mut partials: impl Iterator<Item = &'a [T]>, out: &mut [MaybeUninit<T>]) {
    match partials.next() {
        Some(first) => {
            for (out, &value) in out.iter_mut().zip(first) {
                out.write(value);
            }
        }
        // No rows, no chunks.
        None => out.fill(MaybeUninit::new(T::default())),
    }
    // SAFETY: every value has just been written; a partial sum is as long as `out`.
    let out = unsafe { assume_written(out) };
    for partial in partials {
        for (out, &value) in out.iter_mut().zip(partial) {
            *out = *out + value;
        }
    }
}

struct Back<'a, T> {
    chain: &'a Chain,
    trace: &'a Trace<T>,
}

impl<T: Float> Back<'_, T> {
    /// The blocks of one chunk, one after the other.
    fn chunk(
        &self,
        dy: &[T],
        blocks: Range<usize>,
        mut dx: Option<&mut [MaybeUninit<T>]>,
        mut sums: Option<&mut [T]>,
    ) -> Result<()> {
        let (chain, layout) = (self.chain, self.trace.blocks);
        let widths = chain.links.iter().flat_map(|link| [link.inputs, link.outputs]);
        let widest = widths.map(|columns| layout.room::<T>(columns)).max().unwrap_or(0);
        let first = blocks.start;
        with_scratch([widest; 4], |[dz, other, values, slopes]| {
            let mut room = Room {
                dz,
                other,
                values,
                slopes,
            };
            for block in blocks {
                let (start, rows) = layout.rows_of(block);
                let outputs = chain.outputs();
                let dy = &dy[start * outputs..][..rows * outputs];
                let sums = sums.as_mut().map(|sums| (&mut **sums, block == first));
                self.block(block, dy, dx.is_some(), sums, &mut room)?;
                if let Some(dx) = &mut dx {
                    let inputs = chain.inputs();
                    let (mine, rest) = std::mem::take(dx).split_at_mut(rows * inputs);
                    *dx = rest;
                    from_panels(&room.dz[..layout.room::<T>(inputs)], inputs, layout.height, mine);
                }
            }
            Ok(())
        })
    }

    /// One block, last layer to first; leaves dx in `room.dz` where it is wanted. `sums` come with whether this block is the
    /// first to be added to them.
    fn block(
        &self,
        block: usize,
        dy: &[T],
        dx_wanted: bool,
        mut sums: Option<(&mut [T], bool)>,
        room: &mut Room<'_, T>,
    ) -> Result<()> {
        let (chain, layout, places) = (self.chain, self.trace.blocks, &self.trace.places);
        let (trace, outputs) = (self.trace.block(block), chain.outputs());
        let top = layout.room::<T>(outputs);
        to_panels(dy, outputs, layout.height, as_place(&mut room.dz[..top]));
        let live = (dy.len() / outputs).next_multiple_of(TILE);
        let last = chain.links.len() - 1;
        if places.last < trace.len() {
            self.remake(last, &trace[places.last..], live, room);
            multiply(&mut room.dz[..top], &room.slopes[..top]);
        }
        let mut end = sums.as_ref().map_or(0, |(sums, _)| sums.len());
        for index in (0..=last).rev() {
            let place = &trace[places.inputs[index]..];
            match index.checked_sub(1) {
                Some(before) => self.remake(before, place, live, room),
                None => room.values[..layout.room::<T>(chain.inputs())]
                    .copy_from_slice(&place[..layout.room::<T>(chain.inputs())]),
            }
            if let Some((sums, fresh)) = &mut sums {
                let begin = end - sizes::<T>(&chain.links[index]).iter().sum::<usize>();
                self.weights(index, room, live, *fresh, &mut sums[begin..end])?;
                end = begin;
            }
            if index > 0 || dx_wanted {
                self.inputs(index, room, live)?;
            }
        }
        Ok(())
    }

    /// Output and slope of a layer, made again from its z.
    fn remake(&self, index: usize, z: &[T], live: usize, room: &mut Room<'_, T>) {
        let (link, stride) = (&self.chain.links[index], self.trace.blocks.height * T::PANEL);
        let outs = room
            .values
            .chunks_exact_mut(stride)
            .zip(room.slopes.chunks_exact_mut(stride));
        for (z, (values, slopes)) in z.chunks_exact(stride).zip(outs).take(panels::<T>(link.outputs)) {
            let values = &mut values[..live * T::PANEL];
            values.copy_from_slice(&z[..live * T::PANEL]);
            activate(link.activation, values, Some(&mut slopes[..live * T::PANEL]));
        }
    }

    /// dW and db of a layer, from the first `live` rows of a block.
    fn weights(
        &self,
        index: usize,
        room: &Room<'_, T>,
        live: usize,
        fresh: bool,
        sums: &mut [T],
    ) -> Result<()> {
        let (link, layout) = (&self.chain.links[index], self.trace.blocks);
        let (weight, bias) = sums.split_at_mut(sizes::<T>(link)[0]);
        let (walk, stride) = (Walk::columns::<T>(layout.height, live), layout.height * T::PANEL);
        let start = if fresh { Start::Zero } else { Start::Stored };
        let height = link.outputs.next_multiple_of(TILE);
        for (sums, input) in weight
            .chunks_exact_mut(height * T::PANEL)
            .zip(room.values.chunks_exact(stride))
        {
            let right = &input[..live * T::PANEL];
            // SAFETY: the sums are initialised.
            let strip = unsafe { Strip::new(room.dz, walk, right, start, as_place(sums))? };
            dispatch::run(Path::best(), strip);
        }
        if fresh {
            bias.fill(T::default());
        }
        for (sums, dz) in bias.chunks_exact_mut(T::PANEL).zip(room.dz.chunks_exact(stride)) {
            let values = &dz[..live * T::PANEL];
            dispatch::run(Path::best(), RowSum { values, sums });
        }
        Ok(())
    }

    /// dh of a layer's input, times the slope before it: what dz is for the layer before.
    fn inputs(&self, index: usize, room: &mut Room<'_, T>, live: usize) -> Result<()> {
        let (link, layout) = (&self.chain.links[index], self.trace.blocks);
        let (walk, stride) = (
            Walk::rows::<T>(layout.height, link.outputs),
            layout.height * T::PANEL,
        );
        for panel in 0..panels::<T>(link.inputs) {
            let right = self.trace.packs.panel(link, index, Part::Backward, panel);
            let target = &mut room.other[panel * stride..][..live * T::PANEL];
            // SAFETY: nothing stored is asked for.
            let strip = unsafe { Strip::new(room.dz, walk, right, Start::Zero, as_place(target))? };
            dispatch::run(Path::best(), strip);
            if index > 0 {
                multiply(target, &room.slopes[panel * stride..][..live * T::PANEL]);
            }
        }
        std::mem::swap(&mut room.dz, &mut room.other);
        Ok(())
    }
}

/// Working memory of a chunk, in panels: two gradients in turn, and the output and slope of the layer before.
struct Room<'a, T> {
    dz: &'a mut [T],
    other: &'a mut [T],
    values: &'a mut [T],
    slopes: &'a mut [T],
}

fn multiply<T: Float>(values: &mut [T], factors: &[T]) {
    dispatch::run(Path::best(), Multiply { values, factors });
}

struct Multiply<'a, T> {
    values: &'a mut [T],
    factors: &'a [T],
}

impl<T: Float> Kernel for Multiply<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        for (value, &factor) in self.values.iter_mut().zip(self.factors) {
            *value = *value * factor;
        }
    }
}

/// Adds the rows of a panel, one after the other.
struct RowSum<'a, T> {
    values: &'a [T],
    sums: &'a mut [T],
}

impl<T: Float> Kernel for RowSum<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        for row in self.values.chunks_exact(T::PANEL) {
            for (sum, &value) in self.sums.iter_mut().zip(row) {
                *sum = *sum + value;
            }
        }
    }
}
