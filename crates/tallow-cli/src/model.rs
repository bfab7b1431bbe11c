//! A model that can be asked for samples: a checkpoint of ours, or (in `pipeline.rs`) a folder of diffusers.

use std::path::PathBuf;

use candle_core::{DType, Device, Tensor};
use tallow::denoisers::guidance::Scale;
use tallow::denoisers::{Condition, Denoiser, Guided, Network};
use tallow::nn::View;
use tallow::schedules::TimeGrid;

use crate::checkpoint_path::read_run;
use crate::error::{Blame, Error, Result};
use crate::network;
use crate::recipe::{Average, CouplingName, Recipe};

/// What sampling asks of a model.
pub(crate) trait Source {
    /// The shape of an item of its state.
    fn shape(&self) -> Vec<usize>;
    /// How many classes it tells apart; 0 for none.
    fn classes(&self) -> usize;
    /// The number of a class.
    fn class(&self, wanted: &str) -> Result<u32>;
    /// The model for rows of these labels, which are empty where it has no classes.
    fn denoiser(&self, labels: &[u32], guidance: f64) -> Result<Box<dyn Denoiser + '_>>;
    /// The levels of so many steps.
    fn grid(&self, steps: usize) -> Result<TimeGrid>;
    /// The solver that suits it.
    fn usual_solver(&self) -> &'static str;
    /// Refuses a solver that needs independent noise where the training had none.
    fn check_noise(&self, solver: &str) -> Result<()>;
    /// The states as points or images.
    fn finish(&self, x: Tensor) -> Result<Tensor>;
    /// One line that says what it is.
    fn told(&self) -> Result<String>;
}

/// A model of a checkpoint.
pub(crate) struct Trained {
    pub(crate) recipe: Recipe,
    pub(crate) path: PathBuf,
    pub(crate) step: u64,
    pub(crate) network: Box<dyn Network>,
    device: Device,
}

impl Trained {
    /// Reads a checkpoint, with the average of its weights or, if `raw`, with the weights themselves.
    pub(crate) fn read(path: PathBuf, choice: WeightChoice, device: &Device) -> Result<Self> {
        let (checkpoint, recipe) = read_run(&path)?;
        let part = match (choice, recipe.average) {
            (
                WeightChoice::Average,
                Average::WarmUp { .. } | Average::Constant { .. } | Average::Power { .. },
            ) => "average.0",
            _ => "weights",
        };
        let tensors = &checkpoint.part(part)?.tensors;
        let mut moved = std::collections::BTreeMap::new();
        for (name, tensor) in tensors {
            moved.insert(name.clone(), tensor.to_device(device).run()?);
        }
        let view = View::new(&moved, DType::F32, device);
        Ok(Self {
            network: network::build(&recipe, &view.scope())?,
            step: checkpoint.step(),
            recipe,
            path,
            device: device.clone(),
        })
    }
}

/// Which of a checkpoint's weights are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WeightChoice {
    /// Their average, where the run keeps one.
    Average,
    /// Themselves.
    Raw,
}

impl WeightChoice {
    pub(crate) fn of_flag(raw: bool) -> Self {
        if raw { Self::Raw } else { Self::Average }
    }
}

impl Source for Trained {
    fn shape(&self) -> Vec<usize> {
        self.recipe.data.shape.clone()
    }

    fn classes(&self) -> usize {
        self.recipe.data.classes.len()
    }

    fn class(&self, wanted: &str) -> Result<u32> {
        self.recipe.class(wanted)
    }

    fn denoiser(&self, labels: &[u32], guidance: f64) -> Result<Box<dyn Denoiser + '_>> {
        let goal = &self.recipe.objective;
        let model = goal.parameterization(&self.recipe.model)?.denoiser(&self.network);
        let of = |labels: &[u32]| -> Result<Condition> {
            Ok(Condition::labels(Tensor::new(labels, &self.device).run()?))
        };
        if guidance == 1.0 {
            return Ok(match labels.is_empty() {
                true => Box::new(model),
                false => Box::new(model.with_condition(of(labels)?)),
            });
        }
        if labels.is_empty() {
            return Err(Error::input(format!(
                "--guidance {guidance}: this model was trained without labels, leave --guidance away"
            )));
        }
        if goal.label_dropout == 0.0 {
            return Err(Error::input(format!(
                "--guidance {guidance}: this model never saw an image without its label, so there is nothing to guide away from: train with `label_dropout = 0.1` in [objective]"
            )));
        }
        let null = of(&vec![self.recipe.null(); labels.len()])?;
        Ok(Box::new(
            Guided::batched(model, of(labels)?, &null, Scale::Imagen(guidance)).input()?,
        ))
    }

    fn grid(&self, steps: usize) -> Result<TimeGrid> {
        self.recipe.objective.grid(steps)
    }

    fn usual_solver(&self) -> &'static str {
        self.recipe.objective.usual_solver()
    }

    fn check_noise(&self, solver: &str) -> Result<()> {
        if self.recipe.coupling == CouplingName::Independent {
            return Ok(());
        }
        Err(Error::input(format!(
            "--solver {solver} draws noise, which is right only for models trained with coupling \"independent\"; this one was not: take a deterministic solver (`tallow solvers`), such as {}",
            self.usual_solver()
        )))
    }

    fn finish(&self, x: Tensor) -> Result<Tensor> {
        Ok(x)
    }

    fn told(&self) -> Result<String> {
        Ok(format!("{} after step {}", self.recipe.data.name, self.step))
    }
}
