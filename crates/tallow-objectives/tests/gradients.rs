//! At the exact model the expected gradient of every objective vanishes; beside it, it pulls back.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::sync::Arc;

use candle_core::{DType, Device, Tensor, Var};
use tallow_denoisers::{
    Batch, Condition, Denoiser, ExactGaussian, ExactMixture, LABELS, Levels, Network, Parameterization,
    Prediction, Seeded, mix, network, normal_like,
};
use tallow_objectives::{
    Bridge, LabelDropout, Objective, Penalty, Regression, SelfConditioning, TimeSampling, score_matching,
    time_sampling::LossAware,
};
use tallow_schedules::{
    NoiseLevel, RectifiedFlow, Schedule, Trigonometric, VeGeometric, VpLinear, Weighting,
};

const ROWS: usize = 512;
const BATCHES: usize = 40;

fn levels_of(schedule: &dyn Schedule, times: &[f64]) -> Vec<NoiseLevel> {
    times.iter().map(|t| schedule.level(*t)).collect()
}

/// The expected gradient in a constant added to the exact output, at a value of it: mean over batches, 6.1 standard errors.
fn gradient(
    objective: &dyn Objective,
    draw: &dyn Fn(&mut Seeded) -> Batch,
    exact: &dyn Fn(Tensor) -> Box<dyn Network>,
    at: f64,
) -> (f64, f64) {
    let mut rng = Seeded::new(11);
    let draws: Vec<f64> = (0..BATCHES)
        .map(|_| {
            let shift = Var::new(&[at], &Device::Cpu).unwrap();
            let model = exact(shift.as_tensor().clone());
            let loss = objective.loss(&model, &draw(&mut rng), &mut rng).unwrap();
            let gradient = loss.mean.backward().unwrap().remove(&shift).unwrap();
            gradient.to_vec1::<f64>().unwrap()[0]
        })
        .collect();
    let n = BATCHES as f64;
    let mean = draws.iter().sum::<f64>() / n;
    let variance = draws.iter().map(|g| (g - mean).powi(2)).sum::<f64>() / (n - 1.0);
    (mean, 6.1 * (variance / n).sqrt())
}

/// Zero at the exact model; of the sign of the shift beside it.
fn check(
    name: &str,
    objective: &dyn Objective,
    draw: &dyn Fn(&mut Seeded) -> Batch,
    exact: &dyn Fn(Tensor) -> Box<dyn Network>,
    shift: f64,
) {
    let (mean, error) = gradient(objective, draw, exact, 0.0);
    assert!(mean.abs() < error, "{name}: {mean} past {error}");
    for at in [-shift, shift] {
        let (mean, error) = gradient(objective, draw, exact, at);
        assert!(
            mean * at.signum() > error,
            "{name}, moved by {at}: {mean}, {error}"
        );
    }
}

fn normals(rows: usize, mean: f64, std: f64, rng: &mut Seeded) -> Tensor {
    let like = Tensor::zeros((rows, 2), DType::F64, &Device::Cpu).unwrap();
    normal_like(&like, rng).unwrap().affine(std, mean).unwrap()
}

/// The two halves of a mixture, in halves of the batch.
fn two_clouds(rng: &mut Seeded) -> Batch {
    let (first, second) = (
        normals(ROWS / 2, -1.0, 0.3, rng),
        normals(ROWS / 2, 1.5, 0.6, rng),
    );
    let labels: Vec<u32> = (0..ROWS).map(|row| u32::from(row >= ROWS / 2)).collect();
    let labels = Tensor::new(labels, &Device::Cpu).unwrap();
    Batch::new(Tensor::cat(&[first, second], 0).unwrap())
        .with_condition(Condition::labels(labels))
        .unwrap()
}

fn mixture() -> ExactMixture {
    ExactMixture::new(&[0.5, 0.5], vec![vec![-1.0; 2], vec![1.5; 2]], vec![0.3, 0.6]).unwrap()
}

