//! Large buffers that live from a forward to its backward pass, and then wait for the next one.
//!
//! An allocator gives megabytes back to the system between two steps of a training, and taking them again costs a page
//! fault every 4 KiB. Each thread keeps the last few buffers that were dropped on it.

use std::cell::RefCell;

use crate::float::Float;

/// One cache line; every bit pattern is a number.
type Line = [u64; 8];

/// How many buffers a thread keeps.
const KEPT: usize = 4;

thread_local! {
    static BUFFERS: RefCell<Vec<Vec<Line>>> = const { RefCell::new(Vec::new()) };
}

/// Numbers, whose values are whatever was left there, or zeros.
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
                .filter(|(_, lines)| lines.len() >= wanted);
            let index = fits.min_by_key(|(_, lines)| lines.len()).map(|(index, _)| index);
            index.map(|index| buffers.swap_remove(index))
        });
        let lines = found.unwrap_or_else(|| vec![[0; 8]; wanted]);
        Self { lines }
    }

    /// The first `n` numbers, or as many as there are.
    pub(crate) fn numbers<T: Float>(&self, n: usize) -> &[T] {
        let n = n.min(size_of_val(&self.lines[..]) / size_of::<T>());
        // SAFETY: the lines are initialised and hold at least `n` numbers of type `T`, which is f32 or f64 (the trait is
        // sealed): every bit pattern is a value of it, and `u64` is aligned for both.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), n) }
    }

    /// The same to write to.
    pub(crate) fn numbers_mut<T: Float>(&mut self, n: usize) -> &mut [T] {
        let n = n.min(size_of_val(&self.lines[..]) / size_of::<T>());
        // SAFETY: as above, and the lines are borrowed exclusively; numbers are bit patterns of `u64`, too.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), n) }
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
        let address = |kept: &Kept| kept.numbers::<f32>(1).as_ptr().addr();
        let first = Kept::new::<f32>(1000);
        let place = address(&first);
        drop(first);
        let larger = Kept::new::<f64>(1000);
        assert_ne!(address(&larger), place);
        let again = Kept::new::<f64>(500);
        assert_eq!(address(&again), place);
        assert_eq!(again.numbers::<f64>(500).len(), 500);
    }
}
