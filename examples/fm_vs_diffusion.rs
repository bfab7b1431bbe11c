//! Flow matching against diffusion: the same network, data, budget and solvers; only path and prediction differ.
//!
//! cargo run --example fm_vs_diffusion

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use candle_core::{DType, Device, Tensor};
use clap::Parser;
use tallow::datasets::Checkerboard;
use tallow::denoisers::{Dataset, Denoiser, Parameterization, Prediction, Seeded};
use tallow::models::{Mlp, MlpConfig};
use tallow::objectives::{Regression, TimeSampling};
use tallow::plots::{Curves, Scatter};
use tallow::schedules::{RectifiedFlow, Schedule, TimeGrid, Trigonometric, VpLinear};
use tallow::solvers::{by_name, start};
use tallow_examples::device::DeviceName;
use tallow_examples::output::OutputFolder;
use tallow_examples::points::{energy, points};
use tallow_examples::training::{Budget, curve, train};
use tallow_examples::{Failure, Outcome};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Trains one network by flow matching, one to predict noise and one to predict v, and measures their samples over the
/// number of network evaluations.
///
/// Writes samples, training curves and energy distances as pictures, and ends with one line of figures.
#[derive(Debug, Parser)]
#[command(name = "fm_vs_diffusion")]
struct Options {
    /// Training steps of each network.
    #[arg(long, default_value_t = 3000, value_parser = clap::value_parser!(u64).range(1..))]
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
    /// Folder for the results.
    #[arg(long, value_name = "DIR", default_value = "target/fm_vs_diffusion")]
    out: PathBuf,
    /// A few seconds of everything, to see that it works.
    #[arg(long)]
    quick: bool,
}

/// Network evaluations of a run; Heun takes two a step.
const EVALUATIONS: [usize; 5] = [4, 10, 20, 50, 100];
/// The number whose samples are shown.
const SHOWN: usize = 10;
/// Samples and data over which distances are taken.
const POINTS: usize = 4096;
/// The same under `--quick`.
const FEW_POINTS: usize = 1024;
/// Part of the path that training and sampling leave out at its clean end, where VP's slope is infinite.
const CLEAN: f64 = 1e-3;

/// A way to train: a name, the path, what is predicted.
struct Way {
    name: &'static str,
    path: Arc<dyn Schedule>,
    prediction: Prediction,
}

fn ways() -> [Way; 3] {
    let way = |name, path, prediction| Way {
        name,
        path,
        prediction,
    };
    [
        way(
            "flow matching",
            Arc::new(RectifiedFlow::default()),
            Prediction::Velocity,
        ),
        way(
            "diffusion, noise",
            Arc::new(VpLinear::default()),
            Prediction::Noise,
        ),
        way("diffusion, v", Arc::new(Trigonometric), Prediction::V),
    ]
}

fn model_config() -> MlpConfig {
    MlpConfig {
        width: 192,
        depth: 4,
        ..MlpConfig::new(2).with_waves(2.0)
    }
}

fn main() -> Outcome {
    let started = Instant::now();
    let options = Options::parse();
    let out = OutputFolder::create(&options.out)?;
    let device = options.device.open()?;
    let data = Checkerboard::new();
    let budget = Budget {
        steps: if options.quick {
            options.steps.min(50)
        } else {
            options.steps
        },
        batch: options.batch as usize,
        seed: options.seed,
    };
    let count = if options.quick { FEW_POINTS } else { POINTS };
    let mut draws = Seeded::stream(options.seed, 3);
    let (real, other) = (data.draw(count, &mut draws)?.x0, data.draw(count, &mut draws)?.x0);
    let floor = energy(&other, &real)?;
    println!("energy distance of two fresh draws of the data: {floor:.5}");

    let mut losses = Curves::new("The same network under three losses, each of its own target")
        .x("step")
        .y_log("mean squared error");
    let mut distances = Curves::new("Energy distance to the data, by one solver on each path")
        .x_log("network evaluations")
        .y_log("energy distance");
    let mut samples = Scatter::new(format!(
        "Checkerboard: the data, and samples in {SHOWN} evaluations of DDIM"
    ))
    .panel("data", &points(&real)?);
    let mut figures = Vec::new();
    for way in ways() {
        let parameterization = Parameterization::new(way.prediction);
        let times = TimeSampling::stratified().within(CLEAN, 1.0)?;
        let objective = Regression::new(way.path.clone(), parameterization).with_times(times);
        let (weights, loss) = train(way.name, model_config(), &objective, &data, budget, &device)?;
        losses = losses.smoothed(way.name, &curve(&loss), 200);
        let network = Mlp::new(&weights.scope(), model_config())?;
        let model = parameterization.denoiser(&network);
        for (solver, cost) in [("ddim", 1), ("heun", 2)] {
            let mut measured = Vec::new();
            for evaluations in EVALUATIONS {
                let grid = TimeGrid::uniform(way.path.clone(), evaluations / cost)?;
                let drawn = sample(&model, solver, &grid, (count, options.seed), &device)?;
                let distance = energy(&drawn.0, &real)?;
                println!(
                    "{:>17}, {solver}, {:>3} evaluations: {distance:.5}",
                    way.name, drawn.1
                );
                if solver == "ddim" && evaluations == SHOWN {
                    samples = samples.panel(format!("{} ({distance:.4})", way.name), &points(&drawn.0)?);
                }
                measured.push([drawn.1 as f64, distance]);
                let short = way.name.replace(", ", "_").replace(' ', "_");
                figures.push(format!("energy_{short}_{solver}_{evaluations}={distance:.5}"));
            }
            distances = distances.marked(format!("{}, {solver}", way.name), &measured);
        }
    }
    let level = [[3.0, floor], [100.0, floor]];
    distances
        .line("two draws of the data", &level)
        .save(out.file("energy.png"))?;
    losses.save(out.file("loss.png"))?;
    samples
        .bounds(-2.5..2.5, -2.5..2.5)
        .save(out.file("samples.png"))?;
    println!(
        "{} energy_data={floor:.5} seconds={:.1} seed={}",
        figures.join(" "),
        started.elapsed().as_secs_f64(),
        options.seed
    );
    Ok(())
}

/// Samples, and how many evaluations they took.
fn sample(
    model: &dyn Denoiser,
    solver: &str,
    grid: &TimeGrid,
    (count, seed): (usize, u64),
    device: &Device,
) -> Result<(Tensor, usize), Failure> {
    let mut noise = Seeded::stream(seed, 2);
    let x = start(grid, (count, 2), DType::F32, device, &mut noise)?;
    let sampled = by_name(solver)?.run(model, grid, &x, &mut noise, &mut |_| ControlFlow::Continue(()))?;
    Ok((sampled.x, sampled.evaluations))
}
