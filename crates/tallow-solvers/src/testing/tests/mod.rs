//! The catalogue under test: whatever is in it is covered.

mod orders;
mod planted;
mod properties;

use crate::{Entry, catalogue::SOLVERS};

/// Runs a check on every solver and gathers what fails.
fn every_solver(check: impl Fn(&Entry) -> Result<(), String> + Sync) {
    let failures: Vec<String> = std::thread::scope(|scope| {
        let halves: Vec<_> = (0..2)
            .map(|half| {
                let check = &check;
                scope.spawn(move || {
                    let mine = SOLVERS.iter().skip(half).step_by(2);
                    mine.filter_map(|entry| check(entry).err().map(|why| format!("{}: {why}", entry.name)))
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        halves.into_iter().flat_map(|half| half.join().unwrap()).collect()
    });
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
