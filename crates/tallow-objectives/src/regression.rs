//! One weighted regression: DDPM, score matching, v-prediction, EDM, flow matching and rectified flow.
//!
//! ```text
//! x_t = α x_0 + σ ε        f ≈ a x_0 + b ε        loss = mean over rows of w(t) · mean |f_θ(x_t, t) − (a x_0 + b ε)|²
//! ```
//!
//! On a [bridge](crate::bridge) there is a third term, and the target is the velocity. The square may be another
//! [penalty](crate::penalty).
//!
//! The pair (a, b) is the prediction's (`tallow_schedules::Prediction`). A weighting is defined on the error of x̂_0; an
//! error of the output moves x̂_0 by the prediction's gain, so on the output it is w · gain². That makes min-SNR right for
//! noise, v and data alike. Other penalties weigh likewise: w times the penalty of an error that is gain times as large.
//!
//! Source: Kingma & Gao 2023, arXiv:2303.00848 (all of them are this regression with different weights).

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::{D, Device, Tensor};
use rand::RngCore;
use tallow_denoisers::{
    Batch, Condition, Error as DenoiserError, Levels, Network, Parameterization, Prediction, check_like, mix,
    normal_like,
};
use tallow_schedules::{NoiseLevel, Schedule, Weighting};

use crate::squared_error;
use crate::time_sampling::Drawn;
use crate::{Bridge, Error, Loss, Objective, Penalty, Result, SelfConditioning, TimeSampling};

/// Regression of a network on what its parameterization asks for.
///
/// Source: Kingma & Gao 2023, arXiv:2303.00848 (all of them are this regression with different weights).
#[derive(Clone, Debug)]
pub struct Regression {
    schedule: Arc<dyn Schedule>,
    parameterization: Parameterization,
    times: TimeSampling,
    weighting: Option<Weighting>,
    penalty: Penalty,
    bridge: Option<Bridge>,
    self_conditioning: Option<SelfConditioning>,
}

impl Regression {
    /// At uniform times, each row's squared error of the network's own target counted alike: DDPM's L_simple, flow
    /// matching's and rectified flow's loss, EDM's loss in F.
    #[must_use]
    pub fn new(schedule: Arc<dyn Schedule>, parameterization: Parameterization) -> Self {
        Self {
            schedule,
            parameterization,
            times: TimeSampling::uniform(),
            weighting: None,
            penalty: Penalty::Squared,
            bridge: None,
            self_conditioning: None,
        }
    }

    /// The same at other times.
    #[must_use]
    pub fn with_times(mut self, times: TimeSampling) -> Self {
        self.times = times;
        self
    }

    /// The same with the error of x̂_0 weighted.
    ///
    /// # Errors
    ///
    /// When a parameter of the weighting is out of its range.
    pub fn with_weighting(mut self, weighting: Weighting) -> Result<Self> {
        weighting.check()?;
        self.weighting = Some(weighting);
        Ok(self)
    }

    /// The same with another penalty for the error.
    ///
    /// # Errors
    ///
    /// When a parameter of the penalty is out of its range.
    pub fn with_penalty(mut self, penalty: Penalty) -> Result<Self> {
        penalty.check()?;
        self.penalty = penalty;
        Ok(self)
    }

    /// The same on bridges between the data and the source.
    ///
    /// # Errors
    ///
    /// When the bridge's σ is negative or not finite, or the network predicts anything but velocity: with a third term, x_t
    /// and the output do not tell the data.
    pub fn with_bridge(mut self, bridge: Bridge) -> Result<Self> {
        bridge.check()?;
        let prediction = self.parameterization.prediction;
        if prediction != Prediction::Velocity {
            return Err(Error::Prediction {
                what: "a bridge",
                allowed: "velocity",
                prediction,
            });
        }
        self.bridge = Some(bridge);
        Ok(self)
    }

    /// The same for a network that is told its own estimate.
    #[must_use]
    pub fn with_self_conditioning(mut self, self_conditioning: SelfConditioning) -> Self {
        self.self_conditioning = Some(self_conditioning);
        self
    }

    /// The path.
    #[must_use]
    pub fn schedule(&self) -> &Arc<dyn Schedule> {
        &self.schedule
    }

    /// How the network is called.
    #[must_use]
    pub fn parameterization(&self) -> Parameterization {
        self.parameterization
    }

    /// The weight of a row's squared error of the output.
    fn weight(&self, at: NoiseLevel) -> f64 {
        self.weighting.map_or(1.0, |weighting| {
            weighting.weight(at) * self.parameterization.prediction.gain(at).powi(2)
        })
    }

