//! DDIM against DPM-Solver at equal numbers of evaluations: what a second and a third order buy.
//!
//! cargo run --release --example ddim_vs_dpm_solver

use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use clap::Parser;
use tallow::datasets::Spirals;
use tallow::denoisers::Seeded;
use tallow::plots::{Curves, Scatter, Style};
use tallow::schedules::{Schedule, TimeGrid, VpLinear};
use tallow::solvers::{by_name, start};
use tallow_examples::blurred::Blurred;
use tallow_examples::demo::Demo;
use tallow_examples::journey::{Journey, rms};
use tallow_examples::{Failure, Outcome};

/// Samples two spirals with an exact denoiser from the same noise by DDIM and three kinds of DPM-Solver.
///
/// Writes the samples side by side, and the distance to where the ODE leads over the number of evaluations.
#[derive(Debug, Parser)]
#[command(name = "ddim_vs_dpm_solver")]
struct Options {
    #[command(flatten)]
    demo: Demo,
}

/// Catalogue name, title, evaluations a step.
const SOLVERS: [(&str, &str, usize); 4] = [
    ("ddim", "DDIM", 1),
    ("dpm_solver_2", "DPM-Solver-2", 2),
    ("dpm_solver_3", "DPM-Solver-3", 3),
    ("dpmpp_2m", "DPM-Solver++(2M)", 1),
];
const EVALUATIONS: [usize; 6] = [6, 12, 24, 48, 96, 192];
/// How many of them are shown as samples.
const SHOWN: usize = 4;
/// Where sampling ends: the data are blurred more than what is left of the noise there.
const CLEAN: f64 = 1e-3;

fn main() -> Outcome {
    let Options { demo } = Options::parse();
    let out = demo.folder("ddim_vs_dpm_solver")?;
    let data = Blurred::new(Box::new(Spirals::new()), demo.count(300, 100), 0.06, demo.seed)?;
    let budgets = &EVALUATIONS[..demo.count(EVALUATIONS.len(), SHOWN)];
    let count = demo.count(1500, 400);
    let x = {
        let grid = grid(1)?;
        start(
            &grid,
            (count, 2),
            DType::F64,
            &Device::Cpu,
            &mut Seeded::stream(demo.seed, 0),
        )?
    };
    let exact = run("dopri5", 6, 6 * demo.count(200, 100), &data, &x)?;
    let mut samples =
        Scatter::new("Two spirals from the same noise, at equal evaluations (distance to the exact end)")
            .bounds(-2.4..2.4, -2.4..2.4)
            .style(Style::light().columns(SHOWN).panel_size(220, 220));
    let mut errors = Curves::new("Distance to where the ODE leads, from the same noise")
        .x_log("network evaluations")
        .y_log("root mean square distance");
    let mut figures = Vec::new();
    for (name, title, cost) in SOLVERS {
        let mut curve = Vec::new();
        for (index, budget) in budgets.iter().enumerate() {
            let end = run(name, cost, *budget, &data, &x)?;
            let error = rms(&end, &exact);
            if index < SHOWN {
                samples = samples.panel(format!("{title}, {budget} ({error:.3})"), &end);
            }
            curve.push([*budget as f64, error]);
            figures.push(format!("{name}_{budget}={error:.4}"));
        }
        errors = errors.marked(title, &curve);
    }
    samples.save(out.file("samples.png"))?;
    errors.save(out.file("error.png"))?;
    println!("{} seed={}", figures.join(" "), demo.seed);
    Ok(())
}

/// Even steps in λ, DPM-Solver's own choice.
fn grid(steps: usize) -> Result<TimeGrid, Failure> {
    let path: Arc<dyn Schedule> = Arc::new(VpLinear::default());
    Ok(TimeGrid::uniform_lambda(path, 1.0, CLEAN, steps)?)
}

/// Where a solver ends with `evaluations` of them.
fn run(
    name: &str,
    cost: usize,
    evaluations: usize,
    data: &Blurred,
    x: &Tensor,
) -> Result<Vec<[f32; 2]>, Failure> {
    let grid = grid(evaluations / cost)?;
    let solver = by_name(name)?;
    let journey = Journey::follow(solver.as_ref(), &data.model, &grid, x, &mut Seeded::new(0))?;
    Ok(journey.states.last().cloned().unwrap_or_default())
}
