//! One weighted regression: DDPM, score matching, v-prediction, EDM, flow matching and rectified flow.
//!
//! ```text
//! x_t = α x_0 + σ ε        f ≈ a x_0 + b ε        loss = mean over rows of w(t) · mean |f_θ(x_t, t) − (a x_0 + b ε)|²
//! ```
//!
//! The pair (a, b) is the prediction's (`tallow_schedules::Prediction`). A weighting is defined on the error of x̂_0; an
//! error of the output moves x̂_0 by the prediction's gain, so on the output it is w · gain². That makes min-SNR right for
//! noise, v and data alike.
//!
//! Source: Kingma & Gao 2023, arXiv:2303.00848 (all of them are this regression with different weights).

use std::sync::Arc;

use candle_core::{D, Device, Tensor};
use rand::RngCore;
use tallow_denoisers::{
    Batch, Error as DenoiserError, Levels, Network, Parameterization, check_like, mix, normal_like,
};
use tallow_schedules::{NoiseLevel, Schedule, Weighting};

use crate::{Loss, Objective, Result, TimeSampling};

/// Regression of a network on what its parameterization asks for.
#[derive(Clone, Debug)]
pub struct Regression {
    schedule: Arc<dyn Schedule>,
    parameterization: Parameterization,
    times: TimeSampling,
    weighting: Option<Weighting>,
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
}

impl Objective for Regression {
    fn loss(&self, network: &dyn Network, batch: &Batch, rng: &mut dyn RngCore) -> Result<Loss> {
        let rows = batch.rows()?;
        if rows == 0 {
            return Err(DenoiserError::EmptyBatch { what: "a loss" }.into());
        }
        let x0 = &batch.x0;
        let source = match &batch.x1 {
            Some(x1) => x1.clone(),
            None => normal_like(x0, rng)?,
        };
        let levels = self.times.draw(self.schedule.as_ref(), rows, rng)?;
        let at = Levels::PerRow(&levels);

        let prediction = self.parameterization.prediction;
        let x_t = mix(x0, &source, at, |level| (level.alpha, level.sigma))?;
        let target = mix(x0, &source, at, |level| prediction.target(level))?;
        let output = self.parameterization.call(network, &x_t, at, &batch.condition)?;
        let (output, _) = self.parameterization.split(&output, &x_t)?;
        check_like("the network's output", &output, &target)?;

        let error = (output - target)?.sqr()?.flatten_from(1)?.mean(D::Minus1)?;
        let weights: Vec<f64> = levels.iter().map(|level| self.weight(*level)).collect();
        let weights = Tensor::new(weights, &Device::Cpu)?
            .to_dtype(error.dtype())?
            .to_device(error.device())?;
        let per_row = (error * weights)?;
        Ok(Loss {
            mean: per_row.mean_all()?,
            per_row: per_row.detach(),
            levels,
        })
    }
}

#[cfg(test)]
mod tests {
    use candle_core::DType;
    use tallow_denoisers::{Condition, Denoiser, ExactGaussian, Prediction, Seeded, network};
    use tallow_schedules::{RectifiedFlow, Trigonometric};

    use super::*;

    const MEAN: f64 = 0.7;
    const STD: f64 = 0.3;

    fn data(rows: usize) -> Batch {
        let like = Tensor::zeros((rows, 2), DType::F64, &Device::Cpu).unwrap();
        Batch::new(
            normal_like(&like, &mut Seeded::new(5))
                .unwrap()
                .affine(STD, MEAN)
                .unwrap(),
        )
    }

    fn paths() -> [Arc<dyn Schedule>; 2] {
        [Arc::new(RectifiedFlow::default()), Arc::new(Trigonometric)]
    }

    /// The exact network of a parameterization that is told t itself, its output times `scale`.
    fn exact(schedule: Arc<dyn Schedule>, prediction: Prediction, scale: f64) -> impl Network {
        let model = ExactGaussian::new(vec![MEAN; 2], vec![STD; 2]).unwrap();
        network(move |call| {
            let levels: Vec<_> = call.times.iter().map(|t| schedule.level(*t)).collect();
            let at = Levels::PerRow(&levels);
            let estimate = model.estimate(call.x, at)?;
            let output = mix(&estimate.x0()?, &estimate.noise()?, at, |level| {
                prediction.target(level)
            })?;
            output * scale
        })
    }

    const PREDICTIONS: [Prediction; 5] = [
        Prediction::Data,
        Prediction::Noise,
        Prediction::Velocity,
        Prediction::V,
        Prediction::Edm { sigma_data: STD },
    ];

