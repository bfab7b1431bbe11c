//! The way forward: blocks of rows on all threads.

use std::marker::PhantomData;
use std::mem::MaybeUninit;

use super::blocks::{Blocks, Places};
use super::packs::{Packs, Part};
use super::{Chain, LinkParameters};
use crate::activation::{Activation, Epilogue};
use crate::buffer::{as_place, assume_written, written};
use crate::dispatch::{self, Path};
use crate::error::{Result, area};
use crate::float::Float;
use crate::kept::Kept;
use crate::linear::Wanted;
use crate::panel::{Start, Strip, TILE, Walk, from_panels, padded, panels, to_panels};
use crate::parallel;
use crate::scratch::with_scratch;

/// What a forward pass leaves for its backward pass.
#[derive(Debug)]
pub struct Trace<T> {
    pub(super) blocks: Blocks,
    pub(super) places: Places,
    pub(super) packs: Packs,
    buffer: Kept,
    kind: PhantomData<T>,
}

impl<T: Float> Trace<T> {
    /// The part of a block.
    pub(super) fn block(&self, index: usize) -> &[T] {
        let len = self.places.len;
        // SAFETY: the forward pass has written every block, or there was no trace.
        let all = unsafe { self.buffer.numbers::<T>(self.blocks.count() * len) };
        &all[index * len..][..len]
    }
}

impl Chain {
    /// The output, (rows, outputs), of `x`, (rows, inputs), and, where it is kept, what the way back needs.
    ///
    /// # Errors
    ///
    /// When a slice does not have the length of its shape.
    pub fn forward<T: Float>(
        &self,
        x: &[T],
        rows: usize,
        parameters: &[LinkParameters<'_, T>],
        keep: Wanted,
    ) -> Result<(Vec<T>, Option<Trace<T>>)> {
        self.check(x, rows, parameters)?;
        let (blocks, packs) = (Blocks::new(rows), Packs::new(self, parameters, keep));
        let places = Places::new::<T>(self, blocks.block);
        let len = if keep == Wanted::Yes { places.len } else { 0 };
        let mut buffer = Kept::new::<T>(area(blocks.count(), len)?);
        let pass = Pass {
            chain: self,
            packs: &packs,
            block: blocks.block,
            places: &places,
        };
        let fill = |y: &mut [MaybeUninit<T>]| {
            let mut traces = buffer
                .room::<T>(blocks.count() * len)
                .chunks_exact_mut(len.max(1));
            let ys = y.chunks_mut(blocks.block * self.outputs());
            let xs = x.chunks(blocks.block * self.inputs());
            let tasks = xs.zip(ys).map(|(x, y)| (x, y, traces.next())).collect();
            parallel::try_for_each(self.cost(rows), tasks, |(x, y, trace)| match trace {
                Some(trace) => pass.traced(x, y, trace),
                None => pass.plain(x, y),
            })
        };
        // SAFETY: each block writes its rows of y in full, or there is an error.
        let y = unsafe { written(area(rows, self.outputs())?, fill)? };
        let trace = Trace {
            blocks,
            places,
            packs,
            buffer,
            kind: PhantomData,
        };
        Ok((y, (keep == Wanted::Yes).then_some(trace)))
    }
}

struct Pass<'a> {
    chain: &'a Chain,
    packs: &'a Packs,
    block: usize,
    places: &'a Places,
}

