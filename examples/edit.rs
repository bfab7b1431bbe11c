//! Editing images with a model of them: image to image, inpainting, and the way between two images.
//!
//! cargo run --example edit
//!
//! The model is that of the example `digits`, if it was run before; else one is trained for a minute. Nothing of it knows of
//! editing: every method here is a start, a solver or a grid.

#[path = "edit/editor.rs"]
mod editor;

use std::path::PathBuf;
use std::time::Instant;

use candle_core::{DType, Tensor};
use clap::Parser;
use editor::{BETWEEN, Editor};
use tallow::datasets::Images;
use tallow::plots::ImageGrid;
use tallow_examples::choice::images_of;
use tallow_examples::device::DeviceName;
use tallow_examples::image_model::{Architecture, Goal, Recipe, values};
use tallow_examples::nearest::nearest_of_class;
use tallow_examples::output::OutputFolder;
use tallow_examples::{Failure, Outcome};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Edits digits of 8x8 pixels in three ways and draws a sheet of each.
///
/// Image to image (SDEdit): noise up to a strength, then towards another class. Inpainting: the lower half from the upper, by
/// replacement and by RePaint. Interpolation: two images to their noises along the flow, and back from between.
#[derive(Debug, Parser)]
#[command(name = "edit")]
struct Options {
    /// Folder of the example `digits`, trained with its defaults.
    #[arg(long, value_name = "DIR", default_value = "target/digits")]
    trained: PathBuf,
    /// Training steps where that folder has no checkpoints.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    train_steps: u64,
    /// Guidance scale of image to image: 1 is none.
    #[arg(long, default_value_t = 2.0)]
    guidance: f64,
    /// How often RePaint takes each step.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(2..=100))]
    rounds: u64,
    /// Solver steps.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=1000))]
    steps: u64,
    /// Images of each class that are inpainted.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=100))]
    images: u64,
    /// Seed of everything random: the same seed gives the same files.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Where to compute.
    #[arg(long, value_enum, default_value_t)]
    device: DeviceName,
    /// Folder for pictures, and for the training if there is one.
    #[arg(long, value_name = "DIR", default_value = "target/edit")]
    out: PathBuf,
    /// A few seconds of everything, to see that it works.
    #[arg(long)]
    quick: bool,
}

const CLASSES: usize = 10;
/// How far up image to image goes: the time on the path.
const STRENGTHS: [f64; 3] = [0.5, 0.7, 0.9];

