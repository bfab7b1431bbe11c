//! Five ways to train, six solvers, four data sets: the same network, data, seed and budget for all, in one table.
//!
//! cargo run --release --example benchmark_2d
//!
//! A method of your own is one entry of `benchmark_2d/methods.rs`, a solver of your own one of `benchmark_2d/solvers.rs`;
//! nothing else knows how many there are.

#[path = "benchmark_2d/methods.rs"]
mod methods;
#[path = "benchmark_2d/picture.rs"]
mod picture;
#[path = "benchmark_2d/sets.rs"]
mod sets;
#[path = "benchmark_2d/solvers.rs"]
mod solvers;
#[path = "benchmark_2d/table.rs"]
mod table;

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Instant;

use candle_core::{DType, Device, Tensor};
use clap::Parser;
use methods::Method;
use rayon::prelude::*;
use sets::Set;
use solvers::Solver;
use table::{Measured, Row, Times};
use tallow::denoisers::Seeded;
use tallow::metrics::{Points, Statistic, energy_distance, wasserstein2};
use tallow::models::{Mlp, MlpConfig};
use tallow::solvers::start;
use tallow_examples::output::OutputFolder;
use tallow_examples::training::{Budget, train};
use tallow_examples::{Failure, Outcome};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Trains one network by each method on each data set, and measures its samples under each solver and number of network
/// evaluations.
///
/// Writes the distances as benchmark_2d.md, .csv and .png, which are the same bytes for the same seed; the seconds, which
/// are not, as times.md. W2 and the energy distance are taken between as many samples as fresh data.
#[derive(Debug, Parser)]
#[command(name = "benchmark_2d")]
struct Options {
    /// Training steps of each network.
    #[arg(long, default_value_t = 4000, value_parser = clap::value_parser!(u64).range(1..))]
    steps: u64,
    /// Points in a training batch.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u64).range(2..=4096))]
    batch: u64,
    /// Samples, and data to measure them by.
    #[arg(long, default_value_t = 2048, value_parser = clap::value_parser!(u64).range(2..=4096))]
    points: u64,
    /// Seed of everything random: the same seed gives the same table.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Folder for the results.
    #[arg(long, value_name = "DIR", default_value = "target/benchmark_2d")]
    out: PathBuf,
    /// Two data sets, few steps and points: a minute of everything at most, to see that it works.
    #[arg(long)]
    quick: bool,
}

impl Options {
    /// What was asked for, or less of it under `--quick`.
    fn scaled(mut self) -> Self {
        if self.quick {
            self.steps = self.steps.min(60);
            self.points = self.points.min(192);
        }
        self
    }

    fn budget(&self) -> Budget {
        Budget {
            steps: self.steps,
            batch: self.batch as usize,
            seed: self.seed,
        }
    }
}

/// Network evaluations of a run, at most.
const BUDGETS: [usize; 5] = [5, 10, 20, 50, 100];

/// The network of every method: three hidden layers of 128, with waves of x and t.
fn network() -> MlpConfig {
    MlpConfig::new(2).with_waves(2.5)
}

fn main() -> Outcome {
    let started = Instant::now();
    let options = Options::parse().scaled();
    let out = OutputFolder::create(&options.out)?;
    let methods = methods::methods()?;
    let solvers = solvers::solvers(&BUDGETS)?;
    let sets = sets::sets(options.seed, if options.quick { 2 } else { 4 })?;
    let (mut rows, mut times) = (Vec::new(), Times::default());
    let mut floors = Vec::new();
    for set in &sets {
        let ends = Ends::draw(set, &options)?;
        let floor = ends.floor()?;
        println!("{}: {floor} between two draws of the data", set.title);
        floors.push((set.title, floor));
        for method in &methods {
            let training = Instant::now();
            let (objective, data) = (method.objective(), method.data(set));
            let name = format!("{} on {}", method.title, set.title);
            let (weights, _) = train(
                &name,
                network(),
                &objective,
                &data,
                options.budget(),
                &Device::Cpu,
            )?;
            times.training(method.title, training.elapsed());
            let network = Mlp::new(&weights.scope(), network())?;
            let samples = sample(method, &network, &solvers, &options, &mut times)?;
            let measured = ends.distances(&samples)?;
            let names = (set.title, method.title);
            rows.extend(table::rows(names, &solvers, &measured));
        }
    }
    write(&out, &rows, &floors, &times)?;
    let best = |of: fn(&Measured) -> f64| {
        rows.iter()
            .flat_map(|row| &row.cells)
            .map(of)
            .fold(f64::INFINITY, f64::min)
    };
    println!(
        "networks={} runs={} lowest_w2={:.4} lowest_energy={:.5} seconds={:.0} seed={}",
        sets.len() * methods.len(),
        rows.len() * BUDGETS.len(),
        best(|cell| cell.w2),
        best(|cell| cell.energy),
        started.elapsed().as_secs_f64(),
        options.seed
    );
    Ok(())
}

