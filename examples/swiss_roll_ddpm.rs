//! DDPM on the swiss roll: the course exercise, with DDIM at 1000, 100, 50 and 10 steps from the same network.
//!
//! cargo run --example swiss_roll_ddpm

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use candle_core::{DType, Device, Tensor};
use clap::Parser;
use tallow::datasets::SwissRoll;
use tallow::denoisers::{Dataset, Denoiser, Drawn, Parameterization, Seeded, lincomb, normal_like};
use tallow::metrics::{Points, chamfer_sum};
use tallow::models::{Conditioning, Mlp, MlpConfig, PointFeatures, TimeFeatures};
use tallow::nn::{AdamW, AdamWConfig, Ema, EmaDecay, Parameters, View};
use tallow::objectives::{Regression, TimeSampling};
use tallow::plots::{Curves, Scatter, Strip};
use tallow::schedules::{Schedule, Table, TimeGrid};
use tallow::solvers::{Ddim, Ddpm, Sampler, start};
use tallow::train::{LearningRate, Progress, Trainer};
use tallow_examples::Outcome;
use tallow_examples::device::DeviceName;
use tallow_examples::output::OutputFolder;
use tallow_examples::points::points;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Trains DDPM on a swiss roll with a hole and samples it with DDPM and DDIM.
///
/// Chamfer distances (the sum of squared nearest-neighbour distances both ways over 2,048 points) are printed beside the
/// distance between two fresh draws of the data.
#[derive(Debug, Parser)]
#[command(name = "swiss_roll_ddpm")]
struct Options {
    /// Training steps.
    #[arg(long, default_value_t = 5000, value_parser = clap::value_parser!(u64).range(1..))]
    steps: u64,
    /// Points in a training batch.
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    batch: u64,
    /// Seed of everything random: the same seed gives the same files.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Where to compute.
    #[arg(long, value_enum, default_value_t)]
    device: DeviceName,
    /// Folder for the results.
    #[arg(long, value_name = "DIR", default_value = "target/swiss_roll_ddpm")]
    out: PathBuf,
    /// A few seconds of everything, to see that it works.
    #[arg(long)]
    quick: bool,
}

/// Points over which the Chamfer distance is taken.
const POINTS: usize = 2048;
const TABLE_STEPS: usize = 1000;

fn model_config() -> MlpConfig {
    MlpConfig {
        width: 128,
        depth: 3,
        points: PointFeatures::Harmonics {
            count: 2,
            base: std::f64::consts::PI / 8.0,
        },
        times: TimeFeatures::Sinusoidal { outputs: 128 },
        conditioning: Conditioning::Gates,
        ..MlpConfig::new(2)
    }
}

fn main() -> Outcome {
    let options = Options::parse();
    let out = OutputFolder::create(&options.out)?;
    let device = options.device.open()?;
    let table = Arc::new(Table::linear_beta(TABLE_STEPS, 1e-4, 0.02)?);
    let data = SwissRoll::course();

    let training = Instant::now();
    let (weights, losses) = train(&options, &data, table.clone(), &device)?;
    let train_seconds = training.elapsed().as_secs_f64();
    let network = Mlp::new(&weights.scope(), model_config())?;
    let model = Parameterization::ddpm(TABLE_STEPS).denoiser(&network);

    let mut draws = Seeded::stream(options.seed, 3);
    let (real, other) = (
        data.draw(POINTS, &mut draws)?.x0,
        data.draw(POINTS, &mut draws)?.x0,
    );
    let chamfer = |x: &Tensor| -> Result<f64, tallow_examples::Failure> {
        Ok(chamfer_sum(
            &Points::from_tensor(x)?,
            &Points::from_tensor(&real)?,
        )?)
    };
    println!(
        "Chamfer distance over {POINTS} points; two fresh draws of the data: {:.2}",
        chamfer(&other)?
    );

    let mut picture = Scatter::new(
        "Swiss roll: the data and one network under DDPM and DDIM (Chamfer distance in brackets)",
    )
    .panel("data", &points(&real)?);
    let mut figures = Vec::new();
    let ddpm_steps = if options.quick { 20 } else { TABLE_STEPS };
    let mut runs: Vec<(String, Box<dyn Sampler>, usize)> = vec![(
        format!("ddpm_{ddpm_steps}"),
        Box::new(Ddpm::default()),
        ddpm_steps,
    )];
    for steps in [1000, 100, 50, 10]
        .into_iter()
        .filter(|steps| !options.quick || *steps <= 50)
    {
        runs.push((format!("ddim_{steps}"), Box::new(Ddim::default()), steps));
    }
    for (name, sampler, steps) in &runs {
        let grid = TimeGrid::trailing(table.clone(), *steps)?;
        let sampled = sample(sampler.as_ref(), &model, &grid, options.seed, &device)?;
        let distance = chamfer(&sampled)?;
        println!("{name:>10}: {distance:.2}");
        picture = picture.panel(
            format!("{} steps ({distance:.1})", name.to_uppercase().replace('_', ", ")),
            &points(&sampled)?,
        );
        figures.push(format!("chamfer_{name}={distance:.3}"));
    }
    picture.save(out.file("samples.png"))?;

    forward_process(&out, &data, table.as_ref(), options.seed)?;
    along_the_way(&out, &model, table, options.seed, &device)?;
    let curve: Vec<[f64; 2]> = losses
        .iter()
        .enumerate()
        .map(|(step, loss)| [step as f64, *loss])
        .collect();
    Curves::new("Loss on the noise, swiss roll")
        .x("step")
        .y("loss")
        .smoothed("train", &curve, 100)
        .save(out.file("loss.png"))?;
    println!(
        "{} chamfer_data={:.3} train_seconds={train_seconds:.1} seed={}",
        figures.join(" "),
        chamfer(&other)?,
        options.seed
    );
    Ok(())
}

