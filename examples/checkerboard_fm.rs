//! Flow matching on the checkerboard: train a velocity network, draw samples, and see how noise becomes a board.
//!
//! cargo run --example checkerboard_fm

#[path = "checkerboard_fm/report.rs"]
mod report;

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use candle_core::{DType, Device, Tensor};
use clap::Parser;
use tallow::datasets::Checkerboard;
use tallow::denoisers::{Dataset, Denoiser, Parameterization, Seeded};
use tallow::metrics::{Points, Statistic, energy_distance, wasserstein2};
use tallow::models::{Mlp, MlpConfig};
use tallow::nn::{AdamW, AdamWConfig, Ema, EmaDecay, Parameters, View};
use tallow::objectives::{Objective, Regression};
use tallow::plots::{Animation, Curves, Scatter, VectorField};
use tallow::schedules::{NamedSchedule, Schedule, TimeGrid};
use tallow::solvers::{Sampler, by_name, start};
use tallow::train::{LearningRate, Progress};
use tallow_examples::Outcome;
use tallow_examples::device::DeviceName;
use tallow_examples::output::OutputFolder;
use tallow_examples::points::{lattice, points};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Trains a velocity network by flow matching on a 4x4 checkerboard and draws 20,000 samples from it.
///
/// Writes pictures, an animation, the loss, the trained weights and a page with all of it, report.html, to the output
/// folder, and ends with one line of figures.
#[derive(Debug, Parser)]
#[command(name = "checkerboard_fm")]
struct Options {
    /// Training steps.
    #[arg(long, default_value_t = 9000, value_parser = clap::value_parser!(u64).range(1..))]
    steps: u64,
    /// Points in a training batch.
    #[arg(long, default_value_t = 512, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    batch: u64,
    /// Seed of everything random: the same seed gives the same files.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Where to compute.
    #[arg(long, value_enum, default_value_t)]
    device: DeviceName,
    /// Solver that draws the samples, in 100 network evaluations; an adaptive one takes what it needs.
    #[arg(long, default_value = "heun")]
    solver: String,
    /// Folder for the results.
    #[arg(long, value_name = "DIR", default_value = "target/checkerboard_fm")]
    out: PathBuf,
    /// A few seconds of everything, to see that it works.
    #[arg(long)]
    quick: bool,
}

const SAMPLES: usize = 20_000;
/// Samples under `--quick`.
const FEW_SAMPLES: usize = 4096;
const EVALUATIONS: usize = 100;
/// Points over which the exact W2 is taken.
const W2_POINTS: usize = 2048;
const MODEL: MlpConfig = MlpConfig {
    inputs: 2,
    outputs: 2,
    width: 256,
    depth: 4,
    activation: tallow::nn::Activation::Silu,
    points: tallow::models::PointFeatures::Harmonics {
        count: 16,
        base: std::f64::consts::FRAC_PI_2,
    },
    times: tallow::models::TimeFeatures::Octaves {
        count: 8,
        base: std::f64::consts::PI,
    },
    conditioning: tallow::models::Conditioning::Input,
    classes: 0,
};

fn main() -> Outcome {
    let options = Options::parse();
    let out = OutputFolder::create(&options.out)?;
    let device = options.device.open()?;
    let entry_cost = tallow::solvers::catalogue::find(&options.solver)?.evaluations;
    let solver = by_name(&options.solver)?;
    let named = NamedSchedule::LinearFlow;
    let schedule = named.build()?;
    let parameterization = Parameterization::flow_matching();

    let training = Instant::now();
    let (weights, loss) = train(&options, &schedule, parameterization, &device)?;
    let train_seconds = training.elapsed().as_secs_f64();

    let sampling = Instant::now();
    let network = Mlp::new(&weights.scope(), MODEL)?;
    let model = parameterization.denoiser(&network);
    let grid = TimeGrid::uniform(schedule.clone(), (EVALUATIONS / entry_cost).max(1))?;
    let count = if options.quick { FEW_SAMPLES } else { SAMPLES };
    let run = sample(solver.as_ref(), &model, &grid, count, options.seed, &device)?;
    let sample_seconds = sampling.elapsed().as_secs_f64();

    let data = Checkerboard::new()
        .draw(count, &mut Seeded::stream(options.seed, 3))?
        .x0;
    let samples = points(&run.samples)?;
    let on_board = samples
        .iter()
        .filter(|[x, y]| Checkerboard::is_black(f64::from(*x), f64::from(*y)))
        .count();
    let energy = energy_distance(
        &Points::from_tensor(&run.samples)?,
        &Points::from_tensor(&data)?,
        Statistic::V,
    )?;
    let first = |x: &Tensor| x.narrow(0, 0, W2_POINTS);
    let w2 = wasserstein2(
        &Points::from_tensor(&first(&run.samples)?)?,
        &Points::from_tensor(&first(&data)?)?,
    )?;

    draw(&out, &run, &points(&data)?, &model, &schedule, &device)?;
    let curve: Vec<[f64; 2]> = loss
        .iter()
        .enumerate()
        .map(|(step, loss)| [step as f64, *loss])
        .collect();
    Curves::new("Flow-matching loss on the checkerboard")
        .x("step")
        .y("loss")
        .smoothed("train", &curve, 200)
        .save(out.file("loss.png"))?;
    let metadata = serde_json::json!({
        "format": "tallow weights 1", "schedule": named, "parameterization": parameterization, "model": MODEL, "averaged": true,
    });
    tallow::nn::write_tensors(
        out.file("weights.safetensors"),
        weights.tensors(),
        &metadata.to_string(),
    )?;

    let on_board = on_board as f64 / count as f64;
    let metrics = [
        ["on black squares", &format!("{on_board:.4}")],
        ["energy distance", &format!("{energy:.5}")],
        ["W2 over 2,048 points", &format!("{:.4}", w2.distance)],
        ["network evaluations", &run.evaluations.to_string()],
    ];
    report::write(&options, &curve, &run, &points(&data)?, &metrics)?.save(out.file("report.html"))?;

    println!(
        "on_board={on_board:.4} energy_distance={energy:.5} w2={:.4} train_seconds={train_seconds:.1} \
         sample_seconds={sample_seconds:.1} nfe={} seed={}",
        w2.distance, run.evaluations, options.seed
    );
    Ok(())
}

