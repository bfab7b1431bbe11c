//! Long runs on a network with trainable weights: the graph is cut at every step, so memory and stack stay as they are.
//!
//! The only test of its process: the memory of others would be counted with it.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::ops::ControlFlow;
use std::sync::Arc;
use std::thread;

use candle_core::{Device, Tensor, Var};
use tallow_denoisers::{Call, Denoiser, Parameterization, Seeded, network};
use tallow_schedules::{TimeGrid, VpCosine};
use tallow_solvers::Sampler;
use tallow_solvers::catalogue::{Claim, SOLVERS};

const STEPS: usize = 10_000;
const MIB: f64 = 1024.0 * 1024.0;

/// Memory of the process in use, in bytes.
fn resident() -> f64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: f64 = statm.split_whitespace().nth(1).unwrap().parse().unwrap();
    pages * 4096.0
}

/// x tanh-squashed by trainable weights: a data prediction that keeps states small.
fn model() -> impl Denoiser {
    let weights = Tensor::new(&[0.6f64, -0.7], &Device::Cpu).unwrap();
    let weights = Var::from_tensor(&weights).unwrap();
    let forward = move |call: &Call<'_>| call.x.broadcast_mul(weights.as_tensor())?.tanh();
    Parameterization::new(tallow_denoisers::Prediction::Data).denoiser(network(forward))
}

/// What memory grows by between a fifth of a run and its end; `keep` may hold on to states.
fn growth(sampler: &dyn Sampler, keep: &mut Vec<Tensor>, hold: impl Fn(&Tensor) -> Option<Tensor>) -> f64 {
    let grid = TimeGrid::uniform_lambda(Arc::new(VpCosine::default()), 0.95, 0.05, STEPS).unwrap();
    let x = Tensor::new(&[[0.4f64, -1.1]], &Device::Cpu).unwrap();
    let (mut seen, mut early) = (0, None);
    let sampled = sampler
        .run(&model(), &grid, &x, &mut Seeded::new(1), &mut |progress| {
            keep.extend(hold(&progress.point.x));
            seen += 1;
            if seen == STEPS / 5 {
                early = Some(resident());
            }
            ControlFlow::Continue(())
        })
        .unwrap();
    assert!(!sampled.x.track_op(), "the end still hangs on a graph");
    // Adaptive methods need fewer steps.
    early.map_or(0.0, |early| resident() - early)
}

fn in_a_small_stack<T: Send>(run: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let small = thread::Builder::new().stack_size(2 << 20);
        small.spawn_scoped(scope, run).unwrap().join().unwrap()
    })
}

#[test]
fn ten_thousand_steps_take_no_more_memory_than_one() {
    for entry in SOLVERS {
        let grown = in_a_small_stack(|| growth(&*entry.sampler(), &mut Vec::new(), |_| None));
        println!("{}: {:.0} KiB", entry.name, grown / 1024.0);
        // Adaptive methods keep the states at the times asked for until all rows have come past them: some 100 bytes each
        // of these. A graph would take a hundred times as much.
        let limit = if entry.claim == Claim::Tolerance {
            4.0 * MIB
        } else {
            MIB
        };
        assert!(grown < limit, "{} grew by {:.2} MiB", entry.name, grown / MIB);
    }
    // The meter works: states that are kept are seen. Last, since what is freed is used again.
    let kept = in_a_small_stack(|| {
        let mut keep = Vec::new();
        growth(&*SOLVERS[0].sampler(), &mut keep, |x| Some((x + 0.0).unwrap()))
    });
    assert!(kept > MIB, "the meter missed 8000 tensors: {kept} bytes");
}
