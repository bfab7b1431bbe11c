//! The weight of a linear layer as its forward pass reads it, and one block of rows of that pass.
//!
//! Both products sum an element in an order that depends on the number of inputs alone, so a row of the result has the
//! same bytes in every block and batch.

use std::mem::MaybeUninit;

use crate::activation::{Activation, Epilogue};
use crate::buffer::{as_place, assume_written};
use crate::dispatch::{self, Isa, Kernel, Path};
use crate::error::{Result, area, check_length};
use crate::float::Float;
use crate::product::{Matrix, multiply};
use crate::turn::{SIDE, Square, turn};

/// W as the forward pass reads it.
pub(crate) struct Packed<'a, T> {
    weight: Weight<'a, T>,
    inputs: usize,
    outputs: usize,
}

enum Weight<'a, T> {
    /// W itself: a few outputs are dot products, where a panel of `gemm` would be mostly empty.
    Narrow(&'a [T]),
    /// Wᵀ, (inputs, outputs) row-major: `gemm` then reads it in place for every block of rows.
    Transposed(Vec<T>),
}

/// The most outputs that are worth dot products.
const NARROW: usize = 4;

impl<'a, T: Float> Packed<'a, T> {
    pub(crate) fn new(weight: &'a [T], outputs: usize, inputs: usize) -> Result<Self> {
        check_length("weight", weight.len(), area(outputs, inputs)?)?;
        let narrow = outputs <= NARROW;
        let weight = if narrow {
            Weight::Narrow(weight)
        } else {
            Weight::Transposed(transpose(weight, outputs, inputs))
        };
        Ok(Self {
            weight,
            inputs,
            outputs,
        })
    }
}

/// One block of rows: product, then bias and activation while the block is in the cache.
pub(crate) fn forward_block<T: Float>(
    packed: &Packed<'_, T>,
    activation: Activation,
    bias: Option<&[T]>,
    x: &[T],
    y: &mut [MaybeUninit<T>],
    slope: Option<&mut [MaybeUninit<T>]>,
) -> Result<()> {
    let &Packed {
        ref weight,
        inputs,
        outputs,
    } = packed;
    if y.is_empty() {
        return Ok(());
    }
    let rows = y.len() / outputs;
    match weight {
        Weight::Narrow(weight) => dispatch::run(
            Path::best(),
            Dots {
                x,
                weight,
                inputs,
                outputs,
                y: &mut *y,
            },
        ),
        Weight::Transposed(weight) => {
            let weight = Matrix::new(weight, inputs, outputs)?;
            if rows == 1 {
                single_row(x, weight, y)?;
            } else {
                multiply(Matrix::new(x, rows, inputs)?, weight, y)?;
            }
        }
    }
    // SAFETY: each of the products has written all of y.
    let values = unsafe { assume_written(y) };
    dispatch::run(
        Path::best(),
        Epilogue {
            activation,
            bias,
            columns: outputs,
            values,
            slope,
        },
    );
    Ok(())
}

/// The product for one row, as the first of two, so that `gemm` sums in the same order as ever.
fn single_row<T: Float>(x: &[T], weight: Matrix<'_, T>, y: &mut [MaybeUninit<T>]) -> Result<()> {
    let mut two_rows = x.to_vec();
    two_rows.resize(2 * x.len(), T::default());
    let mut two = vec![T::default(); area(2, y.len())?];
    multiply(Matrix::new(&two_rows, 2, x.len())?, weight, as_place(&mut two))?;
    for (y, &value) in y.iter_mut().zip(&two) {
        y.write(value);
    }
    Ok(())
}

/// x Wᵀ by dot products, each summed in lanes whose order depends on the number of inputs alone.
struct Dots<'a, T> {
    x: &'a [T],
    weight: &'a [T],
    inputs: usize,
    outputs: usize,
    y: &'a mut [MaybeUninit<T>],
}

impl<T: Float> Kernel for Dots<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        const LANES: usize = 16;
        for (row, y) in self.y.chunks_exact_mut(self.outputs).enumerate() {
            let x = &self.x[row * self.inputs..][..self.inputs];
            for (output, y) in y.iter_mut().enumerate() {
                let weight = &self.weight[output * self.inputs..][..self.inputs];
                let mut lanes = [T::default(); LANES];
                let (mut xs, mut weights) = (x.chunks_exact(LANES), weight.chunks_exact(LANES));
                for (x, weight) in xs.by_ref().zip(weights.by_ref()) {
                    for i in 0..LANES {
                        lanes[i] = I::mul_add(x[i], weight[i], lanes[i]);
                    }
                }
                for ((lane, &x), &weight) in lanes.iter_mut().zip(xs.remainder()).zip(weights.remainder()) {
                    *lane = I::mul_add(x, weight, *lane);
                }
                y.write(lanes.iter().fold(T::default(), |sum, &lane| sum + lane));
            }
        }
    }
}

/// (rows, columns) to (columns, rows).
fn transpose<T: Float>(values: &[T], rows: usize, columns: usize) -> Vec<T> {
    let mut out = vec![T::default(); values.len()];
    dispatch::run(
        Path::best(),
        Transpose {
            values,
            rows,
            columns,
            out: &mut out,
        },
    );
    out
}

struct Transpose<'a, T> {
    values: &'a [T],
    rows: usize,
    columns: usize,
    out: &'a mut [T],
}

impl<T: Float> Kernel for Transpose<'_, T> {
    type Output = ();

    /// By squares: whole cache lines are read and written, the turn happens in the first-level cache.
    #[inline(always)]
    fn run<I: Isa>(self) {
        let Self {
            values,
            rows,
            columns,
            out,
        } = self;
        for top in (0..rows).step_by(SIDE) {
            let height = SIDE.min(rows - top);
            for left in (0..columns).step_by(SIDE) {
                let width = SIDE.min(columns - left);
                let mut square: Square<T> = [[T::default(); SIDE]; SIDE];
                for (row, square) in square[..height].iter_mut().enumerate() {
                    let source = &values[(top + row) * columns + left..];
                    match source.first_chunk() {
                        Some(whole) if width == SIDE => *square = *whole,
                        _ => square[..width].copy_from_slice(&source[..width]),
                    }
                }
                turn::<T, I>(&mut square);
                for (column, square) in square[..width].iter().enumerate() {
                    let target = &mut out[(left + column) * rows + top..];
                    match target.first_chunk_mut() {
                        Some(whole) if height == SIDE => *whole = *square,
                        _ => target[..height].copy_from_slice(&square[..height]),
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transposed_matrix_has_rows_and_columns_exchanged() {
        for (rows, columns) in [(1, 1), (3, 40), (16, 16), (33, 17), (0, 4), (64, 1)] {
            let values: Vec<f64> = (0..rows * columns).map(|i| i as f64).collect();
            let turned = transpose(&values, rows, columns);
            for row in 0..rows {
                for column in 0..columns {
                    assert_eq!(turned[column * rows + row], values[row * columns + column]);
                }
            }
        }
    }
}
