//! A classifier of MNIST: the judge that the example `mnist` asks how good its digits are.
//!
//! cargo run --release --example mnist_classifier -- --data DIR
//!
//! DIR holds MNIST's four files (`train-images-idx3-ubyte.gz` and so on). With `--quick` and no data, the 8x8 digits that
//! tallow carries stand in, enlarged: enough to see that everything works.

use std::path::{Path, PathBuf};
use std::time::Instant;

use candle_core::{DType, Device, Tensor};
use clap::Parser;
use rand::{Rng, RngCore};
use tallow::datasets::{Images, LastBatch, Limits, Prefetch, Shuffled, Split};
use tallow::denoisers::{Batches, Seeded};
use tallow::nn::{AdamW, AdamWConfig, Parameters};
use tallow::plots::Curves;
use tallow::train::{LearningRate, Progress};
use tallow_examples::classifier::Classifier;
use tallow_examples::device::DeviceName;
use tallow_examples::output::OutputFolder;
use tallow_examples::training::curve;
use tallow_examples::{Failure, Outcome};

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

/// Pixels that a training image is shifted by at most, each way.
const SHIFT: i32 = 2;
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
    let losses = train(&options, train_images, &parameters, &device)?;
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

/// The loss of every step.
fn train(
    options: &Options,
    images: Images,
    parameters: &Parameters,
    device: &Device,
) -> Result<Vec<f64>, Failure> {
    let classifier = Classifier::new(&parameters.scope())?;
    let batch = (options.batch as usize).min(images.rows());
    let batches = Shuffled::new(images, batch, options.seed)?.with_last_batch(LastBatch::Dropped)?;
    let steps = match options.quick {
        true => QUICK_STEPS,
        false => options.epochs * batches.batches_per_epoch() as u64,
    };
    let mut batches = Prefetch::new(batches)?;
    let mut optimizer = AdamW::new(
        parameters,
        AdamWConfig {
            weight_decay: 0.01,
            ..AdamWConfig::default()
        },
    )?;
    let rate = LearningRate::cosine(2e-3, steps)?.with_warm_up(50.min(steps / 4));
    let mut shifts = Seeded::stream(options.seed, 1);
    let mut progress = Progress::new("train", steps);
    let mut losses = Vec::new();
    for step in 0..steps {
        let batch = batches.next_batch()?;
        let x = shifted(&batch.x0, &mut shifts)?.to_device(device)?;
        let labels = batch.condition.tensor("labels")?.to_device(device)?;
        let loss = candle_nn::loss::cross_entropy(&classifier.logits(&x)?, &labels)?;
        optimizer.set_learning_rate(rate.at(step))?;
        optimizer.backward_step(&loss)?;
        let loss = f64::from(loss.to_scalar::<f32>()?);
        losses.push(loss);
        progress.step(loss);
    }
    progress.finish();
    println!(
        "trained {} parameters in {steps} steps of {batch} images",
        parameters.count()
    );
    Ok(losses)
}

/// Every image of (B, 1, H, W) moved by up to two pixels each way, black where nothing was.
fn shifted(images: &Tensor, rng: &mut dyn RngCore) -> Result<Tensor, Failure> {
    let (rows, _, height, width) = images.dims4()?;
    let values: Vec<f32> = images.flatten_all()?.to_vec1()?;
    let mut moved = vec![-1.0; values.len()];
    for (from, to) in values
        .chunks_exact(height * width)
        .zip(moved.chunks_exact_mut(height * width))
    {
        let [down, right] = [(); 2].map(|()| rng.random_range(-SHIFT..=SHIFT) as isize);
        for line in 0..height {
            let source = line.checked_add_signed(-down).filter(|source| *source < height);
            let Some(source) = source else { continue };
            let count = width - right.unsigned_abs();
            let (read, write) = (right.min(0).unsigned_abs(), right.max(0).unsigned_abs());
            let line = line * width + write;
            let source = source * width + read;
            to[line..line + count].copy_from_slice(&from[source..source + count]);
        }
    }
    Ok(Tensor::from_vec(moved, (rows, 1, height, width), &Device::Cpu)?)
}

/// Half of the digits that tallow carries, and the other half, each pixel nine times, in the middle of 28 × 28.
fn enlarged_digits(seed: u64) -> Result<[Images; 2], Failure> {
    let digits = Images::digits()?;
    let lines = digits.pixels().chunks_exact(8);
    let wide = lines.flat_map(|line| {
        let line: Vec<u8> = line.iter().flat_map(|value| [*value; 3]).collect();
        line.repeat(3)
    });
    let classes: Vec<&str> = digits.classes().iter().map(String::as_str).collect();
    let large = Images::new(wide.collect(), [1, 24, 24])?.with_labels(digits.labels().to_vec(), &classes)?;
    Ok(large
        .padded(Classifier::SIDE, Classifier::SIDE, 0)?
        .halves(seed)?)
}

/// The 64-bit FNV-1a hash of a file: tells weights apart, and guards against no one.
fn fnv1a(path: &Path) -> Result<u64, Failure> {
    let bytes = std::fs::read(path)?;
    let hash = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    Ok(bytes.iter().fold(0xcbf2_9ce4_8422_2325, hash))
}
