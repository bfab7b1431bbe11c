//! A classifier of MNIST: the judge that the example `mnist` asks how good its digits are.
//!
//! cargo run --release --example mnist_classifier -- --data DIR
//!
//! DIR holds MNIST's four files (`train-images-idx3-ubyte.gz` and so on). With `--quick` and no data, the 8x8 digits that
//! tallow carries stand in, enlarged: enough to see that everything works.

use std::path::PathBuf;
use std::time::Instant;

use candle_core::DType;
use clap::Parser;
use tallow::datasets::{Images, Limits, Split};
use tallow::nn::Parameters;
use tallow::plots::Curves;
use tallow_examples::Outcome;
use tallow_examples::classifier::Classifier;
use tallow_examples::classifier_training::{Schooling, enlarged_digits, fnv1a, train};
use tallow_examples::device::DeviceName;
use tallow_examples::output::OutputFolder;
use tallow_examples::training::curve;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Trains a small convolutional network on MNIST, with random shifts, and writes its weights.
#[derive(Debug, Parser)]
#[command(name = "mnist_classifier")]
struct Options {
    /// Folder of MNIST's files, raw or gzip.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// How often every image is seen.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=1000))]
    epochs: u64,
    /// Images in a training batch.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    batch: u64,
    /// Seed of everything random: the same seed gives the same weights.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Where to compute.
    #[arg(long, value_enum, default_value_t)]
    device: DeviceName,
    /// Folder for weights and curve.
    #[arg(long, value_name = "DIR", default_value = "target/mnist_classifier")]
    out: PathBuf,
    /// A few seconds of everything, to see that it works.
    #[arg(long)]
    quick: bool,
}

/// Steps of a quick run.
const QUICK_STEPS: u64 = 100;

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

    let training = Instant::now();
    let parameters = Parameters::new(options.seed, DType::F32, &device);
    let schooling = Schooling {
        epochs: options.epochs,
        most_steps: options.quick.then_some(QUICK_STEPS),
        batch: options.batch as usize,
        seed: options.seed,
    };
    let losses = train(schooling, train_images, &parameters, &device)?;
    let train_seconds = training.elapsed().as_secs_f64();

    let weights = out.file("classifier.safetensors");
    parameters.save(&weights, "{}")?;
    let classifier = Classifier::load(&weights, &device)?;
    let accuracy = classifier.accuracy(&test_images)?;
    Curves::new("Cross-entropy of the classifier")
        .x("step")
        .y("loss")
        .smoothed("train", &curve(&losses), 50)
        .save(out.file("loss.png"))?;
    println!(
        "accuracy on {} images that training has not seen: {accuracy:.4}",
        test_images.rows()
    );
    println!(
        "test_accuracy={accuracy:.4} train_seconds={train_seconds:.1} weights_fnv1a64={:016x} seed={}",
        fnv1a(&weights)?,
        options.seed
    );
    Ok(())
}
