//! What judging large samples takes: one JSON line a task, which `scripts/bench/metrics.py` sets beside SciPy's.
//!
//! cargo run --release -p tallow-benches --bin metrics

use std::process::ExitCode;
use std::time::Instant;

use candle_core::{DType, Device, Tensor};
use tallow::denoisers::{Noise, Seeded};
use tallow::metrics::{Moments, Points, Projections, frechet_distance, sliced_wasserstein2, wasserstein2};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Failure = Box<dyn std::error::Error>;
/// One call of a task's work.
type Work = Box<dyn FnMut() -> Result<(), Failure>>;
/// What gets a task ready.
type Make = fn() -> Result<Work, Failure>;

/// Counted runs of a task.
const RUNS: usize = 3;
/// Name, and what makes the work.
const TASKS: &[(&str, Make)] = &[
    ("exact_w2_2048", exact),
    ("frechet_2048", frechet),
    ("sliced_w2_50000", sliced),
];

fn main() -> ExitCode {
    for (name, make) in TASKS {
        match time(make) {
            Ok(ms) => println!("{{\"task\": \"{name}\", \"ms\": {ms:.1}}}"),
            Err(error) => {
                eprintln!("{name}: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

/// The median in milliseconds, after a call to warm up.
fn time(make: &Make) -> Result<f64, Failure> {
    let mut work = make()?;
    work()?;
    let mut times = Vec::with_capacity(RUNS);
    for _ in 0..RUNS {
        let start = Instant::now();
        work()?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    Ok(times[RUNS / 2])
}

/// Normal points, stretched and shifted.
fn cloud(
    count: usize,
    dimension: usize,
    seed: u64,
    scale: f64,
    shift: f64,
) -> Result<Points<'static>, Failure> {
    let like = Tensor::zeros((count, dimension), DType::F64, &Device::Cpu)?;
    let points = Seeded::new(seed).fresh(&like)?.affine(scale, shift)?;
    Ok(Points::from_tensor(&points)?)
}

/// Exact W₂ of 2,048 points of the plane, costs included.
fn exact() -> Result<Work, Failure> {
    let (x, y) = (cloud(2048, 2, 1, 1.0, 0.0)?, cloud(2048, 2, 2, 1.0, 0.5)?);
    Ok(Box::new(move || {
        wasserstein2(&x, &y)?;
        Ok(())
    }))
}

/// The Fréchet distance of 2,048 features, from moments of 3,000 points.
fn frechet() -> Result<Work, Failure> {
    let (x, y) = (cloud(3000, 2048, 3, 1.0, 0.0)?, cloud(3000, 2048, 4, 1.1, 0.0)?);
    let (x, y) = (Moments::of(&x)?, Moments::of(&y)?);
    Ok(Box::new(move || {
        frechet_distance(&x, &y)?;
        Ok(())
    }))
}

/// Sliced W₂ of 50,000 points of the plane along 50 directions.
fn sliced() -> Result<Work, Failure> {
    let (x, y) = (cloud(50_000, 2, 5, 1.0, 0.0)?, cloud(50_000, 2, 6, 1.0, 0.5)?);
    let directions: Vec<f64> = (0..50)
        .flat_map(|k| {
            let (sin, cos) = (f64::from(k) * std::f64::consts::PI / 50.0).sin_cos();
            [cos, sin]
        })
        .collect();
    let directions = Projections::new(&directions, 2)?;
    Ok(Box::new(move || {
        sliced_wasserstein2(&x, &y, &directions)?;
        Ok(())
    }))
}
