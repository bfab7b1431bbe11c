use super::*;
use crate::init::Init;
use crate::{Adam, AdamConfig, AdamW, AdamWConfig, Decay, Momentum, RAdam, RAdamConfig, Sgd, SgdConfig};
use candle_core::{DType, Device};

/// Every rule, with all that it can remember and decay switched on.
fn all(parameters: &Parameters, learning_rate: f64, weight_decay: f64) -> Vec<Box<dyn Optimizer>> {
    let sgd = SgdConfig {
        learning_rate,
        weight_decay,
        ..SgdConfig::default()
    };
    let moving = SgdConfig {
        momentum: 0.9,
        dampening: 0.1,
        ..sgd
    };
    let nesterov = SgdConfig {
        kind: Momentum::Nesterov,
        momentum: 0.8,
        decay: Decay::Decoupled,
        ..sgd
    };
    let radam = RAdamConfig {
        learning_rate,
        weight_decay,
        beta2: 0.99,
        ..RAdamConfig::default()
    };
    let decoupled = RAdamConfig {
        decay: Decay::Decoupled,
        ..radam
    };
    let adam = AdamConfig {
        learning_rate,
        weight_decay,
        ..AdamConfig::default()
    };
    let adamw = AdamWConfig {
        learning_rate,
        weight_decay,
        ..AdamWConfig::default()
    };
    vec![
        Box::new(Sgd::new(parameters, sgd).unwrap()),
        Box::new(Sgd::new(parameters, moving).unwrap()),
        Box::new(Sgd::new(parameters, nesterov).unwrap()),
        Box::new(RAdam::new(parameters, radam).unwrap()),
        Box::new(RAdam::new(parameters, decoupled).unwrap()),
        Box::new(Adam::new(parameters, adam).unwrap()),
        Box::new(AdamW::new(parameters, adamw).unwrap()),
    ]
}

const RULES: usize = 7;

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
fn every_rule_minimises_a_quadratic() {
    for rule in 0..RULES {
        let (parameters, p) = one(0.0);
        let mut optimizer = all(&parameters, 0.02, 0.0).remove(rule);
        for _ in 0..3000 {
            optimizer.backward_step(&quadratic(&p)).unwrap();
        }
        for (value, target) in values(&p).iter().zip([1.0, -2.0, 0.5]) {
            assert!(
                (value - target).abs() < 1e-6,
                "{optimizer:?}: {value} against {target}"
            );
        }
    }
}

