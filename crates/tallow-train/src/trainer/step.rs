//! One step: all of it, or nothing.

use std::collections::BTreeMap;

use tallow_denoisers::Network;
use tallow_nn::Gradients;
use tallow_objectives::Loss;

use super::{Trainer, number};
use crate::mixed_precision::LossScale;
use crate::{Error, Report, Result, audit};

/// What is done about a loss or gradient that is not finite.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NonFinite {
    /// The run ends with an error that tells where; weights, optimiser, averages and generators are as before the step.
    #[default]
    Stop,
    /// The step counts and its data are gone, but nothing else is changed; after `at_most` of them the run ends.
    Skip {
        /// How many steps of a run may be skipped.
        at_most: u64,
    },
}

/// Where data and noise were before a step.
struct Place {
    data: BTreeMap<String, u128>,
    noise: u128,
    scale: Option<LossScale>,
}

/// Losses and gradients of a step.
struct Slope {
    losses: Vec<Loss>,
    mean: f64,
    gradients: Gradients,
}

impl Trainer<'_> {
    /// Makes one step, or is as before.
    pub(super) fn advance(&mut self, steps: u64) -> Result<Report> {
        let place = Place {
            data: self.data.position(),
            noise: self.noise.position(),
            scale: self.precision.as_ref().map(|precision| precision.scale),
        };
        match self.descend(steps) {
            Ok(report) => Ok(report),
            Err(error) => {
                self.noise.seek(place.noise);
                if let (Some(precision), Some(scale)) = (&mut self.precision, place.scale) {
                    precision.scale = scale;
                }
                // A position that the data gave a moment ago.
                self.data.seek(&place.data)?;
                Err(error)
            }
        }
    }

    fn descend(&mut self, steps: u64) -> Result<Report> {
        if let Some(rate) = &self.learning_rate {
            self.optimizer.set_learning_rate(rate.at(self.step))?;
        }
        let mut slope = self.slope()?;
        let norms = slope.gradients.norms()?;
        let norm = norms.values().map(|norm| norm * norm).sum::<f64>().sqrt();
        let mut report = Report {
            step: self.step + 1,
            steps,
            loss: slope.mean,
            gradient_norm: norm,
            learning_rate: self.optimizer.learning_rate(),
            skipped: false,
            validation: None,
            saved: false,
        };
        if !(slope.mean.is_finite() && norm.is_finite()) {
            self.skip(&report, &norms)?;
            report.skipped = true;
            return Ok(report);
        }
        if self.step < audit::STEPS {
            self.audit.look(self.step, &norms)?;
        }
        if let Some(max_norm) = self.clipping {
            slope.gradients.clip_norm(max_norm)?;
        }
        self.optimizer.apply(&slope.gradients)?;
        // From here on an error leaves the step half made.
        self.broken = true;
        self.follow(&slope.losses)?;
        self.broken = false;
        self.step += 1;
        Ok(report)
    }

    /// The mean loss over the step's batches and its gradients, every row counted alike.
    fn slope(&mut self) -> Result<Slope> {
        let mut sum = Gradients::default();
        let (mut losses, mut total, mut mean) = (Vec::with_capacity(self.micro_batches), 0.0, 0.0);
        let converted = match &self.precision {
            Some(precision) => Some(precision.network(self.parameters)?),
            None => None,
        };
        let network: &dyn Network = match &converted {
            Some(network) => network,
            None => self.network,
        };
        for _ in 0..self.micro_batches {
            let batch = self.data.next_batch()?;
            let mut batch = batch.to(self.parameters.device(), self.parameters.dtype())?;
            if let Some(coupling) = &self.coupling {
                batch = coupling.pair(batch, &mut self.noise)?;
            }
            // One batch alone is not weighted, so that nothing is rounded.
            let weight = match self.micro_batches {
                1 => 1.0,
                _ => batch.rows()? as f64,
            };
            let loss = self.objective.loss(network, &batch, &mut self.noise)?;
            let optimizer = &self.optimizer;
            let collect = |loss: &candle_core::Tensor| Ok(optimizer.collect(&loss.backward()?)?);
            let mut gradients = match &mut self.precision {
                Some(precision) => precision.gradients(&loss, collect)?,
                None => collect(&loss.mean)?,
            };
            gradients.scale(weight)?;
            sum.accumulate(gradients)?;
            total += weight;
            mean += weight * number(&loss.mean)?;
            losses.push(Loss {
                mean: loss.mean.detach(),
                ..loss
            });
        }
        sum.scale(1.0 / total)?;
        Ok(Slope {
            losses,
            mean: mean / total,
            gradients: sum,
        })
    }

    /// Lets those who follow the optimiser do so.
    fn follow(&mut self, losses: &[Loss]) -> Result<()> {
        for average in &mut self.averages {
            average.update()?;
        }
        for loss in losses {
            self.objective.observe(loss)?;
        }
        if let Some(precision) = &mut self.precision {
            precision.scale.succeed();
        }
        Ok(())
    }

    /// Passes over a step, or refuses to.
    fn skip(&mut self, report: &Report, norms: &BTreeMap<String, f64>) -> Result<()> {
        match self.non_finite {
            NonFinite::Skip { at_most } if self.skipped < at_most => {
                self.skipped += 1;
                self.step += 1;
                Ok(())
            }
            _ => {
                // NaN counts as larger than any number.
                let largest = norms.iter().max_by(|(_, a), (_, b)| a.abs().total_cmp(&b.abs()));
                let (parameter, gradient) = largest.map_or(("none", 0.0), |(name, norm)| (name, *norm));
                Err(Error::NotFiniteStep {
                    step: report.step,
                    loss: report.loss,
                    parameter: parameter.to_owned(),
                    gradient,
                    skipped: self.skipped,
                })
            }
        }
    }
}
