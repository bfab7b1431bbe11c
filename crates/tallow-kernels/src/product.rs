//! Matrix products on one thread, wrapped so that the value of an element depends on its row and column alone.
//!
//! The `gemm` crate sums an element over k in order as long as k fits one of its panels and none of its special cases
//! (one row, one column, tiny results) applies; which case applies depends on the number of rows. [`Product`] avoids
//! them: k is cut into panels of at most 512 here, and callers keep at least two rows and two columns where rows must
//! not depend on their batch.

use std::marker::PhantomData;

use gemm::Parallelism;

use crate::buffer::as_place;
use crate::error::{Result, check_length};
use crate::float::Float;

/// The longest sum that `gemm` makes in one panel, whatever the other sizes.
const PANEL: usize = 512;

/// A matrix in a slice: element (i, j) is at `offset + i * row + j * column`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Matrix<'a, T> {
    start: *const T,
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
    data: PhantomData<&'a [T]>,
}

impl<'a, T> Matrix<'a, T> {
    /// A row-major matrix that fills `data`.
    pub(crate) fn new(data: &'a [T], rows: usize, columns: usize) -> Result<Self> {
        check_length("matrix", data.len(), crate::error::area(rows, columns)?)?;
        Ok(Self {
            start: data.as_ptr(),
            rows,
            columns,
            row_stride: columns,
            column_stride: 1,
            data: PhantomData,
        })
    }

    /// The same values with rows and columns exchanged.
    pub(crate) fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }
}

/// target = left right, row-major, (left.rows, right.columns); every element is written, and none is read before.
pub(crate) fn multiply<T: Float>(
    left: Matrix<'_, T>,
    right: Matrix<'_, T>,
    target: &mut [std::mem::MaybeUninit<T>],
) -> Result<()> {
    // SAFETY: nothing is read before it is written.
    unsafe { product(left, right, target, false) }
}

/// target += left right, row-major, (left.rows, right.columns).
pub(crate) fn add_product<T: Float>(
    left: Matrix<'_, T>,
    right: Matrix<'_, T>,
    target: &mut [T],
) -> Result<()> {
    // SAFETY: the target is initialised.
    unsafe { product(left, right, as_place(target), true) }
}

/// # Safety
///
/// `target` is initialised if `add`.
unsafe fn product<T: Float>(
    left: Matrix<'_, T>,
    right: Matrix<'_, T>,
    target: &mut [std::mem::MaybeUninit<T>],
    add: bool,
) -> Result<()> {
    check_length("inner dimension", right.rows, left.columns)?;
    check_length(
        "product",
        target.len(),
        crate::error::area(left.rows, right.columns)?,
    )?;
    let depth = left.columns;
    let mut done = 0;
    loop {
        let panel = (depth - done).min(PANEL);
        let read = add || done > 0;
        let one = T::from_f64(1.0);
        // SAFETY: both matrices lie inside slices that live as long as they do, with the strides that their
        // constructor checked; the panel's offset is inside them because `done + panel <= depth`, or `panel` is 0 and
        // nothing is read. `target` holds rows × columns values and is borrowed exclusively; it is read only
        // after the panel before has written it, or where the caller promises that it is initialised.
        unsafe {
            gemm::gemm(
                left.rows,
                right.columns,
                panel,
                target.as_mut_ptr().cast::<T>(),
                1,
                right.columns as isize,
                read,
                left.start.wrapping_add(done * left.column_stride),
                left.column_stride as isize,
                left.row_stride as isize,
                right.start.wrapping_add(done * right.row_stride),
                right.column_stride as isize,
                right.row_stride as isize,
                one,
                one,
                false,
                false,
                false,
                Parallelism::None,
            );
        }
        done += panel;
        if done >= depth {
            return Ok(());
        }
    }
}
