//! The recipe of the image examples: a network, what it is asked for, its training that resumes, its guided samples.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use candle_core::{DType, Device, Tensor};
use serde::Serialize;
use tallow::datasets::{LastBatch, Prefetch, Rows, Shuffled};
use tallow::denoisers::guidance::{Batched, Scale};
use tallow::denoisers::{Condition, Guided, Network, Parameterization, PerSample, TimeInput};
use tallow::models::{Dit, DitConfig, UNet, UNetClasses, UNetConfig};
use tallow::nn::{AdamW, AdamWConfig, Ema, EmaDecay, Parameters, Scope, View};
use tallow::objectives::{LabelDropout, Regression, TimeSampling};
use tallow::schedules::{Prediction, RectifiedFlow, Schedule, TimeGrid, Trigonometric, Ve, VpLinear};
use tallow::solvers::{Dpmpp2m, Heun, Sampler, start};
use tallow::train::{Checkpoints, Configuration, LearningRate, Trainer};

use crate::Failure;

/// Which network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Architecture {
    /// DDPM's U-Net.
    #[default]
    Unet,
    /// A diffusion transformer.
    Dit,
    /// DDPM's U-Net for CIFAR-10, of 36 million parameters, without dropout.
    Ddpm,
}

/// What the network is asked for, and on which path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// Flow matching: the velocity of a straight path.
    #[default]
    Flow,
    /// DDPM: the noise on a variance-preserving path.
    Noise,
    /// v-prediction on the path of sine and cosine.
    V,
    /// EDM: its preconditioned F on a path of growing variance.
    Edm,
}

/// The standard deviation of images in [−1, 1] that EDM's factors assume.
const SIGMA_DATA: f64 = 0.5;
/// Where EDM's samples start and end.
const EDM_SIGMAS: [f64; 2] = [0.002, 80.0];
/// The part of a path with an end of infinite slope or no signal that is left out at each end.
const MARGIN: f64 = 1e-3;
/// Images that are sampled at once: bounds the memory, and changes no result.
const ROWS: usize = 100;

impl Goal {
    /// The path from data to noise.
    #[must_use]
    pub fn path(self) -> Arc<dyn Schedule> {
        match self {
            Self::Flow => Arc::new(RectifiedFlow::default()),
            Self::Noise => Arc::new(VpLinear::default()),
            Self::V => Arc::new(Trigonometric),
            Self::Edm => Arc::new(Ve::default()),
        }
    }

    /// What goes into the network and what comes out.
    ///
    /// # Errors
    ///
    /// Never with the constants of this file.
    pub fn parameterization(self) -> Result<Parameterization, Failure> {
        let thousands = |prediction| {
            let mut parameterization = Parameterization::new(prediction);
            parameterization.time = TimeInput::Scaled(1000.0);
            parameterization
        };
        Ok(match self {
            Self::Flow => thousands(Prediction::Velocity),
            Self::Noise => thousands(Prediction::Noise),
            Self::V => thousands(Prediction::V),
            Self::Edm => Parameterization::edm(SIGMA_DATA)?,
        })
    }

    /// How training times are drawn.
    ///
    /// # Errors
    ///
    /// Never with the constants of this file.
    pub fn times(self) -> Result<TimeSampling, Failure> {
        Ok(match self {
            Self::Flow => TimeSampling::stratified(),
            Self::Noise | Self::V => TimeSampling::stratified().within(MARGIN, 1.0 - MARGIN)?,
            Self::Edm => TimeSampling::log_normal_sigma(-1.2, 1.2)?.in_strata(),
        })
    }

    /// The solver for its samples, and the levels of `steps` steps.
    ///
    /// # Errors
    ///
    /// When `steps` is 0 or too large.
    pub fn solver(self, steps: usize) -> Result<(Box<dyn Sampler>, TimeGrid), Failure> {
        let between = |from, to| TimeGrid::uniform_between(self.path(), from, to, steps);
        Ok(match self {
            Self::Flow => (Box::new(Heun::default()), TimeGrid::uniform(self.path(), steps)?),
            Self::Noise | Self::V => {
                let grid = between(1.0 - MARGIN, MARGIN)?.then_clean()?;
                (Box::new(Dpmpp2m::default()), grid)
            }
            Self::Edm => {
                let [low, high] = EDM_SIGMAS;
                let grid = TimeGrid::karras(self.path(), low, high, 7.0, steps)?;
                (Box::new(Heun::default()), grid)
            }
        })
    }
}

