//! A training that may be killed at any moment: start it, kill it, start it again, and it goes on where its last checkpoint is.
//!
//! cargo run --example resume
//!
//! Press Ctrl-C, or `kill -9` it, as often as you like. The last line is the same, digit for digit, as that of a run that
//! nobody disturbed; `loss.csv` has every step once.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use candle_core::DType;
use clap::Parser;
use tallow::datasets::Checkerboard;
use tallow::denoisers::{Drawn, Parameterization, Seeded};
use tallow::models::{Mlp, MlpConfig};
use tallow::nn::{AdamW, AdamWConfig, Ema, EmaDecay, Parameters};
use tallow::objectives::Regression;
use tallow::schedules::RectifiedFlow;
use tallow::train::{Checkpoints, Configuration, LearningRate, Trainer, Validation};
use tallow_examples::Outcome;
use tallow_examples::device::DeviceName;
use tallow_examples::output::OutputFolder;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Trains a velocity network on the checkerboard with a checkpoint at every hundredth step, and goes on after the last one.
#[derive(Debug, Parser)]
#[command(name = "resume")]
struct Options {
    /// Training steps.
    #[arg(long, default_value_t = 3000, value_parser = clap::value_parser!(u64).range(1..))]
    steps: u64,
    /// Points in a training batch.
    #[arg(long, default_value_t = 512, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    batch: u64,
    /// End as by Ctrl-C after so many steps of this start, to try it out in a script.
    #[arg(long, value_name = "STEPS", value_parser = clap::value_parser!(u64).range(1..))]
    stop_after: Option<u64>,
    /// Seed of everything random: the same seed gives the same numbers.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Where to compute.
    #[arg(long, value_enum, default_value_t)]
    device: DeviceName,
    /// Folder for checkpoints and losses; another one, or an empty one, starts anew.
    #[arg(long, value_name = "DIR", default_value = "target/resume")]
    out: PathBuf,
    /// A few seconds of everything, to see that it works.
    #[arg(long)]
    quick: bool,
}

fn main() -> Outcome {
    let options = Options::parse();
    OutputFolder::create(&options.out)?;
    let device = options.device.open()?;
    let (steps, every) = match options.quick {
        true => (options.steps.min(100), 20),
        false => (options.steps, 100),
    };
    let model = MlpConfig::new(2).with_waves(2.0);

    let parameters = Parameters::new(options.seed, DType::F32, &device);
    let network = Mlp::new(&parameters.scope(), model)?;
    let average = Ema::new(&parameters, EmaDecay::WarmUp(0.998))?;
    let weights = average.detached();
    let averaged = Mlp::new(&weights.scope(), model)?;
    let path = Arc::new(RectifiedFlow::default());
    let objective = Regression::new(path, Parameterization::flow_matching());
    let draws = Seeded::stream(options.seed, 0);
    let data = Drawn::new(Checkerboard::new(), options.batch as usize, draws)?;
    let optimizer = AdamW::new(&parameters, AdamWConfig::default())?;
    let configuration = serde_json::json!({
        "model": model, "batch": options.batch, "seed": options.seed, "steps": steps,
    });

    let (mut made, mut last) = (0, None);
    let mut trainer = Trainer::new(&parameters, &network, &objective, data, optimizer)
        .with_average(average)
        .with_learning_rate(LearningRate::cosine(3e-3, steps)?.with_warm_up(50.min(steps / 2)))
        .with_clipping(1.0)?
        .with_validation(Validation::new(Checkerboard::new(), 2048, every)?.of(&averaged))
        .with_loss_file(options.out.join("loss.csv"))
        .with_configuration(Configuration::of(&configuration)?)
        .with_checkpoints(Checkpoints::open(options.out.join("checkpoints"))?, every)?
        .with_callback(|report| {
            made += 1;
            if report.saved {
                println!("step {} is safe, loss {:.5}", report.step, report.loss);
            }
            last = report.validation.or(last);
            if options.stop_after == Some(made) {
                // What Ctrl-C would do, but for the place, which is here the same each time.
                std::process::abort();
            }
            ControlFlow::Continue(())
        });
    if let Some(resumed) = trainer.resume()? {
        println!("going on after step {}", resumed.step);
        for warning in resumed.warnings {
            println!("warning: {warning}");
        }
    }
    let outcome = trainer.run(steps)?;
    drop(trainer);
    match (outcome.loss, last) {
        (Some(loss), Some(validation)) => println!("steps={steps} loss={loss} validation={validation}"),
        _ => println!("all {steps} steps had been made: see loss.csv, or start anew with --out DIR"),
    }
    Ok(())
}