/// Fresh data that samples are measured by, and as many others, several times, for the least distance to be expected.
struct Ends {
    data: Tensor,
    others: Vec<Tensor>,
}

/// Draws of the data whose mean distance is the least to be expected.
const OTHERS: usize = 8;

impl Ends {
    fn draw(set: &Set, options: &Options) -> Result<Self, Failure> {
        let mut draws = Seeded::stream(options.seed, 3);
        let mut draw = || set.draw(options.points as usize, &mut draws);
        Ok(Self {
            data: draw()?,
            others: (0..OTHERS).map(|_| draw()).collect::<Result<_, _>>()?,
        })
    }

    fn floor(&self) -> Result<Measured, Failure> {
        let measured = self.distances(&self.others)?;
        let mean = |of: fn(&Measured) -> f64| measured.iter().map(of).sum::<f64>() / OTHERS as f64;
        Ok(Measured {
            w2: mean(|measured| measured.w2),
            energy: mean(|measured| measured.energy),
        })
    }

    /// Of each from the data, side by side.
    fn distances(&self, clouds: &[Tensor]) -> Result<Vec<Measured>, Failure> {
        let measured: Result<Vec<_>, String> = clouds
            .par_iter()
            .map(|x| self.distance(x).map_err(|failure| format!("{failure:?}")))
            .collect();
        Ok(measured?)
    }

    fn distance(&self, x: &Tensor) -> Result<Measured, Failure> {
        let (x, data) = (Points::from_tensor(x)?, Points::from_tensor(&self.data)?);
        Ok(Measured {
            w2: wasserstein2(&x, &data)?.distance,
            energy: energy_distance(&x, &data, Statistic::V)?,
        })
    }
}

/// The samples of one network under every solver and budget, in their order.
fn sample(
    method: &Method,
    network: &Mlp,
    solvers: &[Solver],
    options: &Options,
    times: &mut Times,
) -> Result<Vec<Tensor>, Failure> {
    let model = method.parameterization.denoiser(network);
    let mut samples = Vec::new();
    for solver in solvers {
        for (budget, steps) in BUDGETS.iter().zip(solver.steps(method)?) {
            let grid = method.grid(steps)?;
            let mut noise = Seeded::stream(options.seed, 2);
            let x = start(
                &grid,
                (options.points as usize, 2),
                DType::F32,
                &Device::Cpu,
                &mut noise,
            )?;
            let sampling = Instant::now();
            let run =
                solver
                    .sampler
                    .run(&model, &grid, &x, &mut noise, &mut |_| ControlFlow::Continue(()))?;
            times.sampling(solver.name, *budget, sampling.elapsed(), run.evaluations);
            samples.push(run.x);
        }
    }
    Ok(samples)
}

fn write(out: &OutputFolder, rows: &[Row], floors: &[(&str, Measured)], times: &Times) -> Outcome {
    std::fs::write(
        out.file("benchmark_2d.md"),
        table::markdown(rows, floors, &BUDGETS),
    )?;
    std::fs::write(out.file("benchmark_2d.csv"), table::csv(rows, floors, &BUDGETS))?;
    std::fs::write(out.file("times.md"), times.markdown())?;
    let drawing = picture::picture(rows, floors, &BUDGETS).drawing()?;
    drawing.save(out.file("benchmark_2d.png"))?;
    Ok(drawing.save(out.file("benchmark_2d.svg"))?)
}
