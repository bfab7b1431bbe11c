//! The work of the side-by-side benchmark with PyTorch, timed: one JSON line a task.
//!
//! cargo run --release -p tallow-benches --bin versus -- [TASK ... | --grow NETWORK]

#[path = "versus/dit.rs"]
mod dit;
#[path = "versus/growth.rs"]
mod growth;

#[path = "versus/images.rs"]
mod images;
#[path = "versus/unet.rs"]
mod unet;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use candle_core::{DType, Device, Tensor};
use dit::Dit;
use tallow::datasets::Checkerboard;
use tallow::denoisers::{Dataset, Network, Noise, Parameterization, Seeded, network, normal_like};
use tallow::metrics::{Points, wasserstein2};
use tallow::models::{Mlp, MlpConfig};
use tallow::nn::{AdamW, AdamWConfig, Parameters};
use tallow::objectives::{Objective, Regression};
use tallow::schedules::{RectifiedFlow, Table, TimeGrid};
use tallow::solvers::{Dpmpp2m, Euler, Sampler};
use unet::UNet;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Failure = Box<dyn std::error::Error>;
/// One call of a task's work.
type Work = Box<dyn FnMut() -> Result<(), Failure>>;

/// What gets a task ready.
type Make = fn() -> Result<Work, Failure>;

/// Name, counted runs, and what makes the work.
const TASKS: &[(&str, usize, Make)] = &[
    ("mlp_train_256", 60, || mlp_train(256)),
    ("mlp_train_4096", 30, || mlp_train(4096)),
    ("mlp_sample_4096x100", 3, mlp_sample),
    ("unet_train_32", 8, || {
        images::train(|scope| UNet::new(scope, 32), 32)
    }),
    ("unet_sample_16x10", 5, || {
        images::sample(|scope| UNet::new(scope, 32), 16)
    }),
    ("dit_train_32", 8, || images::train(Dit::new, 32)),
    ("dit_sample_16x10", 5, || images::sample(Dit::new, 16)),
    ("solver_overhead_20", 10, solver_overhead),
    ("exact_ot_512", 10, || exact_ot(512)),
    ("randn_1m", 20, randn),
];

