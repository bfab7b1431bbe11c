//! Flow matching between two data sets under three couplings: who is paired with whom decides how straight the flow is.
//!
//! cargo run --example ot_cfm

#[path = "ot_cfm/tasks.rs"]
mod tasks;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use candle_core::{DType, Device, Tensor};
use clap::Parser;
use rayon::prelude::*;
use tallow::denoisers::{Parameterization, Seeded};
use tallow::metrics::{Points, path_energy, wasserstein2};
use tallow::models::{Mlp, MlpConfig};
use tallow::nn::{Activation, AdamW, AdamWConfig, Parameters};
use tallow::objectives::{Objective, Regression};
use tallow::plots::Trajectories;
use tallow::schedules::{RectifiedFlow, Schedule, TimeGrid};
use tallow::solvers::{self, FinalStep, Rk4};
use tallow_examples::output::OutputFolder;
use tallow_examples::points::points;
use tallow_examples::{Failure, Outcome};
use tasks::{Task, Transport};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Trains a small flow for each task and coupling, and prints how straight its paths are and how near its samples.
///
/// W2^2 is taken over 2,048 samples and as many fresh data. The path energy is normalised: |∫ E|v|² dt − W2²| / W2², W2
/// between the two data sets; 0 is optimal transport. The paper's numbers (Tong et al. 2024, table 2) stand in brackets.
#[derive(Debug, Parser)]
#[command(name = "ot_cfm")]
struct Options {
    /// Training steps.
    #[arg(long, default_value_t = 5000, value_parser = clap::value_parser!(u64).range(1..))]
    steps: u64,
    /// Pairs in a training batch.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u64).range(2..=2048))]
    batch: u64,
    /// Only these tasks.
    #[arg(long, value_enum, num_args = 1..)]
    task: Vec<Task>,
    /// Only these couplings.
    #[arg(long, value_enum, num_args = 1..)]
    coupling: Vec<Transport>,
    /// Seed of everything random: the same seed gives the same files and figures.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Five seeds instead of one: the mean is printed.
    #[arg(long)]
    full: bool,
    /// One JSON object a line instead of the table.
    #[arg(long)]
    json: bool,
    /// Folder for the pictures.
    #[arg(long, value_name = "DIR", default_value = "target/ot_cfm")]
    out: PathBuf,
    /// A few seconds of everything, to see that it works.
    #[arg(long)]
    quick: bool,
}

/// Samples and data over which distances are taken, and how many under `--quick`.
const POINTS: usize = 2048;
const FEW_POINTS: usize = 256;
/// Steps of the solver from source to data.
const SOLVER_STEPS: usize = 100;
/// Paths in a picture.
const PATHS: usize = 200;

/// Where the flows of a task and seed start, what they should reach, and how far that is.
struct Ends {
    seed: u64,
    start: Tensor,
    target: Tensor,
    w2_squared: f64,
}

/// What a trained flow came to.
struct Run {
    path_energy: f64,
    w2_squared: f64,
    /// The first points of each state along the way, from source to data.
    paths: Vec<Vec<[f32; 2]>>,
}

fn main() -> Outcome {
    let mut options = Options::parse();
    let started = Instant::now();
    let out = OutputFolder::create(&options.out)?;
    if options.quick {
        options.steps = options.steps.min(60);
    }
    let tasks = if options.task.is_empty() {
        Task::ALL.to_vec()
    } else {
        options.task.clone()
    };
    let couplings = if options.coupling.is_empty() {
        Transport::ALL.to_vec()
    } else {
        options.coupling.clone()
    };
    let seeds: Vec<u64> = (0..if options.full { 5 } else { 1 })
        .map(|n| options.seed + n)
        .collect();
    if !options.json {
        println!(
            "{:>20} {:>12} {:>12} {:>9} {:>8} {:>9}",
            "task", "coupling", "path energy", "(paper)", "W2^2", "(paper)"
        );
    }
    let mut table = tasks::TABLE_HEAD.to_owned();
    for task in tasks {
        let mut panels = Vec::new();
        let ends = in_parallel(&seeds, |&seed| ends(&options, task, seed))?;
        for &coupling in &couplings {
            let runs = in_parallel(&ends, |ends| run(&options, task, coupling, ends))?;
            let mean = |of: fn(&Run) -> f64| runs.iter().map(of).sum::<f64>() / runs.len() as f64;
            let (energy, w2) = (mean(|run| run.path_energy), mean(|run| run.w2_squared));
            report(&options, task, coupling, (energy, w2), seeds.len());
            table += &coupling.table_row(task, panels.is_empty(), (energy, w2));
            panels.extend(runs.into_iter().next().map(|run| (coupling, energy, run.paths)));
        }
        draw(&options, &out, task, &panels)?;
    }
    std::fs::write(file(&options, &out, "couplings.md"), table)?;
    if !options.json {
        println!(
            "seconds={:.0} seeds={} seed={}",
            started.elapsed().as_secs_f64(),
            seeds.len(),
            options.seed
        );
    }
    Ok(())
}

/// All results, or one of the errors. A run is small: each takes one thread, and the seeds go side by side.
fn in_parallel<T: Sync, R: Send>(
    of: &[T],
    work: impl Fn(&T) -> Result<R, Failure> + Sync,
) -> Result<Vec<R>, Failure> {
    let results = of
        .par_iter()
        .map(|item| work(item).map_err(|failure| format!("{failure:?}")));
    Ok(results.collect::<Result<Vec<_>, _>>()?)
}

