//! candle's own networks under tallow's solvers and guidance: Stable Diffusion's U-Net and FLUX's transformer.
//!
//! cargo run --example candle_networks
//!
//! The two adapters, in the folder beside this file, are what you would copy for a network of yours. The networks are tiny
//! and their weights random, so the pictures mean nothing, but every call is the one that the published weights would get.

#[path = "candle_networks/flux.rs"]
mod flux;
#[path = "candle_networks/stable_diffusion.rs"]
mod stable_diffusion;

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use candle_core::{DType, Device, Shape, Tensor};
use clap::Parser;
use flux::FluxNetwork;
use stable_diffusion::StableDiffusion;
use tallow::denoisers::guidance::Scale;
use tallow::denoisers::{Denoiser, Guided, Parameterization, PerSample, Seeded, normal_like};
use tallow::nn::Parameters;
use tallow::plots::Curves;
use tallow::schedules::{RectifiedFlow, Table, TimeGrid, flow_shift_of_sequence};
use tallow::solvers::{Ddim, Dpmpp2m, Euler, Sampler, start};
use tallow_examples::image_model::values;
use tallow_examples::output::OutputFolder;
use tallow_examples::{Failure, Outcome};

/// Samples from both networks, and checks that a row's result is the same alone and in a batch.
///
/// Stable Diffusion: its table of 1000 levels, noise prediction, DDIM and DPM-Solver++(2M), classifier-free guidance. FLUX:
/// the straight path, velocity, Euler on a shifted grid, the guidance told to the network.
#[derive(Debug, Parser)]
#[command(name = "candle_networks")]
struct Options {
    /// Samples in a batch.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(2..=256))]
    samples: u64,
    /// Steps of the solvers.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=500))]
    steps: u64,
    /// Side of the latent images: a multiple of 2.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u64).range(4..=128))]
    side: u64,
    /// Guidance scale of Stable Diffusion: 1 is none.
    #[arg(long, default_value_t = 7.5)]
    guidance: f64,
    /// The guidance that FLUX is told.
    #[arg(long, default_value_t = 3.5)]
    flux_guidance: f64,
    /// Seed of everything random.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Folder for the picture.
    #[arg(long, value_name = "DIR", default_value = "target/candle_networks")]
    out: PathBuf,
    /// Two samples of 5 steps.
    #[arg(long)]
    quick: bool,
}

/// Tokens of a text.
const TOKENS: usize = 7;
/// FLUX's shift e^μ: μ at two lengths of the sequence, linear between.
const FLUX_SHIFTS: [(f64, f64); 2] = [(256.0, 0.5), (4096.0, 1.15)];
/// How far a row may be from itself in another batch: candle's products add in an order that depends on the batch.
const ROUNDING: f64 = 1e-3;

/// Samples, and the root mean square of the state after each step.
type Drawn = (Tensor, Vec<[f64; 2]>);

/// A way to draw a batch.
type Way<'a> = &'a dyn Fn(Draw) -> Result<Drawn, Failure>;

/// A batch to draw, and what it has in common with the batch of its first row.
#[derive(Clone, Copy)]
struct Draw {
    rows: usize,
    steps: usize,
    side: usize,
    seed: u64,
}

impl Draw {
    /// Stand-ins for the embeddings of a text encoder: the first rows are the same in every batch.
    fn embeddings(self, shape: impl Into<Shape>, stream: u64) -> Result<Tensor, Failure> {
        let like = Tensor::zeros(shape, DType::F32, &Device::Cpu)?;
        Ok(normal_like(&like, &mut Seeded::stream(self.seed, stream))?)
    }

    /// Goes from noise to samples.
    fn run(self, solver: &dyn Sampler, model: &dyn Denoiser, grid: &TimeGrid) -> Result<Drawn, Failure> {
        // A stream of noise for each row: a sample does not depend on what is drawn beside it.
        let mut noise = PerSample::new(self.seed, self.rows);
        let shape = (self.rows, flux::CHANNELS, self.side, self.side);
        let x = start(grid, shape, DType::F32, &Device::Cpu, &mut noise)?;
        let mut sizes = vec![[0.0, size(&x)?]];
        let mut failure = None;
        let sampled = solver.run(model, grid, &x, &mut noise, &mut |progress| {
            match size(&progress.point.x) {
                Ok(size) => sizes.push([sizes.len() as f64, size]),
                Err(error) => failure = Some(error),
            }
            ControlFlow::Continue(())
        })?;
        failure.map_or(Ok((sampled.x, sizes)), Err)
    }
}

