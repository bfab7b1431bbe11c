//! Working memory of a thread, kept between calls: a fresh buffer would cost a page fault every 4 KiB.

use std::cell::Cell;

use crate::float::Float;

/// One cache line; every bit pattern is a number.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u64; 8]);

thread_local! {
    static LINES: Cell<Vec<Line>> = const { Cell::new(Vec::new()) };
}

/// Calls `work` with one slice for each of `sizes`, aligned to cache lines, whose values are whatever was left there.
pub(crate) fn with_scratch<T: Float, R, const N: usize>(
    sizes: [usize; N],
    work: impl FnOnce([&mut [T]; N]) -> R,
) -> R {
    let per_line = size_of::<Line>() / size_of::<T>();
    let wanted = sizes.iter().map(|size| size.div_ceil(per_line)).sum();
    // Taken out, so that a nested call finds an empty cell and makes its own.
    let mut lines = LINES.take();
    if lines.len() < wanted {
        lines.resize(wanted, Line([0; 8]));
    }
    let mut rest = &mut lines[..];
    let slices = sizes.map(|size| {
        let (taken, left) = std::mem::take(&mut rest).split_at_mut(size.div_ceil(per_line));
        rest = left;
        // SAFETY: the lines are initialised, borrowed exclusively and hold at least `size` numbers of type `T`, which
        // is f32 or f64 (the trait is sealed): every bit pattern is a value of it, and a line is aligned for it.
        unsafe { std::slice::from_raw_parts_mut(taken.as_mut_ptr().cast::<T>(), size) }
    });
    let result = work(slices);
    LINES.set(lines);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_are_apart_aligned_and_survive_a_nested_call() {
        with_scratch::<f32, _, 3>([5, 0, 33], |[a, b, c]| {
            a.fill(1.0);
            c.fill(2.0);
            with_scratch::<f64, _, 1>([100], |[inner]| inner.fill(7.0));
            assert!(b.is_empty());
            assert_eq!((a.len(), c.len()), (5, 33));
            assert!(a.iter().all(|&v| v == 1.0) && c.iter().all(|&v| v == 2.0));
            assert!(a.as_ptr().addr().is_multiple_of(64) && c.as_ptr().addr().is_multiple_of(64));
        });
    }
}
