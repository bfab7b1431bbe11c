//! Small matrix products on packed blocks, and the packing: what attention multiplies with.
//!
//! A product walks over tiles of a few rows and one or two vectors that live in registers; an element is summed over k in
//! order, whatever the sizes. Blocks are row-major with columns padded to whole vectors, and hold enough rows for whole
//! tiles, so that no tile has an edge: values in the padding are computed and never read.

use crate::dispatch::Isa;
use crate::float::Float;
use crate::turn::{SIDE, Square, turn};

/// Values of a vector: columns are padded to multiples of it.
pub(crate) const LANES: usize = SIDE;

/// Rows that a block has more than its matrix, at most: tiles have at most one row more than this.
pub(crate) const SPARE_ROWS: usize = 6;

/// The length of a block of `rows` × `columns` values with room for whole tiles and vectors.
pub(crate) fn block_len(rows: usize, columns: usize) -> usize {
    (rows + SPARE_ROWS) * padded(columns) + SPARE_ROWS
}

/// `columns` rounded up to whole vectors.
pub(crate) fn padded(columns: usize) -> usize {
    columns.next_multiple_of(LANES)
}

/// The left factor in a block: element (i, k) is at `i * row + k * depth`.
#[derive(Clone, Copy)]
pub(crate) struct Left<'a, T> {
    values: &'a [T],
    row: usize,
    depth: usize,
}

impl<'a, T> Left<'a, T> {
    /// The block of `columns` padded columns itself.
    #[inline(always)]
    pub(crate) fn new(values: &'a [T], columns: usize) -> Self {
        Self {
            values,
            row: columns,
            depth: 1,
        }
    }

    /// The same block with rows and columns exchanged.
    #[inline(always)]
    pub(crate) fn transposed(values: &'a [T], columns: usize) -> Self {
        Self {
            values,
            row: 1,
            depth: columns,
        }
    }
}

/// What a product is added to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Onto {
    Zero,
    Target,
}

/// The sizes of a product: (rows, depth) times (depth, columns); columns are whole vectors.
#[derive(Clone, Copy)]
pub(crate) struct Sizes {
    pub(crate) rows: usize,
    pub(crate) depth: usize,
    pub(crate) columns: usize,
}

/// target = left right, or target + left right; `right` and `target` have rows of `columns` values.
#[inline(always)]
pub(crate) fn multiply<T: Float, I: Isa>(
    left: Left<'_, T>,
    right: &[T],
    target: &mut [T],
    sizes: Sizes,
    onto: Onto,
) {
    // A tile must leave registers for one row of `right` and a value of `left`.
    match I::REGISTER_BYTES / (LANES * size_of::<T>()) {
        32.. => tiles::<T, I, 7, 2>(left, right, target, sizes, onto),
        16.. => tiles::<T, I, 7, 1>(left, right, target, sizes, onto),
        8.. => tiles::<T, I, 6, 1>(left, right, target, sizes, onto),
        4.. => tiles::<T, I, 2, 1>(left, right, target, sizes, onto),
        _ => tiles::<T, I, 1, 1>(left, right, target, sizes, onto),
    }
}

#[inline(always)]
fn tiles<T: Float, I: Isa, const ROWS: usize, const VECTORS: usize>(
    left: Left<'_, T>,
    right: &[T],
    target: &mut [T],
    sizes: Sizes,
    onto: Onto,
) {
    let Sizes { rows, depth, columns } = sizes;
    if rows == 0 || columns == 0 {
        return;
    }
    let whole_rows = rows.next_multiple_of(ROWS);
    assert!(columns.is_multiple_of(LANES), "columns are whole vectors");
    assert!(
        target.len() >= whole_rows * columns,
        "the target holds whole tiles"
    );
    assert!(right.len() >= depth * columns, "the right factor holds its rows");
    assert!(
        depth == 0 || left.values.len() > (whole_rows - 1) * left.row + (depth - 1) * left.depth,
        "the left factor holds whole tiles"
    );
    let mut column = 0;
    while column < columns {
        let vectors = if columns - column >= VECTORS * LANES {
            VECTORS
        } else {
            1
        };
        for row in (0..rows).step_by(ROWS) {
            // SAFETY: the assertions above cover every element of every tile: rows below `whole_rows`, columns below
            // `columns`, depths below `depth`.
            unsafe {
                let left_start = left.values.as_ptr().wrapping_add(row * left.row);
                let right = right.as_ptr().wrapping_add(column);
                let target = target.as_mut_ptr().wrapping_add(row * columns + column);
                let steps = (left.row, left.depth, columns);
                if vectors == VECTORS {
                    tile::<T, I, ROWS, VECTORS>(left_start, right, target, depth, steps, onto);
                } else {
                    tile::<T, I, ROWS, 1>(left_start, right, target, depth, steps, onto);
                }
            }
        }
        column += vectors * LANES;
    }
}

