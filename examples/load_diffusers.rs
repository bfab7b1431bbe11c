//! Samples of a model that diffusers wrote: its folder says what the network is, how it was trained and which steps to take.
//!
//! cargo run --release --example load_diffusers -- --model DIR --solver dpmpp_2m --steps 20
//!
//! DIR is the folder of a pipeline: `unet` (UNet2DModel) or `transformer` (DiTTransformer2DModel), `scheduler`, and `vae` if
//! the network works on latents. Without `--model`, a tiny pipeline of random weights is written first, as diffusers would,
//! and read again.

#[path = "load_diffusers/network.rs"]
mod network;
#[path = "load_diffusers/tiny.rs"]
mod tiny;

use std::path::{Path, PathBuf};
use std::time::Instant;

use candle_core::{DType, Device, Tensor};
use clap::Parser;
use network::{Asked, load};
use tallow::denoisers::PerSample;
use tallow::models::AutoencoderKl;
use tallow::models::diffusers::{ModelIndex, Scheduler, Weights};
use tallow::plots::ImageGrid;
use tallow::solvers::{by_name, start};
use tallow_examples::device::DeviceName;
use tallow_examples::image_model::values;
use tallow_examples::output::OutputFolder;
use tallow_examples::{Failure, Outcome};

/// Reads a pipeline of diffusers, says what it is, and draws a sheet of samples with any solver.
#[derive(Debug, Parser)]
#[command(name = "load_diffusers")]
struct Options {
    /// Folder of the pipeline; a tiny one is written to DIR of --out and read if not given.
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// Solver, by its name in the table of the README.
    #[arg(long, default_value = "ddim")]
    solver: String,
    /// Solver steps.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=1000))]
    steps: u64,
    /// Class of the samples; one after the other if not given, where the network has classes.
    #[arg(long)]
    class: Option<u32>,
    /// Guidance scale, for transformers with a label of none: 1 is none.
    #[arg(long, default_value_t = 1.0)]
    guidance: f64,
    /// Samples.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=1024))]
    samples: u64,
    /// Seed of the noise.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Where to compute.
    #[arg(long, value_enum, default_value_t)]
    device: DeviceName,
    /// Folder for the picture.
    #[arg(long, value_name = "DIR", default_value = "target/load_diffusers")]
    out: PathBuf,
    /// Four samples of 5 steps.
    #[arg(long)]
    quick: bool,
}

fn main() -> Outcome {
    let options = Options::parse();
    let out = OutputFolder::create(&options.out)?;
    let device = options.device.open()?;
    let solver = by_name(&options.solver)?;
    let began = Instant::now();
    let folder = match &options.model {
        Some(folder) => folder.clone(),
        None => {
            let folder = options.out.join("tiny");
            tiny::write(&folder, options.seed)?;
            println!(
                "no --model: wrote a tiny pipeline of random weights to {}",
                folder.display()
            );
            folder
        }
    };
    let asked = Asked {
        class: options.class,
        guidance: options.guidance,
        samples: if options.quick {
            4
        } else {
            options.samples as usize
        },
        device: &device,
    };
    let scheduler = Scheduler::read(&folder)?;
    println!(
        "scheduler: {}, {:?} prediction on {:?}, {} trained steps, threshold {:?}",
        scheduler.class().name(),
        scheduler.prediction(),
        scheduler.schedule(),
        scheduler.trained_steps(),
        scheduler.threshold()
    );
    let (class, loaded) = load(&folder, &scheduler, &asked)?;
    let decoder = decoder(&folder, loaded.shape, &device)?;
    let steps = if options.quick { 5 } else { options.steps as usize };
    let grid = scheduler.grid_of_sequence(steps, loaded.tokens)?;
    println!("grid: {grid}");

    let [channels, height, width] = loaded.shape;
    let mut noise = PerSample::new(options.seed, asked.samples);
    let shape = (asked.samples, channels, height, width);
    let x = start(&grid, shape, DType::F32, &device, &mut noise)?;
    let mut images = solver.sample(&loaded.model, &grid, &x, &mut noise)?;
    let latent = rms(&images)?;
    if let Some(decoder) = &decoder {
        images = decoder.decode(&decoder.unscaled(&images)?)?;
    }
    let title = format!("{class}, {} in {steps} steps", options.solver);
    sheet(&images, &title)?.save(out.file("samples.png"))?;
    println!(
        "sampled_rms={latent:.4} images_rms={:.4} seconds={:.1} seed={}",
        rms(&images)?,
        began.elapsed().as_secs_f64(),
        options.seed
    );
    Ok(())
}

/// The autoencoder whose latents the network draws, if the pipeline has one.
fn decoder(folder: &Path, shape: [usize; 3], device: &Device) -> Result<Option<AutoencoderKl>, Failure> {
    let has = folder.join("model_index.json").is_file()
        && ModelIndex::read(folder)?
            .parts
            .get("vae")
            .is_some_and(Option::is_some);
    if !has && !folder.join("vae").is_dir() {
        return Ok(None);
    }
    let weights = Weights::<AutoencoderKl>::read(folder.join("vae"))?;
    let config = weights.config();
    if config.latents != shape[0] {
        return Err(format!(
            "the network draws {} channels, but the latents of vae/ have {}: they are of different pipelines",
            shape[0], config.latents
        )
        .into());
    }
    println!(
        "autoencoder: latents of {} channels and a side 1/{}, scale {}",
        config.latents,
        config.divisor(),
        config.scale
    );
    Ok(Some(weights.network(DType::F32, device)?))
}

/// The root mean square.
fn rms(x: &Tensor) -> Result<f64, Failure> {
    Ok(f64::from(x.sqr()?.mean_all()?.to_scalar::<f32>()?).sqrt())
}

fn sheet(images: &Tensor, title: &str) -> Result<ImageGrid, Failure> {
    let (count, channels, height, width) = images.dims4()?;
    let (grid, shown) = match channels {
        1 => (ImageGrid::gray(width, height), 1),
        3 => (ImageGrid::rgb(width, height), 3),
        // Latents without a decoder, or a channel of opacity: the first as grey.
        _ => (ImageGrid::gray(width, height), 1),
    };
    let images = images.narrow(1, 0, shown)?.contiguous()?;
    Ok(grid
        .title(title)
        .images(&values(&images)?)
        .range(-1.0..1.0)
        .columns(count.min(8)))
}
