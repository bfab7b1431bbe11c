//! Losses with different names that are one loss, and the floor below which no loss can lie.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use tallow_denoisers::{
    Batch, Denoiser, ExactGaussian, Levels, Network, Parameterization, Prediction, Seeded, mix, network,
    normal_like,
};
use tallow_objectives::{Loss, Objective, Penalty, Regression, TimeSampling};
use tallow_schedules::{NoiseLevel, RectifiedFlow, Schedule, Trigonometric, VpLinear, Weighting};

const MEAN: f64 = 0.7;
const STD: f64 = 0.3;

fn batch(rows: usize) -> Batch {
    let like = Tensor::zeros((rows, 2), DType::F64, &Device::Cpu).unwrap();
    Batch::new(
        normal_like(&like, &mut Seeded::new(5))
            .unwrap()
            .affine(STD, MEAN)
            .unwrap(),
    )
}

/// A network that is told t, and believes the data to be N(mean, STD²).
fn believing(mean: f64, path: &Arc<dyn Schedule>, prediction: Prediction) -> impl Network + use<> {
    let (model, path) = (
        ExactGaussian::new(vec![mean; 2], vec![STD; 2]).unwrap(),
        path.clone(),
    );
    network(move |call| {
        let levels: Vec<NoiseLevel> = call.times.iter().map(|t| path.level(*t)).collect();
        let at = Levels::PerRow(&levels);
        let estimate = model.estimate(call.x, at)?;
        Ok(mix(&estimate.x0()?, &estimate.noise()?, at, |level| {
            prediction.target(level)
        })?)
    })
}

fn loss(objective: &Regression, network: &dyn Network, rows: usize) -> Loss {
    objective
        .loss(network, &batch(rows), &mut Seeded::new(1))
        .unwrap()
}

fn rows(loss: &Loss) -> Vec<f64> {
    loss.per_row.to_vec1().unwrap()
}

/// DDPM's rows times (σ (α̇/α) − σ̇)² are flow matching's: the velocity of a noise error e is (σ̇ − σ α̇/α) e.
#[test]
fn ddpm_is_flow_matching_up_to_a_weight_on_the_same_levels() {
    let paths: [Arc<dyn Schedule>; 3] = [
        Arc::new(RectifiedFlow::default()),
        Arc::new(Trigonometric),
        Arc::new(VpLinear::default()),
    ];
    for path in paths {
        let of = |prediction| {
            let times = TimeSampling::uniform().within(0.05, 0.95).unwrap();
            let objective =
                Regression::new(path.clone(), Parameterization::new(prediction)).with_times(times);
            loss(&objective, &believing(0.2, &path, prediction), 256)
        };
        let (ddpm, flow) = (of(Prediction::Noise), of(Prediction::Velocity));
        for ((ddpm, flow), level) in rows(&ddpm).iter().zip(rows(&flow)).zip(&ddpm.levels) {
            let factor = level.sigma_dot - level.sigma * level.alpha_dot / level.alpha;
            let want = ddpm * factor * factor;
            assert!(
                (flow - want).abs() < 1e-9 * want,
                "{path:?} at {}: {flow}, not {want}",
                level.t
            );
        }
    }
}

/// Every penalty of the weighted error of x̂_0 is one loss, whatever is predicted.
#[test]
fn a_weighting_makes_one_loss_of_all_predictions_for_every_penalty() {
    let path: Arc<dyn Schedule> = Arc::new(Trigonometric);
    for penalty in [
        Penalty::Squared,
        Penalty::Absolute,
        Penalty::PseudoHuber { c: 0.2 },
    ] {
        let losses: Vec<Vec<f64>> = [
            Prediction::Data,
            Prediction::Noise,
            Prediction::Velocity,
            Prediction::V,
        ]
        .into_iter()
        .map(|prediction| {
            let objective = Regression::new(path.clone(), Parameterization::new(prediction))
                .with_times(TimeSampling::uniform().within(0.05, 0.95).unwrap())
                .with_weighting(Weighting::MinSnr { gamma: 5.0 })
                .unwrap()
                .with_penalty(penalty)
                .unwrap();
            rows(&loss(&objective, &believing(0.2, &path, prediction), 64))
        })
        .collect();
        for other in &losses[1..] {
            for (one, other) in losses[0].iter().zip(other) {
                assert!((one - other).abs() < 1e-9 * one, "{penalty:?}: {one} {other}");
            }
        }
    }
}

/// Var(a x_0 + b ε | x_t) = (αb − σa)² s²/S² for each element: no network, this one included, costs less on average.
#[test]
fn no_loss_lies_below_the_floor_of_gaussian_data() {
    let path: Arc<dyn Schedule> = Arc::new(VpLinear::default());
    for prediction in [
        Prediction::Data,
        Prediction::Noise,
        Prediction::Velocity,
        Prediction::V,
    ] {
        let times = TimeSampling::stratified().within(0.05, 0.95).unwrap();
        let objective = Regression::new(path.clone(), Parameterization::new(prediction)).with_times(times);
        let above = |mean: f64| {
            let loss = loss(&objective, &believing(mean, &path, prediction), 20_000);
            let excess: Vec<f64> = rows(&loss)
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
        let (excess, error) = above(MEAN);
        assert!(
            excess.abs() < error,
            "{prediction:?}: the exact network is at the floor, {excess} {error}"
        );
        let (excess, error) = above(MEAN + 0.3);
        assert!(
            excess > error,
            "{prediction:?}: another lies above, {excess} {error}"
        );
    }
}

/// A batch whose noise came with it is the batch whose noise the objective drew.
#[test]
fn noise_as_the_source_of_the_batch_is_the_noise_of_the_loss() {
    let path: Arc<dyn Schedule> = Arc::new(RectifiedFlow::default());
    let objective = Regression::new(path.clone(), Parameterization::flow_matching());
    let model = believing(0.2, &path, Prediction::Velocity);
    let plain = batch(16);
    let noise = normal_like(&plain.x0, &mut Seeded::new(1)).unwrap();
    let mut rng = Seeded::new(1);
    let drawn = objective.loss(&model, &plain, &mut rng).unwrap();
    // The same generator, past the noise.
    let mut rng = Seeded::new(1);
    let _ = normal_like(&plain.x0, &mut rng).unwrap();
    let given = objective
        .loss(&model, &plain.with_source(noise).unwrap(), &mut rng)
        .unwrap();
    assert_eq!(rows(&drawn), rows(&given));
}
