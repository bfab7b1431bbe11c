//! Buffers that a kernel writes in full, without zeroing them first.

use std::mem::MaybeUninit;

/// A vector of `n` values that `write` fills; zeroing it first would cost as much as a cheap kernel.
///
/// # Safety
///
/// When `write` returns `Ok`, it has written every value.
pub(crate) unsafe fn written<T, E>(
    n: usize,
    write: impl FnOnce(&mut [MaybeUninit<T>]) -> Result<(), E>,
) -> Result<Vec<T>, E> {
    let mut values = Vec::with_capacity(n);
    write(&mut values.spare_capacity_mut()[..n])?;
    // SAFETY: the capacity is at least `n`, and the caller promises that all `n` values are written.
    unsafe { values.set_len(n) };
    Ok(values)
}

/// Values that have been written, as such.
///
/// # Safety
///
/// Every value has been written.
pub(crate) unsafe fn assume_written<T>(values: &mut [MaybeUninit<T>]) -> &mut [T] {
    // SAFETY: `MaybeUninit<T>` has the layout of `T`, and the caller promises that the values are initialised.
    unsafe { &mut *(std::ptr::from_mut(values) as *mut [T]) }
}

/// Initialised values as a place that may be written without being read.
pub(crate) fn as_place<T: Copy>(values: &mut [T]) -> &mut [MaybeUninit<T>] {
    // SAFETY: the layouts are equal. The kernels of this crate write initialised values only, so the slice is still
    // initialised when the borrow ends; `T: Copy` has no destructor that could see an overwritten value.
    unsafe { &mut *(std::ptr::from_mut(values) as *mut [MaybeUninit<T>]) }
}
