//! Somebody else's network under tallow's solvers: nothing but schedules, denoisers and solvers.
//!
//! cargo run --example own_network
//!
//! The "network" is a closure over candle tensors. Yours would call a U-Net; here a formula stands in for it: the velocity of
//! two Gaussian clouds on the straight path, so that the result can be checked by eye.

use std::path::PathBuf;
use std::sync::Arc;

use candle_core::{D, DType, Device, Tensor};
use clap::Parser;
use tallow::denoisers::{Call, Parameterization, Seeded, network};
use tallow::schedules::{RectifiedFlow, TimeGrid};
use tallow::solvers::{Heun, Sampler, start};
use tallow_examples::Outcome;

/// Samples from a closure with three solvers and prints the two clouds that come out.
#[derive(Debug, Parser)]
#[command(name = "own_network")]
struct Options {
    /// Points to draw.
    #[arg(long, default_value_t = 4000, value_parser = clap::value_parser!(u64).range(2..=10_000_000))]
    samples: u64,
    /// Steps of the solver.
    #[arg(long, default_value_t = 20)]
    steps: usize,
    /// Seed of the noise.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Accepted for the sake of scripts that run every example; nothing is written.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Accepted for the sake of scripts that run every example; it is quick already.
    #[arg(long)]
    quick: bool,
}

/// Centres of the two clouds on the first axis, and their standard deviation.
const CENTRES: [f64; 2] = [-1.0, 1.0];
const SPREAD: f64 = 0.2;

/// The velocity that a trained network would give: of two clouds at `CENTRES`, for x_t = (1 − t) x_0 + t ε.
fn velocity(call: &Call<'_>) -> candle_core::Result<Tensor> {
    let t = call.time()?.unsqueeze(1)?;
    let alpha = (1.0 - &t)?;
    let variance = ((&alpha * SPREAD)?.sqr()? + t.sqr()?)?;
    // How likely each cloud is, given x; then the mean of the clean data under that.
    let from_centre = |centre: f64| {
        call.x
            .broadcast_sub(&Tensor::cat(&[&(&alpha * centre)?, &t.zeros_like()?], 1)?)
    };
    let log_likelihood = |centre: f64| {
        from_centre(centre)?
            .sqr()?
            .sum_keepdim(D::Minus1)?
            .div(&(&variance * -2.0)?)
    };
    let difference = (log_likelihood(CENTRES[1])? - log_likelihood(CENTRES[0])?)?;
    let right = (((difference * -1.0)?.exp()? + 1.0)?).recip()?;
    let pull = (&alpha * (SPREAD * SPREAD))?.div(&variance)?;
    let mean = |centre: f64| -> candle_core::Result<Tensor> {
        let centre_point = Tensor::cat(&[&t.affine(0.0, centre)?, &t.zeros_like()?], 1)?;
        from_centre(centre)?.broadcast_mul(&pull)? + centre_point
    };
    let x0 =
        (mean(CENTRES[1])?.broadcast_mul(&right)? + mean(CENTRES[0])?.broadcast_mul(&(1.0 - right)?)?)?;
    // v = ε − x_0 with ε = (x − α x_0)/t.
    ((call.x - x0.broadcast_mul(&alpha)?)?.broadcast_div(&t)?) - x0
}

fn main() -> Outcome {
    let options = Options::parse();
    let model = Parameterization::flow_matching().denoiser(network(velocity));
    let grid = TimeGrid::uniform(Arc::new(RectifiedFlow::default()), options.steps)?;
    let mut noise = Seeded::new(options.seed);
    let x = start(
        &grid,
        (options.samples as usize, 2),
        DType::F32,
        &Device::Cpu,
        &mut noise,
    )?;
    let samples = Heun::default().sample(&model, &grid, &x, &mut noise)?;

    let first = samples.narrow(1, 0, 1)?.flatten_all()?.to_vec1::<f32>()?;
    for (side, centre) in [("left", CENTRES[0]), ("right", CENTRES[1])] {
        let cloud: Vec<f64> = first
            .iter()
            .map(|x| f64::from(*x))
            .filter(|x| (x > &0.0) == (centre > 0.0))
            .collect();
        let count = cloud.len() as f64;
        let mean = cloud.iter().sum::<f64>() / count;
        let spread = (cloud.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count).sqrt();
        let share = count / first.len() as f64;
        println!(
            "{side} cloud: share {share:.2}, centre {mean:+.2} ({centre:+.2}), spread {spread:.2} ({SPREAD:.2})"
        );
    }
    Ok(())
}
