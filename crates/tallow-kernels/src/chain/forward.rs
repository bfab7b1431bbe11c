//! The way forward: blocks of rows on all threads.

use std::marker::PhantomData;
use std::mem::MaybeUninit;

use super::blocks::{Blocks, Places};
use super::packs::{Packs, Part};
use super::{Chain, LinkParameters};
use crate::activation::{Activation, Epilogue};
use crate::buffer::{as_place, written};
use crate::dispatch::{self, Path};
use crate::error::{Result, area};
use crate::float::Float;
use crate::kept::Kept;
use crate::linear::Wanted;
use crate::panel::{Start, Strip, TILE, Walk, from_panels, panels, to_panels};
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
        &self.buffer.numbers::<T>(self.blocks.count() * len)[index * len..][..len]
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
        let places = Places::new::<T>(self, blocks);
        let len = if keep == Wanted::Yes { places.len } else { 0 };
        let mut buffer = Kept::new::<T>(area(blocks.count(), len)?);
        let pass = Pass {
            chain: self,
            packs: &packs,
            blocks,
            places: &places,
        };
        let fill = |y: &mut [MaybeUninit<T>]| {
            let mut traces = buffer
                .numbers_mut::<T>(blocks.count() * len)
                .chunks_exact_mut(len.max(1));
            let ys = y.chunks_mut(blocks.block * self.outputs());
            let xs = x.chunks(blocks.block * self.inputs());
            let tasks = xs.zip(ys).map(|(x, y)| (x, y, traces.next())).collect();
            parallel::try_for_each(self.cost(rows), tasks, |(x, y, trace)| {
                pass.block(x, y, trace.unwrap_or(&mut []))
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
    blocks: Blocks,
    places: &'a Places,
}

impl Pass<'_> {
    /// One block through all layers; writes its trace in full, unless that is empty.
    fn block<T: Float>(&self, x: &[T], y: &mut [MaybeUninit<T>], trace: &mut [T]) -> Result<()> {
        let (chain, height) = (self.chain, self.blocks.height);
        let widths = chain.links.iter().flat_map(|link| [link.inputs, link.outputs]);
        let widest = widths
            .map(|columns| self.blocks.room::<T>(columns))
            .max()
            .unwrap_or(0);
        let first = self.blocks.room::<T>(chain.inputs());
        with_scratch([widest; 2], |[mut input, mut output]| {
            to_panels(x, chain.inputs(), height, as_place(&mut input[..first]));
            if let Some(place) = trace.get_mut(..first) {
                place.copy_from_slice(&input[..first]);
            }
            let live = (x.len() / chain.inputs()).next_multiple_of(TILE);
            for index in 0..chain.links.len() {
                let place = self
                    .places
                    .inputs
                    .get(index + 1)
                    .copied()
                    .unwrap_or(self.places.last);
                let z = trace.get_mut(place..).unwrap_or(&mut []);
                self.layer(index, input, output, z, live)?;
                (input, output) = (output, input);
            }
            let last = self.blocks.room::<T>(chain.outputs());
            from_panels(&input[..last], chain.outputs(), height, y);
            Ok(())
        })
    }

    /// One layer on the first `live` rows of a block, panel by panel: the product into `z`, unless that is empty, and the
    /// activation while the panel is in the first-level cache.
    fn layer<T: Float>(
        &self,
        index: usize,
        input: &[T],
        output: &mut [T],
        z: &mut [T],
        live: usize,
    ) -> Result<()> {
        let (link, stride) = (&self.chain.links[index], self.blocks.height * T::PANEL);
        let walk = Walk::rows::<T>(self.blocks.height, link.inputs);
        let mut zs = z.chunks_exact_mut(stride);
        for (panel, output) in output
            .chunks_exact_mut(stride)
            .enumerate()
            .take(panels::<T>(link.outputs))
        {
            let output = &mut output[..live * T::PANEL];
            let right = self.packs.panel(link, index, Part::Forward, panel);
            let start = Start::Row(self.packs.panel(link, index, Part::Bias, panel));
            // SAFETY: nothing stored is asked for.
            let strip = unsafe { Strip::new(input, walk, right, start, as_place(output))? };
            dispatch::run(Path::best(), strip);
            if let Some(z) = zs.next() {
                z[..output.len()].copy_from_slice(output);
            }
            if link.activation != Activation::Identity {
                activate(link.activation, output, None);
            }
        }
        Ok(())
    }
}

/// The activation of values in place, and its slope.
pub(super) fn activate<T: Float>(activation: Activation, values: &mut [T], slope: Option<&mut [T]>) {
    let epilogue = Epilogue {
        activation,
        bias: None,
        columns: values.len(),
        values,
        slope: slope.map(as_place),
    };
    dispatch::run(Path::best(), epilogue);
}
