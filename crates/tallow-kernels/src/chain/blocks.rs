//! How the rows of a batch are cut, and where a block keeps what its way back needs. All of it depends on the shape alone.

use super::Chain;
use crate::activation::Activation;
use crate::float::Float;
use crate::panel::{TILE, padded};

/// Blocks of rows, each of which goes through the whole chain at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Blocks {
    pub(super) rows: usize,
    /// Rows of a block, whole tiles; the last block may have fewer rows, and keeps the room of a whole one.
    pub(super) block: usize,
    /// Rows from one panel to the next: a tile more than a block, so that the same rows of all panels do not meet in the
    /// same lines of the first-level cache.
    pub(super) height: usize,
}

impl Blocks {
    /// At least four blocks where the batch allows, of at most 128 rows: what a second-level cache holds.
    pub(super) fn new(rows: usize) -> Self {
        let block = rows.div_ceil(4).next_multiple_of(TILE).clamp(32, 128);
        let height = block + TILE;
        Self { rows, block, height }
    }

    pub(super) fn count(&self) -> usize {
        self.rows.div_ceil(self.block)
    }

    /// The first row of a block, and how many it has.
    pub(super) fn rows_of(&self, index: usize) -> (usize, usize) {
        let start = index * self.block;
        (start, self.block.min(self.rows - start))
    }

    /// Blocks whose gradients are summed into one partial sum: at most four partial sums, of 128 to 1024 rows.
    pub(super) fn per_chunk(&self) -> usize {
        let (least, most) = (128 / self.block, 1024 / self.block);
        self.count().div_ceil(4).clamp(least, most)
    }

    /// The room of a block's values of `columns` columns, in panels.
    pub(super) fn room<T: Float>(&self, columns: usize) -> usize {
        self.height * padded::<T>(columns)
    }
}

/// Where the parts of a block's trace begin: x, and z of each layer, in panels. Activations and slopes are made from z
/// again, which costs less than to fetch them from memory.
#[derive(Clone, Debug)]
pub(super) struct Places {
    /// What each layer's input is made from: x, and z of the layer before.
    pub(super) inputs: Vec<usize>,
    /// z of the last layer, whose room is empty if it has no activation.
    pub(super) last: usize,
    pub(super) len: usize,
}

impl Places {
    pub(super) fn new<T: Float>(chain: &Chain, blocks: Blocks) -> Self {
        let (mut inputs, mut last) = (Vec::new(), 0);
        for link in &chain.links {
            inputs.push(last);
            last += blocks.room::<T>(link.inputs);
        }
        let len = match chain.links.last() {
            Some(link) if link.activation != Activation::Identity => last + blocks.room::<T>(link.outputs),
            _ => last,
        };
        Self { inputs, last, len }
    }
}