/// The averaged weights after training, and the loss of every step.
fn train(
    options: &Options,
    data: &SwissRoll,
    table: Arc<Table>,
    device: &Device,
) -> Result<(View, Vec<f64>), tallow_examples::Failure> {
    let steps = if options.quick {
        options.steps.min(200)
    } else {
        options.steps
    };
    let objective = Regression::new(table, Parameterization::ddpm(TABLE_STEPS))
        .with_times(TimeSampling::steps(TABLE_STEPS)?);
    let parameters = Parameters::new(options.seed, DType::F32, device);
    let network = Mlp::new(&parameters.scope(), model_config())?;
    let optimizer = AdamW::new(
        &parameters,
        AdamWConfig {
            weight_decay: 0.0,
            ..AdamWConfig::default()
        },
    )?;
    let average = Ema::new(&parameters, EmaDecay::WarmUp(0.995))?;
    let averaged = average.detached();
    let rate = LearningRate::cosine(3e-3, steps)?.with_warm_up(300.min(steps / 2));
    let draws = Seeded::stream(options.seed, 0);
    let batches = Drawn::new(data, options.batch as usize, draws)?;
    let mut losses = Vec::new();
    Trainer::new(&parameters, &network, &objective, batches, optimizer)
        .with_average(average)
        .with_learning_rate(rate)
        .with_callback(|report| {
            losses.push(report.loss);
            ControlFlow::Continue(())
        })
        .run(steps)?;
    println!(
        "trained {} parameters in {steps} steps of {} points",
        parameters.count(),
        options.batch
    );
    Ok((averaged, losses))
}

fn sample(
    sampler: &dyn Sampler,
    model: &dyn Denoiser,
    grid: &TimeGrid,
    seed: u64,
    device: &Device,
) -> Result<Tensor, tallow_examples::Failure> {
    let mut noise = Seeded::stream(seed, 2);
    let x = start(grid, (POINTS, 2), DType::F32, device, &mut noise)?;
    let progress = Progress::new("sample", grid.step_count() as u64);
    let sampled = sampler.run(model, grid, &x, &mut noise, &mut |_| {
        progress.tick();
        ControlFlow::Continue(())
    })?;
    progress.finish();
    Ok(sampled.x)
}

/// What noise makes of the data, at six times.
fn forward_process(out: &OutputFolder, data: &SwissRoll, table: &Table, seed: u64) -> Outcome {
    let mut draws = Seeded::stream(seed, 4);
    let x0 = data.draw(POINTS, &mut draws)?.x0;
    let noise = normal_like(&x0, &mut draws)?;
    let mut strip =
        Strip::new("The forward process: the swiss roll becomes noise").bounds(-5.0..5.0, -5.0..5.0);
    for t in [0.0, 0.05, 0.1, 0.2, 0.5, 1.0] {
        let level = table.level(t);
        let x_t = lincomb([(level.alpha, &x0), (level.sigma, &noise)])?;
        strip = strip.at(
            format!("step {}", (t * TABLE_STEPS as f64).round()),
            &points(&x_t)?,
        );
    }
    strip.save(out.file("forward_process.png"))?;
    Ok(())
}

/// The state and the estimate of the data along a run of DDIM.
fn along_the_way(
    out: &OutputFolder,
    model: &dyn Denoiser,
    table: Arc<Table>,
    seed: u64,
    device: &Device,
) -> Outcome {
    let grid = TimeGrid::trailing(table, 50)?;
    let mut noise = Seeded::stream(seed, 2);
    let x = start(&grid, (POINTS, 2), DType::F32, device, &mut noise)?;
    let mut seen = Vec::new();
    Ddim::default().run(model, &grid, &x, &mut noise, &mut |progress| {
        if [0, 10, 25, 40, 46, 49].contains(&progress.step.index) {
            let estimate = &progress.point.estimate;
            seen.push((progress.step.from.t, estimate.x().clone(), estimate.x0()));
        }
        ControlFlow::Continue(())
    })?;
    let mut strip = Strip::new("DDIM, 50 steps: the state, and beneath it the estimate of the data")
        .bounds(-5.0..5.0, -5.0..5.0);
    for (t, x, x0) in seen {
        strip = strip.at_with_estimate(format!("t = {t:.2}"), &points(&x)?, &points(&x0?)?);
    }
    strip.save(out.file("estimate.png"))?;
    Ok(())
}
