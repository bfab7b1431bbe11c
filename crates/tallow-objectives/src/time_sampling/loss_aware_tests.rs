use tallow_denoisers::Seeded;
use tallow_schedules::RectifiedFlow;

use super::*;
use crate::TimeSampling;

/// Losses of a step with mean 0 and a deviation of its own.
fn trained(steps: usize, deviations: &[f64]) -> LossAware {
    let sampling = LossAware::new(steps).unwrap().with_memory(400, 0.001).unwrap();
    let mut rng = Seeded::new(8);
    for _ in 0..400 {
        for (step, z) in tallow_denoisers::normals(steps, &mut rng).into_iter().enumerate() {
            sampling.record(step, deviations[step] * z).unwrap();
        }
    }
    sampling
}

#[test]
fn probabilities_tend_to_the_root_of_the_second_moment() {
    let deviations = [1.0, 4.0, 0.5, 2.0];
    let sampling = trained(4, &deviations);
    let total: f64 = deviations.iter().sum();
    for (p, deviation) in sampling.probabilities().iter().zip(deviations) {
        let limit = 0.999 * deviation / total + 0.001 / 4.0;
        // A root of a mean of 400 squares has a standard error of 1/√800 of itself; 6.1 of them.
        assert!((p / limit - 1.0).abs() < 6.1 / 800f64.sqrt(), "{p}, not {limit}");
    }
}

/// χ² of 3 degrees of freedom exceeds 45 about once in 10⁹.
#[test]
fn steps_are_drawn_by_their_probabilities_and_weighted_back() {
    let sampling = trained(4, &[1.0, 4.0, 0.5, 2.0]);
    let probabilities = sampling.probabilities();
    let times = TimeSampling::loss_aware(sampling);
    let path = RectifiedFlow::default();
    let drawn = times.draw(&path, 10_000, &mut Seeded::new(2)).unwrap();
    let weights = drawn.importance.unwrap();
    let mut visits = [0.0; 4];
    for (level, weight) in drawn.levels.iter().zip(&weights) {
        let step = (level.t * 4.0).round() as usize - 1;
        visits[step] += 1.0;
        assert!((weight * 4.0 * probabilities[step] - 1.0).abs() < 1e-12);
    }
    let chi: f64 = visits
        .iter()
        .zip(&probabilities)
        .map(|(n, p): (&f64, _)| (n - 1e4 * p).powi(2) / (1e4 * p))
        .sum();
    assert!(chi < 45.0, "{chi}: {visits:?}, {probabilities:?}");
    // E of the weight is 1; its variance is Σ 1/(16 p) − 1.
    let variance = probabilities.iter().map(|p| 1.0 / (16.0 * p)).sum::<f64>() - 1.0;
    let mean = weights.iter().sum::<f64>() / 1e4;
    assert!((mean - 1.0).abs() < 6.1 * (variance / 1e4).sqrt(), "{mean}");
}

#[test]
fn steps_are_uniform_until_each_has_its_history() {
    let sampling = LossAware::new(3).unwrap().with_memory(2, 0.5).unwrap();
    for step in [0, 0, 0, 1, 1, 2] {
        sampling.record(step, 1.0 + step as f64).unwrap();
    }
    assert_eq!(sampling.probabilities(), [1.0 / 3.0; 3]);
    sampling.record(2, 3.0).unwrap();
    // Roots 1, 2, 3; half of all draws uniform.
    for (p, want) in
        sampling
            .probabilities()
            .iter()
            .zip([1.0 / 12.0 + 1.0 / 6.0, 1.0 / 3.0, 0.25 + 1.0 / 6.0])
    {
        assert!((p - want).abs() < 1e-15, "{p}, not {want}");
    }
    // The oldest loss leaves: of 7, 1 and 7 the last two stay.
    sampling.record(0, 7.0).unwrap();
    sampling.record(0, 1.0).unwrap();
    sampling.record(0, 7.0).unwrap();
    let root = ((1.0 + 49.0) / 2.0_f64).sqrt();
    assert!((sampling.probabilities()[0] - (0.5 * root / (root + 5.0) + 1.0 / 6.0)).abs() < 1e-15);
}

