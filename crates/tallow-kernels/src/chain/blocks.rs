//! How the rows of a batch are cut, and where a block keeps what its way back needs. All of it depends on the shape alone.

use super::{Chain, has_slope};
use crate::float::Float;
use crate::linear::Wanted;
use crate::panel::{TILE, padded};

/// Blocks of rows, each of which goes through the whole chain at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Blocks {
    pub(super) rows: usize,
    /// Rows of a block, whole tiles; the last block may have fewer rows, and keeps the room of a whole one.
    pub(super) block: usize,
}

impl Blocks {
    /// At least four blocks where the batch allows, of at most 128 rows: what a second-level cache holds.
    pub(super) fn new(rows: usize) -> Self {
        let block = rows.div_ceil(4).next_multiple_of(TILE).clamp(32, 128);
        Self { rows, block }
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
}

/// Where the parts of a block's trace begin: hᵢ and sᵢ in panels.
#[derive(Clone, Debug)]
pub(super) struct Places {
    /// The input of each layer.
    pub(super) inputs: Vec<usize>,
    /// The slope of each layer; empty where the activation has none.
    pub(super) slopes: Vec<std::ops::Range<usize>>,
    pub(super) len: usize,
}

impl Places {
    pub(super) fn new<T: Float>(chain: &Chain, block: usize) -> Self {
        let (mut inputs, mut slopes, mut len) = (Vec::new(), Vec::new(), 0);
        for link in &chain.links {
            inputs.push(len);
            len += block * padded::<T>(link.inputs);
        }
        for link in &chain.links {
            let size = if has_slope(link, Wanted::Yes) {
                block * padded::<T>(link.outputs)
            } else {
                0
            };
            slopes.push(len..len + size);
            len += size;
        }
        Self { inputs, slopes, len }
    }
}
