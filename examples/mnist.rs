//! Digits drawn to order: a small U-Net or transformer trained on MNIST, guided samples, judged by a classifier.
//!
//! cargo run --release --example mnist -- --data DIR
//!
//! DIR holds MNIST's four files. Ctrl-C and start again: the training goes on after its last checkpoint. The judge is trained
//! first where no file of the example `mnist_classifier` is found. With `--quick` and no data, the 8x8 digits that tallow
//! carries stand in, enlarged.

use std::path::{Path, PathBuf};
use std::time::Instant;

use candle_core::{DType, Device, Tensor};
use clap::Parser;
use tallow::datasets::{Images, Limits, Split};
use tallow::metrics::{Points, frechet_distance_of};
use tallow::nn::Parameters;
use tallow::plots::{Film, ImageGrid};
use tallow_examples::classifier::Classifier;
use tallow_examples::classifier_training::{self, Schooling, enlarged_digits, fnv1a};
use tallow_examples::device::DeviceName;
use tallow_examples::image_model::{Architecture, Goal, Recipe, values};
use tallow_examples::output::OutputFolder;
use tallow_examples::{Failure, Outcome};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Trains a class-conditional model on MNIST and judges 2,000 guided samples.
///
/// Writes a sheet with a row for each digit, a film of how they come about, the losses and checkpoints, and ends with one
/// line of figures.
#[derive(Debug, Parser)]
#[command(name = "mnist")]
struct Options {
    /// Folder of MNIST's files, raw or gzip.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Network.
    #[arg(long, value_enum, default_value_t)]
    model: Architecture,
    /// What the network is asked for.
    #[arg(long, value_enum, default_value_t)]
    objective: Goal,
    /// Training steps; as many as take some eight minutes on two cores if not given.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    steps: Option<u64>,
    /// Images in a training batch.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    batch: u64,
    /// Guidance scale: 1 is none; 1.25 for a U-Net and 2 for a transformer if not given.
    #[arg(long)]
    guidance: Option<f64>,
    /// Solver steps of a sample.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=1000))]
    sampling_steps: u64,
    /// The judge: a file that the example `mnist_classifier` wrote; trained and written there if it does not exist.
    #[arg(long, value_name = "FILE")]
    classifier: Option<PathBuf>,
    /// Seed of everything random: the same seed gives the same files.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Where to compute.
    #[arg(long, value_enum, default_value_t)]
    device: DeviceName,
    /// Folder for pictures, losses and checkpoints; another one, or an empty one, starts anew.
    #[arg(long, value_name = "DIR", default_value = "target/mnist")]
    out: PathBuf,
    /// A few seconds of everything, to see that it works.
    #[arg(long)]
    quick: bool,
}

const CLASSES: usize = 10;
/// Samples that are judged.
const SAMPLES: usize = 2000;
/// Samples under `--quick`.
const FEW_SAMPLES: usize = 100;
/// Training steps under `--quick`.
const QUICK_STEPS: u64 = 20;

fn main() -> Outcome {
    let options = Options::parse();
    let [train_images, test_images] = match &options.data {
        Some(folder) => {
            [Split::Train, Split::Test].map(|split| Images::mnist(folder, split, Limits::default()))
        }
        None if options.quick => enlarged_digits(options.seed)?.map(Ok),
        None => return Err("where is MNIST? Name its folder with --data DIR, or try --quick without".into()),
    };
    let (train_images, test_images) = (train_images?, test_images?);
    let out = OutputFolder::create(&options.out)?;
    let device = options.device.open()?;
    let recipe = recipe(&options, &train_images);
    let guidance = options.guidance.unwrap_or_else(|| usual_guidance(options.model));
    let judge = judge(&options, &train_images, &device)?;

    let (weights, train_seconds) = recipe.train(train_images, &options.out, &device)?;

    let sampling = Instant::now();
    let count = if options.quick { FEW_SAMPLES } else { SAMPLES };
    let steps = if options.quick {
        3
    } else {
        options.sampling_steps as usize
    };
    let labels: Vec<u32> = (0..count).map(|sample| (sample % CLASSES) as u32).collect();
    let mut film = Film::new();
    let samples = recipe.sample(&weights, &labels, guidance, steps, &device, &mut |step, x| {
        film = std::mem::take(&mut film).frame(sheet(x, &format!("step {step} of {steps}"))?.drawing()?);
        Ok(())
    })?;
    // As pictures are: what is brighter than white is white.
    let samples = samples.clamp(-1f32, 1f32)?;
    let sample_seconds = sampling.elapsed().as_secs_f64();
    film.save(out.file("journey.gif"))?;
    let title = format!("MNIST, {:?}, guidance {guidance}", options.objective);
    sheet(&samples, &title)?.save(out.file("samples.png"))?;

    let classes = judge.predict(&samples)?;
    let right = labels
        .iter()
        .zip(&classes)
        .filter(|(asked, seen)| asked == seen)
        .count();
    let [real, other] = real_images(&test_images, count, options.seed, &device)?;
    let other = judge.features(&other)?;
    println!(
        "label_accuracy={:.4} fd_mnist_classifier={:.3} fd_real={:.3} train_seconds={train_seconds:.1} \
         sample_seconds={sample_seconds:.1} seed={}",
        right as f64 / count as f64,
        distance(&judge.features(&samples)?, &other)?,
        distance(&judge.features(&real)?, &other)?,
        options.seed
    );
    Ok(())
}