/// The averaged weights after training, and the loss of every step.
fn train(
    options: &Options,
    schedule: &Arc<dyn Schedule>,
    parameterization: Parameterization,
    device: &Device,
) -> Result<(View, Vec<f64>), tallow_examples::Failure> {
    let steps = if options.quick {
        options.steps.min(100)
    } else {
        options.steps
    };
    let data = Checkerboard::new();
    let objective = Regression::new(schedule.clone(), parameterization);
    let parameters = Parameters::new(options.seed, DType::F32, device);
    let network = Mlp::new(&parameters.scope(), MODEL)?;
    let mut optimizer = AdamW::new(
        &parameters,
        AdamWConfig {
            weight_decay: 0.0,
            ..AdamWConfig::default()
        },
    )?;
    let mut average = Ema::new(&parameters, EmaDecay::WarmUp(0.998))?;
    let rate = LearningRate::cosine(8e-3, steps)?.with_warm_up(50.min(steps / 2));
    let (mut draws, mut noise) = (Seeded::stream(options.seed, 0), Seeded::stream(options.seed, 1));
    let mut progress = Progress::new("train", steps);
    let mut losses = Vec::new();
    for step in 0..steps {
        let batch = data
            .draw(options.batch as usize, &mut draws)?
            .to(device, DType::F32)?;
        let loss = objective.loss(&network, &batch, &mut noise)?.mean;
        optimizer.set_learning_rate(rate.at(step))?;
        optimizer.backward_step(&loss)?;
        average.update()?;
        losses.push(f64::from(loss.to_scalar::<f32>()?));
        progress.step(losses[losses.len() - 1]);
    }
    progress.finish();
    println!(
        "trained {} parameters in {steps} steps of {} points",
        parameters.count(),
        options.batch
    );
    Ok((average.detached(), losses))
}

/// What sampling led to, and the way there.
struct Journey {
    samples: Tensor,
    evaluations: usize,
    /// Time and the first points at each step.
    states: Vec<(f64, Vec<[f32; 2]>)>,
}

/// Points whose way is kept.
const FOLLOWED: usize = 2000;

fn sample(
    solver: &dyn Sampler,
    model: &dyn Denoiser,
    grid: &TimeGrid,
    count: usize,
    seed: u64,
    device: &Device,
) -> Result<Journey, tallow_examples::Failure> {
    let mut noise = Seeded::stream(seed, 2);
    let x = start(grid, (count, 2), DType::F32, device, &mut noise)?;
    let mut states = vec![(grid.first().t, points(&x.narrow(0, 0, FOLLOWED)?)?)];
    let mut failure = None;
    let sampled = solver.run(model, grid, &x, &mut noise, &mut |progress| {
        match progress.point.x.narrow(0, 0, FOLLOWED).and_then(|x| points(&x)) {
            Ok(state) => states.push((progress.step.to.t, state)),
            Err(error) => failure = Some(error),
        }
        if failure.is_some() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })?;
    match failure {
        Some(error) => Err(error.into()),
        None => Ok(Journey {
            samples: sampled.x,
            evaluations: sampled.evaluations,
            states,
        }),
    }
}

fn draw(
    out: &OutputFolder,
    run: &Journey,
    data: &[[f32; 2]],
    model: &dyn Denoiser,
    schedule: &Arc<dyn Schedule>,
    device: &Device,
) -> Outcome {
    Scatter::new("Checkerboard: the data and as many samples of the model")
        .panel("data", data)
        .panel("samples", &points(&run.samples)?)
        .bounds(-2.5..2.5, -2.5..2.5)
        .save(out.file("samples.png"))?;

    let mut animation = Animation::new().bounds(-3.0..3.0, -3.0..3.0);
    for (t, state) in &run.states {
        animation = animation.frame(format!("t = {t:.2}"), state);
    }
    animation.save(out.file("journey.gif"))?;

    let positions = lattice(20, 2.75)?.to_device(device)?;
    let mut field = VectorField::new("Velocity dx/dt of the trained model, and ten ways from noise to data")
        .bounds(-3.0..3.0, -3.0..3.0);
    for t in [0.9, 0.7, 0.5, 0.3, 0.1] {
        let velocity = model.estimate(&positions, schedule.level(t).into())?.velocity()?;
        field = field.panel(format!("t = {t}"), &points(&positions)?, &points(&velocity)?);
    }
    let ways: Vec<Vec<[f32; 2]>> = (0..10)
        .map(|point| run.states.iter().map(|(_, state)| state[point]).collect())
        .collect();
    field.trajectories(&ways).save(out.file("velocity_field.png"))?;
    Ok(())
}
