//! Digits of 8x8 pixels drawn to order, from the data that tallow carries: nothing to download, three minutes on two cores.
//!
//! cargo run --example digits

#[path = "digits/report.rs"]
mod report;

use std::path::PathBuf;
use std::time::Instant;

use candle_core::Tensor;
use clap::Parser;
use tallow::datasets::Images;
use tallow::plots::{ImageGrid, Style};
use tallow_examples::device::DeviceName;
use tallow_examples::image_model::{Architecture, Goal, Recipe, values};
use tallow_examples::nearest::nearest_of_class;
use tallow_examples::output::OutputFolder;
use tallow_examples::{Failure, Outcome};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Trains a class-conditional model on 1,797 digits of 8x8 pixels and draws ten of each.
///
/// Writes a sheet with a row for each digit beside one of the data, a film, the losses, a page with all of it, report.html,
/// and checkpoints. Ctrl-C and start again: the training goes on after its last checkpoint.
#[derive(Debug, Parser)]
#[command(name = "digits")]
struct Options {
    /// Network.
    #[arg(long, value_enum, default_value_t)]
    model: Architecture,
    /// What the network is asked for.
    #[arg(long, value_enum, default_value_t)]
    objective: Goal,
    /// Training steps.
    #[arg(long, default_value_t = 1200, value_parser = clap::value_parser!(u64).range(1..))]
    steps: u64,
    /// Images in a training batch.
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u64).range(1..=1797))]
    batch: u64,
    /// Guidance scale: 1 is none.
    #[arg(long, default_value_t = 2.0)]
    guidance: f64,
    /// Solver steps of a sample.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=1000))]
    sampling_steps: u64,
    /// Seed of everything random: the same seed gives the same files.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Where to compute.
    #[arg(long, value_enum, default_value_t)]
    device: DeviceName,
    /// Folder for pictures, losses and checkpoints; another one, or an empty one, starts anew.
    #[arg(long, value_name = "DIR", default_value = "target/digits")]
    out: PathBuf,
    /// A few seconds of everything, to see that it works.
    #[arg(long)]
    quick: bool,
}

const CLASSES: usize = 10;

fn main() -> Outcome {
    let options = Options::parse();
    let out = OutputFolder::create(&options.out)?;
    let device = options.device.open()?;
    let images = Images::digits()?;
    let recipe = Recipe {
        model: options.model,
        objective: options.objective,
        steps: if options.quick {
            options.steps.min(30)
        } else {
            options.steps
        },
        batch: options.batch as usize,
        seed: options.seed,
        label_dropout: 0.1,
        checkpoint_every: if options.quick { 10 } else { 250 },
        shape: images.shape(),
        classes: CLASSES,
        channels: None,
    };
    let data = ten_of_each(&images)?;
    let (weights, train_seconds) = recipe.train(images, &options.out, &device)?;

    let sampling = Instant::now();
    let steps = if options.quick {
        4
    } else {
        options.sampling_steps as usize
    };
    let labels: Vec<u32> = (0..CLASSES * 10).map(|sample| (sample / 10) as u32).collect();
    let mut frames: Vec<ImageGrid> = Vec::new();
    let samples = recipe.sample(
        &weights,
        &labels,
        options.guidance,
        steps,
        &device,
        &mut |step, x| {
            frames.push(sheet(x, &format!("step {step} of {steps}"))?);
            Ok(())
        },
    )?;
    let sample_seconds = sampling.elapsed().as_secs_f64();
    report::film(&frames, Style::light())?.save(out.file("journey.gif"))?;
    sheet(&samples, &format!("samples, guidance {}", options.guidance))?.save(out.file("samples.png"))?;
    sheet(&data, "the data")?.save(out.file("data.png"))?;
    let nearest = nearest_of_class(&samples, &labels)?;
    let sheets = [sheet(&data, "")?, sheet(&samples, "")?];
    let loss = std::fs::read_to_string(options.out.join("loss.csv"))?;
    report::page(&options, &recipe, &loss, &frames, &sheets, nearest)?.save(out.file("report.html"))?;
    println!(
        "nearest_of_class={nearest:.4} train_seconds={train_seconds:.1} sample_seconds={sample_seconds:.1} seed={}",
        options.seed
    );
    Ok(())
}

/// Ten images of each class, in the order of the sheet.
fn ten_of_each(images: &Images) -> Result<Tensor, Failure> {
    let of = |class: usize| {
        let labels = images.labels().iter().enumerate();
        labels
            .filter(move |(_, label)| **label as usize == class)
            .map(|(row, _)| row as u32)
            .take(10)
    };
    Ok(images.select(&(0..CLASSES).flat_map(of).collect::<Vec<_>>())?.x0)
}

/// A row for each digit.
fn sheet(images: &Tensor, title: &str) -> Result<ImageGrid, Failure> {
    let (_, _, height, width) = images.dims4()?;
    let labels: Vec<String> = (0..CLASSES).map(|class| class.to_string()).collect();
    Ok(ImageGrid::gray(width, height)
        .title(title)
        .images(&values(images)?)
        .range(-1.0..1.0)
        .columns(10)
        .row_labels(&labels)
        .upscale(4))
}
