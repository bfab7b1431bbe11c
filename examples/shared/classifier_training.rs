//! How the classifier of MNIST is trained: three times through the images, each time moved a little.

use std::path::Path;

use candle_core::{Device, Tensor};
use rand::{Rng, RngCore};
use tallow::datasets::{Images, LastBatch, Prefetch, Shuffled};
use tallow::denoisers::{Batches, Seeded};
use tallow::nn::{AdamW, AdamWConfig, Parameters};
use tallow::train::{LearningRate, Progress};

use crate::Failure;
use crate::classifier::Classifier;

/// Pixels that a training image is shifted by at most, each way.
const SHIFT: i32 = 2;

/// How much a classifier is trained.
#[derive(Clone, Copy, Debug)]
pub struct Schooling {
    /// How often every image is seen.
    pub epochs: u64,
    /// The most steps, whatever the epochs.
    pub most_steps: Option<u64>,
    /// Images in a batch.
    pub batch: usize,
    /// Seed of order, shifts and flips.
    pub seed: u64,
}

impl Default for Schooling {
    fn default() -> Self {
        Self {
            epochs: 3,
            most_steps: None,
            batch: 100,
            seed: 0,
        }
    }
}

/// Trains a [`Classifier`] made of `parameters`; the loss of every step.
///
/// # Errors
///
/// When the images are none of 28 × 28 or more, or without labels.
pub fn train(
    schooling: Schooling,
    images: Images,
    parameters: &Parameters,
    device: &Device,
) -> Result<Vec<f64>, Failure> {
    let classifier = Classifier::new(&parameters.scope())?;
    let batch = schooling.batch.min(images.rows());
    let batches = Shuffled::new(images, batch, schooling.seed)?.with_last_batch(LastBatch::Dropped)?;
    let steps = schooling.epochs * batches.batches_per_epoch() as u64;
    let steps = schooling.most_steps.map_or(steps, |most| steps.min(most));
    let mut batches = Prefetch::new(batches)?;
    let mut optimizer = AdamW::new(
        parameters,
        AdamWConfig {
            weight_decay: 0.01,
            ..AdamWConfig::default()
        },
    )?;
    let rate = LearningRate::cosine(2e-3, steps)?.with_warm_up(50.min(steps / 4));
    let mut shifts = Seeded::stream(schooling.seed, 1);
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
///
/// # Errors
///
/// Never: the digits are a part of the program.
pub fn enlarged_digits(seed: u64) -> Result<[Images; 2], Failure> {
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
///
/// # Errors
///
/// When the file cannot be read.
pub fn fnv1a(path: &Path) -> Result<u64, Failure> {
    let bytes = std::fs::read(path)?;
    let hash = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    Ok(bytes.iter().fold(0xcbf2_9ce4_8422_2325, hash))
}
