//! A linear layer with its bias and activation: y = act(x Wᵀ + b), forward and backward.
//!
//! ```text
//! forward    z = x Wᵀ + b,   y = act(z),   kept for the way back: s = act′(z)
//! backward   dz = dy ⊙ s,    dx = dz W,    dW = dzᵀ x,    db = Σ_rows dz
//! ```
//!
//! Shapes are PyTorch's: x (rows, inputs), W (outputs, inputs), b (outputs), y (rows, outputs), all row-major. The batch
//! is worked on in blocks of rows that stay in the second-level cache from the product to the activation.
//!
//! Laws: a row of y has the same bytes in every batch; every result has the same bytes on any number of threads
//! (dW and db are summed over chunks that depend on the shape alone, in order).

use std::mem::MaybeUninit;

use crate::activation::Activation;
use crate::buffer::{assume_written, written};
use crate::dispatch::{self, Isa, Kernel, Path};
use crate::error::{Result, area, check_length};
use crate::float::Float;
use crate::packed::{Packed, forward_block};
use crate::parallel;
use crate::product::{Matrix, multiply};

/// The sizes of a linear layer and its activation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Rows of the batch.
    pub rows: usize,
    /// Values of a row of x.
    pub inputs: usize,
    /// Values of a row of y.
    pub outputs: usize,
    /// The function applied to every z.
    pub activation: Activation,
}

/// What a backward pass needs of the forward pass.
#[derive(Clone, Copy, Debug)]
pub struct Saved<'a, T> {
    /// x, (rows, inputs).
    pub x: &'a [T],
    /// W, (outputs, inputs).
    pub weight: &'a [T],
    /// act′(z), (rows, outputs); may be empty for [`Activation::Identity`].
    pub slope: &'a [T],
}

/// Whether a gradient is computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wanted {
    /// Compute it.
    #[default]
    Yes,
    /// Leave it out, at no cost.
    No,
}

/// Gradients of a layer, each of the shape of its value; those that were not wanted are `None`.
#[derive(Clone, Debug, PartialEq)]
pub struct Gradients<T> {
    /// dx.
    pub x: Option<Vec<T>>,
    /// dW.
    pub weight: Option<Vec<T>>,
    /// db.
    pub bias: Option<Vec<T>>,
}

impl Layer {
    /// y and, where the layer will be differentiated, the slope act′(z) (empty for the identity).
    ///
    /// # Errors
    ///
    /// When a slice does not have the length of its shape.
    pub fn forward<T: Float>(
        &self,
        x: &[T],
        weight: &[T],
        bias: Option<&[T]>,
        slope: Wanted,
    ) -> Result<(Vec<T>, Vec<T>)> {
        self.check(x, weight)?;
        if let Some(bias) = bias {
            check_length("bias", bias.len(), self.outputs)?;
        }
        let slopes = match (slope, self.activation) {
            (Wanted::No, _) | (_, Activation::Identity) => 0,
            (Wanted::Yes, _) => area(self.rows, self.outputs)?,
        };
        let packed = Packed::new(weight, self.outputs, self.inputs)?;
        let mut slope = Vec::new();
        // SAFETY: `forward_rows` writes y in full, and the slope unless it is empty; errors leave both empty.
        let y = unsafe {
            written(area(self.rows, self.outputs)?, |y| {
                slope = written(slopes, |slope| self.forward_rows(x, &packed, bias, y, slope))?;
                Ok(())
            })?
        };
        Ok((y, slope))
    }

    /// The gradients of a loss with respect to x, W and b, from its gradient `dy` with respect to y.
    ///
    /// # Errors
    ///
    /// When a slice does not have the length of its shape.
    pub fn backward<T: Float>(
        &self,
        saved: Saved<'_, T>,
        dy: &[T],
        x_wanted: Wanted,
        weights_wanted: Wanted,
    ) -> Result<Gradients<T>> {
        self.check(saved.x, saved.weight)?;
        check_length("dy", dy.len(), area(self.rows, self.outputs)?)?;
        if self.activation != Activation::Identity {
            check_length("slope", saved.slope.len(), dy.len())?;
        }
        let dx_len = if x_wanted == Wanted::Yes { saved.x.len() } else { 0 };
        let mut sums = None;
        // SAFETY: `backward_chunks` writes dx in full, unless it is empty.
        let dx = unsafe {
            written(dx_len, |dx| {
                sums = self.backward_chunks(saved, dy, dx, weights_wanted)?;
                Ok(())
            })?
        };
        let (weight, bias) = sums.map_or((None, None), |(weight, bias)| (Some(weight), Some(bias)));
        Ok(Gradients {
            x: (x_wanted == Wanted::Yes).then_some(dx),
            weight,
            bias,
        })
    }

    fn check<T>(&self, x: &[T], weight: &[T]) -> Result<()> {
        check_length("x", x.len(), area(self.rows, self.inputs)?)?;
        check_length("weight", weight.len(), area(self.outputs, self.inputs)?)
    }

    /// Multiply-adds of one product.
    fn cost(&self) -> usize {
        self.rows.saturating_mul(self.inputs).saturating_mul(self.outputs)
    }

    /// Blocks of rows, on all threads.
    fn forward_rows<T: Float>(
        &self,
        x: &[T],
        packed: &Packed<'_, T>,
        bias: Option<&[T]>,
        y: &mut [MaybeUninit<T>],
        slope: &mut [MaybeUninit<T>],
    ) -> Result<()> {
        let block = block_rows(self.rows);
        let mut tasks = Vec::with_capacity(self.rows.div_ceil(block));
        let mut slopes = chunks_or_none(slope, block * self.outputs);
        for (index, y) in y.chunks_mut((block * self.outputs).max(1)).enumerate() {
            let rows = y.len() / self.outputs;
            let x = &x[index * block * self.inputs..][..rows * self.inputs];
            tasks.push((x, y, slopes.next()));
        }
        parallel::try_for_each(self.cost(), tasks, |(x, y, slope)| {
            forward_block(packed, self.activation, bias, x, y, slope)
        })
    }

