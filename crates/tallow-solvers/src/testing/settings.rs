//! Every path, grid and prediction that a solver meets.

use std::fmt;

use candle_core::Tensor;
use tallow_denoisers::{Denoiser, Estimate, Levels, mix};
use tallow_schedules::{NamedSchedule, NoiseLevel, Prediction, TimeGrid};

use crate::Result;

/// A path, a grid on it and what the model predicts.
#[derive(Clone, Debug)]
pub struct Setting {
    /// The path's name.
    pub path: &'static str,
    /// The grid's name: uniform (over the whole path, both ends included), uniform_lambda or karras (then the clean end).
    pub grid_name: &'static str,
    /// The grid.
    pub grid: TimeGrid,
    /// What the model predicts.
    pub prediction: Prediction,
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let steps = self.grid.step_count();
        let Self {
            path,
            grid_name,
            prediction,
            ..
        } = self;
        write!(f, "{path}, {grid_name} grid of {steps} steps, {prediction:?}")
    }
}

/// Everything that a model may predict.
pub const PREDICTIONS: [Prediction; 6] = [
    Prediction::Data,
    Prediction::Noise,
    Prediction::Velocity,
    Prediction::V,
    Prediction::Score,
    Prediction::Edm { sigma_data: 0.5 },
];

impl Setting {
    /// All paths of [`NamedSchedule::NAMES`] with all grids of `steps` steps and all predictions.
    ///
    /// # Errors
    ///
    /// When `steps` is too many for a grid.
    pub fn all(steps: usize) -> Result<Vec<Self>> {
        let mut all = Vec::new();
        for path in NamedSchedule::NAMES {
            let schedule = NamedSchedule::from_name(path)?.build()?;
            let t_max = schedule.t_max();
            let inside = (0.9 * t_max, 0.05 * t_max);
            let grids = [
                ("uniform", TimeGrid::uniform(schedule.clone(), steps)),
                (
                    "uniform_lambda",
                    TimeGrid::uniform_lambda(schedule.clone(), inside.0, inside.1, steps)
                        .and_then(TimeGrid::then_clean),
                ),
                ("karras", TimeGrid::karras(schedule, 0.05, 10.0, 7.0, steps)),
            ];
            for (grid_name, grid) in grids {
                let grid = grid?;
                all.extend(PREDICTIONS.map(|prediction| Self {
                    path,
                    grid_name,
                    grid: grid.clone(),
                    prediction,
                }));
            }
        }
        Ok(all)
    }

    /// Whether the prediction sees the data where the grid starts. Elsewhere it always does.
    #[must_use]
    pub fn sees(&self) -> bool {
        self.prediction.check(self.grid.first()).is_ok()
    }

    /// Starts for data near the origin: two rows of two numbers of the size of the grid's first level.
    ///
    /// # Errors
    ///
    /// When a tensor operation fails.
    pub fn start(&self) -> Result<Tensor> {
        let x = Tensor::new(&[[0.9f64, -0.4], [-1.3, 0.2]], &candle_core::Device::Cpu)?;
        let first = self.grid.first();
        Ok((x * first.sigma.hypot(first.alpha))?)
    }
}

/// A model asked for a prediction of choice: its estimates are the same, up to rounding.
#[derive(Clone, Copy, Debug)]
pub struct Told<M> {
    /// The model.
    pub model: M,
    /// What its estimates are made of.
    pub prediction: Prediction,
}

impl<M: Denoiser> Denoiser for Told<M> {
    fn estimate(&self, x: &Tensor, at: Levels<'_>) -> tallow_denoisers::Result<Estimate> {
        for level in at.iter() {
            self.prediction.check(level)?;
        }
        let estimate = self.model.estimate(x, at)?;
        let target = |level: NoiseLevel| self.prediction.target(level);
        let output = mix(&estimate.x0()?, &estimate.noise()?, at, target)?;
        Estimate::new(x, output, self.prediction, at)
    }

    fn cost(&self, at: NoiseLevel) -> usize {
        self.model.cost(at)
    }
}
