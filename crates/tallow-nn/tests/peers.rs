//! The paths of PyTorch's optimisers and diffusers' averages, from `scripts/fixtures/optim.py`.
#![allow(clippy::unwrap_used, reason = "a test's own way to fail")]

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};
use serde_json::Value;
use tallow_nn::{
    Adam, AdamConfig, AdamW, AdamWConfig, Decay, Ema, EmaDecay, Init, Momentum, Optimizer, Parameters, RAdam,
    RAdamConfig, Rise, Rising, Sgd, SgdConfig,
};

fn fixture() -> Value {
    serde_json::from_str(include_str!("data/optim.json")).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    let list = value.as_array().unwrap();
    list.iter().map(|number| number.as_f64().unwrap()).collect()
}

fn tensor(value: &Value) -> Tensor {
    Tensor::new(numbers(value), &Device::Cpu).unwrap()
}

/// `p` in a set of its own.
fn one(n: usize) -> (Parameters, Tensor) {
    let parameters = Parameters::new(0, DType::F64, &Device::Cpu);
    let p = parameters.scope().parameter("p", n, Init::ZEROS).unwrap();
    (parameters, p)
}

fn set(parameters: &Parameters, value: Tensor) {
    parameters
        .restore(&BTreeMap::from([("p".to_string(), value)]))
        .unwrap();
}

fn optimizer(case: &Value, parameters: &Parameters) -> Box<dyn Optimizer> {
    let options = &case["options"];
    let number = |name: &str, otherwise: f64| options[name].as_f64().unwrap_or(otherwise);
    let beta = |index: usize, otherwise: f64| options["betas"][index].as_f64().unwrap_or(otherwise);
    let (learning_rate, weight_decay) = (number("lr", f64::NAN), number("weight_decay", 0.0));
    let (beta1, beta2, epsilon) = (beta(0, 0.9), beta(1, 0.999), number("eps", 1e-8));
    match case["name"].as_str().unwrap() {
        "AdamW" => {
            let config = AdamWConfig {
                learning_rate,
                beta1,
                beta2,
                epsilon,
                weight_decay,
                ..AdamWConfig::default()
            };
            Box::new(AdamW::new(parameters, config).unwrap())
        }
        "Adam" => {
            let config = AdamConfig {
                learning_rate,
                beta1,
                beta2,
                epsilon,
                weight_decay,
                ..AdamConfig::default()
            };
            Box::new(Adam::new(parameters, config).unwrap())
        }
        "RAdam" => {
            let decoupled = options["decoupled_weight_decay"] == true;
            let decay = if decoupled { Decay::Decoupled } else { Decay::L2 };
            let config = RAdamConfig {
                learning_rate,
                beta1,
                beta2,
                epsilon,
                weight_decay,
                decay,
                ..RAdamConfig::default()
            };
            Box::new(RAdam::new(parameters, config).unwrap())
        }
        _ => {
            let nesterov = options["nesterov"] == true;
            let config = SgdConfig {
                learning_rate,
                weight_decay,
                momentum: number("momentum", 0.0),
                dampening: number("dampening", 0.0),
                kind: if nesterov {
                    Momentum::Nesterov
                } else {
                    Momentum::Classic
                },
                ..SgdConfig::default()
            };
            Box::new(Sgd::new(parameters, config).unwrap())
        }
    }
}

#[test]
fn every_optimiser_walks_pytorchs_path() {
    for case in fixture()["paths"].as_array().unwrap() {
        let (parameters, p) = one(5);
        set(&parameters, tensor(&case["start"]));
        let rows: Vec<f64> = case["matrix"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(numbers)
            .collect();
        let matrix = Tensor::from_vec(rows, (5, 5), &Device::Cpu).unwrap();
        let vector = tensor(&case["vector"]);
        let loss = || {
            let product = matrix
                .matmul(&p.unsqueeze(1).unwrap())
                .unwrap()
                .squeeze(1)
                .unwrap();
            let half = ((product * &p).unwrap().sum_all().unwrap() * 0.5).unwrap();
            (half - (&vector * &p).unwrap().sum_all().unwrap()).unwrap()
        };
        let mut optimizer = optimizer(case, &parameters);
        for (step, wanted) in case["path"].as_array().unwrap().iter().enumerate() {
            let gradients = loss().backward().unwrap();
            match case["max_norm"].as_f64() {
                Some(max_norm) => optimizer.step_clipped(&gradients, max_norm).map(|_| ()),
                None => optimizer.step(&gradients),
            }
            .unwrap();
            for (got, wanted) in p.to_vec1::<f64>().unwrap().iter().zip(numbers(wanted)) {
                assert!(
                    (got - wanted).abs() <= 1e-13 * wanted.abs().max(1.0),
                    "{} {} at step {step}: {got} against {wanted}",
                    case["name"],
                    case["options"]
                );
            }
        }
    }
}

#[test]
fn rising_averages_are_those_of_diffusers() {
    for case in fixture()["averages"].as_array().unwrap() {
        let options = &case["options"];
        let rise = if options["use_ema_warmup"] == true {
            Rise::Power {
                inv_gamma: options["inv_gamma"].as_f64().unwrap(),
                power: options["power"].as_f64().unwrap(),
            }
        } else {
            Rise::Ratio
        };
        let rising = Rising {
            rise,
            min_decay: options["min_decay"].as_f64().unwrap_or(0.0),
            max_decay: options["decay"].as_f64().unwrap(),
            delay: options["update_after_step"].as_u64().unwrap_or(0),
        };
        let (parameters, _) = one(3);
        let mut ema = Ema::new(&parameters, EmaDecay::Rising(rising)).unwrap();
        for (step, wanted) in case["averages"].as_array().unwrap().iter().enumerate() {
            let wave: Vec<f64> = (0..3).map(|i| (f64::from(i) + 0.3 * step as f64).sin()).collect();
            set(&parameters, Tensor::new(wave, &Device::Cpu).unwrap());
            ema.update().unwrap();
            let got = ema.detached().tensors()["p"].to_vec1::<f64>().unwrap();
            for (got, wanted) in got.iter().zip(numbers(wanted)) {
                assert!(
                    (got - wanted).abs() < 1e-14,
                    "{options} at {step}: {got} {wanted}"
                );
            }
        }
    }
}