/// The network of a denoiser that is told t itself, its output moved by `shift`.
fn of_denoiser<D: Denoiser + Clone + 'static>(
    model: &D,
    schedule: &Arc<dyn Schedule>,
    prediction: Prediction,
    clock: f64,
) -> impl Fn(Tensor) -> Box<dyn Network> + use<D> {
    let (model, schedule) = (model.clone(), schedule.clone());
    move |shift| {
        let (model, schedule) = (model.clone(), schedule.clone());
        Box::new(network(move |call| {
            let times: Vec<f64> = call.times.iter().map(|t| t / clock).collect();
            let levels = levels_of(schedule.as_ref(), &times);
            let at = Levels::PerRow(&levels);
            let estimate = model.estimate(call.x, at)?;
            let output = mix(&estimate.x0()?, &estimate.noise()?, at, |level| {
                prediction.target(level)
            })?;
            output.broadcast_add(&shift)
        }))
    }
}

const PREDICTIONS: [Prediction; 6] = [
    Prediction::Data,
    Prediction::Noise,
    Prediction::Velocity,
    Prediction::V,
    Prediction::Score,
    Prediction::Edm { sigma_data: 0.9 },
];

fn samplings() -> Vec<TimeSampling> {
    let inside = |times: TimeSampling| times.in_strata().within(0.05, 0.95).unwrap();
    let learned = LossAware::new(20).unwrap().with_memory(1, 0.01).unwrap();
    for step in 0..20 {
        learned.record(step, 1.0 + step as f64).unwrap();
    }
    vec![
        inside(TimeSampling::uniform()),
        inside(TimeSampling::logit_normal(0.0, 1.0).unwrap()),
        inside(TimeSampling::mode(1.29).unwrap()),
        inside(TimeSampling::cos_map()),
        inside(TimeSampling::log_normal_sigma(-1.2, 1.2).unwrap()),
        TimeSampling::steps(20).unwrap().in_strata(),
        TimeSampling::loss_aware(learned).in_strata(),
    ]
}

#[test]
fn of_every_prediction_on_two_paths() {
    let paths: [Arc<dyn Schedule>; 2] = [Arc::new(RectifiedFlow::default()), Arc::new(VpLinear::default())];
    for path in paths {
        for prediction in PREDICTIONS {
            let times = TimeSampling::stratified().within(0.1, 0.9).unwrap();
            let objective =
                Regression::new(path.clone(), Parameterization::new(prediction)).with_times(times);
            let exact = of_denoiser(&mixture(), &path, prediction, 1.0);
            check(
                &format!("{prediction:?} on {path:?}"),
                &objective,
                &two_clouds,
                &exact,
                0.4,
            );
        }
    }
}

#[test]
fn of_every_sampling() {
    let path: Arc<dyn Schedule> = Arc::new(RectifiedFlow::default());
    for times in samplings() {
        let objective =
            Regression::new(path.clone(), Parameterization::flow_matching()).with_times(times.clone());
        let exact = of_denoiser(&mixture(), &path, Prediction::Velocity, 1.0);
        check(&format!("{times:?}"), &objective, &two_clouds, &exact, 0.3);
    }
}

#[test]
fn of_every_weighting() {
    let path: Arc<dyn Schedule> = Arc::new(Trigonometric);
    for weighting in [
        Weighting::Uniform,
        Weighting::Snr,
        Weighting::MinSnr { gamma: 5.0 },
        Weighting::SoftMinSnr { gamma: 5.0 },
        Weighting::P2 { k: 1.0, gamma: 0.5 },
        Weighting::Edm { sigma_data: 0.5 },
        Weighting::Sigmoid { bias: 1.0 },
        Weighting::Likelihood,
    ] {
        let objective = Regression::new(path.clone(), Parameterization::new(Prediction::Noise))
            .with_times(TimeSampling::stratified().within(0.1, 0.9).unwrap())
            .with_weighting(weighting)
            .unwrap();
        let exact = of_denoiser(&mixture(), &path, Prediction::Noise, 1.0);
        check(&format!("{weighting:?}"), &objective, &two_clouds, &exact, 0.5);
    }
}

