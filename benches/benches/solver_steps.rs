//! What a step costs beside the network, and how long each solver takes to a fixed error.
//!
//! cargo bench -p tallow-benches --bench solver_steps

use std::time::Duration;

use candle_core::{DType, Device, Tensor};
use criterion::{BenchmarkId, Criterion, Throughput};
use tallow::denoisers::{Denoiser, Estimate, Levels, Seeded};
use tallow::schedules::TimeGrid;
use tallow::solvers::catalogue::SOLVERS;
use tallow::solvers::testing::{Path, Problem, error};
use tallow::solvers::{Claim, Result, start};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Steps of a run whose time is divided by them.
const STEPS: usize = 20;
/// The error to reach on the mixture.
const ERROR: f64 = 1e-3;

/// A model that costs nothing: it returns its input.
struct Free;

impl Denoiser for Free {
    fn estimate(&self, x: &Tensor, at: Levels<'_>) -> tallow::denoisers::Result<Estimate> {
        Estimate::from_x0(x, x.clone(), at)
    }
}

fn main() -> Result<()> {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(600))
        .sample_size(10)
        .configure_from_args();
    steps(&mut criterion)?;
    to_a_fixed_error(&mut criterion)?;
    criterion.final_summary();
    Ok(())
}

/// Time of a step for each solver, the model's left out: a small state, and 16 images of 3 x 32 x 32.
fn steps(criterion: &mut Criterion) -> Result<()> {
    let grid = TimeGrid::uniform_lambda(Path::VpCosine.schedule(), 0.95, 0.05, STEPS)?;
    for (name, shape) in [("step/64x2", (64, 2)), ("step/16x3072", (16, 3072))] {
        let x = start(&grid, shape, DType::F32, &Device::Cpu, &mut Seeded::new(0))?;
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Elements(STEPS as u64));
        for entry in SOLVERS {
            let (sampler, mut noise) = (entry.sampler(), Seeded::new(1));
            group.bench_function(entry.name, |bencher| {
                bencher.iter(|| sampler.sample(&Free, &grid, &x, &mut noise));
            });
        }
        group.finish();
    }
    Ok(())
}

/// Time to an error of 1e-3 on the mixture in the plane, with the exact denoiser, for 8 rows.
fn to_a_fixed_error(criterion: &mut Criterion) -> Result<()> {
    let problem = Problem::mixture_2d(Path::VpCosine)?;
    let mut group = criterion.benchmark_group("to an error of 1e-3");
    for entry in SOLVERS {
        if !matches!(entry.claim, Claim::Order(_)) {
            continue;
        }
        let sampler = entry.sampler();
        let mut steps = 2;
        while error(&*sampler, &problem, steps)?.error > ERROR {
            // A quarter more, so that the error is just reached.
            steps += 1 + steps / 4;
        }
        let grid = problem.grid(steps)?;
        let evaluations = error(&*sampler, &problem, steps)?.evaluations;
        let id = BenchmarkId::new(entry.name, format!("{evaluations} evaluations"));
        group.bench_function(id, |bencher| {
            let mut noise = Seeded::new(0);
            bencher.iter(|| sampler.sample(problem.model(), &grid, &problem.start, &mut noise));
        });
    }
    group.finish();
    Ok(())
}
