//! One trained network under six solvers, which start from the same noise and have the same number of evaluations.
//!
//! cargo run --release --example one_network_six_solvers

use std::ops::ControlFlow;
use std::sync::Arc;

use candle_core::{DType, Device};
use clap::Parser;
use tallow::datasets::SwissRoll;
use tallow::denoisers::{Dataset, Parameterization, Prediction, Seeded};
use tallow::metrics::{Points, Statistic, energy_distance};
use tallow::models::{Mlp, MlpConfig};
use tallow::objectives::{Regression, TimeSampling};
use tallow::plots::{Scatter, Style};
use tallow::schedules::{Schedule, TimeGrid, Trigonometric};
use tallow::solvers::{by_name, start};
use tallow_examples::Outcome;
use tallow_examples::demo::Demo;
use tallow_examples::points::points;
use tallow_examples::training::{Budget, train};

/// Trains a network to predict v on a swiss roll, and samples it in ten evaluations by six solvers.
///
/// Writes the data and the six clouds with their energy distances.
#[derive(Debug, Parser)]
#[command(name = "one_network_six_solvers")]
struct Options {
    #[command(flatten)]
    demo: Demo,
}

/// Catalogue name, and steps that take ten evaluations or one fewer.
const SOLVERS: [(&str, usize); 6] = [
    ("ddim", 10),
    ("heun", 5),
    ("rk4_38", 3),
    ("dpmpp_2m", 10),
    ("ipndm", 10),
    ("ddpm", 10),
];

fn network() -> MlpConfig {
    MlpConfig::new(2).with_waves(5.0)
}

fn main() -> Outcome {
    let Options { demo } = Options::parse();
    let out = demo.folder("one_network_six_solvers")?;
    let data = SwissRoll::course();
    let path: Arc<dyn Schedule> = Arc::new(Trigonometric);
    let parameterization = Parameterization::new(Prediction::V);
    let objective = Regression::new(path.clone(), parameterization).with_times(TimeSampling::stratified());
    let budget = Budget {
        steps: demo.count(4000, 150) as u64,
        batch: 256,
        seed: demo.seed,
    };
    let (weights, _) = train("v", network(), &objective, &data, budget, &Device::Cpu)?;
    let network = Mlp::new(&weights.scope(), network())?;
    let model = parameterization.denoiser(&network);

    let count = demo.count(2000, 500);
    let real = data.draw(count, &mut Seeded::stream(demo.seed, 3))?.x0;
    let mut picture =
        Scatter::new("A swiss roll: one network, six solvers, ten evaluations (energy distance)")
            .panel("data", &points(&real)?)
            .bounds(-4.5..4.5, -4.5..4.5)
            .style(Style::light().columns(4).panel_size(220, 220));
    let mut figures = Vec::new();
    for (name, steps) in SOLVERS {
        let grid = TimeGrid::uniform(path.clone(), steps)?;
        let mut noise = Seeded::stream(demo.seed, 2);
        let x = start(&grid, (count, 2), DType::F32, &Device::Cpu, &mut noise)?;
        let run = by_name(name)?.run(&model, &grid, &x, &mut noise, &mut |_| ControlFlow::Continue(()))?;
        let (samples, data) = (Points::from_tensor(&run.x)?, Points::from_tensor(&real)?);
        let distance = energy_distance(&samples, &data, Statistic::V)?;
        let title = format!("{name}, {} evaluations ({distance:.3})", run.evaluations);
        picture = picture.panel(title, &points(&run.x)?);
        figures.push(format!("{name}={distance:.4}"));
    }
    picture.save(out.file("samples.png"))?;
    println!("energy_distance: {} seed={}", figures.join(" "), demo.seed);
    Ok(())
}
