//! What the model takes a point for, on the way from noise to data: x̂₀ begins as the mean of all data and ends as a sample.
//!
//! cargo run --release --example x0_convergence

use std::sync::Arc;

use candle_core::{DType, Device};
use clap::Parser;
use tallow::datasets::Checkerboard;
use tallow::denoisers::Seeded;
use tallow::plots::{Curves, Strip, Style};
use tallow::schedules::{RectifiedFlow, Schedule, TimeGrid, Trigonometric, VpLinear};
use tallow::solvers::{Heun, start};
use tallow_examples::Outcome;
use tallow_examples::blurred::Blurred;
use tallow_examples::demo::Demo;
use tallow_examples::journey::{Journey, rms};

/// Follows x̂₀ along sampling on three paths, with an exact denoiser of a checkerboard.
///
/// Writes the states with their estimates beneath, and the distance of x̂₀ to the sample over the noise that is left.
#[derive(Debug, Parser)]
#[command(name = "x0_convergence")]
struct Options {
    #[command(flatten)]
    demo: Demo,
}

const STEPS: usize = 100;
/// Steps at which the picture stops.
const SHOWN: [usize; 7] = [0, 30, 50, 65, 80, 90, 97];

fn main() -> Outcome {
    let Options { demo } = Options::parse();
    let out = demo.folder("x0_convergence")?;
    let data = Blurred::new(
        Box::new(Checkerboard::new()),
        demo.count(600, 150),
        0.06,
        demo.seed,
    )?;
    let paths: [(&str, Arc<dyn Schedule>); 3] = [
        ("straight path (flow)", Arc::new(RectifiedFlow::default())),
        ("cosine path", Arc::new(Trigonometric)),
        ("linear β (DDPM)", Arc::new(VpLinear::default())),
    ];
    let mut curves = Curves::new("How far x̂₀ is from the sample that it becomes")
        .x("t")
        .y_log("root mean square distance");
    let mut figures = Vec::new();
    for (index, (title, path)) in paths.into_iter().enumerate() {
        let grid = TimeGrid::uniform_between(path, 1.0, 1e-3, STEPS)?;
        let mut noise = Seeded::stream(demo.seed, 0);
        let x = start(
            &grid,
            (demo.count(1500, 300), 2),
            DType::F64,
            &Device::Cpu,
            &mut noise,
        )?;
        let journey = Journey::follow(&Heun::default(), &data.model, &grid, &x, &mut noise)?;
        let end = journey.states.last().cloned().unwrap_or_default();
        let distances: Vec<[f64; 2]> = journey
            .times
            .iter()
            .zip(&journey.estimates)
            .map(|(t, estimate)| [*t, rms(estimate, &end)])
            .collect();
        let half = distances.iter().find(|[_, distance]| *distance < 0.5);
        figures.extend(half.map(|[t, _]| format!("below_half_at_t_path{index}={t:.3}")));
        curves = curves.line(title, &distances);
        if index == 0 {
            let mut strip = Strip::new("A checkerboard on the straight path: states, and beneath them x̂₀")
                .bounds(-2.6..2.6, -2.6..2.6)
                .style(Style::light().panel_size(180, 180));
            for step in SHOWN {
                let (t, state) = (journey.times[step], &journey.states[step]);
                strip = strip.at_with_estimate(format!("t = {t:.2}"), state, &journey.estimates[step]);
            }
            strip.save(out.file("estimates.png"))?;
        }
    }
    curves.save(out.file("convergence.png"))?;
    println!("{} seed={}", figures.join(" "), demo.seed);
    Ok(())
}
