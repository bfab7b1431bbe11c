//! What a run is, as its checkpoints keep it: all that decides its numbers, and nothing that does not.

use serde::{Deserialize, Serialize};
use tallow::schedules::{NamedSchedule, Weighting};
use tallow::train::{Checkpoint, Configuration};

use crate::error::{Blame, Error, Result};

/// The first value of a checkpoint's configuration: tells runs of this command from those of other programs.
pub(crate) const FORMAT: &str = "tallow run 1";

/// A training, without the places where its data come from and its files go.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Recipe {
    pub(crate) format: String,
    pub(crate) steps: u64,
    pub(crate) batch: usize,
    pub(crate) seed: u64,
    pub(crate) data: DataRecipe,
    pub(crate) model: Model,
    pub(crate) objective: Goal,
    pub(crate) coupling: CouplingName,
    pub(crate) optimizer: OptimizerRecipe,
    pub(crate) learning_rate: Rate,
    pub(crate) average: Average,
    /// Steps between validations; 0 for none.
    pub(crate) validate_every: u64,
}

/// The data, and what a model of them looks like.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DataRecipe {
    pub(crate) name: String,
    /// Of so many images one is kept from training; 0 for none.
    pub(crate) held_out_every: usize,
    /// [2] for points, [channels, height, width] for images.
    pub(crate) shape: Vec<usize>,
    /// The names of the labels that the model is told; empty if it is told none.
    pub(crate) classes: Vec<String>,
}

/// The network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Model {
    Mlp {
        width: usize,
        depth: usize,
        /// Half-width of the box of the data, for sines and cosines of the coordinates; `None` for raw ones.
        waves: Option<f64>,
    },
    Unet {
        channels: Vec<usize>,
        blocks: usize,
        /// Levels that attend, 0 the finest.
        attention: Vec<usize>,
        groups: usize,
    },
    Dit {
        width: usize,
        depth: usize,
        heads: usize,
        patch: usize,
    },
}

/// What the network is asked for, and on which path.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Goal {
    pub(crate) name: GoalName,
    pub(crate) schedule: NamedSchedule,
    /// `None` for one that counts the network's own error alike everywhere.
    pub(crate) weighting: Option<Weighting>,
    pub(crate) times: Times,
    pub(crate) label_dropout: f64,
    pub(crate) sigma_data: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum GoalName {
    Flow,
    Noise,
    Data,
    V,
    Edm,
}

/// How training times are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Times {
    Uniform,
    LogitNormal { mean: f64, deviation: f64 },
    LogNormalSigma { mean: f64, deviation: f64 },
    TableSteps,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum CouplingName {
    Independent,
    OptimalTransport,
    Sinkhorn { regularization: f64 },
    ImmiscibleNoise,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OptimizerRecipe {
    pub(crate) rule: OptimizerRule,
    pub(crate) weight_decay: f64,
    /// The largest norm of the gradients; `None` for any.
    pub(crate) clip: Option<f64>,
    pub(crate) micro_batches: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum OptimizerRule {
    Adamw { beta1: f64, beta2: f64 },
    Adam { beta1: f64, beta2: f64 },
    Radam { beta1: f64, beta2: f64 },
    Sgd { momentum: f64 },
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rate {
    pub(crate) name: RateName,
    pub(crate) peak: f64,
    pub(crate) warm_up: u64,
    pub(crate) floor: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RateName {
    Constant,
    Cosine,
    Linear,
    InverseSquareRoot,
}

/// The average of the weights that samples are drawn with.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Average {
    WarmUp { decay: f64 },
    Constant { decay: f64 },
    Power { gamma: f64 },
    None,
}

impl Recipe {
    /// The recipe of a checkpoint that `tallow train` wrote.
    pub(crate) fn of(checkpoint: &Checkpoint, path: &std::path::Path) -> Result<Self> {
        let read = checkpoint.configuration().read::<Self>();
        let recipe = read.map_err(|error| {
            Error::input(format!(
                "{} is a whole checkpoint, but not of `tallow train`, so that its network is not known ({error}): load it with the program that wrote it",
                path.display()
            ))
        })?;
        if recipe.format != FORMAT {
            return Err(Error::input(format!(
                "{} is of a run {:?}, this program reads {FORMAT:?}: use the release that wrote it",
                path.display(),
                recipe.format
            )));
        }
        Ok(recipe)
    }

    pub(crate) fn configuration(&self) -> Result<Configuration> {
        Configuration::of(self).run()
    }

    /// The label of none: one more than there are classes.
    pub(crate) fn null(&self) -> u32 {
        self.data.classes.len() as u32
    }

    /// Whether the model is told labels.
    pub(crate) fn conditional(&self) -> bool {
        !self.data.classes.is_empty()
    }

    /// Whether it draws images.
    pub(crate) fn draws_images(&self) -> bool {
        self.data.shape.len() == 3
    }

    /// The number of a class by its name or number.
    pub(crate) fn class(&self, wanted: &str) -> Result<u32> {
        let classes = &self.data.classes;
        if classes.is_empty() {
            return Err(Error::input(format!(
                "--class {wanted}: this model was trained without labels, leave --class away"
            )));
        }
        let named = classes.iter().position(|class| class == wanted);
        let numbered = wanted
            .parse::<usize>()
            .ok()
            .filter(|number| *number < classes.len());
        named.or(numbered).map(|class| class as u32).ok_or_else(|| {
            let advice = crate::error::advice(wanted, classes);
            Error::input(format!(
                "--class {wanted}: {advice}, or a number from 0 to {}",
                classes.len() - 1
            ))
        })
    }
}
