//! The score field and the velocity field of one density, at the same times: the score points to where data are likely, the
//! velocity says how points move there.
//!
//! cargo run --release --example score_and_velocity

use clap::Parser;
use tallow::datasets::Moons;
use tallow::denoisers::{Denoiser, Seeded};
use tallow::plots::{Density, Style, VectorField};
use tallow::schedules::{RectifiedFlow, Schedule};
use tallow_examples::Outcome;
use tallow_examples::blurred::Blurred;
use tallow_examples::demo::Demo;
use tallow_examples::points::{lattice, points};

/// Draws σ times the score, ∇ log p_t, and the velocity dx/dt of two moons on a straight path, and their density.
///
/// σ ∇ log p_t is minus the noise that the model sees: its length stays of one order, where that of the score grows like 1/σ.
#[derive(Debug, Parser)]
#[command(name = "score_and_velocity")]
struct Options {
    #[command(flatten)]
    demo: Demo,
}

const TIMES: [f64; 4] = [0.9, 0.6, 0.4, 0.2];

fn main() -> Outcome {
    let Options { demo } = Options::parse();
    let out = demo.folder("score_and_velocity")?;
    let data = Blurred::new(Box::new(Moons::new()), demo.count(400, 100), 0.1, demo.seed)?;
    let path = RectifiedFlow::default();
    let positions = lattice(13, 2.1)?;
    let mut fields = VectorField::new(
        "Two moons: where the score points (above), and how points move (below: towards noise)",
    )
    .magnitude("length")
    .bounds(-2.4..2.4, -2.4..2.4)
    .style(Style::light().columns(TIMES.len()).panel_size(240, 240));
    let mut largest = [0.0f64; 2];
    for (row, name) in ["σ · score", "velocity"].into_iter().enumerate() {
        for t in TIMES {
            let level = path.level(t);
            let estimate = data.model.estimate(&positions, level.into())?;
            let vectors = if row == 0 {
                (estimate.score()? * level.sigma)?
            } else {
                estimate.velocity()?
            };
            let vectors = points(&vectors)?;
            let lengths = vectors.iter().map(|[x, y]| f64::from(x.hypot(*y)));
            largest[row] = lengths.fold(largest[row], f64::max);
            fields = fields.panel(format!("{name}, t = {t}"), &points(&positions)?, &vectors);
        }
    }
    fields.save(out.file("fields.png"))?;

    let mut draws = Seeded::stream(demo.seed, 0);
    let mut density = Density::new("The density of the same data, noised")
        .bounds(-2.4..2.4, -2.4..2.4)
        .bins(60)
        .style(Style::light().columns(TIMES.len()).panel_size(240, 240));
    let x0 = data.draw(demo.count(60_000, 12_000), &mut draws)?;
    for t in TIMES {
        let level = path.level(t);
        let noise = tallow::denoisers::normal_like(&x0, &mut draws)?;
        let x = tallow::denoisers::lincomb([(level.alpha, &x0), (level.sigma, &noise)])?;
        density = density.panel(format!("t = {t}"), &points(&x)?);
    }
    density.save(out.file("density.png"))?;
    println!(
        "longest_scaled_score={:.4} longest_velocity={:.4} seed={}",
        largest[0], largest[1], demo.seed
    );
    Ok(())
}
