use std::sync::Arc;

use candle_core::{DType, Var};
use tallow_denoisers::{Denoiser, ExactGaussian, Prediction, Seeded, network};
use tallow_schedules::{NoiseLevel, Schedule, VpLinear};

use super::*;
use crate::variational::Posterior;

const MEAN: f64 = 0.2;
const STD: f64 = 0.35;
const STEPS: usize = 20;

fn chain() -> Chain {
    Chain::new(Arc::new(VpLinear::default()), STEPS).unwrap()
}

fn batch(rows: usize) -> Batch {
    let like = Tensor::zeros((rows, 2), DType::F64, &Device::Cpu).unwrap();
    Batch::new(
        normal_like(&like, &mut Seeded::new(5))
            .unwrap()
            .affine(STD, MEAN)
            .unwrap(),
    )
}

/// The range at which a step's variance is that of x_s given x_t for the data of these tests: β̃ + (of_x0)² Var(x_0 | x_t).
fn best_range(chain: &Chain, n: usize) -> f64 {
    let (level, posterior) = (chain.level(n), chain.posterior(n).unwrap());
    let Posterior { of_x0, small, .. } = posterior;
    let total = (level.alpha * STD).powi(2) + level.sigma.powi(2);
    let variance = small + of_x0 * of_x0 * (STD * level.sigma).powi(2) / total;
    let (low, high) = chain.log_variances(n).unwrap();
    2.0 * (variance.ln() - low) / (high - low) - 1.0
}

/// The exact network, its prediction moved by `shift` and its range by `turn`.
fn exact(chain: Chain, shift: Tensor, turn: Tensor) -> impl Network {
    let model = ExactGaussian::new(vec![MEAN; 2], vec![STD; 2]).unwrap();
    network(move |call| {
        let levels: Vec<NoiseLevel> = call.times.iter().map(|t| chain.schedule().level(*t)).collect();
        let estimate = model.estimate(call.x, Levels::PerRow(&levels))?;
        let ranges: Vec<f64> = levels
            .iter()
            .map(|level| best_range(&chain, chain.step_at(*level)))
            .collect();
        let ranges = Tensor::new(ranges, &Device::Cpu)?
            .unsqueeze(1)?
            .broadcast_as(call.x.shape())?;
        Tensor::cat(
            &[
                &estimate.noise()?.broadcast_add(&shift)?,
                &ranges.broadcast_add(&turn)?,
            ],
            1,
        )
    })
}

fn zero() -> Tensor {
    Tensor::zeros(1, DType::F64, &Device::Cpu).unwrap()
}

fn parameterization() -> Parameterization {
    Parameterization::new(Prediction::Noise).with_learned_range()
}

fn hybrid(weight: f64) -> LearnedRange {
    LearnedRange::hybrid(chain(), parameterization())
        .unwrap()
        .with_decoder(Decoder::Point)
        .unwrap()
        .with_bound_weight(weight)
        .unwrap()
}

/// Per batch: d mean/d shift and d mean/d turn at the exact network, moved by `at`.
fn gradients(objective: &LearnedRange, at: (f64, f64), rng: &mut Seeded) -> (f64, f64) {
    let shift = Var::new(&[at.0], &Device::Cpu).unwrap();
    let turn = Var::new(&[at.1], &Device::Cpu).unwrap();
    let model = exact(chain(), shift.as_tensor().clone(), turn.as_tensor().clone());
    let loss = objective.loss(&model, &batch_of(rng), rng).unwrap();
    let gradients = loss.mean.backward().unwrap();
    let of = |variable: &Var| gradients.get(variable).unwrap().to_vec1::<f64>().unwrap()[0];
    (of(&shift), of(&turn))
}

fn batch_of(rng: &mut Seeded) -> Batch {
    let like = Tensor::zeros((500, 2), DType::F64, &Device::Cpu).unwrap();
    Batch::new(normal_like(&like, rng).unwrap().affine(STD, MEAN).unwrap())
}

/// Mean of 60 batches and 6.1 standard errors of it.
fn expected(objective: &LearnedRange, at: (f64, f64)) -> [(f64, f64); 2] {
    let mut rng = Seeded::new(7);
    let draws: Vec<_> = (0..60).map(|_| gradients(objective, at, &mut rng)).collect();
    let statistics = |pick: &dyn Fn(&(f64, f64)) -> f64| {
        let n = draws.len() as f64;
        let mean = draws.iter().map(pick).sum::<f64>() / n;
        let variance = draws.iter().map(|draw| (pick(draw) - mean).powi(2)).sum::<f64>() / (n - 1.0);
        (mean, 6.1 * (variance / n).sqrt())
    };
    [statistics(&|draw| draw.0), statistics(&|draw| draw.1)]
}

