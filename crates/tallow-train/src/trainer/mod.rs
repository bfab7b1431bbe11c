//! A training run: data → coupling → objective → optimiser → averages, until a step is reached.
//!
//! Everything is optional but the first line of parts; every part is usable alone, and a loop of one's own stays fifteen
//! lines (see the README). What a run needs to go on is in its checkpoints, so that it goes on bit for bit.

mod build;
mod state;
mod step;

use std::ops::ControlFlow;

use candle_core::Tensor;
use tallow_denoisers::{Batches, Network, Seeded};
use tallow_nn::{Optimizer, Parameters};
use tallow_objectives::{Coupling, Objective};

pub use state::Resumed;
pub use step::NonFinite;

use crate::audit::Audit;
use crate::loss_file::LossFile;
use crate::mixed_precision::MixedPrecision;
use crate::{
    Average, Checkpoints, Configuration, Error, LearningRate, Progress, Report, Result, Saved, Validation,
};

/// What is called after every step.
type Callback<'a> = Box<dyn FnMut(&Report) -> ControlFlow<()> + 'a>;

/// A training run and all that it needs.
///
/// ```
/// use std::sync::Arc;
///
/// use candle_core::{DType, Device};
/// use tallow_datasets::Checkerboard;
/// use tallow_denoisers::{Drawn, Parameterization, Seeded};
/// use tallow_models::{Mlp, MlpConfig};
/// use tallow_nn::{AdamW, AdamWConfig, Ema, EmaDecay, Parameters};
/// use tallow_objectives::Regression;
/// use tallow_schedules::RectifiedFlow;
/// use tallow_train::{Checkpoints, LearningRate, Trainer};
///
/// # fn train(folder: &std::path::Path) -> Result<(), Box<dyn std::error::Error>> {
/// let config = MlpConfig { width: 16, depth: 1, ..MlpConfig::new(2) };
/// let parameters = Parameters::new(7, DType::F32, &Device::Cpu);
/// let network = Mlp::new(&parameters.scope(), config)?;
/// let average = Ema::new(&parameters, EmaDecay::WarmUp(0.99))?;
/// let weights = average.detached();
/// let objective = Regression::new(Arc::new(RectifiedFlow::default()), Parameterization::flow_matching());
/// let data = Drawn::new(Checkerboard::new(), 64, Seeded::stream(7, 0))?;
/// let optimizer = AdamW::new(&parameters, AdamWConfig::default())?;
///
/// let mut trainer = Trainer::new(&parameters, &network, &objective, data, optimizer)
///     .with_average(average)
///     .with_learning_rate(LearningRate::cosine(3e-3, 20)?)
///     .with_clipping(1.0)?
///     .with_checkpoints(Checkpoints::open(folder)?, 10)?;
/// if let Some(resumed) = trainer.resume()? {
///     println!("going on after step {}: {:?}", resumed.step, resumed.warnings);
/// }
/// trainer.run(20)?;
/// let sampling = Mlp::new(&weights.scope(), config)?;
/// # Ok(())
/// # }
/// # train(tempfile::tempdir()?.path())?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Trainer<'a> {
    parameters: &'a Parameters,
    network: &'a dyn Network,
    objective: &'a dyn Objective,
    data: Box<dyn Batches + 'a>,
    optimizer: Box<dyn Optimizer + 'a>,
    noise: Seeded,
    coupling: Option<Box<dyn Coupling + 'a>>,
    averages: Vec<Box<dyn Average + 'a>>,
    learning_rate: Option<LearningRate>,
    clipping: Option<f64>,
    micro_batches: usize,
    non_finite: NonFinite,
    precision: Option<MixedPrecision<'a>>,
    audit: Audit,
    validation: Option<Validation<'a>>,
    callbacks: Vec<Callback<'a>>,
    losses: Option<LossFile>,
    checkpoints: Option<(Checkpoints, u64)>,
    configuration: Configuration,
    step: u64,
    skipped: u64,
    /// The last step of which a checkpoint is safe.
    saved: Option<u64>,
    /// A step failed half-way.
    broken: bool,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    /// How many steps have been made.
    pub step: u64,
    /// Whether a callback ended it before the last one.
    pub stopped: bool,
    /// The loss of the last step, if there was one.
    pub loss: Option<f64>,
}

impl Trainer<'_> {
    /// How many steps have been made.
    #[must_use]
    pub fn step(&self) -> u64 {
        self.step
    }

    /// How many of them were skipped because loss or gradient were not finite.
    #[must_use]
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Trains until `steps` steps have been made, counted from the very first; a run that was resumed makes what is left.
    /// With checkpoints, the last step has one.
    ///
    /// # Errors
    ///
    /// When a step fails: the run is then as it was before that step, which the error names. When the folder of checkpoints
    /// holds a newer one. When a file cannot be written.
    pub fn run(&mut self, steps: u64) -> Result<Outcome> {
        if self.broken {
            return Err(Error::Broken { step: self.step });
        }
        if let Some((checkpoints, _)) = &self.checkpoints {
            checkpoints.check_order(self.step)?;
        }
        if let Some(losses) = &mut self.losses {
            losses.start()?;
        }
        let mut progress = Progress::new("train", steps).starting_at(self.step);
        let (mut loss, mut stopped) = (None, false);
        while self.step < steps && !stopped {
            let report = self.whole_step(steps)?;
            progress.step(report.loss);
            loss = Some(report.loss);
            for callback in &mut self.callbacks {
                stopped |= callback(&report).is_break();
            }
        }
        progress.finish();
        if self.checkpoints.is_some() && self.saved != Some(self.step) && self.step > 0 {
            self.save()?;
        }
        if let Some(losses) = &mut self.losses {
            losses.sync()?;
        }
        Ok(Outcome {
            step: self.step,
            stopped,
            loss,
        })
    }

    /// A step with all that is due after it.
    fn whole_step(&mut self, steps: u64) -> Result<Report> {
        let mut report = self.advance(steps)?;
        if let Some(validation) = &self.validation {
            report.validation = validation.after(self.step, self.network, self.objective, self.parameters)?;
        }
        if let Some(losses) = &mut self.losses {
            losses.row(&report)?;
        }
        let due = self
            .checkpoints
            .as_ref()
            .map(|(_, every)| self.step.is_multiple_of(*every));
        if due == Some(true) {
            self.save()?;
            report.saved = true;
        }
        Ok(report)
    }

    /// Writes a checkpoint of this step now.
    ///
    /// # Errors
    ///
    /// When the run has no checkpoints, a step failed half-way, or writing fails.
    pub fn save(&mut self) -> Result<Saved> {
        if let Some(losses) = &mut self.losses {
            // The rows of a safe step are safe before it is.
            losses.sync()?;
        }
        let checkpoint = self.checkpoint()?;
        let Some((checkpoints, _)) = &mut self.checkpoints else {
            return Err(Error::NoCheckpoints);
        };
        let saved = checkpoints.save(&checkpoint)?;
        self.saved = Some(self.step);
        Ok(saved)
    }
}

impl std::fmt::Debug for Trainer<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trainer")
            .field("step", &self.step)
            .field("parameters", &self.parameters.count())
            .field("objective", &self.objective)
            .field("data", &self.data)
            .finish_non_exhaustive()
    }
}

/// A scalar as a number.
fn number(scalar: &Tensor) -> candle_core::Result<f64> {
    scalar.to_dtype(candle_core::DType::F64)?.to_scalar()
}