/// One tile: ROWS × VECTORS sums in registers.
///
/// # Safety
///
/// `left` can be read at `i * steps.0 + k * steps.1` for i < ROWS, k < `depth`; `right` and `target` at VECTORS vectors
/// after `k * steps.2` and `i * steps.2`; `target` is borrowed exclusively.
#[inline(always)]
unsafe fn tile<T: Float, I: Isa, const ROWS: usize, const VECTORS: usize>(
    left: *const T,
    right: *const T,
    target: *mut T,
    depth: usize,
    steps: (usize, usize, usize),
    onto: Onto,
) {
    let (left_row, left_depth, columns) = steps;
    let mut sums = [[[T::default(); LANES]; VECTORS]; ROWS];
    // SAFETY: what the caller promises.
    unsafe {
        if onto == Onto::Target {
            for (i, sums) in sums.iter_mut().enumerate() {
                for (j, sum) in sums.iter_mut().enumerate() {
                    *sum = *target.add(i * columns + j * LANES).cast();
                }
            }
        }
        for k in 0..depth {
            let mut vectors = [[T::default(); LANES]; VECTORS];
            for (j, vector) in vectors.iter_mut().enumerate() {
                *vector = *right.add(k * columns + j * LANES).cast();
            }
            for (i, sums) in sums.iter_mut().enumerate() {
                let factor = *left.add(i * left_row + k * left_depth);
                for (sum, vector) in sums.iter_mut().zip(&vectors) {
                    for (sum, &value) in sum.iter_mut().zip(vector) {
                        *sum = I::mul_add(factor, value, *sum);
                    }
                }
            }
        }
        for (i, sums) in sums.iter().enumerate() {
            for (j, sum) in sums.iter().enumerate() {
                *target.add(i * columns + j * LANES).cast() = *sum;
            }
        }
    }
}

/// Rows of a tensor: row i is `width` values from `i * step`.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a, T> {
    pub(crate) values: &'a [T],
    pub(crate) step: usize,
    pub(crate) count: usize,
    pub(crate) width: usize,
}

impl<'a, T: Float> Rows<'a, T> {
    #[inline(always)]
    pub(crate) fn row(&self, index: usize) -> &'a [T] {
        &self.values[index * self.step..][..self.width]
    }

    /// `count` rows from row `first`.
    #[inline(always)]
    pub(crate) fn part(&self, first: usize, count: usize) -> Self {
        Self {
            values: &self.values[(first * self.step).min(self.values.len())..],
            count,
            ..*self
        }
    }

    /// The rows times `factor`, one after the other in a block, padded with zeros.
    #[inline(always)]
    pub(crate) fn pack(&self, factor: T, block: &mut [T]) {
        let columns = padded(self.width).max(1);
        for (index, target) in block.chunks_exact_mut(columns).take(self.count).enumerate() {
            for (source, target) in self.row(index).chunks(LANES).zip(target.chunks_exact_mut(LANES)) {
                let mut values = vector(source);
                for value in &mut values {
                    *value = *value * factor;
                }
                target.copy_from_slice(&values);
            }
        }
    }

    /// The rows as columns of a block, `width` rows of `count` values padded with zeros.
    #[inline(always)]
    pub(crate) fn pack_transposed<I: Isa>(&self, block: &mut [T]) {
        let columns = padded(self.count);
        for top in (0..self.count).step_by(SIDE) {
            let height = SIDE.min(self.count - top);
            for left in (0..self.width).step_by(SIDE) {
                let width = SIDE.min(self.width - left);
                let mut square: Square<T> = [[T::default(); SIDE]; SIDE];
                for (row, values) in square[..height].iter_mut().enumerate() {
                    *values = vector(&self.row(top + row)[left..]);
                }
                turn::<T, I>(&mut square);
                for (column, values) in square[..width].iter().enumerate() {
                    block[(left + column) * columns + top..][..SIDE].copy_from_slice(values);
                }
            }
        }
    }
}

/// The first values as a vector, with zeros where there are none.
#[inline(always)]
pub(crate) fn vector<T: Float>(values: &[T]) -> [T; LANES] {
    match values.first_chunk::<LANES>() {
        Some(whole) => *whole,
        None => {
            let mut padded = [T::default(); LANES];
            for (padded, &value) in padded.iter_mut().zip(values) {
                *padded = value;
            }
            padded
        }
    }
}

/// Σ a b, summed in lanes.
#[inline(always)]
pub(crate) fn dot<T: Float, I: Isa>(a: &[T], b: &[T]) -> T {
    let mut lanes = [T::default(); LANES];
    for (a, b) in a.chunks(LANES).zip(b.chunks(LANES)) {
        let (a, b) = (vector(a), vector(b));
        for ((lane, &a), &b) in lanes.iter_mut().zip(&a).zip(&b) {
            *lane = I::mul_add(a, b, *lane);
        }
    }
    fold(lanes, |a, b| a + b)
}

/// All lanes in one, by halves.
#[inline(always)]
pub(crate) fn fold<T: Float>(mut lanes: [T; LANES], f: impl Fn(T, T) -> T) -> T {
    let mut half = LANES / 2;
    while half > 0 {
        for i in 0..half {
            lanes[i] = f(lanes[i], lanes[i + half]);
        }
        half /= 2;
    }
    lanes[0]
}