    /// dx into `dx` (unless it is empty); returns dW and db.
    #[allow(clippy::type_complexity, reason = "two sums or none")]
    fn backward_chunks<T: Float>(
        &self,
        saved: Saved<'_, T>,
        dy: &[T],
        dx: &mut [MaybeUninit<T>],
        weights: Wanted,
    ) -> Result<Option<(Vec<T>, Vec<T>)>> {
        let chunk = chunk_rows(self.rows);
        let chunks = self.rows.div_ceil(chunk);
        let stride = area(self.outputs, self.inputs)? + self.outputs;
        let sums_len = if weights == Wanted::Yes {
            area(chunks.max(1), stride)?
        } else {
            0
        };
        let sums = if chunks == 0 {
            vec![T::default(); sums_len]
        } else {
            // SAFETY: each chunk writes its dW and db in full, or there is an error.
            unsafe {
                written(sums_len, |sums| {
                    let mut tasks = Vec::with_capacity(chunks);
                    let mut dxs = chunks_or_none(dx, chunk * self.inputs);
                    let mut sums = chunks_or_none(sums, stride);
                    for index in 0..chunks {
                        let start = index * chunk;
                        let rows = chunk.min(self.rows - start);
                        tasks.push((start, rows, dxs.next(), sums.next()));
                    }
                    parallel::try_for_each(self.cost().saturating_mul(2), tasks, |(start, rows, dx, sums)| {
                        self.backward_chunk(saved, dy, start, rows, dx, sums)
                    })
                })?
            }
        };
        if weights == Wanted::No {
            return Ok(None);
        }
        let mut total = sum_in_order(sums, stride);
        let bias = total.split_off(stride - self.outputs);
        Ok(Some((total, bias)))
    }

    /// Rows `start..start + rows`: dz once, in the cache, for the two products and the sum.
    fn backward_chunk<T: Float>(
        &self,
        saved: Saved<'_, T>,
        dy: &[T],
        start: usize,
        rows: usize,
        dx: Option<&mut [MaybeUninit<T>]>,
        sums: Option<&mut [MaybeUninit<T>]>,
    ) -> Result<()> {
        let range = start * self.outputs..(start + rows) * self.outputs;
        let dy = &dy[range.clone()];
        let scaled;
        let dz = if self.activation == Activation::Identity {
            dy
        } else {
            scaled = times(dy, &saved.slope[range]);
            &scaled
        };
        let dz_matrix = Matrix::new(dz, rows, self.outputs)?;
        if let Some(dx) = dx {
            multiply(
                dz_matrix,
                Matrix::new(saved.weight, self.outputs, self.inputs)?,
                dx,
            )?;
        }
        if let Some(sums) = sums {
            let (weight, bias) = sums.split_at_mut(self.outputs * self.inputs);
            let x = &saved.x[start * self.inputs..][..rows * self.inputs];
            multiply(dz_matrix.transposed(), Matrix::new(x, rows, self.inputs)?, weight)?;
            bias.fill(MaybeUninit::new(T::default()));
            // SAFETY: written by the line above.
            let bias = unsafe { assume_written(bias) };
            dispatch::run(
                Path::best(),
                ColumnSums {
                    values: dz,
                    sums: bias,
                },
            );
        }
        Ok(())
    }
}

/// Rows that a thread takes at once in the forward pass: as many as stay in the cache, fewer for small batches.
fn block_rows(rows: usize) -> usize {
    rows.div_ceil(4).next_multiple_of(16).clamp(16, 512)
}

/// Rows that are summed into one partial dW: at most eight partials, of at least 128 rows. Depends on nothing else.
fn chunk_rows(rows: usize) -> usize {
    rows.div_ceil(8).next_multiple_of(16).max(128)
}

/// The chunks of a slice, or nothing for ever if it is empty.
fn chunks_or_none<T>(values: &mut [T], size: usize) -> impl Iterator<Item = &mut [T]> {
    values.chunks_mut(size.max(1))
}

fn times<T: Float>(a: &[T], b: &[T]) -> Vec<T> {
    a.iter().zip(b).map(|(&a, &b)| a * b).collect()
}

struct ColumnSums<'a, T> {
    values: &'a [T],
    sums: &'a mut [T],
}

impl<T: Float> Kernel for ColumnSums<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        for row in self.values.chunks_exact(self.sums.len().max(1)) {
            for (sum, &value) in self.sums.iter_mut().zip(row) {
                *sum = *sum + value;
            }
        }
    }
}

/// Adds the partial sums, `stride` values each, in order into the first.
pub(crate) fn sum_in_order<T: Float>(mut partials: Vec<T>, stride: usize) -> Vec<T> {
    let (first, rest) = partials.split_at_mut(stride);
    const PIECE: usize = 1 << 14;
    let tasks: Vec<_> = first.chunks_mut(PIECE).enumerate().collect();
    let cost = rest.len();
    let rest = &*rest;
    parallel::for_each(cost, tasks, |(index, sums)| {
        for partial in rest.chunks_exact(stride) {
            let partial = &partial[index * PIECE..][..sums.len()];
            sums.iter_mut()
                .zip(partial)
                .for_each(|(sum, &value)| *sum = *sum + value);
        }
    });
    partials.truncate(stride);
    partials
}

#[cfg(test)]
#[path = "linear_tests.rs"]
mod tests;