#[test]
fn losses_of_nothing_leave_every_step_as_likely() {
    let sampling = LossAware::new(2).unwrap().with_memory(1, 0.001).unwrap();
    sampling.record(0, 0.0).unwrap();
    sampling.record(1, 0.0).unwrap();
    assert_eq!(sampling.probabilities(), [0.5, 0.5]);
}

#[test]
fn a_saved_state_is_taken_up_again_half_filled_or_full() {
    let partly = LossAware::new(3).unwrap();
    partly.record(1, 2.5).unwrap();
    for sampling in [partly, trained(3, &[1.0, 2.0, 3.0])] {
        let fresh = LossAware::new(3)
            .unwrap()
            .with_memory(sampling.history, sampling.uniform)
            .unwrap();
        fresh.restore(&sampling.state().unwrap()).unwrap();
        assert_eq!(*fresh.past(), *sampling.past());
        let copy = sampling.clone();
        copy.record(0, 9.0).unwrap();
        assert_ne!(*copy.past(), *sampling.past(), "a copy learns on its own");
    }
}

#[test]
fn a_state_that_does_not_fit_is_refused_and_changes_nothing() {
    let sampling = trained(3, &[1.0, 2.0, 3.0]);
    let before = sampling.past().clone();
    let good = sampling.state().unwrap();
    let other = LossAware::new(4).unwrap().state().unwrap();
    let mut missing = good.clone();
    missing.remove(COUNTS);
    let mut strange = good.clone();
    strange.insert("moments".to_owned(), strange[COUNTS].clone());
    let mut counts = good.clone();
    counts.insert(
        COUNTS.to_owned(),
        Tensor::new(&[500u32, 1, 1], &Device::Cpu).unwrap(),
    );
    let mut infinite = good.clone();
    let losses = Tensor::full(f64::INFINITY, (3, 400), &Device::Cpu).unwrap();
    infinite.insert(LOSSES.to_owned(), losses);
    for state in [other, missing, strange, counts, infinite, BTreeMap::new()] {
        let message = sampling.restore(&state).unwrap_err().to_string();
        assert!(message.contains("restore into an objective"), "{message}");
        assert_eq!(*sampling.past(), before);
    }
    let uniform = TimeSampling::uniform();
    assert!(uniform.restore(&good).is_err() && uniform.restore(&BTreeMap::new()).is_ok());
}

#[test]
fn a_loss_that_is_not_finite_or_of_no_step_is_refused_and_changes_nothing() {
    let path = RectifiedFlow::default();
    let sampling = LossAware::new(4).unwrap();
    let loss = |values: &[f64], times: &[f64]| Loss {
        mean: Tensor::zeros((), DType::F64, &Device::Cpu).unwrap(),
        per_row: Tensor::new(values, &Device::Cpu).unwrap(),
        levels: times.iter().map(|t| path.level(*t)).collect(),
    };
    for (values, times) in [
        (vec![1.0, f64::NAN], vec![0.25, 0.5]),
        (vec![1.0, 1e200], vec![0.25, 0.5]),
        (vec![1.0, 1.0], vec![0.25, 0.0]),
        (vec![1.0], vec![0.25, 0.5]),
    ] {
        assert!(
            sampling.observe(&path, &loss(&values, &times)).is_err(),
            "{values:?} {times:?}"
        );
        assert!(sampling.past().losses.iter().all(Vec::is_empty));
    }
    sampling.observe(&path, &loss(&[1.0, 2.0], &[0.25, 1.0])).unwrap();
    assert_eq!(sampling.past().losses, [vec![1.0], vec![], vec![], vec![2.0]]);
}

#[test]
fn impossible_memories_are_refused() {
    assert!(LossAware::new(0).is_err());
    for (history, uniform) in [(0, 0.1), (10_001, 0.1), (10, 0.0), (10, 1.5), (10, f64::NAN)] {
        let sampling = LossAware::new(2).unwrap().with_memory(history, uniform);
        assert!(sampling.is_err(), "{history} {uniform}");
    }
    assert!(
        TimeSampling::loss_aware(LossAware::new(2).unwrap())
            .within(0.1, 0.5)
            .is_err()
    );
}