/// Fresh points of source and data, from a stream that training does not use.
fn ends(options: &Options, task: Task, seed: u64) -> Result<Ends, Failure> {
    let count = if options.quick { FEW_POINTS } else { POINTS };
    let mut draws = Seeded::stream(seed, 2);
    let start = task.source().draw(count, &mut draws)?.x0;
    let target = task.data()?.draw(count, &mut draws)?.x0;
    let w2_squared = squared(&start, &target)?;
    Ok(Ends {
        seed,
        start,
        target,
        w2_squared,
    })
}

fn squared(a: &Tensor, b: &Tensor) -> Result<f64, Failure> {
    Ok(wasserstein2(&Points::from_tensor(a)?, &Points::from_tensor(b)?)?
        .distance
        .powi(2))
}

fn report(options: &Options, task: Task, coupling: Transport, (energy, w2): (f64, f64), seeds: usize) {
    let (name, with) = (task.name(), coupling.name());
    if options.json {
        println!(
            "{{\"task\": \"{name}\", \"coupling\": \"{with}\", \"path_energy\": {energy:.5}, \"w2_squared\": {w2:.5}, \
             \"seeds\": {seeds}}}"
        );
        return;
    }
    let known = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("({value:.3})"));
    let (paper_energy, paper_w2) = coupling.in_the_paper(task);
    println!(
        "{name:>20} {with:>12} {energy:>12.4} {:>9} {w2:>8.4} {:>9}",
        known(paper_energy),
        known(paper_w2)
    );
}

/// Trains a flow and follows it.
fn run(options: &Options, task: Task, coupling: Transport, ends: &Ends) -> Result<Run, Failure> {
    let seed = ends.seed;
    let parameters = Parameters::new(seed, DType::F32, &Device::Cpu);
    let config = MlpConfig {
        width: 64,
        depth: 3,
        activation: Activation::Selu,
        ..MlpConfig::new(2)
    };
    let network = Mlp::new(&parameters.scope(), config)?;
    let mut optimizer = AdamW::new(
        &parameters,
        AdamWConfig {
            weight_decay: 0.01,
            ..AdamWConfig::default()
        },
    )?;
    let schedule: Arc<dyn Schedule> = Arc::new(RectifiedFlow::default());
    let objective = Regression::new(schedule.clone(), Parameterization::flow_matching());
    let (source, data, pairing) = (task.source(), task.data()?, coupling.coupling()?);
    let (mut draws, mut noise) = (Seeded::stream(seed, 0), Seeded::stream(seed, 1));
    for _ in 0..options.steps {
        let batch = data.draw(options.batch as usize, &mut draws)?;
        let from = source.draw(options.batch as usize, &mut draws)?.x0;
        let batch = pairing.pair(batch.with_source(from)?, &mut noise)?;
        optimizer.backward_step(&objective.loss(&network, &batch, &mut noise)?.mean)?;
    }
    let network = Mlp::new(&parameters.detached().scope(), config)?;
    follow(&network, &schedule, ends)
}

/// From fresh sources along the flow; what the way took and where it led.
fn follow(network: &Mlp, schedule: &Arc<dyn Schedule>, ends: &Ends) -> Result<Run, Failure> {
    let model = Parameterization::flow_matching().denoiser(network);
    let grid = TimeGrid::uniform(schedule.clone(), SOLVER_STEPS)?;
    let solver = Rk4 {
        final_step: FinalStep::Evaluate,
        ..Rk4::default()
    };
    let (mut states, mut times) = (vec![ends.start.clone()], vec![grid.first().t]);
    let mut noise = Seeded::stream(ends.seed, 3);
    for progress in solvers::Run::new(&solver, &model, &grid, &ends.start, &mut noise)? {
        let progress = progress?;
        states.push(progress.point.x);
        times.push(progress.step.to.t);
    }
    let clouds = states
        .iter()
        .map(Points::from_tensor)
        .collect::<Result<Vec<_>, _>>()?;
    let end = states.last().unwrap_or(&ends.start);
    Ok(Run {
        path_energy: path_energy(&clouds, &times)?.normalised(ends.w2_squared)?,
        w2_squared: squared(end, &ends.target)?,
        paths: states
            .iter()
            .map(|state| points(&state.narrow(0, 0, PATHS)?))
            .collect::<Result<_, _>>()?,
    })
}

/// A coupling, its path energy, and states along the way.
type Panel = (Transport, f64, Vec<Vec<[f32; 2]>>);

/// The paths of each coupling side by side.
fn draw(options: &Options, out: &OutputFolder, task: Task, panels: &[Panel]) -> Outcome {
    let mut picture = Trajectories::new(format!(
        "{}: learned paths from source to data (normalised path energy)",
        task.title()
    ));
    for (coupling, energy, paths) in panels {
        picture = picture.panel_of_states(format!("{} ({energy:.3})", coupling.title()), paths);
    }
    Ok(picture.save(file(options, out, &format!("{}.png", task.name())))?)
}

/// The path of a file in the folder, told on standard output unless that is JSON.
fn file(options: &Options, out: &OutputFolder, name: &str) -> PathBuf {
    match options.json {
        true => options.out.join(name),
        false => out.file(name),
    }
}
