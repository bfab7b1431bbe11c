//! Training and sampling of a network of images, as the comparison defines them.

use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use tallow::denoisers::{Batch, Network, Parameterization, Seeded, normal_like};
use tallow::nn::{self, AdamW, AdamWConfig, Parameters, Scope};
use tallow::objectives::{Objective, Regression};
use tallow::schedules::{RectifiedFlow, TimeGrid};
use tallow::solvers::{Euler, Sampler};

use crate::{Failure, Work};

/// What builds a network from its parameters.
type Build<N> = fn(&Scope<'_>) -> nn::Result<N>;

/// A flow-matching step on a batch of 1 × 28 × 28 images: noise and times drawn, forward, backward, AdamW.
pub(crate) fn train<N: Network + 'static>(build: Build<N>, batch: usize) -> Result<Work, Failure> {
    let parameters = Parameters::new(0, DType::F32, &Device::Cpu);
    let network = build(&parameters.scope())?;
    let config = AdamWConfig {
        learning_rate: 1e-3,
        weight_decay: 0.01,
        ..AdamWConfig::default()
    };
    let mut optimizer = AdamW::new(&parameters, config)?;
    let objective = Regression::new(
        Arc::new(RectifiedFlow::default()),
        Parameterization::flow_matching(),
    );
    let mut rng = Seeded::new(0);
    let data = Batch::new(images(batch, &mut rng)?);
    Ok(Box::new(move || {
        let loss = objective.loss(&network, &data, &mut rng)?;
        Ok(optimizer.backward_step(&loss.mean)?)
    }))
}

/// Ten Euler steps of a batch of images, without a gradient.
pub(crate) fn sample<N: Network + 'static>(build: Build<N>, batch: usize) -> Result<Work, Failure> {
    let parameters = Parameters::new(0, DType::F32, &Device::Cpu);
    build(&parameters.scope())?;
    let network = build(&parameters.detached().scope())?;
    let model = Parameterization::flow_matching().denoiser(network);
    let grid = TimeGrid::uniform(Arc::new(RectifiedFlow::default()), 10)?;
    let mut noise = Seeded::new(0);
    let x = images(batch, &mut noise)?;
    Ok(Box::new(move || {
        Euler::default().sample(&model, &grid, &x, &mut noise)?;
        Ok(())
    }))
}

fn images(batch: usize, rng: &mut Seeded) -> Result<Tensor, Failure> {
    let like = Tensor::zeros((batch, 1, 28, 28), DType::F32, &Device::Cpu)?;
    Ok(normal_like(&like, rng)?)
}