/// A training of images.
#[derive(Clone, Debug, Serialize)]
pub struct Recipe {
    /// Which network.
    pub model: Architecture,
    /// What it is asked for.
    pub objective: Goal,
    /// Training steps.
    pub steps: u64,
    /// Images in a batch.
    pub batch: usize,
    /// Seed of everything random.
    pub seed: u64,
    /// The share of labels that are dropped, so that the model can be guided.
    pub label_dropout: f64,
    /// Steps between checkpoints.
    pub checkpoint_every: u64,
    /// (channels, height, width) of an image.
    pub shape: [usize; 3],
    /// Classes of the data.
    pub classes: usize,
    /// Channels of the U-Net's finest resolution, or of the transformer's tokens; the network's own if `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channels: Option<usize>,
}

impl Recipe {
    /// The label of none: one class more.
    #[must_use]
    pub fn null(&self) -> u32 {
        self.classes as u32
    }

    /// The network in a scope.
    ///
    /// # Errors
    ///
    /// When it does not fit the images.
    pub fn network(&self, scope: &Scope<'_>) -> Result<Box<dyn Network>, Failure> {
        let [channels, height, width] = self.shape;
        if height != width {
            return Err(
                format!("the networks of the examples take square images, got {height} x {width}").into(),
            );
        }
        Ok(match self.model {
            Architecture::Unet => {
                let mut config = UNetConfig::small(channels, height, self.classes + 1);
                if let Some(channels) = self.channels {
                    widen(&mut config, channels);
                }
                Box::new(UNet::new(scope, config)?)
            }
            Architecture::Ddpm => {
                let mut config = UNetConfig {
                    inputs: channels,
                    outputs: channels,
                    size: Some([height, width]),
                    // The trainer's own numbers would have to draw it, for a run to go on bit for bit.
                    dropout: 0.0,
                    classes: UNetClasses::Table {
                        count: self.classes + 1,
                    },
                    ..UNetConfig::ddpm_cifar10()
                };
                if let Some(channels) = self.channels {
                    widen(&mut config, channels);
                }
                Box::new(UNet::new(scope, config)?)
            }
            Architecture::Dit => {
                let mut config = DitConfig::small(height, self.classes);
                (config.channels, config.outputs) = (channels, channels);
                config.width = self.channels.unwrap_or(config.width);
                config.patch = if height % 4 == 0 && height > 8 { 4 } else { 1 };
                // Times come in thousands already, as the other network wants them.
                config.time.scale = 1.0;
                Box::new(Dit::new(scope, config)?)
            }
        })
    }

    /// Trains on `data`, rows of this shape with labels, from the newest checkpoint in `folder` if there is one; the averaged weights, and how long it took.
    ///
    /// # Errors
    ///
    /// When the data do not fit, the folder holds a training of another recipe, or the training fails.
    pub fn train(
        &self,
        data: impl Rows + 'static,
        folder: &Path,
        device: &Device,
    ) -> Result<(View, f64), Failure> {
        let began = Instant::now();
        let parameters = Parameters::new(self.seed, DType::F32, device);
        let network = self.network(&parameters.scope())?;
        println!("{} parameters", parameters.count());
        let regression = Regression::new(self.objective.path(), self.objective.parameterization()?)
            .with_times(self.objective.times()?);
        let objective = LabelDropout::new(regression, self.label_dropout, self.null())?;
        let batch = self.batch.min(data.rows());
        let batches = Shuffled::new(data, batch, self.seed)?.with_last_batch(LastBatch::Dropped)?;
        let config = AdamWConfig {
            weight_decay: 0.0,
            ..AdamWConfig::default()
        };
        let optimizer = AdamW::new(&parameters, config)?;
        let average = Ema::new(&parameters, EmaDecay::WarmUp(0.999))?;
        let weights = average.detached();
        let rate = LearningRate::cosine(PEAK_RATE, self.steps)?.with_warm_up(100.min(self.steps / 2));
        let mut trainer = Trainer::new(
            &parameters,
            &network,
            &objective,
            Prefetch::new(batches)?,
            optimizer,
        )
        .with_average(average)
        .with_learning_rate(rate)
        .with_clipping(1.0)?
        .with_loss_file(folder.join("loss.csv"))
        .with_configuration(Configuration::of(self)?)
        .with_checkpoints(
            Checkpoints::open(folder.join("checkpoints"))?,
            self.checkpoint_every,
        )?;
        if let Some(resumed) = trainer.resume()? {
            println!("going on after step {}", resumed.step);
            for warning in resumed.warnings {
                println!("warning: {warning}");
            }
        }
        trainer.run(self.steps)?;
        drop(trainer);
        Ok((weights, began.elapsed().as_secs_f64()))
    }