fn main() -> ExitCode {
    let names: Vec<String> = std::env::args().skip(1).collect();
    let known = || TASKS.iter().map(|task| task.0).collect::<Vec<_>>().join(", ");
    if names.iter().any(|name| name == "--help" || name == "-h") {
        println!(
            "usage: versus [TASK ...]\n       versus --grow NETWORK\n\nTimes tasks, all when none is named, one JSON line \
             each: {}\nWith --grow, time and peak memory of a network's training step against the batch: mlp, unet, dit",
            known()
        );
        return ExitCode::SUCCESS;
    }
    if let [first, rest @ ..] = names.as_slice()
        && first == "--grow"
    {
        return match growth::grow(rest) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{error}");
                ExitCode::FAILURE
            }
        };
    }
    if let Some(unknown) = names
        .iter()
        .find(|name| TASKS.iter().all(|task| task.0 != name.as_str()))
    {
        eprintln!("no task is named {unknown:?}: the tasks are {}", known());
        return ExitCode::from(2);
    }
    for (name, runs, make) in TASKS {
        if !names.is_empty() && !names.iter().any(|wanted| wanted == name) {
            continue;
        }
        match time(*runs, *make) {
            Ok((ms, min_ms)) => {
                println!(
                    "{{\"task\": \"{name}\", \"ms\": {ms:.4}, \"min_ms\": {min_ms:.4}, \"runs\": {runs}}}"
                );
            }
            Err(error) => {
                eprintln!("{name}: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

/// Median and minimum in milliseconds, after two calls to warm up.
fn time(runs: usize, make: impl FnOnce() -> Result<Work, Failure>) -> Result<(f64, f64), Failure> {
    let mut work = make()?;
    let mut times = Vec::with_capacity(runs);
    for run in 0..runs + 2 {
        let start = Instant::now();
        work()?;
        if run >= 2 {
            times.push(start.elapsed().as_secs_f64() * 1e3);
        }
    }
    times.sort_by(f64::total_cmp);
    Ok((times[runs / 2], times[0]))
}

/// [x, t] → four hidden layers of 256 with SiLU → 2.
fn mlp_config() -> MlpConfig {
    MlpConfig {
        width: 256,
        depth: 4,
        ..MlpConfig::new(2)
    }
}

/// A whole flow-matching step: batch, noise and times drawn, forward, backward, AdamW.
fn mlp_train(batch: usize) -> Result<Work, Failure> {
    let parameters = Parameters::new(0, DType::F32, &Device::Cpu);
    let network = Mlp::new(&parameters.scope(), mlp_config())?;
    let config = AdamWConfig {
        learning_rate: 1e-3,
        ..AdamWConfig::default()
    };
    let mut optimizer = AdamW::new(&parameters, config)?;
    let objective = Regression::new(
        Arc::new(RectifiedFlow::default()),
        Parameterization::flow_matching(),
    );
    let mut rng = Seeded::new(0);
    Ok(Box::new(move || {
        let data = Checkerboard::new().draw(batch, &mut rng)?;
        let loss = objective.loss(&network, &data, &mut rng)?;
        Ok(optimizer.backward_step(&loss.mean)?)
    }))
}

/// 100 Euler steps of 4096 points, without a gradient.
fn mlp_sample() -> Result<Work, Failure> {
    let parameters = Parameters::new(0, DType::F32, &Device::Cpu);
    let trained = Mlp::new(&parameters.scope(), mlp_config())?;
    let network = Mlp::new(&parameters.detached().scope(), *trained.config())?;
    let model = Parameterization::flow_matching().denoiser(network);
    let grid = TimeGrid::uniform(Arc::new(RectifiedFlow::default()), 100)?;
    let mut noise = Seeded::new(0);
    let x = normal_like(&Tensor::zeros((4096, 2), DType::F32, &Device::Cpu)?, &mut noise)?;
    Ok(Box::new(move || {
        Euler::default().sample(&model, &grid, &x, &mut noise)?;
        Ok(())
    }))
}

/// 20 steps of DPM-Solver++(2M) with a model that returns its input.
fn solver_overhead() -> Result<Work, Failure> {
    let mut noise = Seeded::new(0);
    let x = normal_like(
        &Tensor::zeros((64, 3, 32, 32), DType::F32, &Device::Cpu)?,
        &mut noise,
    )?;
    Ok(Box::new(move || {
        let table = Arc::new(Table::linear_beta(1000, 1e-4, 0.02)?);
        let grid = TimeGrid::linspace_n_plus_1(table, 20)?;
        let model = Parameterization::ddpm(1000).denoiser(identity());
        Dpmpp2m::default().sample(&model, &grid, &x, &mut noise)?;
        Ok(())
    }))
}

fn identity() -> impl Network {
    network(|call| Ok(call.x.clone()))
}

/// The exact pairing of `count` points of the board with as many of noise, costs included.
fn exact_ot(count: usize) -> Result<Work, Failure> {
    let mut rng = Seeded::new(0);
    let data = Checkerboard::new().draw(count, &mut rng)?.x0;
    let (data, noise) = (
        Points::from_tensor(&data)?,
        Points::from_tensor(&normal_like(&data, &mut rng)?)?,
    );
    Ok(Box::new(move || {
        wasserstein2(&data, &noise)?;
        Ok(())
    }))
}

/// A seeded normal tensor of 2²⁰ values.
fn randn() -> Result<Work, Failure> {
    let like = Tensor::zeros(1 << 20, DType::F32, &Device::Cpu)?;
    let mut rng = Seeded::new(0);
    Ok(Box::new(move || {
        rng.fresh(&like)?;
        Ok(())
    }))
}
