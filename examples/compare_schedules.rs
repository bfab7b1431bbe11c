//! Two noise schedules, one network: DDPM's linear table against the cosine of iDDPM, at few and at many steps.
//!
//! cargo run --example compare_schedules

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use candle_core::{DType, Device, Tensor};
use clap::Parser;
use tallow::datasets::{Spirals, Standardized};
use tallow::denoisers::{Dataset, Denoiser, Parameterization, Seeded};
use tallow::models::{Mlp, MlpConfig};
use tallow::objectives::{Regression, TimeSampling};
use tallow::plots::{Curves, Scatter};
use tallow::schedules::{Prediction, Table, TimeGrid};
use tallow::solvers::{Ddim, Sampler, start};
use tallow_examples::device::DeviceName;
use tallow_examples::output::OutputFolder;
use tallow_examples::points::{energy, points};
use tallow_examples::training::{Budget, curve, train};
use tallow_examples::{Failure, Outcome};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Trains one network on the linear and one on the cosine table, and draws samples at 10, 50 and 100 steps of DDIM.
///
/// Writes the samples, the training curves and the energy distances as pictures, and ends with one line of figures.
#[derive(Debug, Parser)]
#[command(name = "compare_schedules")]
struct Options {
    /// Training steps of each network.
    #[arg(long, default_value_t = 4000, value_parser = clap::value_parser!(u64).range(1..))]
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
    #[arg(long, value_name = "DIR", default_value = "target/compare_schedules")]
    out: PathBuf,
    /// A few seconds of everything, to see that it works.
    #[arg(long)]
    quick: bool,
}

/// Steps of both tables.
const TABLE_STEPS: usize = 1000;
const STEPS: [usize; 3] = [10, 50, 100];
/// Samples and data over which distances are taken.
const POINTS: usize = 4096;
/// The same under `--quick`.
const FEW_POINTS: usize = 1024;

fn model_config() -> MlpConfig {
    MlpConfig {
        width: 192,
        ..MlpConfig::new(2).with_waves(3.0)
    }
}

/// Both networks predict v: at the noisy end of the cosine table, noise hardly sees the data. Both are told t itself.
fn parameterization() -> Parameterization {
    Parameterization::new(Prediction::V)
}

fn main() -> Outcome {
    let started = Instant::now();
    let options = Options::parse();
    let out = OutputFolder::create(&options.out)?;
    let device = options.device.open()?;
    let data = Standardized::measure(
        Box::new(Spirals::new()),
        10_000,
        &mut Seeded::stream(options.seed, 5),
    )?;
    let budget = Budget {
        steps: if options.quick {
            options.steps.min(150)
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

    let tables: [(&str, Arc<Table>); 2] = [
        ("linear", Arc::new(Table::linear_beta(TABLE_STEPS, 1e-4, 0.02)?)),
        ("cosine", Arc::new(Table::cosine(TABLE_STEPS, 0.008, 0.999)?)),
    ];
    let mut losses = Curves::new("Training on two schedules: mean squared error of v")
        .x("step")
        .y_log("loss");
    let mut distances = Curves::new("Energy distance of the samples to the data")
        .x_log("steps of DDIM")
        .y_log("energy distance");
    let mut samples =
        Scatter::new("Spirals: the data, and DDIM on two schedules (energy distance in brackets)")
            .panel("data", &points(&real)?);
    let mut figures = Vec::new();
    for (name, table) in tables {
        let objective = Regression::new(table.clone(), parameterization())
            .with_times(TimeSampling::steps(TABLE_STEPS)?.in_strata());
        let (weights, loss) = train(name, model_config(), &objective, &data, budget, &device)?;
        losses = losses.smoothed(name, &curve(&loss), 200);
        let network = Mlp::new(&weights.scope(), model_config())?;
        let model = parameterization().denoiser(&network);
        let mut measured = Vec::new();
        for steps in STEPS {
            let drawn = sample(
                &model,
                &TimeGrid::trailing(table.clone(), steps)?,
                (count, options.seed),
                &device,
            )?;
            let distance = energy(&drawn, &real)?;
            println!("{name:>8}, {steps:>3} steps: {distance:.5}");
            samples = samples.panel(format!("{name}, {steps} steps ({distance:.4})"), &points(&drawn)?);
            measured.push([steps as f64, distance]);
            figures.push(format!("energy_{name}_{steps}={distance:.5}"));
        }
        distances = distances.marked(name, &measured);
    }
    let level: Vec<[f64; 2]> = STEPS.iter().map(|steps| [*steps as f64, floor]).collect();
    distances
        .line("two draws of the data", &level)
        .save(out.file("energy.png"))?;
    losses.save(out.file("loss.png"))?;
    samples
        .bounds(-2.2..2.2, -2.2..2.2)
        .save(out.file("samples.png"))?;
    println!(
        "{} energy_data={floor:.5} seconds={:.1} seed={}",
        figures.join(" "),
        started.elapsed().as_secs_f64(),
        options.seed
    );
    Ok(())
}

fn sample(
    model: &dyn Denoiser,
    grid: &TimeGrid,
    (count, seed): (usize, u64),
    device: &Device,
) -> Result<Tensor, Failure> {
    let mut noise = Seeded::stream(seed, 2);
    let x = start(grid, (count, 2), DType::F32, device, &mut noise)?;
    let sampled = Ddim::default().run(model, grid, &x, &mut noise, &mut |_| ControlFlow::Continue(()))?;
    Ok(sampled.x)
}
