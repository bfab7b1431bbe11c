//! From one noise: a deterministic solver takes one way, a stochastic one a different way each time.
//!
//! cargo run --release --example stochastic_vs_deterministic

use std::sync::Arc;

use candle_core::{Device, Tensor};
use clap::Parser;
use tallow::datasets::Gaussians;
use tallow::denoisers::Seeded;
use tallow::plots::{Style, Trajectories};
use tallow::schedules::{Schedule, TimeGrid, Trigonometric};
use tallow::solvers::{Ddim, Ddpm, EulerMaruyama, Sampler};
use tallow_examples::Outcome;
use tallow_examples::blurred::Blurred;
use tallow_examples::demo::Demo;
use tallow_examples::journey::Journey;

/// Starts many runs at one point of noise, by DDIM, DDIM with some noise, DDPM and Euler-Maruyama.
///
/// Writes the paths of the first of them, and how many of the eight clouds all of them end in.
#[derive(Debug, Parser)]
#[command(name = "stochastic_vs_deterministic")]
struct Options {
    #[command(flatten)]
    demo: Demo,
}

const START: [f64; 2] = [0.5, 0.9];
const STEPS: usize = 80;
/// Runs whose paths are drawn.
const DRAWN: usize = 7;

fn main() -> Outcome {
    let Options { demo } = Options::parse();
    let out = demo.folder("stochastic_vs_deterministic")?;
    let data = Blurred::new(
        Box::new(Gaussians::eight()),
        demo.count(400, 160),
        0.03,
        demo.seed,
    )?;
    let path: Arc<dyn Schedule> = Arc::new(Trigonometric);
    let grid = TimeGrid::uniform_between(path, 0.995, 1e-3, STEPS)?;
    let runs = demo.count(400, 60);
    let x = Tensor::from_vec(START.repeat(runs), (runs, 2), &Device::Cpu)?;
    let samplers: [(&str, Box<dyn Sampler>); 4] = [
        ("DDIM", Box::new(Ddim::default())),
        ("DDIM, η = 0.4", Box::new(Ddim::new(0.4)?)),
        ("DDPM (η = 1)", Box::new(Ddpm::default())),
        ("Euler-Maruyama", Box::new(EulerMaruyama)),
    ];
    let mut picture = Trajectories::new(format!(
        "One point of noise, {DRAWN} of {runs} runs from it (clouds that all of them reach)"
    ))
    .times(grid.times())
    .bounds(-2.4..2.4, -2.4..2.4)
    .style(Style::light().columns(2).panel_size(330, 330));
    let mut figures = Vec::new();
    for (title, sampler) in samplers {
        let mut noise = Seeded::stream(demo.seed, 0);
        let journey = Journey::follow(sampler.as_ref(), &data.model, &grid, &x, &mut noise)?;
        let clouds = clouds(journey.states.last().map_or(&[], Vec::as_slice));
        figures.push(clouds.to_string());
        let drawn: Vec<_> = journey.states.iter().map(|state| &state[..DRAWN]).collect();
        picture = picture.panel_of_states(format!("{title} ({clouds} of 8)"), &drawn);
    }
    picture.save(out.file("paths.png"))?;
    println!("clouds_reached={} seed={}", figures.join(","), demo.seed);
    Ok(())
}

/// How many of the eight directions the points lie in.
fn clouds(points: &[[f32; 2]]) -> usize {
    let mut reached = [false; 8];
    for [x, y] in points {
        let eighth = f64::from(y.atan2(*x)) / std::f64::consts::FRAC_PI_4;
        reached[(eighth.round() as i64).rem_euclid(8) as usize] = true;
    }
    reached.into_iter().filter(|reached| *reached).count()
}
