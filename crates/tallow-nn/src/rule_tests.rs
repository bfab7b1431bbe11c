// Laws that every rule obeys.

use std::collections::BTreeMap;

use super::*;
use crate::init::Init;
use crate::memory::Memory;
use crate::optimizer::Optimizer;
use crate::parameters::Parameters;
use crate::{
    Adam, AdamConfig, AdamW, AdamWConfig, Decay, Gradients, Momentum, RAdam, RAdamConfig, Sgd, SgdConfig,
};
use candle_core::{DType, Device, Var};

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

pub(crate) fn one(value: f64) -> (Parameters, Tensor) {
    let parameters = Parameters::new(1, DType::F64, &Device::Cpu);
    let tensor = parameters
        .scope()
        .parameter("p", 3, Init::Constant(value))
        .unwrap();
    (parameters, tensor)
}

pub(crate) fn values(tensor: &Tensor) -> Vec<f64> {
    tensor.to_vec1().unwrap()
}

pub(crate) fn quadratic(p: &Tensor) -> Tensor {
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
fn steps_have_the_same_bits_on_one_thread_and_on_two() {
    let n = 300_000;
    let run = |threads: usize, rule: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        pool.build().unwrap().install(|| {
            let parameters = Parameters::new(3, DType::F32, &Device::Cpu);
            let init = Init::Normal { std: 1.0 };
            let p = parameters.scope().parameter("p", n, init).unwrap();
            let mut optimizer = all(&parameters, 0.01, 0.05).remove(rule);
            for _ in 0..7 {
                let loss = p.sin().unwrap().sum_all().unwrap();
                optimizer.step_clipped(&loss.backward().unwrap(), 1.0).unwrap();
            }
            let bits = |value: &f32| value.to_bits();
            p.to_vec1::<f32>().unwrap().iter().map(bits).collect::<Vec<_>>()
        })
    };
    for rule in 0..RULES {
        assert!(run(1, rule) == run(2, rule), "rule {rule}");
    }
}
