use super::*;
use crate::init::Init;
use candle_core::{DType, Device};

fn one(value: f64) -> (Parameters, Tensor) {
    let parameters = Parameters::new(1, DType::F64, &Device::Cpu);
    let tensor = parameters
        .scope()
        .parameter("p", 3, Init::Constant(value))
        .unwrap();
    (parameters, tensor)
}

fn values(tensor: &Tensor) -> Vec<f64> {
    tensor.to_vec1().unwrap()
}

fn quadratic(p: &Tensor) -> Tensor {
    let target = Tensor::new(&[1.0f64, -2.0, 0.5], &Device::Cpu).unwrap();
    (p - target).unwrap().sqr().unwrap().sum_all().unwrap()
}

#[test]
fn a_quadratic_is_minimised() {
    let (parameters, p) = one(0.0);
    let config = AdamWConfig {
        learning_rate: 0.05,
        ..AdamWConfig::default()
    };
    let mut adam = AdamW::new(&parameters, config).unwrap();
    for _ in 0..2000 {
        adam.backward_step(&quadratic(&p)).unwrap();
    }
    for (value, target) in values(&p).iter().zip([1.0, -2.0, 0.5]) {
        assert!((value - target).abs() < 1e-6, "{value} against {target}");
    }
}

#[test]
fn a_restored_run_has_the_same_bits_as_one_that_went_on() {
    let (parameters, p) = one(0.3);
    let config = AdamWConfig {
        weight_decay: 0.01,
        ..AdamWConfig::default()
    };
    let mut adam = AdamW::new(&parameters, config).unwrap();
    let go = |adam: &mut AdamW, n| (0..n).for_each(|_| adam.backward_step(&quadratic(&p)).unwrap());
    go(&mut adam, 7);
    let (state, steps, start) = (
        adam.state().unwrap(),
        adam.steps(),
        parameters.snapshot().unwrap(),
    );
    assert_eq!(state.keys().collect::<Vec<_>>(), ["p.first", "p.second"]);
    go(&mut adam, 7);
    let whole = values(&p);
    parameters.restore(&start).unwrap();
    let mut second = AdamW::new(&parameters, config).unwrap();
    second.restore(&state, steps).unwrap();
    go(&mut second, 7);
    assert_eq!(values(&p), whole);
    assert!(second.restore(&BTreeMap::new(), 0).is_err());
    assert_eq!(second.steps(), 14, "a refused state changes nothing");
}

#[test]
fn a_missing_gradient_is_refused_by_name_and_changes_nothing() {
    let (parameters, p) = one(0.0);
    let lost = parameters.scope().parameter("lost", 2, Init::ONES).unwrap();
    let mut adam = AdamW::new(&parameters, AdamWConfig::default()).unwrap();
    let Err(Error::MissingGradients { names }) = adam.backward_step(&quadratic(&p)) else {
        panic!()
    };
    assert_eq!(names, ["lost"]);
    assert_eq!((values(&p), adam.steps()), (vec![0.0; 3], 0));
    let config = AdamWConfig {
        missing: MissingGradient::Skip,
        weight_decay: 0.5,
        ..AdamWConfig::default()
    };
    AdamW::new(&parameters, config)
        .unwrap()
        .backward_step(&quadratic(&p))
        .unwrap();
    assert_eq!(lost.to_vec1::<f64>().unwrap(), [1.0, 1.0]);
    assert_ne!(values(&p), [0.0; 3]);
}

#[test]
fn groups_have_their_own_decay_and_rate_or_stay() {
    let (parameters, p) = one(0.0);
    let q = parameters.scope().parameter("q.bias", 3, Init::ONES).unwrap();
    let run = |group: Group| {
        parameters
            .variable("q.bias")
            .unwrap()
            .set(&q.ones_like().unwrap())
            .unwrap();
        let config = AdamWConfig {
            learning_rate: 0.1,
            weight_decay: 0.5,
            ..AdamWConfig::default()
        };
        let adam = AdamW::new(&parameters, config).unwrap();
        let mut adam = adam.with_group(|name| name.ends_with("bias"), group).unwrap();
        // A gradient of exactly 0 leaves the decay alone.
        let loss = (quadratic(&p) + (&q * q.zeros_like().unwrap()).unwrap().sum_all().unwrap()).unwrap();
        adam.backward_step(&loss).unwrap();
        values(&q)[0]
    };
    assert!(
        (run(Group::Train {
            weight_decay: 0.2,
            learning_rate_factor: 0.5
        }) - (1.0 - 0.05 * 0.2))
            .abs()
            < 1e-15
    );
    assert_eq!(
        run(Group::Train {
            weight_decay: 0.0,
            learning_rate_factor: 1.0
        }),
        1.0
    );
    assert_eq!(run(Group::Frozen), 1.0);
}

#[test]
fn a_clipped_step_is_the_step_of_the_clipped_gradients() {
    let run = |clipped: bool| {
        let (parameters, p) = one(4.0);
        let config = AdamWConfig {
            epsilon: 1.0,
            ..AdamWConfig::default()
        };
        let mut adam = AdamW::new(&parameters, config).unwrap();
        let mut gradients = quadratic(&p).backward().unwrap();
        let norm = if clipped {
            adam.step_clipped(&gradients, 0.5).unwrap()
        } else {
            let norm = crate::gradients::clip_grad_norm(&mut gradients, &parameters, 0.5).unwrap();
            adam.step(&gradients).unwrap();
            norm
        };
        (norm, values(&p))
    };
    let ((norm, fused), (other_norm, separate)) = (run(true), run(false));
    assert_eq!(norm, other_norm);
    assert!(fused.iter().zip(&separate).all(|(a, b)| (a - b).abs() < 1e-15));
}

#[test]
fn settings_outside_their_range_are_refused() {
    let (parameters, _) = one(0.0);
    for config in [
        AdamWConfig {
            learning_rate: -1.0,
            ..AdamWConfig::default()
        },
        AdamWConfig {
            beta1: 1.0,
            ..AdamWConfig::default()
        },
        AdamWConfig {
            beta2: f64::NAN,
            ..AdamWConfig::default()
        },
        AdamWConfig {
            epsilon: f64::INFINITY,
            ..AdamWConfig::default()
        },
    ] {
        assert!(AdamW::new(&parameters, config).is_err(), "{config:?}");
    }
    let mut adam = AdamW::new(&parameters, AdamWConfig::default()).unwrap();
    assert!(adam.set_learning_rate(f64::NAN).is_err());
    adam.set_learning_rate(0.5).unwrap();
    assert_eq!(adam.learning_rate(), 0.5);
}
