//! Latent diffusion, whole: an autoencoder of MNIST, the scale of its latents, a diffusion model of them, and back to images.
//!
//! cargo run --release --example latent -- --data DIR
//!
//! DIR holds MNIST's four files. Both trainings go on after their last checkpoints. With `--quick` and no data, the 8x8 digits
//! that tallow carries stand in, enlarged. The autoencoder is left in `vae` of its folder, as diffusers would write it.

#[path = "latent/autoencoder.rs"]
mod autoencoder;

use std::path::PathBuf;
use std::time::Instant;

use autoencoder::{Training, decoded, deviation, encoded};
use candle_core::Tensor;
use clap::Parser;
use tallow::datasets::{Images, Limits, Split, TensorDataset};
use tallow::plots::ImageGrid;
use tallow_examples::classifier_training::enlarged_digits;
use tallow_examples::device::DeviceName;
use tallow_examples::image_model::{Architecture, Goal, Recipe, values};
use tallow_examples::output::OutputFolder;
use tallow_examples::{Failure, Outcome};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Trains an autoencoder and a diffusion model of its latents, and draws ten digits of each class.
///
/// Images are padded to 32x32; latents have 4 channels of 8x8. Writes a sheet of images drawn again, one of samples, the
/// losses, checkpoints, and the autoencoder with the measured scale in its `config.json`.
#[derive(Debug, Parser)]
#[command(name = "latent")]
struct Options {
    /// Folder of MNIST's files, raw or gzip.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Training steps of the autoencoder.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    autoencoder_steps: u64,
    /// Weight of the divergence of a latent from N(0, 1), beside the mean squared error of a pixel.
    #[arg(long, default_value_t = 1e-3)]
    kl_weight: f64,
    /// Network of the diffusion model.
    #[arg(long, value_enum, default_value_t)]
    model: Architecture,
    /// What the diffusion model is asked for.
    #[arg(long, value_enum, default_value_t)]
    objective: Goal,
    /// Training steps of the diffusion model.
    #[arg(long, default_value_t = 3000, value_parser = clap::value_parser!(u64).range(1..))]
    steps: u64,
    /// Images in a training batch.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..=60_000))]
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
    #[arg(long, value_name = "DIR", default_value = "target/latent")]
    out: PathBuf,
    /// A few seconds of everything, to see that it works.
    #[arg(long)]
    quick: bool,
}

const CLASSES: usize = 10;
/// The side that images are padded to, so that both networks can halve it.
const SIDE: usize = 32;
/// Images of the data that `--quick` goes through.
const FEW_IMAGES: u32 = 100;

fn main() -> Outcome {
    let options = Options::parse();
    let [images, test_images] = data(&options)?;
    let out = OutputFolder::create(&options.out)?;
    let device = options.device.open()?;
    let few = |usual: u64, quick: u64| if options.quick { usual.min(quick) } else { usual };
    let began = Instant::now();

    let training = Training {
        steps: few(options.autoencoder_steps, 6),
        batch: few(options.batch, 16) as usize,
        kl_weight: options.kl_weight,
        seed: options.seed,
        checkpoint_every: few(250, 3),
    };
    let folder = options.out.join("autoencoder");
    std::fs::create_dir_all(&folder)?;
    let trained = training.run(&images, &folder, &device)?;
    let shown: Vec<u32> = (0..FEW_IMAGES.min(test_images.rows() as u32)).collect();
    let shown = test_images.subset(&shown)?;
    let drawn = decoded(&trained.model, &encoded(&trained.model, &shown, &device)?)?;
    let all: Vec<u32> = (0..shown.rows() as u32).collect();
    let originals = shown.select(&all)?.x0.to_device(&device)?;
    let error = rms(&drawn, &originals)?;
    reconstructions(&originals, &drawn)?.save(out.file("reconstructions.png"))?;

    let scaled = deviation(&trained.latents)?;
    println!("latents: deviation {:.4}, {scaled:.4} when scaled", trained.std);
    let (_, channels, height, width) = trained.latents.dims4()?;
    let recipe = Recipe {
        model: options.model,
        objective: options.objective,
        steps: few(options.steps, 10),
        batch: few(options.batch, 16) as usize,
        seed: options.seed,
        label_dropout: 0.1,
        checkpoint_every: few(250, 5),
        shape: [channels, height, width],
        classes: CLASSES,
        channels: None,
    };
    let labels = Tensor::new(images.labels(), &candle_core::Device::Cpu)?;
    let data = TensorDataset::new(&trained.latents)?.with_labels(&labels)?;
    let (weights, _) = recipe.train(data, &options.out, &device)?;

    let each = few(10, 2) as usize;
    let labels: Vec<u32> = (0..CLASSES * each).map(|sample| (sample / each) as u32).collect();
    let steps = few(options.sampling_steps, 3) as usize;
    let samples = recipe.sample(
        &weights,
        &labels,
        options.guidance,
        steps,
        &device,
        &mut |_, _| Ok(()),
    )?;
    let rows: Vec<String> = (0..CLASSES).map(|class| class.to_string()).collect();
    sheet(&decoded(&trained.model, &samples)?, each)?
        .title(format!("from latents, guidance {}", options.guidance))
        .row_labels(&rows)
        .save(out.file("samples.png"))?;
    println!(
        "reconstruction_rms={error:.4} latent_std={:.4} latent_std_scaled={scaled:.4} sample_std={:.4} \
         seconds={:.1} seed={}",
        trained.std,
        deviation(&samples)?,
        began.elapsed().as_secs_f64(),
        options.seed
    );
    Ok(())
}

/// Images to train on and others, padded.
fn data(options: &Options) -> Result<[Images; 2], Failure> {
    let [train, test] = match &options.data {
        Some(folder) => {
            let of = |split| Images::mnist(folder, split, Limits::default());
            [of(Split::Train)?, of(Split::Test)?]
        }
        None if options.quick => enlarged_digits(options.seed)?,
        None => return Err("where is MNIST? Name its folder with --data DIR, or try --quick without".into()),
    };
    let padded = |images: &Images| -> Result<Images, Failure> {
        let images = images.padded(SIDE, SIDE, 0)?;
        if !options.quick {
            return Ok(images);
        }
        let few: Vec<u32> = (0..FEW_IMAGES.min(images.rows() as u32)).collect();
        Ok(images.subset(&few)?)
    };
    Ok([padded(&train)?, padded(&test)?])
}

/// Twenty images, each above itself drawn again.
fn reconstructions(originals: &Tensor, drawn: &Tensor) -> Result<ImageGrid, Failure> {
    const COLUMNS: usize = 10;
    let mut lines = Vec::new();
    for start in [0, COLUMNS] {
        lines.push(originals.narrow(0, start, COLUMNS)?);
        lines.push(drawn.narrow(0, start, COLUMNS)?);
    }
    Ok(sheet(&Tensor::cat(&lines, 0)?, COLUMNS)?
        .title("drawn again from latents of 4x8x8")
        .row_labels(&["image", "again", "image", "again"]))
}

fn sheet(images: &Tensor, columns: usize) -> Result<ImageGrid, Failure> {
    let (_, _, height, width) = images.dims4()?;
    Ok(ImageGrid::gray(width, height)
        .images(&values(images)?)
        .range(-1.0..1.0)
        .columns(columns)
        .upscale(2))
}

/// The root mean square of a difference.
fn rms(x: &Tensor, y: &Tensor) -> Result<f64, Failure> {
    Ok(f64::from((x - y)?.sqr()?.mean_all()?.to_scalar::<f32>()?).sqrt())
}
