//! How work is split between threads.
//!
//! A kernel cuts its work into tasks whose number and size depend on the shape alone, never on the number of threads,
//! and sums what tasks produced in the order of the tasks: the bytes of a result are then the same on every pool. Tasks
//! are handed out one by one, and the calling thread works, too. Small work stays on the calling thread, since waking
//! another one costs some 10 µs.

use std::sync::{Mutex, PoisonError};

use crate::error::Result;

/// Work below this many multiply-adds (or as many cheap element operations) is not worth a second thread.
const WORTH_A_THREAD: usize = 1 << 20;

/// [`for_each`] for work that may fail: the error of some task that failed, after all tasks have ended.
pub(crate) fn try_for_each<Task: Send>(
    cost: usize,
    tasks: Vec<Task>,
    work: impl Fn(Task) -> Result<()> + Sync,
) -> Result<()> {
    let failure = Mutex::new(Ok(()));
    for_each(cost, tasks, |task| {
        if let Err(error) = work(task) {
            *failure.lock().unwrap_or_else(PoisonError::into_inner) = Err(error);
        }
    });
    failure.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `work` on every task, on the threads of the current rayon pool when `cost` multiply-adds are worth it.
pub(crate) fn for_each<Task: Send>(cost: usize, tasks: Vec<Task>, work: impl Fn(Task) + Sync) {
    let helpers = rayon::current_num_threads().min(tasks.len()).saturating_sub(1);
    if helpers == 0 || cost < WORTH_A_THREAD {
        tasks.into_iter().for_each(work);
        return;
    }
    let queue = Mutex::new(tasks.into_iter());
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
    let drain = || {
        while let Some(task) = next() {
            work(task);
        }
    };
    rayon::in_place_scope(|scope| {
        for _ in 0..helpers {
            scope.spawn(|_| drain());
        }
        drain();
    });
}

#[cfg(test)]
pub(crate) fn on_threads<R: Send>(threads: usize, work: impl FnOnce() -> R + Send) -> R {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .unwrap()
        .install(work)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_is_done_once_on_any_number_of_threads() {
        for threads in [1, 2, 5] {
            for n in [0, 1, 2, 100] {
                let mut done = vec![0; n];
                on_threads(threads, || {
                    for_each(usize::MAX, done.iter_mut().collect(), |slot| *slot += 1);
                });
                assert!(done.iter().all(|&times| times == 1));
            }
        }
    }

    #[test]
    fn a_task_may_split_its_own_work() {
        let mut sums = vec![0; 8];
        on_threads(2, || {
            for_each(usize::MAX, sums.iter_mut().collect(), |sum: &mut i32| {
                let mut parts = [1; 16];
                for_each(usize::MAX, parts.iter_mut().collect(), |part| *part *= 2);
                *sum = parts.iter().sum();
            });
        });
        assert_eq!(sums, vec![32; 8]);
    }
}