/// Step 0 has no KL to a Gaussian posterior but a density, whose best variance is Var(x_0 | x_1): the same formula.
#[test]
fn at_the_exact_network_and_the_best_variance_the_expected_gradients_vanish() {
    let strata = TimeSampling::steps(STEPS).unwrap().in_strata();
    let bound = LearnedRange::bound(chain(), parameterization())
        .unwrap()
        .with_decoder(Decoder::Point)
        .unwrap()
        .with_times(strata.clone());
    for objective in [hybrid(0.5).with_times(strata), bound] {
        for (mean, error) in expected(&objective, (0.0, 0.0)) {
            assert!(mean.abs() < error, "{objective:?}: {mean} past {error}");
        }
        for (mean, error) in expected(&objective, (0.1, 0.3)) {
            assert!(mean > error, "moved, it must pull back: {mean}, {error}");
        }
    }
}

#[test]
fn the_hybrids_mean_learns_from_l_simple_alone() {
    let gradient = |objective: &LearnedRange| {
        let shift = Var::new(&[0.4], &Device::Cpu).unwrap();
        let model = exact(chain(), shift.as_tensor().clone(), zero());
        let loss = objective.loss(&model, &batch(50), &mut Seeded::new(3)).unwrap();
        let gradient = loss.mean.backward().unwrap().remove(&shift).unwrap();
        gradient.to_vec1::<f64>().unwrap()[0]
    };
    let (with, without) = (gradient(&hybrid(1.0)), gradient(&hybrid(0.0)));
    assert!((with / without - 1.0).abs() < 1e-12, "{with} {without}");
    let value = |weight| {
        let model = exact(chain(), zero(), zero());
        let loss = hybrid(weight)
            .loss(&model, &batch(50), &mut Seeded::new(3))
            .unwrap();
        loss.mean.to_scalar::<f64>().unwrap()
    };
    // The loss is linear in the weight.
    let (none, one, two) = (value(0.0), value(1.0), value(2.0));
    assert!(
        (two - 2.0 * one + none).abs() < 1e-10 && (one - none).abs() > 0.01,
        "{none} {one} {two}"
    );
}

#[test]
fn the_mean_loss_is_that_of_uniform_steps_whatever_the_sampler_learned() {
    let times = LossAware::new(STEPS).unwrap().with_memory(1, 0.001).unwrap();
    for step in 0..STEPS {
        times.record(step, if step == 0 { 5.0 } else { 1.0 }).unwrap();
    }
    let objective = LearnedRange::bound(chain(), parameterization())
        .unwrap()
        .with_decoder(Decoder::Point)
        .unwrap();
    let aware = objective.clone().with_times(TimeSampling::loss_aware(times));
    let uniform = objective.with_times(TimeSampling::steps(STEPS).unwrap());
    let model = exact(chain(), zero(), zero());
    let [aware, uniform] = [aware, uniform].map(|objective| {
        let mut rng = Seeded::new(9);
        let draws: Vec<f64> = (0..60)
            .map(|_| {
                objective
                    .loss(&model, &batch(500), &mut rng)
                    .unwrap()
                    .mean
                    .to_scalar::<f64>()
                    .unwrap()
            })
            .collect();
        let mean = draws.iter().sum::<f64>() / 60.0;
        (
            mean,
            draws.iter().map(|d| (d - mean).powi(2)).sum::<f64>() / 60.0 / 60.0,
        )
    });
    let error = 6.1 * (aware.1 + uniform.1).sqrt();
    assert!((aware.0 - uniform.0).abs() < error, "{aware:?} {uniform:?}");
}

#[test]
fn a_sampler_that_learns_is_saved_and_taken_up_again() {
    let objective = LearnedRange::bound(chain(), parameterization()).unwrap();
    let model = exact(chain(), zero(), zero());
    let loss = objective.loss(&model, &batch(40), &mut Seeded::new(3)).unwrap();
    objective.observe(&loss).unwrap();
    let fresh = LearnedRange::bound(chain(), parameterization()).unwrap();
    fresh.restore(&objective.state().unwrap()).unwrap();
    let counts = |objective: &LearnedRange| {
        let state = objective.state().unwrap();
        state["time_sampling.counts"].to_vec1::<u32>().unwrap()
    };
    assert_eq!(counts(&fresh), counts(&objective));
    assert_eq!(counts(&fresh).iter().sum::<u32>(), 40);
}

#[test]
fn what_cannot_be_trained_is_refused() {
    let message = LearnedRange::hybrid(chain(), Parameterization::new(Prediction::Noise))
        .unwrap_err()
        .to_string();
    assert!(message.contains("with_learned_range"), "{message}");
    for weight in [-1.0, f64::NAN] {
        assert!(
            LearnedRange::hybrid(chain(), parameterization())
                .unwrap()
                .with_bound_weight(weight)
                .is_err()
        );
    }
    assert!(
        LearnedRange::bound(chain(), parameterization())
            .unwrap()
            .with_bound_weight(0.1)
            .is_err()
    );
    let empty = Batch::new(Tensor::zeros((0, 2), DType::F64, &Device::Cpu).unwrap());
    let model = exact(chain(), zero(), zero());
    assert!(hybrid(0.1).loss(&model, &empty, &mut Seeded::new(0)).is_err());
    let narrow = network(|call| Ok(call.x.clone()));
    let message = hybrid(0.1)
        .loss(&narrow, &batch(3), &mut Seeded::new(0))
        .unwrap_err()
        .to_string();
    assert!(message.contains("[3, 4]"), "{message}");
}