    /// A network that is told a label for each row, pushed away from itself without labels.
    ///
    /// # Errors
    ///
    /// When the scale is not finite.
    pub fn guided<N: Network>(
        &self,
        network: N,
        labels: &[u32],
        guidance: f64,
        device: &Device,
    ) -> Result<Guided<Batched<N>, Scale>, Failure> {
        let condition = |labels: Vec<u32>| -> Result<Condition, Failure> {
            Ok(Condition::labels(Tensor::new(labels, device)?))
        };
        Ok(Guided::batched(
            self.objective.parameterization()?.denoiser(network),
            condition(labels.to_vec())?,
            &condition(vec![self.null(); labels.len()])?,
            Scale::Imagen(guidance),
        )?)
    }

    /// An image of each label by classifier-free guidance, (n, C, H, W): image i has a noise of its own, whatever is drawn
    /// beside it. `watch` sees the state of the first hundred images after each step.
    ///
    /// # Errors
    ///
    /// When a label is none of the classes, or the model fails.
    pub fn sample(
        &self,
        weights: &View,
        labels: &[u32],
        guidance: f64,
        steps: usize,
        device: &Device,
        watch: &mut dyn FnMut(usize, &Tensor) -> Result<(), Failure>,
    ) -> Result<Tensor, Failure> {
        let network = self.network(&weights.scope())?;
        let (solver, grid) = self.objective.solver(steps)?;
        let mut images = Vec::new();
        for (piece, labels) in labels.chunks(ROWS).enumerate() {
            let model = self.guided(&network, labels, guidance, device)?;
            let mut noise = PerSample::starting_at(self.seed, (piece * ROWS) as u64, labels.len());
            let [channels, height, width] = self.shape;
            let shape = (labels.len(), channels, height, width);
            let x = start(&grid, shape, DType::F32, device, &mut noise)?;
            let mut failure = None;
            let mut step = 0;
            let sampled = solver.run(&model, &grid, &x, &mut noise, &mut |progress| {
                step += 1;
                if piece == 0
                    && let Err(error) = watch(step, &progress.point.x)
                {
                    failure = Some(error);
                    return ControlFlow::Break(());
                }
                ControlFlow::Continue(())
            })?;
            if let Some(failure) = failure {
                return Err(failure);
            }
            images.push(sampled.x);
        }
        Ok(Tensor::cat(&images, 0)?)
    }
}

/// A U-Net of the same proportions with `channels` at its finest resolution.
fn widen(config: &mut UNetConfig, channels: usize) {
    let finest = config.levels.first().map_or(1, |level| level.channels.max(1));
    for level in &mut config.levels {
        level.channels = level.channels / finest * channels;
    }
}

/// The learning rate after the warm-up.
const PEAK_RATE: f64 = 1e-3;

/// The numbers of a tensor, row by row.
///
/// # Errors
///
/// When it holds other numbers than f32.
pub fn values(images: &Tensor) -> Result<Vec<f32>, Failure> {
    Ok(images.to_device(&Device::Cpu)?.flatten_all()?.to_vec1()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Weights none of which is zero, so that every layer has its say.
    fn weights(recipe: &Recipe) -> View {
        let parameters = Parameters::new(recipe.seed, DType::F32, &Device::Cpu);
        recipe.network(&parameters.scope()).unwrap();
        let mut tensors = parameters.snapshot().unwrap();
        for tensor in tensors.values_mut() {
            let count = tensor.elem_count() as f32;
            let waves = Tensor::arange(0f32, count, &Device::Cpu).unwrap().sin().unwrap();
            let waves = (waves * 0.05).unwrap().reshape(tensor.shape()).unwrap();
            *tensor = (&*tensor + waves).unwrap();
        }
        View::new(&tensors, DType::F32, &Device::Cpu)
    }

    #[test]
    fn an_image_has_the_same_bytes_in_a_batch_of_1_of_7_and_of_64() {
        for model in [Architecture::Unet, Architecture::Dit] {
            let recipe = Recipe {
                model,
                objective: Goal::Flow,
                steps: 1,
                batch: 1,
                seed: 5,
                label_dropout: 0.1,
                checkpoint_every: 1,
                shape: [1, 16, 16],
                classes: 10,
                channels: None,
            };
            let weights = weights(&recipe);
            let sample = |labels: &[u32]| {
                let watch = &mut |_, _: &Tensor| Ok(());
                let images = recipe.sample(&weights, labels, 1.5, 2, &Device::Cpu, watch);
                values(&images.unwrap()).unwrap()
            };
            let labels: Vec<u32> = (0..64).map(|image| image % 10).collect();
            let all = sample(&labels);
            assert!(all.iter().all(|value| value.is_finite()));
            for count in [1, 7] {
                assert_eq!(sample(&labels[..count]), all[..count * 256], "{model:?}");
            }
            assert_ne!(sample(&[3]), all[..256], "the label has no say in {model:?}");
        }
    }
}