fn main() -> Outcome {
    let options = Options::parse();
    let out = OutputFolder::create(&options.out)?;
    let began = Instant::now();
    let images = Images::digits()?;
    let editor = editor(&options, &images)?;
    let each = if options.quick { 2 } else { options.images as usize };
    let labels: Vec<u32> = (0..each * CLASSES).map(|row| (row % CLASSES) as u32).collect();
    let x0 = images_of(&images, &labels)?.to_device(&editor.device)?;
    let ten = x0.narrow(0, 0, CLASSES)?;

    let others: Vec<u32> = (0..CLASSES).map(|class| ((class + 1) % CLASSES) as u32).collect();
    let mut edited = vec![ten.clone()];
    let mut figures = Vec::new();
    for strength in STRENGTHS {
        let result = editor.image_to_image(&ten, &others, strength, options.guidance)?;
        figures.push(format!("moved_{strength}={:.3}", rms(&result, &ten)?));
        edited.push(result);
    }
    let rows: Vec<String> = (0..CLASSES)
        .map(|class| format!("{class} as {}", others[class]))
        .collect();
    let columns: Vec<String> = ["original".to_owned()]
        .into_iter()
        .chain(STRENGTHS.map(|strength| format!("t = {strength}")))
        .collect();
    sheet("Image to image", &edited, &rows, &columns)?.save(out.file("image_to_image.png"))?;

    let shown = Tensor::cat(
        &[
            Tensor::ones((1, 1, 4, 8), DType::F32, &editor.device)?,
            Tensor::zeros((1, 1, 4, 8), DType::F32, &editor.device)?,
        ],
        2,
    )?;
    let replaced = editor.inpaint(&x0, &shown, 1)?;
    let repainted = editor.inpaint(&x0, &shown, options.rounds as usize)?;
    let kept = rms(&repainted.broadcast_mul(&shown)?, &x0.broadcast_mul(&shown)?)?;
    let first = |images: &Tensor| images.narrow(0, 0, CLASSES);
    let mask = shown.affine(2.0, -1.0)?.broadcast_as(ten.shape())?.contiguous()?;
    let seen = ten.broadcast_mul(&shown)?;
    let columns = ["original", "mask", "seen", "replaced", "RePaint"].map(str::to_owned);
    let rows: Vec<String> = (0..CLASSES).map(|class| class.to_string()).collect();
    let drawn = [ten.clone(), mask, seen, first(&replaced)?, first(&repainted)?];
    sheet("Inpainting", &drawn, &rows, &columns)?.save(out.file("inpainting.png"))?;

    let to = ten.index_select(&Tensor::new(others.as_slice(), &editor.device)?, 0)?;
    let way = editor.between(&ten, &to)?;
    let back = Tensor::arange_step(0, way.dim(0)? as u32, BETWEEN as u32, &editor.device)?;
    let round_trip = rms(&way.index_select(&back, 0)?, &ten)?;
    let rows: Vec<String> = (0..CLASSES)
        .map(|class| format!("{class} to {}", others[class]))
        .collect();
    ImageGrid::gray(8, 8)
        .title("Between the noises of two images")
        .images(&values(&way)?)
        .range(-1.0..1.0)
        .columns(BETWEEN)
        .row_labels(&rows)
        .save(out.file("interpolation.png"))?;

    println!(
        "{} class_of_replaced={:.3} class_of_repainted={:.3} kept_apart={kept:.1e} round_trip={round_trip:.3} \
         seconds={:.1} seed={}",
        figures.join(" "),
        nearest_of_class(&replaced, &labels)?,
        nearest_of_class(&repainted, &labels)?,
        began.elapsed().as_secs_f64(),
        options.seed
    );
    Ok(())
}

/// The model of the example `digits`, or one of a short training of its own.
fn editor(options: &Options, images: &Images) -> Result<Editor, Failure> {
    let device = options.device.open()?;
    let found = !options.quick && options.trained.join("checkpoints").is_dir();
    let mut recipe = Recipe {
        model: Architecture::Unet,
        objective: Goal::Flow,
        steps: 1200,
        batch: 128,
        seed: options.seed,
        label_dropout: 0.1,
        checkpoint_every: 250,
        shape: images.shape(),
        classes: CLASSES,
        channels: None,
    };
    let folder = if found { &options.trained } else { &options.out };
    if !found {
        recipe.steps = if options.quick { 30 } else { options.train_steps };
        println!(
            "no training of the example `digits` in {} is used: training {} steps",
            options.trained.display(),
            recipe.steps
        );
    }
    let (weights, _) = recipe.train(images.clone(), folder, &device)?;
    Ok(Editor {
        network: recipe.network(&weights.scope())?,
        recipe,
        steps: if options.quick { 4 } else { options.steps as usize },
        device,
    })
}

/// The root mean square of a difference.
fn rms(x: &Tensor, y: &Tensor) -> Result<f64, Failure> {
    Ok(f64::from((x - y)?.sqr()?.mean_all()?.to_scalar::<f32>()?).sqrt())
}

/// Tensors of images, one a column.
fn sheet(title: &str, of: &[Tensor], rows: &[String], columns: &[String]) -> Result<ImageGrid, Failure> {
    let side_by_side = Tensor::stack(of, 1)?;
    Ok(ImageGrid::gray(8, 8)
        .title(title)
        .images(&values(&side_by_side)?)
        .range(-1.0..1.0)
        .columns(of.len())
        .row_labels(rows)
        .column_labels(columns))
}
