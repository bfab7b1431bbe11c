//! Training for long takes no more memory than training for a while.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod choices;

use std::ops::ControlFlow;

use choices::{Choices, with_files};
use tallow_train::Checkpoints;

/// What this process holds in memory, in bytes.
fn resident() -> i64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: i64 = statm.split_whitespace().nth(1).unwrap().parse().unwrap();
    pages * 4096
}

/// `TALLOW_MEMORY_STEPS=100000` runs the whole promise.
fn steps() -> u64 {
    std::env::var("TALLOW_MEMORY_STEPS").map_or(6000, |steps| steps.parse().unwrap())
}

#[test]
fn after_the_first_thousand_steps_memory_does_not_grow() {
    let choices = Choices {
        objective: 0,
        coupling: 2,
        average: 3,
        optimizer: 0,
        data: 1,
    };
    let folder = tempfile::tempdir().unwrap();
    let (steps, mut first, mut last) = (steps(), 0, 0);
    choices.with_run(steps, |trainer| {
        let checkpoints = Checkpoints::open(folder.path().join("checkpoints")).unwrap();
        with_files(trainer, folder.path())
            .with_checkpoints(checkpoints, 500)
            .unwrap()
            .with_callback(|report| {
                match report.step {
                    1000 => first = resident(),
                    step if step == steps => last = resident(),
                    _ => {}
                }
                ControlFlow::Continue(())
            })
            .run(steps)
            .unwrap();
    });
    println!("{steps} steps: {first} bytes after the first thousand, {last} at the end");
    assert!(
        first > 0 && last - first <= 5_000_000,
        "{first} bytes became {last}"
    );
}
