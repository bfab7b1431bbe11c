//! A tiny pipeline of diffusers, written by tallow: a transformer on latents, its scheduler, the autoencoder.

use std::path::Path;

use candle_core::{DType, Device};
use tallow::models::diffusers::{ModelIndex, Scheduler, Weights};
use tallow::models::dit::{DitStart, TimeWaves};
use tallow::models::{AutoencoderKl, AutoencoderKlConfig, Dit, DitConfig};
use tallow::nn::Parameters;
use tallow::schedules::{Prediction, Table};
use tallow_examples::Outcome;

/// The side of its images, and of its latents.
const SIDES: [usize; 2] = [32, 8];
/// Channels of its latents.
const LATENTS: usize = 4;

/// Writes the pipeline to a folder; diffusers' `DiTPipeline.from_pretrained` reads it as well.
pub(crate) fn write(folder: &Path, seed: u64) -> Outcome {
    let parameters = || Parameters::new(seed, DType::F32, &Device::Cpu);
    let config = DitConfig {
        patch: 2,
        channels: LATENTS,
        outputs: LATENTS,
        width: 32,
        heads: 2,
        depth: 2,
        time: TimeWaves::diffusers(),
        // Weights at zero would answer zero: these are to be seen.
        start: DitStart::Random,
        ..DitConfig::small(SIDES[1], 10)
    };
    let transformer = parameters();
    Dit::new(&transformer.scope(), config)?;
    Weights::<Dit>::new(config, transformer.detached().tensors())?.write(folder.join("transformer"))?;

    let config = AutoencoderKlConfig::small(3, SIDES[0]);
    let vae = parameters();
    AutoencoderKl::new(&vae.scope(), config.clone())?;
    Weights::<AutoencoderKl>::new(config, vae.detached().tensors())?.write(folder.join("vae"))?;

    let table = Table::linear_beta(1000, 1e-4, 0.02)?;
    Scheduler::ddim(&table, Prediction::V)?.write(folder.join("scheduler"))?;
    ModelIndex::new("DiTPipeline")
        .with("transformer", "DiTTransformer2DModel")
        .with("vae", "AutoencoderKL")
        .with("scheduler", "DDIMScheduler")
        .write(folder)?;
    Ok(())
}