    /// Irreducible: the output's variance given x_t is (αb − σa)² s²/S², S² = α²s² + σ².
    #[test]
    fn the_exact_network_reaches_the_floor_and_no_other_does() {
        let batch = data(20_000);
        for path in paths() {
            for prediction in PREDICTIONS {
                let times = TimeSampling::uniform().within(0.05, 0.95).unwrap();
                let objective =
                    Regression::new(path.clone(), Parameterization::new(prediction)).with_times(times);
                let run = |scale: f64| {
                    let network = exact(path.clone(), prediction, scale);
                    let loss = objective.loss(&network, &batch, &mut Seeded::new(1)).unwrap();
                    let rows = loss.per_row.to_vec1::<f64>().unwrap();
                    let excess: Vec<f64> = rows
                        .iter()
                        .zip(&loss.levels)
                        .map(|(row, level)| {
                            let (a, b) = prediction.target(*level);
                            let total = (level.alpha * STD).powi(2) + level.sigma.powi(2);
                            row - (level.alpha * b - level.sigma * a).powi(2) * STD * STD / total
                        })
                        .collect();
                    let n = excess.len() as f64;
                    let mean = excess.iter().sum::<f64>() / n;
                    let variance = excess.iter().map(|e| (e - mean).powi(2)).sum::<f64>() / n;
                    (mean, 6.1 * (variance / n).sqrt())
                };
                let (mean, bound) = run(1.0);
                assert!(mean.abs() < bound, "{prediction:?}: {mean} past {bound}");
                let (mean, bound) = run(1.4);
                assert!(
                    mean > bound,
                    "{prediction:?}: a wrong network must lie above the floor, {mean} {bound}"
                );
            }
        }
    }

    #[test]
    fn one_weighting_of_the_data_error_is_one_loss_for_every_prediction() {
        let batch = data(64);
        let path: Arc<dyn Schedule> = Arc::new(Trigonometric);
        let losses: Vec<f64> = PREDICTIONS
            .into_iter()
            .map(|prediction| {
                let times = TimeSampling::uniform().within(0.05, 0.95).unwrap();
                let objective = Regression::new(path.clone(), Parameterization::new(prediction))
                    .with_times(times)
                    .with_weighting(Weighting::MinSnr { gamma: 5.0 })
                    .unwrap();
                // The same wrong belief in five forms: the data shifted by a constant, the noise to match.
                let wrong = {
                    let path = path.clone();
                    network(move |call| {
                        let levels: Vec<_> = call.times.iter().map(|t| path.level(*t)).collect();
                        let at = Levels::PerRow(&levels);
                        let x0 = (call.x * 0.0)?.affine(1.0, MEAN)?;
                        let noise = mix(call.x, &x0, at, |l| (1.0 / l.sigma, -l.alpha / l.sigma))?;
                        Ok(mix(&x0, &noise, at, |level| prediction.target(level))?)
                    })
                };
                objective
                    .loss(&wrong, &batch, &mut Seeded::new(1))
                    .unwrap()
                    .mean
                    .to_scalar::<f64>()
                    .unwrap()
            })
            .collect();
        for loss in &losses {
            assert!((loss / losses[0] - 1.0).abs() < 1e-10, "{losses:?}");
        }
    }

    #[test]
    fn labels_reach_the_network() {
        let labels = Tensor::new(&[3u32, 1], &Device::Cpu).unwrap();
        let batch = data(2).with_condition(Condition::labels(labels)).unwrap();
        let network = network(|call| {
            assert_eq!(call.condition.tensor("labels").unwrap().to_vec1::<u32>()?, [3, 1]);
            Ok(call.x.clone())
        });
        let objective = Regression::new(paths()[0].clone(), Parameterization::flow_matching());
        objective.loss(&network, &batch, &mut Seeded::new(0)).unwrap();
    }

    #[test]
    fn a_second_data_set_takes_the_place_of_the_noise() {
        let x1 = Tensor::full(2.0, (3, 2), &Device::Cpu).unwrap();
        let batch = data(3).with_source(x1.clone()).unwrap();
        // Velocity is x1 − x0 on this path, whatever t is.
        let truth = (x1 - &batch.x0).unwrap();
        let objective = Regression::new(paths()[0].clone(), Parameterization::flow_matching());
        let network = network(move |_| Ok(truth.clone()));
        let loss = objective.loss(&network, &batch, &mut Seeded::new(0)).unwrap();
        assert!(loss.mean.to_scalar::<f64>().unwrap() < 1e-24);
    }

    #[test]
    fn an_empty_batch_and_a_wrong_shape_are_refused() {
        let objective = Regression::new(paths()[0].clone(), Parameterization::flow_matching());
        let empty = Batch::new(Tensor::zeros((0, 2), DType::F64, &Device::Cpu).unwrap());
        let same = network(|call| Ok(call.x.clone()));
        let error = objective
            .loss(&same, &empty, &mut Seeded::new(0))
            .unwrap_err()
            .to_string();
        assert!(error.contains("empty batch"), "{error}");
        let narrow = network(|call| call.x.narrow(1, 0, 1));
        let error = objective
            .loss(&narrow, &data(3), &mut Seeded::new(0))
            .unwrap_err()
            .to_string();
        assert!(error.contains("[3, 1]") && error.contains("[3, 2]"), "{error}");
    }
}
