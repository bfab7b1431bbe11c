use super::*;
use crate::init::Init;
use crate::rule::tests::{one, quadratic, values};
use crate::{AdamW, AdamWConfig, Sgd, SgdConfig};
use candle_core::{DType, Device};

#[test]
fn a_state_goes_through_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("optimizer.safetensors");
    let (parameters, p) = one(0.3);
    let mut adam = AdamW::new(&parameters, AdamWConfig::default()).unwrap();
    adam.backward_step(&quadratic(&p)).unwrap();
    let state = adam.state().unwrap();
    assert_eq!(
        state.keys().collect::<Vec<_>>(),
        ["p.first", "p.second", "p.updates", "steps"]
    );
    crate::write_tensors(&path, &state, "").unwrap();
    let mut other = AdamW::new(&parameters, AdamWConfig::default()).unwrap();
    other.restore(&crate::read_tensors(&path).unwrap().0).unwrap();
    assert_eq!(other.steps(), 1);
    let same = |name: &str| values(&other.state().unwrap()[name]) == values(&state[name]);
    assert!(same("p.first") && same("p.second"));
}

#[test]
fn half_precision_is_trained_with_moments_in_single() {
    let parameters = Parameters::new(1, DType::BF16, &Device::Cpu);
    let p = parameters.scope().parameter("p", 3, Init::ONES).unwrap();
    let config = AdamWConfig {
        learning_rate: 0.05,
        ..AdamWConfig::default()
    };
    let mut adam = AdamW::new(&parameters, config).unwrap();
    for _ in 0..2 {
        adam.backward_step(&p.sqr().unwrap().sum_all().unwrap()).unwrap();
    }
    assert_eq!(adam.state().unwrap()["p.second"].dtype(), DType::F32);
    let p = p.to_dtype(DType::F32).unwrap().to_vec1::<f32>().unwrap();
    assert!(p.iter().all(|p| *p < 1.0), "{p:?}");
}

#[test]
fn gradients_of_strangers_and_of_other_shapes_are_refused() {
    let (parameters, p) = one(0.3);
    let mut adam = AdamW::new(&parameters, AdamWConfig::default()).unwrap();
    let gradients = |name: &str, n: usize| {
        let tensor = Tensor::ones(n, DType::F64, &Device::Cpu).unwrap();
        Gradients::new(BTreeMap::from([(name.to_string(), tensor)]))
    };
    assert!(matches!(
        adam.apply(&gradients("q", 3)),
        Err(Error::Unknown { .. })
    ));
    assert!(matches!(
        adam.apply(&gradients("p", 2)),
        Err(Error::ParameterShape { .. })
    ));
    assert_eq!((values(&p), adam.steps()), (vec![0.3; 3], 0));
}

#[test]
fn a_parameter_that_joins_late_starts_like_the_others() {
    let (parameters, p) = one(0.0);
    let late = parameters.scope().parameter("q", 1, Init::ZEROS).unwrap();
    let config = AdamWConfig {
        missing: MissingGradient::Skip,
        ..AdamWConfig::default()
    };
    let mut adam = AdamW::new(&parameters, config).unwrap();
    for _ in 0..500 {
        adam.backward_step(&quadratic(&p)).unwrap();
    }
    adam.backward_step(&(&late * 5.0).unwrap().sum_all().unwrap())
        .unwrap();
    // The first step of Adam is η against the sign of the gradient.
    assert!((values(&late)[0] + 1e-3).abs() < 1e-9, "{:?}", values(&late));
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
fn nothing_is_remembered_of_what_is_frozen() {
    let (parameters, p) = one(0.0);
    parameters.scope().parameter("q", 3, Init::ONES).unwrap();
    let adam = AdamW::new(&parameters, AdamWConfig::default()).unwrap();
    let mut adam = adam.with_group(|name| name == "q", Group::Frozen).unwrap();
    adam.backward_step(&quadratic(&p)).unwrap();
    assert!(adam.state().unwrap().keys().all(|name| !name.starts_with("q")));
    let state = adam.state().unwrap();
    adam.restore(&state).unwrap();
    let thawed = Group::Train {
        weight_decay: 0.0,
        learning_rate_factor: 1.0,
    };
    let adam = adam.with_group(|name| name == "q", thawed).unwrap();
    assert_eq!(values(&adam.state().unwrap()["q.first"]), [0.0; 3]);
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
    for momentum in [1.0, -0.1, f64::NAN] {
        let config = SgdConfig {
            momentum,
            ..SgdConfig::default()
        };
        assert!(Sgd::new(&parameters, config).is_err(), "{config:?}");
    }
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
