use candle_core::DType;
use tallow_denoisers::{Denoiser, ExactGaussian, Seeded, network};
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

/// A network of zeros has the loss |x_1 − x_0|² at every time: importance must take back what the sampler did.
#[test]
fn rows_drawn_by_importance_are_weighted_back_in_the_mean_and_not_in_the_rows() {
    let learned = crate::time_sampling::LossAware::new(2)
        .unwrap()
        .with_memory(1, 0.5)
        .unwrap();
    learned.record(0, 0.0).unwrap();
    learned.record(1, 1.0).unwrap();
    // A quarter of all draws at t = 1/2, weight 2; three quarters at t = 1, weight 2/3.
    let objective = Regression::new(paths()[0].clone(), Parameterization::flow_matching())
        .with_times(TimeSampling::loss_aware(learned));
    let zero = network(|call| call.x.zeros_like());
    let loss = objective.loss(&zero, &data(50), &mut Seeded::new(2)).unwrap();
    let rows = loss.per_row.to_vec1::<f64>().unwrap();
    let want = rows.iter().zip(&loss.levels).map(|(row, level)| {
        if level.t < 0.75 {
            row * 2.0
        } else {
            row * 2.0 / 3.0
        }
    });
    let want = want.sum::<f64>() / 50.0;
    let mean = loss.mean.to_scalar::<f64>().unwrap();
    assert!((mean - want).abs() < 1e-12, "{mean}, not {want}");
    assert!(loss.levels.iter().any(|level| level.t < 0.75) && loss.levels.iter().any(|level| level.t > 0.75));
}