#[test]
fn a_restored_run_has_the_same_bits_as_one_that_went_on() {
    for rule in 0..RULES {
        let (parameters, p) = one(0.3);
        let mut optimizer = all(&parameters, 0.01, 0.05).remove(rule);
        let go = |optimizer: &mut Box<dyn Optimizer>| {
            (0..7).for_each(|_| optimizer.backward_step(&quadratic(&p)).unwrap());
        };
        go(&mut optimizer);
        let (state, start) = (optimizer.state().unwrap(), parameters.snapshot().unwrap());
        go(&mut optimizer);
        let whole = values(&p);
        parameters.restore(&start).unwrap();
        let mut second = all(&parameters, 0.01, 0.05).remove(rule);
        second.restore(&state).unwrap();
        go(&mut second);
        assert_eq!(values(&p), whole, "{second:?}");
        assert!(second.restore(&BTreeMap::new()).is_err());
        let after = second.state().unwrap();
        assert_eq!(
            after["steps"].to_scalar::<i64>().unwrap(),
            14,
            "a refused state changes nothing"
        );
    }
}

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
fn the_fused_update_is_the_composed_one() {
    let wave = |phase: f64| {
        let angles = Tensor::arange(0f64, 50.0, &Device::Cpu).unwrap();
        angles.affine(1.0, phase).unwrap().sin().unwrap()
    };
    fn check<R: Rule>(rule: &R, wave: impl Fn(f64) -> Tensor) {
        let fused = Var::from_tensor(&wave(0.0)).unwrap();
        let other = Var::from_tensor(&wave(0.0)).unwrap();
        let parts = rule.remembers().len();
        let mut memory = Memory::zeros(&fused, parts).unwrap();
        let zeros = || Tensor::zeros(50, DType::F64, &Device::Cpu).unwrap();
        let mut tensors = Memory::Tensors((0..parts).map(|_| zeros()).collect());
        // RAdam looks at the second moment from the sixth step on.
        for step in 1..=9 {
            let at = At {
                learning_rate: 0.01,
                weight_decay: 0.1,
                step,
                gradient_scale: 0.7,
            };
            let gradient = wave(step as f64);
            memory.update(rule, &fused, &gradient, &at).unwrap();
            tensors.update(rule, &other, &gradient, &at).unwrap();
        }
        let difference = (fused.as_tensor() - other.as_tensor()).unwrap().abs().unwrap();
        let difference = difference.max_all().unwrap().to_scalar::<f64>().unwrap();
        assert!(difference < 1e-14, "{rule:?}: {difference}");
    }
    check(&AdamWConfig::default(), wave);
    check(&AdamConfig::default(), wave);
    for decay in [Decay::L2, Decay::Decoupled] {
        let radam = RAdamConfig {
            decay,
            beta2: 0.99,
            ..RAdamConfig::default()
        };
        check(&radam, wave);
        for kind in [Momentum::Classic, Momentum::Nesterov] {
            for momentum in [0.0, 0.9] {
                let sgd = SgdConfig {
                    momentum,
                    kind,
                    decay,
                    dampening: 0.1,
                    ..SgdConfig::default()
                };
                check(&sgd, wave);
            }
        }
    }
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
fn parameters_without_a_number_are_trained_like_others() {
    for rule in 0..RULES {
        let (parameters, p) = one(0.3);
        let empty = parameters.scope().parameter("none", (0, 3), Init::ONES).unwrap();
        let mut optimizer = all(&parameters, 0.1, 0.1).remove(rule);
        let loss = (quadratic(&p) + empty.sum_all().unwrap()).unwrap();
        optimizer.backward_step(&loss).unwrap();
        let state = optimizer.state().unwrap();
        optimizer.restore(&state).unwrap();
        optimizer.backward_step(&loss).unwrap();
    }
}

#[test]
fn a_step_over_several_batches_is_the_step_of_their_mean() {
    for rule in 0..RULES {
        let (parameters, p) = one(0.3);
        let start = parameters.snapshot().unwrap();
        let parts = [0.5, 1.0, 3.0].map(|c| (quadratic(&p) * c).unwrap());
        let mean = (((&parts[0] + &parts[1]).unwrap() + &parts[2]).unwrap() / 3.0).unwrap();
        let mut whole = all(&parameters, 0.01, 0.05).remove(rule);
        whole.step_clipped(&mean.backward().unwrap(), 0.7).unwrap();
        let wanted = values(&p);
        parameters.restore(&start).unwrap();
        let mut split = all(&parameters, 0.01, 0.05).remove(rule);
        let mut sum = Gradients::default();
        for part in &parts {
            sum.accumulate(split.collect(&part.backward().unwrap()).unwrap())
                .unwrap();
        }
        sum.scale(1.0 / 3.0).unwrap();
        sum.clip_norm(0.7).unwrap();
        split.apply(&sum).unwrap();
        let near = |(a, b): (&f64, &f64)| (a - b).abs() < 1e-14;
        assert!(values(&p).iter().zip(&wanted).all(near), "{split:?}");
    }
}

#[test]
fn a_gradient_that_is_not_finite_is_refused_by_name_and_changes_nothing() {
    for rule in 0..RULES {
        let (parameters, p) = one(0.3);
        let q = parameters.scope().parameter("q", 3, Init::ZEROS).unwrap();
        let loss = (quadratic(&p) + q.sqrt().unwrap().sum_all().unwrap()).unwrap();
        let mut optimizer = all(&parameters, 0.1, 0.1).remove(rule);
        let Err(Error::NonFiniteGradients { names, .. }) = optimizer.backward_step(&loss) else {
            panic!("passed")
        };
        assert_eq!((names, values(&p)), (vec!["q".to_string()], vec![0.3; 3]));
    }
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
