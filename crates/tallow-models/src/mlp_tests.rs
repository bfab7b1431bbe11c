//! The laws of the perceptron.

use candle_core::{DType, Device, Var};
use tallow_denoisers::{Condition, Denoiser, Parameterization};
use tallow_nn::Parameters;
use tallow_schedules::{RectifiedFlow, Schedule};

use super::*;

fn config() -> MlpConfig {
    MlpConfig {
        width: 8,
        depth: 2,
        classes: 3,
        ..MlpConfig::new(2).with_waves(2.0)
    }
}

fn x() -> Tensor {
    Tensor::new(&[[0.3f64, -0.2], [1.0, 0.5]], &Device::Cpu).unwrap()
}

fn labels(labels: [u32; 2]) -> Condition {
    Condition::labels(Tensor::new(&labels, &Device::Cpu).unwrap())
}

#[test]
fn a_view_answers_as_the_trained_network_does() {
    let parameters = Parameters::new(1, DType::F64, &Device::Cpu);
    let trained = Mlp::new(&parameters.scope(), config()).unwrap();
    let viewed = Mlp::new(&parameters.detached().scope(), config()).unwrap();
    let condition = labels([0, 2]);
    let x = x();
    let call = Call::new(&x, &[0.1, 0.7], &condition).unwrap();
    let a = trained.forward(&call).unwrap().to_vec2::<f64>().unwrap();
    assert_eq!(a, viewed.forward(&call).unwrap().to_vec2::<f64>().unwrap());
    assert_ne!(a[0], a[1]);
}

#[test]
fn closed_gates_are_no_gates_and_open_ones_tell_times_apart() {
    let parameters = Parameters::new(1, DType::F64, &Device::Cpu);
    let gated = MlpConfig {
        conditioning: Conditioning::Gates,
        ..config()
    };
    let network = Mlp::new(&parameters.scope(), gated).unwrap();
    let (same, condition) = (
        Tensor::ones((2, 2), DType::F64, &Device::Cpu).unwrap(),
        labels([0, 0]),
    );
    let call = Call::new(&same, &[0.1, 0.7], &condition).unwrap();
    let rows = || network.forward(&call).unwrap().to_vec2::<f64>().unwrap();
    assert_eq!(rows()[0], rows()[1]);
    let gate = parameters.variable("gates.1.weight").unwrap();
    gate.set(&(gate.as_tensor() + 0.3).unwrap()).unwrap();
    assert_ne!(rows()[0], rows()[1]);
}

#[test]
fn the_gradient_in_x_is_the_difference_quotient() {
    let parameters = Parameters::new(1, DType::F64, &Device::Cpu);
    let network = Mlp::new(&parameters.scope(), config()).unwrap();
    let model = Parameterization::flow_matching()
        .denoiser(&network)
        .with_condition(labels([0, 2]));
    let at = RectifiedFlow::default().level(0.4);
    let value = |x: &Tensor| {
        model
            .estimate(x, at.into())
            .unwrap()
            .x0()
            .unwrap()
            .sum_all()
            .unwrap()
    };
    let var = Var::from_tensor(&x()).unwrap();
    let gradient = value(var.as_tensor())
        .backward()
        .unwrap()
        .get(&var)
        .unwrap()
        .to_vec2::<f64>()
        .unwrap();
    for row in 0..2 {
        for axis in 0..2 {
            let mut dx = [[0.0; 2]; 2];
            dx[row][axis] = 1e-6;
            let dx = Tensor::new(&dx, &Device::Cpu).unwrap();
            let number = |x: Tensor| value(&x).to_scalar::<f64>().unwrap();
            let slope = (number((x() + &dx).unwrap()) - number((x() - &dx).unwrap())) / 2e-6;
            assert!((slope - gradient[row][axis]).abs() < 1e-7);
        }
    }
}

#[test]
fn a_label_past_the_last_class_and_a_missing_one_are_refused() {
    let parameters = Parameters::new(1, DType::F64, &Device::Cpu);
    let network = Mlp::new(&parameters.scope(), config()).unwrap();
    let x = x();
    let condition = labels([0, 3]);
    let error = network
        .forward(&Call::new(&x, &[0.1, 0.7], &condition).unwrap())
        .unwrap_err()
        .to_string();
    assert!(error.contains("label 3 of row 1"), "{error}");
    let none = Condition::none();
    let error = network
        .forward(&Call::new(&x, &[0.1, 0.7], &none).unwrap())
        .unwrap_err()
        .to_string();
    assert!(error.contains("\"labels\""), "{error}");
}

#[test]
fn another_dimension_names_both_shapes() {
    let parameters = Parameters::new(1, DType::F64, &Device::Cpu);
    let network = Mlp::new(&parameters.scope(), MlpConfig::new(3)).unwrap();
    let (x, none) = (x(), Condition::none());
    let error = network
        .forward(&Call::new(&x, &[0.1, 0.7], &none).unwrap())
        .unwrap_err()
        .to_string();
    assert!(error.contains("[2, 2]") && error.contains("[2, 3]"), "{error}");
}
