//! The run on one page: configuration, loss, the way of the samples, what they came to.

use tallow::plots::{Curves, Film, ImageGrid, Report, Result, Style};
use tallow_examples::Failure;
use tallow_examples::image_model::Recipe;

use crate::Options;

/// The sheets one after another.
///
/// # Errors
///
/// When one cannot be drawn.
pub(crate) fn film(frames: &[ImageGrid], style: Style) -> Result<Film> {
    frames.iter().try_fold(Film::new(), |film, frame| {
        Ok(film.frame(frame.clone().style(style).drawing()?))
    })
}

/// The page of a run: `loss` is the text of loss.csv, `sheets` the data and the samples.
///
/// # Errors
///
/// When a picture cannot be drawn.
pub(crate) fn page(
    options: &Options,
    recipe: &Recipe,
    loss: &str,
    frames: &[ImageGrid],
    sheets: &[ImageGrid; 2],
    nearest: f64,
) -> std::result::Result<Report, Failure> {
    let loss: Vec<[f64; 2]> = loss.lines().filter_map(row).collect();
    let facts = [
        ("network", format!("{:?}", options.model)),
        ("objective", format!("{:?}", options.objective)),
        ("steps", recipe.steps.to_string()),
        ("batch", options.batch.to_string()),
        ("label dropout", recipe.label_dropout.to_string()),
        ("guidance", options.guidance.to_string()),
        ("solver steps", frames.len().to_string()),
        ("seed", options.seed.to_string()),
    ];
    let rows = [["nearest of their class", &format!("{nearest:.4}")]];
    let report = Report::new(format!("Digits of 8x8 pixels, seed {}", options.seed))
        .lead("A class-conditional model, and ten samples of each digit.")
        .facts("Configuration", &facts)
        .table("Metrics", &["share of the samples", "value"], &rows)
        .section("Training")
        .figure("Loss of each step, and its mean over 50 steps", |style| {
            let curves = Curves::new("").x("step").y_log("loss");
            curves.smoothed("", &loss, 50).style(style).drawing()
        })?
        .section("Samples over time")
        .animation("From noise to digits", |style| film(frames, style)?.to_gif())?
        .section("Data and samples")
        .figure("The data", |style| sheets[0].clone().style(style).drawing())?
        .figure("The samples", |style| sheets[1].clone().style(style).drawing())?;
    Ok(report)
}

/// Step and loss of a row; nothing of the head.
fn row(line: &str) -> Option<[f64; 2]> {
    let mut cells = line.split(',').map(str::parse::<f64>);
    Some([cells.next()?.ok()?, cells.next()?.ok()?])
}
