//! The run on one page: configuration, loss, samples over time, metrics.

use tallow::plots::{Animation, Curves, Report, Scatter, Strip};
use tallow_examples::Failure;
use tallow_examples::points::points;

use crate::{Journey, MODEL, Options};

/// Moments of the journey that stand side by side.
const MOMENTS: usize = 6;

/// The page of a run.
///
/// # Errors
///
/// When a picture cannot be drawn.
pub(crate) fn write(
    options: &Options,
    loss: &[[f64; 2]],
    run: &Journey,
    data: &[[f32; 2]],
    metrics: &[[&str; 2]],
) -> Result<Report, Failure> {
    let samples = points(&run.samples)?;
    let last = run.states.len().saturating_sub(1);
    let moments: Vec<_> = (0..MOMENTS)
        .filter_map(|moment| run.states.get(moment * last / (MOMENTS - 1)))
        .collect();
    let report = Report::new(format!(
        "Flow matching on the checkerboard, seed {}",
        options.seed
    ))
    .lead("A velocity network trained by flow matching, and its samples.")
    .facts(
        "Configuration",
        &[
            ("steps", loss.len().to_string()),
            ("batch", options.batch.to_string()),
            ("path", "α = 1 − t, σ = t".to_owned()),
            (
                "network",
                format!("MLP, {} layers of {}", MODEL.depth, MODEL.width),
            ),
            (
                "optimiser",
                "AdamW, 8e-3 after a warm-up, falling like a cosine".to_owned(),
            ),
            ("solver", options.solver.clone()),
            ("seed", options.seed.to_string()),
        ],
    )
    .table("Metrics", &["of the samples", "value"], metrics)
    .section("Training")
    .figure("Loss of each step, and its mean over 200 steps", |style| {
        let curves = Curves::new("").x("step").y("loss");
        curves.smoothed("", loss, 200).style(style).drawing()
    })?
    .section("Samples over time")
    .figure("From noise to data", |style| {
        let strip = Strip::new("").bounds(-3.0..3.0, -3.0..3.0);
        let strip = moments
            .iter()
            .fold(strip, |strip, (t, state)| strip.at(format!("t = {t:.2}"), state));
        strip.style(style).drawing()
    })?
    .animation("The same, step by step", |style| {
        let animation = Animation::new().bounds(-3.0..3.0, -3.0..3.0);
        let animation = run.states.iter().fold(animation, |animation, (t, state)| {
            animation.frame(format!("t = {t:.2}"), state)
        });
        animation.style(style).to_gif()
    })?
    .figure("The data, and as many samples", |style| {
        Scatter::new("")
            .panel("data", data)
            .panel("samples", &samples)
            .bounds(-2.5..2.5, -2.5..2.5)
            .style(style)
            .drawing()
    })?;
    Ok(report)
}