/// Given x_t, Gaussian data is Gaussian: its mean is also what makes every even penalty smallest.
#[test]
fn of_every_penalty_on_gaussian_data() {
    let path: Arc<dyn Schedule> = Arc::new(RectifiedFlow::default());
    let model = ExactGaussian::new(vec![0.5; 2], vec![0.4; 2]).unwrap();
    for penalty in [
        Penalty::Squared,
        Penalty::Absolute,
        Penalty::PseudoHuber { c: 0.1 },
        Penalty::Adaptive {
            power: 0.75,
            floor: 0.01,
        },
    ] {
        for weighting in [None, Some(Weighting::MinSnr { gamma: 5.0 })] {
            let mut objective = Regression::new(path.clone(), Parameterization::flow_matching())
                .with_times(TimeSampling::stratified().within(0.05, 0.95).unwrap())
                .with_penalty(penalty)
                .unwrap();
            if let Some(weighting) = weighting {
                objective = objective.with_weighting(weighting).unwrap();
            }
            let exact = of_denoiser(&model, &path, Prediction::Velocity, 1.0);
            let draw = |rng: &mut Seeded| Batch::new(normals(ROWS, 0.5, 0.4, rng));
            check(
                &format!("{penalty:?} {weighting:?}"),
                &objective,
                &draw,
                &exact,
                0.2,
            );
        }
    }
}

#[test]
fn of_score_matching_on_variance_preserving_and_exploding_paths() {
    let (vp, ve): (Arc<dyn Schedule>, Arc<dyn Schedule>) =
        (Arc::new(VpLinear::default()), Arc::new(VeGeometric::default()));
    for likelihood in [false, true] {
        let weighted = |objective: Regression| {
            // Over a part of the path: at its clean end g² lets single rows rule the mean of a batch.
            let times = TimeSampling::stratified().within(0.1, 1.0).unwrap();
            let objective = objective.with_times(times);
            if likelihood {
                objective.with_weighting(Weighting::Likelihood).unwrap()
            } else {
                objective
            }
        };
        let objective = weighted(score_matching::vp(vp.clone()).unwrap());
        let exact = of_denoiser(&mixture(), &vp, Prediction::Score, 999.0);
        check("vp", &objective, &two_clouds, &exact, 0.5);

        let objective = weighted(score_matching::ve(ve.clone()).unwrap());
        // The network is told σ.
        let (model, path) = (mixture(), ve.clone());
        let exact = move |shift: Tensor| -> Box<dyn Network> {
            let (model, path) = (model.clone(), path.clone());
            Box::new(network(move |call| {
                let times: Vec<f64> = call
                    .times
                    .iter()
                    .map(|sigma| path.inverse_lambda(-sigma.ln()))
                    .collect();
                let levels = levels_of(path.as_ref(), &times);
                let score = model.estimate(call.x, Levels::PerRow(&levels))?.score()?;
                score.broadcast_add(&shift)
            }))
        };
        check("ve", &objective, &two_clouds, &exact, 0.5);
    }
}

