//! Large buffers that live from a forward to its backward pass, and then wait for the next one.
//!
//! An allocator gives megabytes back to the system between two steps of a training, and taking them again costs a page
//! fault every 4 KiB. Each thread keeps the last few buffers that were dropped on it.

use std::cell::RefCell;
use std::mem::MaybeUninit;

use crate::float::Float;

/// One cache line.
type Line = [MaybeUninit<u64>; 8];

/// How many buffers a thread keeps.
const KEPT: usize = 4;

thread_local! {
    static BUFFERS: RefCell<Vec<Vec<Line>>> = const { RefCell::new(Vec::new()) };
}

/// Room for numbers, with whatever was left there.
#[derive(Debug)]
pub(crate) struct Kept {
    lines: Vec<Line>,
}

impl Kept {
    /// Room for `n` numbers: the smallest kept buffer that is large enough, or a fresh one.
    pub(crate) fn new<T: Float>(n: usize) -> Self {
        let wanted = (n * size_of::<T>()).div_ceil(size_of::<Line>());
        let found = BUFFERS.with_borrow_mut(|buffers| {
            let fits = buffers
                .iter()
                .enumerate()
                .filter(|(_, lines)| lines.capacity() >= wanted);
            let index = fits
                .min_by_key(|(_, lines)| lines.capacity())
                .map(|(index, _)| index);
            index.map(|index| buffers.swap_remove(index))
        });
        let mut lines = found.unwrap_or_else(|| Vec::with_capacity(wanted));
        // SAFETY: the capacity is at least `wanted`, and a `MaybeUninit` needs no value.
        unsafe { lines.set_len(wanted) };
        Self { lines }
    }

    /// The room, as `n` numbers that may not have been written.
    pub(crate) fn room<T: Float>(&mut self, n: usize) -> &mut [MaybeUninit<T>] {
        let n = n.min(self.capacity::<T>());
        // SAFETY: the lines hold at least `n` numbers of type `T` (f32 or f64: the trait is sealed), `u64` is aligned for
        // both, and no value is claimed to be there.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), n) }
    }

    /// The first `n` numbers.
    ///
    /// # Safety
    ///
    /// They have been written as numbers of this type.
    pub(crate) unsafe fn numbers<T: Float>(&self, n: usize) -> &[T] {
        let n = n.min(self.capacity::<T>());
        // SAFETY: as for `room`, and the caller promises that the values are there.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), n) }
    }

    fn capacity<T>(&self) -> usize {
        self.lines.len() * size_of::<Line>() / size_of::<T>()
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let lines = std::mem::take(&mut self.lines);
        // When the thread ends, so do its buffers; this one then ends at once.
        let _ = BUFFERS.try_with(|buffers| {
            let mut buffers = buffers.borrow_mut();
            if buffers.len() == KEPT {
                // The oldest makes room, so that buffers of a size that is not asked for any more do not stay.
                buffers.remove(0);
            }
            buffers.push(lines);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_buffer_serves_the_next_request_that_it_is_large_enough_for() {
        let address = |kept: &mut Kept| kept.room::<f32>(1).as_ptr().addr();
        let mut first = Kept::new::<f32>(1000);
        let place = address(&mut first);
        drop(first);
        let mut larger = Kept::new::<f64>(1000);
        assert_ne!(address(&mut larger), place);
        let mut again = Kept::new::<f64>(500);
        assert_eq!(address(&mut again), place);
        assert_eq!(again.room::<f64>(500).len(), 500);
    }
}