    /// x_t and the target of each row.
    fn pose(
        &self,
        x0: &Tensor,
        source: &Tensor,
        levels: &[NoiseLevel],
        rng: &mut dyn RngCore,
    ) -> Result<(Tensor, Tensor)> {
        if let Some(bridge) = self.bridge {
            let z = normal_like(x0, rng)?;
            let crossing = bridge.cross([x0, source, &z], levels, self.schedule.t_max())?;
            return Ok((crossing.x, crossing.velocity));
        }
        let (at, prediction) = (Levels::PerRow(levels), self.parameterization.prediction);
        let bounded = |level: &NoiseLevel| {
            let (a, b) = prediction.target(*level);
            a.is_finite() && b.is_finite()
        };
        if let Some(level) = levels.iter().find(|level| !bounded(level)) {
            return Err(Error::Unbounded {
                what: "the target of the prediction",
                t: level.t,
            });
        }
        let x_t = mix(x0, source, at, |level| (level.alpha, level.sigma))?;
        Ok((x_t, mix(x0, source, at, |level| prediction.target(level))?))
    }

    /// What the network makes of x_t.
    fn output(
        &self,
        network: &dyn Network,
        x_t: &Tensor,
        at: Levels<'_>,
        condition: &Condition,
        rng: &mut dyn RngCore,
    ) -> Result<Tensor> {
        let parameterization = &self.parameterization;
        let told = match self.self_conditioning {
            None => None,
            Some(telling) => Some(telling.told(parameterization, network, x_t, at, condition, rng)?),
        };
        let output = parameterization.call_with(network, x_t, at, condition, told.as_ref())?;
        Ok(parameterization.split(&output, x_t)?.0)
    }

    /// The mean, and the loss of each row, (B,), weighted by its level.
    fn mean_and_rows(
        &self,
        output: &Tensor,
        target: &Tensor,
        levels: &[NoiseLevel],
        importance: Option<&[f64]>,
    ) -> Result<(Tensor, Tensor)> {
        let weights = self.weights(levels)?;
        if self.penalty == Penalty::Squared
            && let Some(both) = squared_error::weighted(output, target, &weights, importance)?
        {
            return Ok(both);
        }
        let per_row = self.per_row(output, target, levels, weights)?;
        let mean = match importance {
            None => per_row.mean_all()?,
            Some(importance) => (&per_row * rows_like(importance, &per_row)?)?.mean_all()?,
        };
        Ok((mean, per_row.detach()))
    }

    /// The weight of each row; refuses one that is not finite.
    fn weights(&self, levels: &[NoiseLevel]) -> Result<Vec<f64>> {
        let weights: Vec<f64> = levels.iter().map(|level| self.weight(*level)).collect();
        if let Some((_, level)) = weights.iter().zip(levels).find(|(weight, _)| !weight.is_finite()) {
            return Err(Error::Unbounded {
                what: "the weight of the loss",
                t: level.t,
            });
        }
        Ok(weights)
    }

    /// The loss of each row by candle's operations.
    fn per_row(
        &self,
        output: &Tensor,
        target: &Tensor,
        levels: &[NoiseLevel],
        weights: Vec<f64>,
    ) -> Result<Tensor> {
        if self.penalty == Penalty::Squared {
            let error = (output - target)?.sqr()?.flatten_from(1)?.mean(D::Minus1)?;
            let weights = rows_like(&weights, &error)?;
            return Ok((error * weights)?);
        }
        let (gains, weights): (Vec<_>, Vec<_>) = match self.weighting {
            None => (vec![1.0; levels.len()], weights),
            Some(weighting) => levels
                .iter()
                .map(|level| {
                    (
                        self.parameterization.prediction.gain(*level),
                        weighting.weight(*level),
                    )
                })
                .unzip(),
        };
        self.penalty.weighted_rows(&(output - target)?, &gains, &weights)
    }
}

/// One number a row, (B,), with the type and on the device of `like`.
fn rows_like(values: &[f64], like: &Tensor) -> Result<Tensor> {
    Ok(Tensor::new(values, &Device::Cpu)?
        .to_dtype(like.dtype())?
        .to_device(like.device())?)
}

impl Objective for Regression {
    fn loss(&self, network: &dyn Network, batch: &Batch, rng: &mut dyn RngCore) -> Result<Loss> {
        let rows = batch.rows()?;
        if rows == 0 {
            return Err(DenoiserError::EmptyBatch { what: "a loss" }.into());
        }
        let source = match &batch.x1 {
            Some(x1) => x1.clone(),
            None => normal_like(&batch.x0, rng)?,
        };
        let Drawn { levels, importance } = self.times.draw(self.schedule.as_ref(), rows, rng)?;
        let (x_t, target) = self.pose(&batch.x0, &source, &levels, rng)?;
        let output = self.output(network, &x_t, Levels::PerRow(&levels), &batch.condition, rng)?;
        check_like("the network's output", &output, &target)?;

        let (mean, per_row) = self.mean_and_rows(&output, &target, &levels, importance.as_deref())?;
        Ok(Loss {
            mean,
            per_row,
            levels,
        })
    }

    fn observe(&self, loss: &Loss) -> Result<()> {
        self.times.observe(self.schedule.as_ref(), loss)
    }

    fn state(&self) -> Result<BTreeMap<String, Tensor>> {
        self.times.state()
    }

    fn restore(&self, state: &BTreeMap<String, Tensor>) -> Result<()> {
        self.times.restore(state)
    }
}

#[cfg(test)]
#[path = "regression_tests.rs"]
mod tests;
