//! One solver on four paths from the same noise to the same data: which path matters to one that steps in time, and to none
//! that steps in λ.
//!
//! cargo run --release --example one_solver_four_paths
//!
//! Methods in exponential form see x/α and λ alone, which all Gaussian paths share: with the same λ they end in the same
//! points, whatever the path. A Runge-Kutta method in time sees the path's clock.

use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use clap::Parser;
use tallow::datasets::Gaussians;
use tallow::denoisers::{Noise, Seeded};
use tallow::plots::{Style, Trajectories};
use tallow::schedules::{RectifiedFlow, Schedule, TimeGrid, Ve, VpCosine, VpLinear};
use tallow::solvers::{Dopri5, Dpmpp2m, Heun, Sampler};
use tallow_examples::blurred::Blurred;
use tallow_examples::demo::Demo;
use tallow_examples::journey::{Journey, rms};
use tallow_examples::points::points;
use tallow_examples::{Failure, Outcome};

/// Follows DPM-Solver++(2M), then Heun, with an exact denoiser on a linear and a cosine variance-preserving path, on a
/// straight one and on EDM's, whose variance grows to 80².
///
/// States are divided by √(α² + σ²), the deviation of noised data, so that all paths fit one picture. Distances are to
/// where the ODE exactly leads.
#[derive(Debug, Parser)]
#[command(name = "one_solver_four_paths")]
struct Options {
    #[command(flatten)]
    demo: Demo,
}

const STEPS: usize = 16;
/// Steps of the reference.
const MANY: usize = 300;
/// σ/α at both ends, on every path.
const LEVELS: [f64; 2] = [0.02, 80.0];

fn main() -> Outcome {
    let Options { demo } = Options::parse();
    let out = demo.folder("one_solver_four_paths")?;
    let data = Blurred::new(
        Box::new(Gaussians::eight()),
        demo.count(400, 160),
        0.03,
        demo.seed,
    )?;
    let paths: [(&str, Arc<dyn Schedule>); 4] = [
        ("linear β", Arc::new(VpLinear::default())),
        ("cosine", Arc::new(VpCosine::default())),
        ("straight", Arc::new(RectifiedFlow::default())),
        ("variance grows", Arc::new(Ve::default())),
    ];
    let mut picture = Trajectories::new(
        "One solver on four paths, 16 steps from the same noise (distance to the exact end)",
    )
    .clock("part of the steps taken")
    .bounds(-2.6..2.6, -2.6..2.6)
    .style(Style::light().columns(4).panel_size(250, 250));
    let count = demo.count(120, 60);
    let reference = grid(paths[0].1.clone(), Spacing::Lambda, MANY)?;
    let exact = follow(&data, &Dopri5::default(), &reference, (count, demo.seed))?.1;
    let mut figures = Vec::new();
    let solvers: [(&str, Box<dyn Sampler>, Spacing); 2] = [
        ("DPM++(2M)", Box::new(Dpmpp2m::default()), Spacing::Lambda),
        ("Heun", Box::new(Heun::default()), Spacing::Time),
    ];
    for (name, solver, spacing) in solvers {
        for (title, path) in &paths {
            let grid = grid(path.clone(), spacing, STEPS)?;
            let (states, end) = follow(&data, solver.as_ref(), &grid, (count, demo.seed))?;
            let missed = rms(&exact, &end);
            picture = picture.panel_of_states(format!("{name}, {title} ({missed:.3})"), &states);
            figures.push(format!("{missed:.4}"));
        }
    }
    picture.save(out.file("paths.png"))?;
    println!(
        "distances_to_the_exact_end={} seed={}",
        figures.join(","),
        demo.seed
    );
    Ok(())
}

/// Between the same two levels on every path: evenly in λ, or in the path's time.
#[derive(Clone, Copy, Debug)]
enum Spacing {
    Lambda,
    Time,
}

fn grid(path: Arc<dyn Schedule>, spacing: Spacing, steps: usize) -> Result<TimeGrid, Failure> {
    let [end, from] = LEVELS.map(|level| path.inverse_lambda(-level.ln()).clamp(0.0, path.t_max()));
    Ok(match spacing {
        Spacing::Lambda => TimeGrid::uniform_lambda(path, from, end, steps)?,
        Spacing::Time => TimeGrid::uniform_between(path, from, end, steps)?,
    })
}

/// The states over their deviation, and where they end over α.
type Followed = (Vec<Vec<[f32; 2]>>, Vec<[f32; 2]>);

fn follow(
    data: &Blurred,
    solver: &dyn Sampler,
    grid: &TimeGrid,
    (count, seed): (usize, u64),
) -> Result<Followed, Failure> {
    let mut noise = Seeded::stream(seed, 0);
    // The same noise in units of the data: x/α and σ/α are what the paths have in common.
    let first = grid.first();
    let z = noise.fresh(&Tensor::zeros((count, 2), DType::F64, &Device::Cpu)?)?;
    let x = (z * (LEVELS[1] * first.alpha))?;
    let journey = Journey::follow(solver, &data.model, grid, &x, &mut noise)?;
    let scaled = journey.times.iter().zip(&journey.states).map(|(t, state)| {
        let level = grid.schedule().level(*t);
        let deviation = level.alpha.hypot(level.sigma) as f32;
        state.iter().map(|point| point.map(|c| c / deviation)).collect()
    });
    Ok((scaled.collect(), points(&(&journey.end / grid.last().alpha)?)?))
}
