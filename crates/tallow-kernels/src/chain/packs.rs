//! The weights of a chain as its products read them, in panels, with zeros around them.
//!
//! ```text
//! forward    [panel of outputs][input][lane]: Wᵀ          bias [panel of outputs][lane]
//! backward   [panel of inputs][output][lane]: W
//! ```

use std::mem::MaybeUninit;

use super::{Chain, Link, LinkParameters};
use crate::buffer::as_place;
use crate::float::Float;
use crate::kept::Kept;
use crate::linear::Wanted;
use crate::panel::{depth, panels, to_panel};
use crate::parallel;

/// The packed weights of all layers.
#[derive(Debug)]
pub(super) struct Packs {
    buffer: Kept,
    len: usize,
    /// Where each layer's parts begin, in the order of [`PARTS`].
    places: Vec<[usize; 3]>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Part {
    Forward,
    Bias,
    Backward,
}

const PARTS: [Part; 3] = [Part::Forward, Part::Bias, Part::Backward];

impl Part {
    /// How many panels a layer has of it, and the length of each.
    fn size<T: Float>(self, link: &Link) -> (usize, usize) {
        match self {
            Self::Forward => (panels::<T>(link.outputs), depth::<T>(link.inputs) * T::PANEL),
            Self::Bias => (panels::<T>(link.outputs), T::PANEL),
            Self::Backward => (panels::<T>(link.inputs), depth::<T>(link.outputs) * T::PANEL),
        }
    }

    /// Writes one panel in full.
    fn pack<T: Float>(
        self,
        link: &Link,
        parameters: &LinkParameters<'_, T>,
        panel: usize,
        out: &mut [MaybeUninit<T>],
    ) {
        match self {
            Self::Forward => turned_panel(parameters.weight, link.inputs, panel, out),
            Self::Bias => to_panel(parameters.bias, link.outputs, panel, out),
            Self::Backward => to_panel(parameters.weight, link.inputs, panel, out),
        }
    }
}

impl Packs {
    /// Packs on all threads, panel by panel; the backward part where it is wanted.
    pub(super) fn new<T: Float>(
        chain: &Chain,
        parameters: &[LinkParameters<'_, T>],
        backward: Wanted,
    ) -> Self {
        let parts = if backward == Wanted::Yes {
            &PARTS[..]
        } else {
            &PARTS[..2]
        };
        let (mut places, mut len) = (Vec::new(), 0);
        for link in &chain.links {
            let mut place = [0; 3];
            for (place, part) in place.iter_mut().zip(parts) {
                let (count, size) = part.size::<T>(link);
                *place = len;
                len += count * size;
            }
            places.push(place);
        }
        let mut buffer = Kept::new::<T>(len);
        let mut rest = as_place(buffer.numbers_mut::<T>(len));
        let mut tasks = Vec::new();
        for (link, parameters) in chain.links.iter().zip(parameters) {
            for part in parts {
                let (count, size) = part.size::<T>(link);
                let (mine, left) = rest.split_at_mut(count * size);
                rest = left;
                let panels = mine.chunks_exact_mut(size).enumerate();
                tasks.extend(panels.map(|(panel, out)| (link, parameters, part, panel, out)));
            }
        }
        parallel::for_each(8 * len, tasks, |(link, parameters, part, panel, out)| {
            part.pack(link, parameters, panel, out);
        });
        Self { buffer, len, places }
    }

    /// One panel of a part of a layer; the part must have been packed, with this type.
    pub(super) fn panel<T: Float>(&self, link: &Link, index: usize, part: Part, panel: usize) -> &[T] {
        let (_, size) = part.size::<T>(link);
        &self.buffer.numbers::<T>(self.len)[self.places[index][part as usize] + panel * size..][..size]
    }
}

/// Rows `panel * PANEL` on of `weight`, (rows, columns), as columns of a panel.
fn turned_panel<T: Float>(weight: &[T], columns: usize, panel: usize, out: &mut [MaybeUninit<T>]) {
    const SIDE: usize = 16;
    let rows = &weight[panel * T::PANEL * columns..];
    let width = T::PANEL.min(rows.len() / columns);
    let (filled, padding) = out.split_at_mut(columns * T::PANEL);
    padding.fill(MaybeUninit::new(T::default()));
    // By squares, whose turn happens in the first-level cache.
    for (square, out) in filled.chunks_mut(SIDE * T::PANEL).enumerate() {
        let height = out.len() / T::PANEL;
        for first in (0..T::PANEL).step_by(SIDE) {
            let mut turned = [[T::default(); SIDE]; SIDE];
            for lane in first..width.min(first + SIDE) {
                let source = &rows[lane * columns + square * SIDE..][..height];
                for (turned, &value) in turned.iter_mut().zip(source) {
                    turned[lane - first] = value;
                }
            }
            for (out, turned) in out.chunks_exact_mut(T::PANEL).zip(&turned) {
                for (out, &value) in out[first..][..SIDE].iter_mut().zip(turned) {
                    out.write(value);
                }
            }
        }
    }
}
