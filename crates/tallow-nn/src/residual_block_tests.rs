use candle_core::{DType, Device};

use super::*;
use crate::parameters::Parameters;
use crate::testing::{check_dual, check_gradients, distance, random};

fn config(inputs: usize, outputs: usize, injection: Injection) -> ResidualBlockConfig {
    ResidualBlockConfig {
        groups: 2,
        injection,
        ..ResidualBlockConfig::new(inputs, outputs, 5)
    }
}

const SHAPES: [(usize, usize, Injection); 4] = [
    (4, 4, Injection::Shift),
    (6, 4, Injection::Shift),
    (4, 4, Injection::ScaleShift),
    (2, 6, Injection::ScaleShift),
];

fn block(inputs: usize, outputs: usize, injection: Injection) -> (Parameters, ResidualBlock) {
    let parameters = Parameters::new(3, DType::F64, &Device::Cpu);
    let block = ResidualBlock::new(
        &parameters.scope().at("block"),
        config(inputs, outputs, injection),
    )
    .unwrap();
    (parameters, block)
}

#[test]
fn one_operation_is_the_composition_of_its_layers() {
    for (inputs, outputs, injection) in SHAPES {
        let (_, block) = block(inputs, outputs, injection);
        let (x, e) = (random(&[3, inputs, 5, 4], 1), random(&[3, 5], 2));
        let told = block
            .time
            .forward(&activate(&e, Activation::Silu).unwrap())
            .unwrap();
        let (one, many) = (block.forward(&x, &e).unwrap(), block.composed(&x, &told).unwrap());
        assert!(distance(&one, &many) < 1e-12, "{inputs} {outputs} {injection:?}");
    }
}

/// Every third element of every parameter against central differences.
fn check_parameters(parameters: &Parameters, f: &dyn Fn() -> Result<Tensor>) {
    let weights = random(f().unwrap().dims(), 9);
    let loss = || f().unwrap().mul(&weights).unwrap().sum_all().unwrap();
    let gradients = loss().backward().unwrap();
    for (name, variable) in parameters.named() {
        let gradient = gradients
            .get(&variable)
            .unwrap()
            .flatten_all()
            .unwrap()
            .to_vec1::<f64>()
            .unwrap();
        let values = variable.flatten_all().unwrap().to_vec1::<f64>().unwrap();
        let at = |values: Vec<f64>| {
            variable
                .set(&Tensor::from_vec(values, variable.shape(), &Device::Cpu).unwrap())
                .unwrap();
            loss().to_scalar::<f64>().unwrap()
        };
        for k in (0..values.len()).step_by(3) {
            let moved = |step: f64| {
                let mut values = values.clone();
                values[k] += step;
                at(values)
            };
            let exact = (moved(1e-5) - moved(-1e-5)) / 2e-5;
            assert!(
                (gradient[k] - exact).abs() < 1e-6 * (1.0 + exact.abs()),
                "{name}[{k}]: {} {exact}",
                gradient[k]
            );
        }
        at(values);
    }
}

#[test]
fn gradients_and_tangents_are_those_of_central_differences() {
    for (inputs, outputs, injection) in SHAPES {
        let (parameters, block) = block(inputs, outputs, injection);
        let (x, e) = (random(&[2, inputs, 3, 4], 1), random(&[2, 5], 2));
        check_gradients(&[x.clone(), e.clone()], |t| block.forward(&t[0], &t[1]));
        check_parameters(&parameters, &|| block.forward(&x, &e));
        let (fixed_x, fixed_e) = (Dual::constant(x.clone()), Dual::constant(e.clone()));
        check_dual(&x, |x| block.forward_dual(x, &fixed_e), |x| block.forward(x, &e));
        check_dual(&e, |e| block.forward_dual(&fixed_x, e), |e| block.forward(&x, e));
    }
}

#[test]
fn an_empty_batch_and_an_input_that_is_not_contiguous_go_through() {
    let (_, block) = block(4, 4, Injection::Shift);
    assert_eq!(
        block
            .forward(&random(&[0, 4, 3, 3], 1), &random(&[0, 5], 2))
            .unwrap()
            .dims(),
        [0, 4, 3, 3]
    );
    let x = random(&[2, 3, 4, 4], 1).transpose(1, 2).unwrap();
    let e = random(&[2, 5], 2);
    let straight = block.forward(&x.contiguous().unwrap(), &e).unwrap();
    assert!(distance(&block.forward(&x, &e).unwrap(), &straight) == 0.0);
}

#[test]
fn what_does_not_fit_is_refused_in_words() {
    let (_, block) = block(4, 4, Injection::Shift);
    let refused = |x: &Tensor, e: &Tensor| block.forward(x, e).unwrap_err().to_string();
    let (x, e) = (random(&[2, 4, 3, 3], 1), random(&[2, 5], 2));
    assert!(refused(&random(&[2, 3, 3, 3], 1), &e).contains("(batch, 4, height, width)"));
    assert!(refused(&x, &random(&[3, 5], 2)).contains("(2, 5)"));
    assert!(refused(&x.to_dtype(DType::F32).unwrap(), &e).contains("F64"));
    let parameters = Parameters::new(3, DType::F64, &Device::Cpu);
    let odd = ResidualBlockConfig {
        groups: 3,
        ..config(4, 4, Injection::Shift)
    };
    assert!(ResidualBlock::new(&parameters.scope().at("b"), odd).is_err());
}
