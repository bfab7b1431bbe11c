//! The `scheduler_config.json` of diffusers: path, prediction, visited steps and threshold, each as a value of its own.
//!
//! ```text
//! β of the configuration → Table          prediction_type → Prediction          timestep → the number t·T − 1 that a network is told
//! timestep_spacing, steps_offset, use_karras_sigmas, final_sigmas_type, flow shift → TimeGrid          clip_sample → Threshold
//! ```
//!
//! The update rule, with its own keys (`solver_order`, `algorithm_type`, `variance_type`, …), is a solver's: any solver
//! runs on the grid.

mod class;
mod flow;
mod read;
mod steps;

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use tallow_denoisers::{Network, Parameterization, Parameterized, Threshold, TimeInput, Variance};
use tallow_schedules::{Prediction, RectifiedFlow, Schedule, Table, TimeGrid};

pub use class::SchedulerClass;
pub use flow::{FlowRise, FlowShift};
pub use steps::{End, SpacedIn, Spacing};

use flow::FlowSteps;
use steps::TableSteps;

use super::json_file::{read_json, write_json};
use crate::{Error, Result};

/// The file of a scheduler.
const FILE: &str = "scheduler_config.json";

/// What a scheduler of diffusers says about a trained network: its path, what it predicts, and which steps are visited.
///
/// ```
/// use tallow_models::diffusers::Scheduler;
/// use tallow_schedules::{Prediction, Table};
///
/// let table = Table::scaled_linear_beta(1000, 0.00085, 0.012)?;
/// let scheduler = Scheduler::ddim(&table, Prediction::V)?;
/// assert_eq!(scheduler.grid(20)?.step_count(), 20);
/// let again = Scheduler::from_config(scheduler.config())?;
/// assert_eq!(again.prediction(), Prediction::V);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Scheduler {
    class: SchedulerClass,
    config: Value,
    prediction: Prediction,
    threshold: Option<Threshold>,
    variance: Variance,
    steps: Steps,
}

#[derive(Clone, Debug)]
enum Steps {
    Table(TableSteps),
    Flow(FlowSteps),
}

impl Scheduler {
    /// Reads `scheduler_config.json` of a folder, or of the folder `scheduler` in it.
    ///
    /// # Errors
    ///
    /// When there is no such file, it cannot be read, or as [`from_config`](Self::from_config).
    pub fn read(dir: impl AsRef<Path>) -> Result<Self> {
        let dir = dir.as_ref();
        let places = [dir.join(FILE), dir.join("scheduler").join(FILE)];
        let Some(path) = places.iter().find(|path| path.is_file()) else {
            return Err(Error::Folder {
                path: dir.to_owned(),
                problem: format!(
                    "has neither {FILE} nor scheduler/{FILE}: name the folder of a pipeline or of its scheduler"
                ),
            });
        };
        Self::from_config(&read_json(path)?)
    }

    /// The scheduler of a configuration, with diffusers' defaults for keys that are missing.
    ///
    /// # Errors
    ///
    /// When the class is not known, or a key or its value is none that is supported; the error names it and what is allowed.
    pub fn from_config(config: &Value) -> Result<Self> {
        read::scheduler(config)
    }

    /// DDIM on every trained table: no clipping, and strides from its last entry, which training visited.
    ///
    /// # Errors
    ///
    /// When the prediction is not one of diffusers' (noise, data and V), or cannot see the data at the table's end.
    pub fn ddim(table: &Table, prediction: Prediction) -> Result<Self> {
        let prediction = match prediction {
            Prediction::Noise => "epsilon",
            Prediction::Data => "sample",
            Prediction::V => "v_prediction",
            _ => {
                return Err(Error::NotInDiffusers {
                    class: SchedulerClass::Ddim.name(),
                    what: "this prediction",
                    way_out: "train on noise, data or V, or take `Scheduler::flow` for velocities of rectified flow",
                });
            }
        };
        Self::from_config(&json!({
            "_class_name": SchedulerClass::Ddim.name(),
            "num_train_timesteps": table.len(),
            "trained_betas": table.betas(),
            "prediction_type": prediction,
            "timestep_spacing": "trailing",
            "clip_sample": false,
            "set_alpha_to_one": true,
        }))
    }