fn recipe(options: &Options, images: &Images) -> Recipe {
    let steps = options.steps.unwrap_or(match options.model {
        Architecture::Unet | Architecture::Ddpm => UNET_STEPS,
        Architecture::Dit => DIT_STEPS,
    });
    Recipe {
        model: options.model,
        objective: options.objective,
        steps: if options.quick {
            steps.min(QUICK_STEPS)
        } else {
            steps
        },
        batch: options.batch as usize,
        seed: options.seed,
        label_dropout: 0.1,
        checkpoint_every: if options.quick { 10 } else { 250 },
        shape: images.shape(),
        classes: CLASSES,
        channels: None,
    }
}

/// Training steps of the U-Net.
const UNET_STEPS: u64 = 4000;
/// Training steps of the transformer.
const DIT_STEPS: u64 = 5000;

/// The guidance scale that a network takes after some eight minutes of training: more costs variety, less leaves digits that are
/// none of the label's. The transformer learns more slowly and needs more.
fn usual_guidance(model: Architecture) -> f64 {
    match model {
        Architecture::Unet | Architecture::Ddpm => 1.25,
        Architecture::Dit => 2.0,
    }
}

/// The classifier of the file, trained first if there is none.
fn judge(options: &Options, images: &Images, device: &Device) -> Result<Classifier, Failure> {
    let usual = || options.out.join("classifier.safetensors");
    let file = options.classifier.clone().unwrap_or_else(usual);
    if !file.exists() {
        println!("no classifier at {}: training one", file.display());
        train_judge(options, images.clone(), &file, device)?;
    }
    println!("judge: {}, FNV-1a {:016x}", file.display(), fnv1a(&file)?);
    Classifier::load(&file, device)
}

fn train_judge(options: &Options, images: Images, file: &Path, device: &Device) -> Outcome {
    let parameters = Parameters::new(0, DType::F32, device);
    let schooling = Schooling {
        most_steps: options.quick.then_some(QUICK_STEPS),
        ..Schooling::default()
    };
    classifier_training::train(schooling, images, &parameters, device)?;
    parameters.save(file, "{}")?;
    Ok(())
}

/// As many images drawn from each half of the test data: the distance between them is what a perfect model of so many samples has.
fn real_images(images: &Images, count: usize, seed: u64, device: &Device) -> Result<[Tensor; 2], Failure> {
    let [first, second] = images.halves(seed)?;
    let some = |images: &Images| -> Result<Tensor, Failure> {
        let rows: Vec<u32> = (0..images.rows().min(count) as u32).collect();
        Ok(images.select(&rows)?.x0.to_device(device)?)
    };
    Ok([some(&first)?, some(&second)?])
}

/// The Fréchet distance between two sets of features.
fn distance(x: &Tensor, y: &Tensor) -> Result<f64, Failure> {
    Ok(frechet_distance_of(&Points::from_tensor(x)?, &Points::from_tensor(y)?)?.distance_squared)
}

/// The first hundred images with a row for each class.
fn sheet(images: &Tensor, title: &str) -> Result<ImageGrid, Failure> {
    let (count, _, height, width) = images.dims4()?;
    let images = images.narrow(0, 0, count.min(CLASSES * CLASSES))?;
    let rows = count.min(CLASSES * CLASSES) / CLASSES;
    // Sample i is of class i mod 10: columns become rows.
    let turned = images.reshape((rows, CLASSES, height, width))?.transpose(0, 1)?;
    let labels: Vec<String> = (0..CLASSES).map(|class| class.to_string()).collect();
    Ok(ImageGrid::gray(width, height)
        .title(title)
        .images(&values(&turned.contiguous()?)?)
        .range(-1.0..1.0)
        .columns(rows)
        .row_labels(&labels)
        .upscale(1))
}
