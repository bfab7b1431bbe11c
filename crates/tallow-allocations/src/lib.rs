//! Counts what is asked of the allocator, so that a test of a reader can say how much a file made it take.
//!
//! For tests alone, and not published: the libraries forbid unsafe code, without which no allocator can be written.
//!
//! ```
//! #[global_allocator]
//! static ALLOCATOR: tallow_allocations::Counted = tallow_allocations::Counted;
//!
//! let held = tallow_allocations::peak(|| drop(vec![0_u8; 1000]));
//! assert_eq!(held, 1000);
//! ```

#![allow(unsafe_code, reason = "an allocator cannot be written without")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

/// The system's allocator, counting for each thread.
#[derive(Clone, Copy, Debug)]
pub struct Counted;

fn add(bytes: isize) {
    // A thread that ends allocates after its counters are gone; nobody asks for those.
    let _ = HELD.try_with(|held| {
        held.set(held.get() + bytes);
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(held.get())));
    });
}

// SAFETY: every call is handed to the system's allocator as it is; counting touches no memory of it.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(layout.size() as isize);
        // SAFETY: the caller's promises are those that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        add(-(layout.size() as isize));
        // SAFETY: the pointer came from `System`, with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// The most bytes of this thread that were held at once while `work` ran, beyond those held before.
pub fn peak(work: impl FnOnce()) -> usize {
    let before = HELD.get();
    PEAK.set(before);
    work();
    (PEAK.get() - before).max(0) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[global_allocator]
    static ALLOCATOR: Counted = Counted;

    #[test]
    fn a_claim_of_much_memory_is_seen() {
        let claimed = peak(|| drop(std::hint::black_box(Vec::<u8>::with_capacity(1 << 30))));
        assert!(claimed >= 1 << 30, "{claimed}");
    }
}