/// Guided samples of Stable Diffusion's U-Net.
fn stable_diffusion(
    parameters: &Parameters,
    solver: &dyn Sampler,
    guidance: f64,
    draw: Draw,
) -> Result<Drawn, Failure> {
    let network = StableDiffusion::tiny(parameters)?;
    let table = Table::scaled_linear_beta(1000, 0.000_85, 0.012)?;
    let parameterization = Parameterization::ddpm(table.len());
    let grid = TimeGrid::leading(Arc::new(table), draw.steps, 1)?;
    let text = draw.embeddings((draw.rows, TOKENS, stable_diffusion::WIDTH), 1)?;
    // The embedding of the empty text, the same for every row.
    let empty = draw
        .embeddings((1, TOKENS, stable_diffusion::WIDTH), 2)?
        .repeat((draw.rows, 1, 1))?;
    let model = Guided::batched(
        parameterization.denoiser(network),
        StableDiffusion::told(text),
        &StableDiffusion::told(empty),
        Scale::Imagen(guidance),
    )?;
    draw.run(solver, &model, &grid)
}

/// Samples of FLUX's transformer, which is told its guidance and evaluated once a step.
fn flux(parameters: &Parameters, guidance: f64, draw: Draw) -> Result<Drawn, Failure> {
    let network = FluxNetwork::tiny(parameters)?;
    let [low, high] = FLUX_SHIFTS;
    let shift = flow_shift_of_sequence((draw.side * draw.side) as f64 / 4.0, low, high)?;
    let grid = TimeGrid::flow_shift(Arc::new(RectifiedFlow::default()), shift, draw.steps)?;
    let text = draw.embeddings((draw.rows, TOKENS, flux::WIDTHS[0]), 3)?;
    let pooled = draw.embeddings((draw.rows, flux::WIDTHS[1]), 4)?;
    let model = Parameterization::flow_matching()
        .denoiser(network)
        .with_condition(FluxNetwork::told(text, pooled, guidance)?);
    draw.run(&Euler::default(), &model, &grid)
}

fn main() -> Outcome {
    let options = Options::parse();
    if options.side % 2 == 1 {
        return Err(format!("--side {} is odd: both networks halve it", options.side).into());
    }
    let out = OutputFolder::create(&options.out)?;
    let began = Instant::now();
    let draw = Draw {
        rows: if options.quick {
            2
        } else {
            options.samples as usize
        },
        steps: if options.quick { 5 } else { options.steps as usize },
        side: options.side as usize,
        seed: options.seed,
    };
    let parameters = || Parameters::new(options.seed, DType::F32, &Device::Cpu);
    let (unet, transformer) = (parameters(), parameters());
    let runs: [(&str, Way<'_>); 3] = [
        ("sd_ddim", &|draw| {
            stable_diffusion(&unet, &Ddim::default(), options.guidance, draw)
        }),
        ("sd_dpmpp_2m", &|draw| {
            stable_diffusion(&unet, &Dpmpp2m::default(), options.guidance, draw)
        }),
        ("flux_euler", &|draw| {
            flux(&transformer, options.flux_guidance, draw)
        }),
    ];
    let mut picture = Curves::new("Root mean square of the latents")
        .x("step")
        .y_log("root mean square");
    let mut figures = Vec::new();
    for (name, run) in runs {
        let (samples, sizes) = run(draw)?;
        if values(&run(draw)?.0)? != values(&samples)? {
            return Err(format!("{name}: the same seed gave other samples").into());
        }
        let (alone, _) = run(Draw { rows: 1, ..draw })?;
        let apart = apart(&alone, &samples.narrow(0, 0, 1)?)?;
        if apart > ROUNDING {
            return Err(format!("{name}: a row alone is {apart:e} from itself in a batch").into());
        }
        figures.push(format!(
            "{name}_rms={:.4} {name}_alone={apart:.1e}",
            size(&samples)?
        ));
        picture = picture.marked(name, &sizes);
    }
    picture.save(out.file("size.png"))?;
    println!(
        "{} sd_parameters={} flux_parameters={} seconds={:.1} seed={}",
        figures.join(" "),
        unet.count(),
        transformer.count(),
        began.elapsed().as_secs_f64(),
        options.seed
    );
    Ok(())
}

/// The root mean square.
fn size(x: &Tensor) -> Result<f64, Failure> {
    Ok(f64::from(x.sqr()?.mean_all()?.to_scalar::<f32>()?).sqrt())
}

/// The largest difference over the largest value.
fn apart(x: &Tensor, y: &Tensor) -> Result<f64, Failure> {
    let largest = |x: Tensor| x.abs()?.max_all()?.to_scalar::<f32>();
    Ok(f64::from(largest((x - y)?)?) / f64::from(largest(y.clone())?))
}