    /// Rectified flow, told 1000 t, with times shifted by `shift`.
    ///
    /// # Errors
    ///
    /// When the shift is outside [1e-6, 1e6].
    pub fn flow(shift: f64) -> Result<Self> {
        Self::from_config(&json!({
            "_class_name": SchedulerClass::FlowMatchEuler.name(),
            "num_train_timesteps": 1000,
            "shift": shift,
        }))
    }

    /// Writes `scheduler_config.json` to a folder, which is made if it is not there.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn write(&self, dir: impl AsRef<Path>) -> Result<()> {
        write_json(&dir.as_ref().join(FILE), &self.config)
    }

    /// The class.
    #[must_use]
    pub fn class(&self) -> SchedulerClass {
        self.class
    }

    /// The configuration that was read.
    #[must_use]
    pub fn config(&self) -> &Value {
        &self.config
    }

    /// What the network predicts.
    #[must_use]
    pub fn prediction(&self) -> Prediction {
        self.prediction
    }

    /// How far x̂₀ is clipped, if it is: for [`Clamped`](tallow_denoisers::Clamped).
    #[must_use]
    pub fn threshold(&self) -> Option<Threshold> {
        self.threshold
    }

    /// The path.
    #[must_use]
    pub fn schedule(&self) -> Arc<dyn Schedule> {
        match &self.steps {
            Steps::Table(steps) => steps.table.clone(),
            Steps::Flow(_) => Arc::new(RectifiedFlow::default()),
        }
    }

    /// The trained table; none for flows.
    #[must_use]
    pub fn table(&self) -> Option<&Arc<Table>> {
        match &self.steps {
            Steps::Table(steps) => Some(&steps.table),
            Steps::Flow(_) => None,
        }
    }

    /// How many steps were trained on: what a network counts its times in.
    #[must_use]
    pub fn trained_steps(&self) -> usize {
        match &self.steps {
            Steps::Table(steps) => steps.table.len(),
            Steps::Flow(steps) => steps.trained,
        }
    }

    /// How flow times are shifted; none for tables.
    #[must_use]
    pub fn shift(&self) -> Option<FlowShift> {
        match &self.steps {
            Steps::Table(_) => None,
            Steps::Flow(steps) => Some(steps.shift),
        }
    }

    /// How a network is called: what it is told for the time, what its output stands for, and whether half of it is a
    /// variance (`variance_type` of DDPM).
    #[must_use]
    pub fn parameterization(&self) -> Parameterization {
        let mut parameterization = Parameterization::new(self.prediction);
        parameterization.variance = self.variance;
        parameterization.time = match &self.steps {
            Steps::Table(steps) => TimeInput::Step {
                count: steps.table.len(),
            },
            Steps::Flow(steps) => TimeInput::Scaled(steps.trained as f64),
        };
        parameterization
    }

    /// The denoiser that a network is under this scheduler; [`Weights::denoiser`](super::Weights::denoiser) also knows of
    /// learned variances.
    pub fn denoiser<N: Network>(&self, network: N) -> Parameterized<N> {
        self.parameterization().denoiser(network)
    }

    /// The times that diffusers visits in `count` steps, on the path.
    ///
    /// # Errors
    ///
    /// When there are no or too many steps, or the shift depends on the image: then
    /// [`grid_of_sequence`](Self::grid_of_sequence) knows it.
    pub fn grid(&self, count: usize) -> Result<TimeGrid> {
        match &self.steps {
            Steps::Table(steps) => steps.grid(count),
            Steps::Flow(steps) => match steps.shift {
                FlowShift::Fixed(_) => steps.grid(count, 0),
                FlowShift::OfSequence { .. } => Err(Error::Configuration {
                    class: self.class.name(),
                    key: "use_dynamic_shifting".to_owned(),
                    value: "true".to_owned(),
                    allowed: "false for `grid`: ask `grid_of_sequence` with the number of tokens".to_owned(),
                }),
            },
        }
    }

    /// [`grid`](Self::grid) for an image of `tokens` tokens, on which the shift of some flows depends.
    ///
    /// # Errors
    ///
    /// When there are no or too many steps, or the shift comes out outside of its range.
    pub fn grid_of_sequence(&self, count: usize, tokens: usize) -> Result<TimeGrid> {
        match &self.steps {
            Steps::Table(steps) => steps.grid(count),
            Steps::Flow(steps) => steps.grid(count, tokens),
        }
    }
}

#[cfg(test)]
#[path = "scheduler_tests.rs"]
mod tests;