/// A Gaussian source, moved: E[α̇ x_0 + β̇ x_1 + γ̇ z | x_t] is linear in x_t, with slope Cov/Var.
#[test]
fn of_every_bridge_between_two_gaussians() {
    let (data, source) = ((0.5, 0.4), (-1.0, 0.8));
    let paths: [Arc<dyn Schedule>; 3] = [
        Arc::new(RectifiedFlow::default()),
        Arc::new(Trigonometric),
        Arc::new(RectifiedFlow::with_sigma_min(0.1).unwrap()),
    ];
    for path in paths {
        for bridge in [
            None,
            Some(Bridge::Constant { sigma: 0.3 }),
            Some(Bridge::Schrodinger { sigma: 0.7 }),
        ] {
            let mut objective = Regression::new(path.clone(), Parameterization::flow_matching())
                .with_times(TimeSampling::stratified().within(0.02, 0.98).unwrap());
            if let Some(bridge) = bridge {
                objective = objective.with_bridge(bridge).unwrap();
            }
            let path = path.clone();
            let exact = move |shift: Tensor| -> Box<dyn Network> {
                let path = path.clone();
                Box::new(network(move |call| {
                    let levels = levels_of(path.as_ref(), call.times);
                    let linear = |level: &NoiseLevel| {
                        let (gamma, gamma_dot) = match bridge {
                            None => (0.0, 0.0),
                            Some(Bridge::Constant { sigma }) => (sigma, 0.0),
                            Some(Bridge::Schrodinger { sigma }) => {
                                let root = (level.t * (1.0 - level.t)).sqrt();
                                (sigma * root, sigma * (1.0 - 2.0 * level.t) / (2.0 * root))
                            }
                        };
                        let (s0, s1) = (data.1 * data.1, source.1 * source.1);
                        let covariance = level.alpha * level.alpha_dot * s0
                            + level.sigma * level.sigma_dot * s1
                            + gamma * gamma_dot;
                        let variance = level.alpha.powi(2) * s0 + level.sigma.powi(2) * s1 + gamma * gamma;
                        let slope = covariance / variance;
                        let mean = level.alpha * data.0 + level.sigma * source.0;
                        let drift = level.alpha_dot * data.0 + level.sigma_dot * source.0;
                        (slope, drift - slope * mean)
                    };
                    let ones = call.x.ones_like()?;
                    let output = mix(call.x, &ones, Levels::PerRow(&levels), |level| linear(&level))?;
                    output.broadcast_add(&shift)
                }))
            };
            let draw = |rng: &mut Seeded| {
                let x0 = normals(ROWS, data.0, data.1, rng);
                Batch::new(x0)
                    .with_source(normals(ROWS, source.0, source.1, rng))
                    .unwrap()
            };
            check(&format!("{objective:?}"), &objective, &draw, &exact, 0.3);
        }
    }
}

/// Told an estimate, the exact network has no use for it.
#[test]
fn of_self_conditioning() {
    let path: Arc<dyn Schedule> = Arc::new(RectifiedFlow::default());
    let objective = Regression::new(path.clone(), Parameterization::flow_matching())
        .with_times(TimeSampling::stratified().within(0.05, 0.95).unwrap())
        .with_self_conditioning(SelfConditioning::default());
    let exact = of_denoiser(&mixture(), &path, Prediction::Velocity, 1.0);
    check("self-conditioning", &objective, &two_clouds, &exact, 0.3);
}

/// With labels the exact network is that of the row's own cloud, without that of both: a dropped label must have reached it.
#[test]
fn of_label_dropout() {
    let path: Arc<dyn Schedule> = Arc::new(RectifiedFlow::default());
    let regression = Regression::new(path.clone(), Parameterization::flow_matching())
        .with_times(TimeSampling::stratified().within(0.05, 0.95).unwrap());
    let objective = LabelDropout::new(regression, 0.3, 2).unwrap();
    let clouds =
        [(-1.0, 0.3), (1.5, 0.6)].map(|(mean, std)| ExactGaussian::new(vec![mean; 2], vec![std; 2]).unwrap());
    let exact = move |shift: Tensor| -> Box<dyn Network> {
        let (clouds, path) = (clouds.clone(), path.clone());
        Box::new(network(move |call| {
            let levels = levels_of(path.as_ref(), call.times);
            let at = Levels::PerRow(&levels);
            let [first, second] =
                [&clouds[0], &clouds[1]].map(|cloud| cloud.estimate(call.x, at).unwrap().velocity().unwrap());
            let both = mixture().estimate(call.x, at)?.velocity()?;
            let labels = call.condition.tensor(LABELS)?.to_vec1::<u32>()?;
            let is = |label: u32| labels.iter().map(|l| *l == label).collect::<Vec<_>>();
            let output = tallow_denoisers::choose_rows(&is(0), &first, &second)?;
            // Only the unconditional rows are moved.
            let moved = both.broadcast_add(&shift)?;
            Ok(tallow_denoisers::choose_rows(&is(2), &moved, &output)?)
        }))
    };
    check("label dropout", &objective, &two_clouds, &exact, 0.4);
}
