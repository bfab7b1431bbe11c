//! CIFAR-10 drawn to order: small enough for a processor, and by its flags as large as one GPU bears.
//!
//! cargo run --release --example cifar10 -- --data DIR
//! cargo run --release --features cuda --example cifar10 -- --data DIR --device cuda --model ddpm --batch 128 --steps 200000
//!
//! DIR holds the binary version's files, or its folder `cifar-10-batches-bin`. Ctrl-C and start again: the training goes on
//! after its last checkpoint. With `--quick` and no data, coloured 8x8 digits stand in, enlarged.

use std::path::PathBuf;
use std::time::Instant;

use candle_core::Tensor;
use clap::Parser;
use tallow::datasets::{Flips, Images, Limits, Split};
use tallow::plots::{Film, ImageGrid};
use tallow_examples::choice::images_of;
use tallow_examples::device::DeviceName;
use tallow_examples::image_model::{Architecture, Goal, Recipe, values};
use tallow_examples::output::OutputFolder;
use tallow_examples::{Failure, Outcome};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Trains a class-conditional model on CIFAR-10, mirrored half of the time, and draws ten images of each class.
///
/// The default network has 16 channels at its finest resolution and trains on two cores; `--channels 64` and more, or
/// `--model ddpm`, want a GPU. Writes a sheet with a row for each class beside one of the data, a film, the losses and
/// checkpoints.
#[derive(Debug, Parser)]
#[command(name = "cifar10")]
struct Options {
    /// Folder of CIFAR-10's binary files.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Network.
    #[arg(long, value_enum, default_value_t)]
    model: Architecture,
    /// Channels of the U-Net's finest resolution, or of the transformer's tokens; the network's own if not given.
    #[arg(long, value_parser = clap::value_parser!(u64).range(8..=4096))]
    channels: Option<u64>,
    /// What the network is asked for.
    #[arg(long, value_enum, default_value_t)]
    objective: Goal,
    /// Training steps.
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u64).range(1..))]
    steps: u64,
    /// Images in a training batch.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..=50_000))]
    batch: u64,
    /// Training steps between checkpoints.
    #[arg(long, default_value_t = 250, value_parser = clap::value_parser!(u64).range(1..))]
    checkpoint_every: u64,
    /// Guidance scale: 1 is none.
    #[arg(long, default_value_t = 1.5)]
    guidance: f64,
    /// Solver steps of a sample.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=1000))]
    sampling_steps: u64,
    /// Samples of each class.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=100))]
    samples: u64,
    /// Seed of everything random: the same seed gives the same files.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Where to compute.
    #[arg(long, value_enum, default_value_t)]
    device: DeviceName,
    /// Folder for pictures, losses and checkpoints; another one, or an empty one, starts anew.
    #[arg(long, value_name = "DIR", default_value = "target/cifar10")]
    out: PathBuf,
    /// A few seconds of everything, to see that it works.
    #[arg(long)]
    quick: bool,
}

const CLASSES: usize = 10;
/// How often a digit's pixel is repeated each way in the stand-in.
const ENLARGED: usize = 4;

fn main() -> Outcome {
    let options = Options::parse();
    let images = match &options.data {
        Some(folder) => Images::cifar10(folder, Split::Train, Limits::default())?,
        None if options.quick => coloured_digits()?,
        None => {
            return Err(
                "where is CIFAR-10? Name the folder of its binary version with --data DIR, or try --quick without"
                    .into(),
            );
        }
    };
    // A digit is not its mirror image; a frog is.
    let flips = if options.data.is_some() {
        Flips::Half
    } else {
        Flips::Never
    };
    let names = images.classes().to_vec();
    let out = OutputFolder::create(&options.out)?;
    let device = options.device.open()?;
    let few = |usual: u64, quick: u64| if options.quick { usual.min(quick) } else { usual };
    let recipe = Recipe {
        model: options.model,
        objective: options.objective,
        steps: few(options.steps, 6),
        batch: few(options.batch, 16) as usize,
        seed: options.seed,
        label_dropout: 0.1,
        checkpoint_every: few(options.checkpoint_every, 3),
        shape: images.shape(),
        classes: CLASSES,
        channels: options.channels.map(|channels| channels as usize),
    };
    let each = few(options.samples, 2) as usize;
    let labels: Vec<u32> = (0..CLASSES * each).map(|sample| (sample / each) as u32).collect();
    let data = images_of(&images, &labels)?;
    let (weights, train_seconds) = recipe.train(images.with_flips(flips), &options.out, &device)?;

    let sampling = Instant::now();
    let steps = few(options.sampling_steps, 3) as usize;
    let mut film = Film::new();
    let samples = recipe.sample(
        &weights,
        &labels,
        options.guidance,
        steps,
        &device,
        &mut |step, x| {
            let title = format!("step {step} of {steps}");
            film = std::mem::take(&mut film).frame(sheet(x, &title, &names, each)?.drawing()?);
            Ok(())
        },
    )?;
    let sample_seconds = sampling.elapsed().as_secs_f64();
    film.save(out.file("journey.gif"))?;
    let title = format!("{:?}, guidance {}", options.objective, options.guidance);
    sheet(&samples, &title, &names, each)?.save(out.file("samples.png"))?;
    sheet(&data, "the data", &names, each)?.save(out.file("data.png"))?;
    let ([mean, std], [data_mean, data_std]) = (moments(&samples)?, moments(&data)?);
    println!(
        "pixel_mean={mean:.3} pixel_mean_data={data_mean:.3} pixel_std={std:.3} pixel_std_data={data_std:.3} \
         train_seconds={train_seconds:.1} sample_seconds={sample_seconds:.1} seed={}",
        options.seed
    );
    Ok(())
}

/// The digits that tallow carries, on a background of the complementary colour: (3, 32, 32), as CIFAR-10's.
fn coloured_digits() -> Result<Images, Failure> {
    let digits = Images::digits()?;
    let mut pixels = Vec::new();
    for (digit, label) in digits.pixels().chunks_exact(64).zip(digits.labels()) {
        for channel in 0..3 {
            let inverted = label >> channel & 1 == 1;
            for line in digit.chunks_exact(8) {
                let wide = line.iter().flat_map(|value| {
                    let value = if inverted { 255 - value } else { *value };
                    [value; ENLARGED]
                });
                pixels.extend(wide.collect::<Vec<u8>>().repeat(ENLARGED));
            }
        }
    }
    let classes: Vec<&str> = digits.classes().iter().map(String::as_str).collect();
    let side = 8 * ENLARGED;
    Ok(Images::new(pixels, [3, side, side])?.with_labels(digits.labels().to_vec(), &classes)?)
}

/// Mean and standard deviation of all pixels.
fn moments(images: &Tensor) -> Result<[f64; 2], Failure> {
    let values = values(images)?;
    let mean_of = |f: &dyn Fn(f64) -> f64| {
        values.iter().map(|value| f(f64::from(*value))).sum::<f64>() / values.len() as f64
    };
    let mean = mean_of(&|value| value);
    Ok([mean, mean_of(&|value| (value - mean).powi(2)).sqrt()])
}

/// A row for each class, as far as there are images.
fn sheet(images: &Tensor, title: &str, names: &[String], each: usize) -> Result<ImageGrid, Failure> {
    let (count, _, height, width) = images.dims4()?;
    Ok(ImageGrid::rgb(width, height)
        .title(title)
        .images(&values(images)?)
        .range(-1.0..1.0)
        .columns(each)
        .row_labels(&names[..count.div_ceil(each).min(names.len())]))
}
