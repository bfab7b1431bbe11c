//! A swiss roll and a spiral to Gaussian noise and back, by diffusion and by flow: who returns to where it came from?
//!
//! cargo run --release --example there_and_back

use std::sync::Arc;

use candle_core::Tensor;
use clap::Parser;
use tallow::datasets::{Spirals, SwissRoll};
use tallow::denoisers::{Dataset, Seeded, lincomb, normal_like};
use tallow::plots::{Scatter, Style};
use tallow::schedules::{RectifiedFlow, Schedule, TimeGrid, VpLinear};
use tallow::solvers::{Ddpm, Heun, Sampler};
use tallow_examples::blurred::Blurred;
use tallow_examples::demo::Demo;
use tallow_examples::journey::{Journey, rms};
use tallow_examples::points::points;
use tallow_examples::{Failure, Outcome};

/// Takes coloured points from data to noise and back: by adding noise and denoising, along diffusion's ODE, along a flow.
///
/// The denoiser is exact, so what differs is the way alone. Writes a picture for each data set.
#[derive(Debug, Parser)]
#[command(name = "there_and_back")]
struct Options {
    #[command(flatten)]
    demo: Demo,
}

/// Where the way back ends: the data are blurred far more than this.
const CLEAN: f64 = 1e-3;
const STEPS: usize = 60;
/// Steps from the data after which points are shown.
const SHOWN: [usize; 4] = [0, 8, 20, 60];
const COLOURS: usize = 7;

fn main() -> Outcome {
    let Options { demo } = Options::parse();
    let out = demo.folder("there_and_back")?;
    let mut figures = Vec::new();
    let sets: [(&str, &str, Box<dyn Dataset>); 2] = [
        ("swiss_roll", "A swiss roll", Box::new(SwissRoll::new())),
        ("spiral", "Two spirals", Box::new(Spirals::new())),
    ];
    for (name, title, data) in sets {
        let data = Blurred::new(data, demo.count(400, 120), 0.05, demo.seed)?;
        let x0 = data.draw(demo.count(1600, 360), &mut Seeded::stream(demo.seed, 0))?;
        let colours = colours(&points(&x0)?);
        let vp: Arc<dyn Schedule> = Arc::new(VpLinear::default());
        let ways = [
            ("at random", by_chance(&data, &x0, &vp, demo.seed)?),
            ("diffusion's ODE", along(&data, &x0, &vp)?),
            (
                "flow",
                along(&data, &x0, &(Arc::new(RectifiedFlow::default()) as _))?,
            ),
        ];
        let mut picture = Scatter::new(format!(
            "{title} to noise and back, by DDPM at random, along diffusion's ODE and a flow; colour: where a point began"
        ))
        .bounds(-3.2..3.2, -3.2..3.2)
        .style(
            Style::light()
                .columns(2 * SHOWN.len() - 1)
                .panel_size(165, 165)
                .dots(1.3, 0.7),
        );
        for (way, passed) in &ways {
            for (label, state) in passed {
                picture = picture.panel_by_class(format!("{way}, {label}"), state, &colours);
            }
            let missed = rms(&passed[0].1, &passed[passed.len() - 1].1);
            figures.push(format!(
                "{name}_{}={missed:.4}",
                way.replace(' ', "_").replace('\'', "")
            ));
        }
        picture.save(out.file(&format!("{name}.png")))?;
    }
    println!(
        "root_mean_square_distance_from_the_start: {} seed={}",
        figures.join(" "),
        demo.seed
    );
    Ok(())
}

/// Seven classes of equal size, by distance from the middle.
fn colours(points: &[[f32; 2]]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..points.len()).collect();
    order.sort_by(|a, b| {
        let radius = |index: &usize| points[*index][0].hypot(points[*index][1]);
        radius(a).total_cmp(&radius(b))
    });
    let mut classes = vec![0; points.len()];
    for (rank, index) in order.into_iter().enumerate() {
        classes[index] = rank * COLOURS / points.len();
    }
    classes
}

/// A label, and the points there.
type Passed = Vec<(String, Vec<[f32; 2]>)>;

/// There and back along the ODE of a path.
fn along(data: &Blurred, x0: &Tensor, path: &Arc<dyn Schedule>) -> Result<Passed, Failure> {
    let grid = TimeGrid::uniform_between(path.clone(), 1.0, CLEAN, STEPS)?;
    let heun = Heun::default();
    let mut unused = Seeded::new(0);
    let start = lincomb([(path.level(CLEAN).alpha, x0)])?;
    let there = Journey::follow(&heun, &data.model, &grid.clone().reversed(), &start, &mut unused)?;
    let back = Journey::follow(&heun, &data.model, &grid, &there.end, &mut unused)?;
    Ok(shown(there.states, &back))
}

/// There by adding noise, back by DDPM's steps, which draw new noise.
fn by_chance(data: &Blurred, x0: &Tensor, path: &Arc<dyn Schedule>, seed: u64) -> Result<Passed, Failure> {
    let grid = TimeGrid::uniform_between(path.clone(), 1.0, CLEAN, STEPS)?;
    let mut noise = Seeded::stream(seed, 1);
    let z = normal_like(x0, &mut noise)?;
    let at = |t: &f64| {
        let level = path.level(*t);
        lincomb([(level.alpha, x0), (level.sigma, &z)])
    };
    let there: Vec<Tensor> = grid.times().iter().rev().map(at).collect::<Result<_, _>>()?;
    let sampler: &dyn Sampler = &Ddpm::default();
    let end = there.last().unwrap_or(x0);
    let back = Journey::follow(sampler, &data.model, &grid, end, &mut noise)?;
    Ok(shown(there.iter().map(points).collect::<Result<_, _>>()?, &back))
}

/// The states that the picture shows: there, and after the noise back.
fn shown(there: Vec<Vec<[f32; 2]>>, back: &Journey) -> Passed {
    let last = there.len().saturating_sub(1);
    let mut passed: Passed = Vec::new();
    for (step, state) in there.into_iter().enumerate() {
        if SHOWN.contains(&step) {
            let label = match step {
                0 => "data".to_owned(),
                step if step == last => "noise".to_owned(),
                step => format!("t = {:.2}", step as f64 / STEPS as f64),
            };
            passed.push((label, state));
        }
    }
    for left in SHOWN.into_iter().rev().skip(1) {
        let label = if left == 0 {
            "back".to_owned()
        } else {
            format!("t = {:.2}", left as f64 / STEPS as f64)
        };
        passed.extend(back.states.get(STEPS - left).map(|state| (label, state.clone())));
    }
    passed
}
