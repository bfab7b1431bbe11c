//! A slice that several threads write.

use std::mem::MaybeUninit;

/// A slice that several threads write, each in places of its own.
#[derive(Clone, Copy)]
pub(crate) struct Shared<T> {
    start: *mut T,
    len: usize,
}

// SAFETY: a `Shared` is only a place; `slice`, which writes to it, is unsafe and asks that no two writers meet.
unsafe impl<T: Send> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Shared<T> {}

impl<T> Shared<T> {
    pub(crate) fn new(values: &mut [MaybeUninit<T>]) -> Self {
        Self {
            start: values.as_mut_ptr().cast(),
            len: values.len(),
        }
    }

    /// `len` places from `start` on.
    ///
    /// # Safety
    ///
    /// The slice that this was made of is still borrowed, and nobody else reads or writes these places meanwhile.
    #[inline(always)]
    pub(crate) unsafe fn slice<'a>(&self, start: usize, len: usize) -> &'a mut [MaybeUninit<T>] {
        assert!(
            start <= self.len && len <= self.len - start,
            "a place inside the slice"
        );
        // SAFETY: inside the slice by the assertion; borrowed by nobody else by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(start).cast(), len) }
    }
}
