//! One training for the comparisons: the same network, data and budget, whatever the objective.

use candle_core::{DType, Device};
use tallow::denoisers::{Dataset, Seeded};
use tallow::models::{Mlp, MlpConfig};
use tallow::nn::{AdamW, AdamWConfig, Ema, EmaDecay, Parameters, View};
use tallow::objectives::Objective;
use tallow::train::{LearningRate, Progress};

use crate::Failure;

/// What every training of a comparison has in common.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Steps.
    pub steps: u64,
    /// Points in a batch.
    pub batch: usize,
    /// Seed of weights, data, times and noise.
    pub seed: u64,
}

/// The averaged weights after training, and the loss of every step.
///
/// # Errors
///
/// When the network, the data or the objective refuses.
pub fn train(
    name: &str,
    model: MlpConfig,
    objective: &dyn Objective,
    data: &dyn Dataset,
    budget: Budget,
    device: &Device,
) -> Result<(View, Vec<f64>), Failure> {
    let parameters = Parameters::new(budget.seed, DType::F32, device);
    let network = Mlp::new(&parameters.scope(), model)?;
    let config = AdamWConfig {
        weight_decay: 0.0,
        ..AdamWConfig::default()
    };
    let mut optimizer = AdamW::new(&parameters, config)?;
    let mut average = Ema::new(&parameters, EmaDecay::WarmUp(0.998))?;
    let rate = LearningRate::cosine(3e-3, budget.steps)?.with_warm_up(100.min(budget.steps / 2));
    let (mut draws, mut noise) = (Seeded::stream(budget.seed, 0), Seeded::stream(budget.seed, 1));
    let mut progress = Progress::new(&format!("train {name}"), budget.steps);
    let mut losses = Vec::new();
    for step in 0..budget.steps {
        let batch = data.draw(budget.batch, &mut draws)?.to(device, DType::F32)?;
        let loss = objective.loss(&network, &batch, &mut noise)?;
        optimizer.set_learning_rate(rate.at(step))?;
        optimizer.backward_step(&loss.mean)?;
        average.update()?;
        objective.observe(&loss)?;
        let loss = f64::from(loss.mean.to_scalar::<f32>()?);
        losses.push(loss);
        progress.step(loss);
    }
    progress.finish();
    println!(
        "trained {name}: {} parameters in {} steps of {} points",
        parameters.count(),
        budget.steps,
        budget.batch
    );
    Ok((average.detached(), losses))
}

/// Numbers over their place, as a curve.
#[must_use]
pub fn curve(values: &[f64]) -> Vec<[f64; 2]> {
    values
        .iter()
        .enumerate()
        .map(|(step, value)| [step as f64, *value])
        .collect()
}