impl Pass<'_> {
    /// A block whose layers write their inputs and slopes into its trace.
    fn traced<T: Float>(
        &self,
        x: &[T],
        y: &mut [MaybeUninit<T>],
        trace: &mut [MaybeUninit<T>],
    ) -> Result<()> {
        let last = self.chain.links.len() - 1;
        let inputs = self.places.slopes.first().map_or(0, |slope| slope.start);
        let (inputs, mut slopes) = trace.split_at_mut(inputs);
        let size = |index: usize| self.block * padded::<T>(self.chain.links[index].inputs);
        let (input, mut rest) = inputs.split_at_mut(size(0));
        to_panels(x, self.chain.inputs(), self.block, input);
        // SAFETY: written by the line above.
        let mut input = unsafe { assume_written(input) };
        for index in 0..=last {
            let (slope, left) = std::mem::take(&mut slopes).split_at_mut(self.places.slopes[index].len());
            slopes = left;
            if index == last {
                return self.last(input, slope, y, x.len() / self.chain.inputs());
            }
            let (output, left) = std::mem::take(&mut rest).split_at_mut(size(index + 1));
            rest = left;
            self.layer(index, input, output, slope, self.block)?;
            // SAFETY: the layer has written all of it.
            input = unsafe { assume_written(output) };
        }
        Ok(())
    }

    /// A block that leaves nothing but its output.
    fn plain<T: Float>(&self, x: &[T], y: &mut [MaybeUninit<T>]) -> Result<()> {
        let (chain, last) = (self.chain, self.chain.links.len() - 1);
        let widest = chain
            .links
            .iter()
            .map(|link| padded::<T>(link.inputs))
            .max()
            .unwrap_or(0);
        let rows = x.len() / chain.inputs();
        let live = rows.next_multiple_of(TILE);
        with_scratch([self.block * widest; 2], |[mut input, mut output]| {
            let first = self.block * padded::<T>(chain.inputs());
            to_panels(x, chain.inputs(), self.block, as_place(&mut input[..first]));
            for index in 0..last {
                self.layer(index, input, as_place(output), &mut [], live)?;
                (input, output) = (output, input);
            }
            self.last(input, &mut [], y, rows)
        })
    }

    /// The last layer, from panels to rows.
    fn last<T: Float>(
        &self,
        input: &[T],
        slope: &mut [MaybeUninit<T>],
        y: &mut [MaybeUninit<T>],
        rows: usize,
    ) -> Result<()> {
        let index = self.chain.links.len() - 1;
        let outputs = self.chain.outputs();
        let live = rows.next_multiple_of(TILE);
        let live = if slope.is_empty() { live } else { self.block };
        with_scratch([self.block * padded::<T>(outputs)], |[output]| {
            self.layer(index, input, as_place(output), slope, live)?;
            from_panels(output, outputs, self.block, y);
            Ok(())
        })
    }

    /// One layer on the first `live` rows of a block, panel by panel: product, and the activation while the panel is in the
    /// first-level cache.
    fn layer<T: Float>(
        &self,
        index: usize,
        input: &[T],
        output: &mut [MaybeUninit<T>],
        slope: &mut [MaybeUninit<T>],
        live: usize,
    ) -> Result<()> {
        let link = &self.chain.links[index];
        let walk = Walk::rows::<T>(self.block, link.inputs);
        let mut slopes = slope.chunks_exact_mut(self.block * T::PANEL);
        for (panel, output) in output
            .chunks_exact_mut(self.block * T::PANEL)
            .enumerate()
            .take(panels::<T>(link.outputs))
        {
            let output = &mut output[..live * T::PANEL];
            let right = self.packs.panel(link, index, Part::Forward, panel);
            let start = Start::Row(self.packs.panel(link, index, Part::Bias, panel));
            // SAFETY: nothing stored is asked for.
            dispatch::run(Path::best(), unsafe {
                Strip::new(input, walk, right, start, output)?
            });
            let slope = slopes.next().map(|slope| &mut slope[..live * T::PANEL]);
            if link.activation == Activation::Identity {
                continue;
            }
            // SAFETY: the strip has written all of it.
            let values = unsafe { assume_written(output) };
            let epilogue = Epilogue {
                activation: link.activation,
                bias: None,
                columns: values.len(),
                values,
                slope,
            };
            dispatch::run(Path::best(), epilogue);
        }
        Ok(())
    }
}
