use super::*;
use crate::parameters::Parameters;
use crate::testing::{check_dual, random};
use candle_core::{DType, Device, Shape, Var};

fn layer(inputs: usize, outputs: usize, activation: Activation) -> (Parameters, Linear) {
    let parameters = Parameters::new(11, DType::F64, &Device::Cpu);
    let linear = Linear::new(&parameters.scope().at("layer"), inputs, outputs)
        .unwrap()
        .activated(activation);
    (parameters, linear)
}

fn input(shape: impl Into<Shape>) -> Var {
    let shape = shape.into();
    let values = Tensor::arange(0f64, shape.elem_count() as f64, &Device::Cpu).unwrap();
    Var::from_tensor(&values.sin().unwrap().reshape(shape).unwrap()).unwrap()
}

fn distance(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.dims(), b.dims());
    if a.elem_count() == 0 {
        return 0.0;
    }
    (a - b)
        .unwrap()
        .abs()
        .unwrap()
        .max_all()
        .unwrap()
        .to_scalar()
        .unwrap()
}

/// A loss in which every output has its own weight.
fn loss(y: &Tensor) -> Tensor {
    let weights = Tensor::arange(1f64, y.elem_count() as f64 + 1.0, y.device())
        .unwrap()
        .cos()
        .unwrap();
    (y.flatten_all().unwrap() * weights).unwrap().sum_all().unwrap()
}

#[test]
fn outputs_and_gradients_are_those_of_candles_operations() {
    for activation in Activation::ALL {
        for (batch, inputs, outputs) in [(1, 3, 5), (7, 1, 1), (130, 9, 4), (3, 300, 2)] {
            let (parameters, linear) = layer(inputs, outputs, activation);
            let x = input((batch, inputs));
            let (ours, theirs) = (linear.forward(&x).unwrap(), linear.composed(&x).unwrap());
            assert!(distance(&ours, &theirs) < 1e-12, "{activation:?}");
            let (ours, theirs) = (loss(&ours).backward().unwrap(), loss(&theirs).backward().unwrap());
            let variables = parameters.named().into_iter().chain([("x".to_string(), x)]);
            for (name, variable) in variables {
                let error = distance(ours.get(&variable).unwrap(), theirs.get(&variable).unwrap());
                assert!(
                    error < 1e-11,
                    "{activation:?} {batch}x{inputs}x{outputs} {name}: {error}"
                );
            }
        }
    }
}

#[test]
fn gradients_are_the_central_differences_of_the_loss() {
    let (parameters, linear) = layer(4, 3, Activation::Silu);
    let x = input((2, 5, 4));
    let run = || loss(&linear.forward(&x).unwrap());
    let gradients = run().backward().unwrap();
    for (name, variable) in parameters
        .named()
        .into_iter()
        .chain([("x".to_string(), x.clone())])
    {
        let exact = gradients
            .get(&variable)
            .unwrap()
            .flatten_all()
            .unwrap()
            .to_vec1::<f64>()
            .unwrap();
        let start = variable.as_detached_tensor().copy().unwrap();
        let values = start.flatten_all().unwrap().to_vec1::<f64>().unwrap();
        for (i, &exact) in exact.iter().enumerate() {
            let at = |h: f64| {
                let mut moved = values.clone();
                moved[i] += h;
                variable
                    .set(&Tensor::from_vec(moved, start.shape(), &Device::Cpu).unwrap())
                    .unwrap();
                run().to_scalar::<f64>().unwrap()
            };
            let difference = (at(1e-5) - at(-1e-5)) / 2e-5;
            assert!(
                (difference - exact).abs() < 1e-6,
                "{name}[{i}]: {exact} against {difference}"
            );
        }
        variable.set(&start).unwrap();
    }
}

#[test]
fn tangents_are_central_differences_and_values_keep_their_graph() {
    for activation in Activation::ALL {
        for (shape, inputs, outputs) in [(vec![1, 3], 3, 5), (vec![2, 5, 4], 4, 1), (vec![0, 4], 4, 2)] {
            let (parameters, linear) = layer(inputs, outputs, activation);
            check_dual(
                &random(shape.clone(), 3),
                |x| linear.forward_dual(x),
                |x| linear.forward(x),
            );
            let x = Dual::new(random(shape.clone(), 1), random(shape, 2)).unwrap();
            let gradients = loss(linear.forward_dual(&x).unwrap().value()).backward().unwrap();
            for (name, variable) in parameters.named() {
                assert!(gradients.get(&variable).is_some(), "{name}");
            }
            // What other devices and types take.
            let half = x.linear(|x| x.to_dtype(DType::BF16)).unwrap();
            let straight = linear.clone().activated(Activation::Identity);
            let turning = (straight.composed(x.tangent().unwrap()).unwrap())
                .broadcast_sub(straight.bias().unwrap())
                .unwrap();
            let z = Dual::new(straight.composed(x.value()).unwrap(), turning).unwrap();
            let composed = activate_dual(&z, activation).unwrap();
            let fused = linear.forward_dual(&x).unwrap();
            assert!(distance(composed.tangent().unwrap(), fused.tangent().unwrap()) < 1e-12);
            assert!(
                linear.forward_dual(&half).is_err(),
                "another type than the weight's"
            );
        }
    }
}

#[test]
fn half_precision_has_tangents_too() {
    let parameters = Parameters::new(1, DType::F16, &Device::Cpu);
    let linear = Linear::new(&parameters.scope(), 4, 3)
        .unwrap()
        .activated(Activation::Gelu);
    let (x, direction) = (random((5, 4), 1), random((5, 4), 2));
    let x = Dual::new(x, direction).unwrap();
    let single = Linear::from_tensors(
        &linear.weight().to_dtype(DType::F64).unwrap(),
        Some(&linear.bias().unwrap().to_dtype(DType::F64).unwrap()),
    );
    let exact = single
        .unwrap()
        .activated(Activation::Gelu)
        .forward_dual(&x)
        .unwrap();
    let half = linear
        .forward_dual(&x.linear(|x| x.to_dtype(DType::F16)).unwrap())
        .unwrap();
    let tangent = half.tangent().unwrap().to_dtype(DType::F64).unwrap();
    assert!(distance(&tangent, exact.tangent().unwrap()) < 0.02);
}

#[test]
fn leading_dimensions_and_views_do_not_matter() {
    let (_, linear) = layer(4, 3, Activation::Gelu);
    let x = input((6, 5, 4));
    let y = linear.forward(&x).unwrap();
    assert_eq!(y.dims(), [6, 5, 3]);
    let flat = linear.forward(&x.reshape((30, 4)).unwrap()).unwrap();
    assert_eq!(distance(&y.reshape((30, 3)).unwrap(), &flat), 0.0);
    // A transposed and a broadcast input.
    let turned = linear.forward(&x.transpose(0, 1).unwrap()).unwrap();
    assert_eq!(
        distance(&turned.transpose(0, 1).unwrap().contiguous().unwrap(), &y),
        0.0
    );
    let row = x.narrow(0, 2, 1).unwrap().narrow(1, 3, 1).unwrap();
    let repeated = linear.forward(&row.broadcast_as((6, 5, 4)).unwrap()).unwrap();
    let single = linear.forward(&row).unwrap().broadcast_as((6, 5, 3)).unwrap();
    assert_eq!(distance(&repeated, &single), 0.0);
}

#[test]
fn an_empty_batch_gives_an_empty_output_and_zero_gradients() {
    let (parameters, linear) = layer(4, 3, Activation::Silu);
    let x = Tensor::zeros((0, 4), DType::F64, &Device::Cpu).unwrap();
    let y = linear.forward(&x).unwrap();
    assert_eq!(y.dims(), [0, 3]);
    let gradients = y.sum_all().unwrap().backward().unwrap();
    let weight = parameters.variable("layer.weight").unwrap();
    let gradient = gradients.get(&weight).unwrap();
    assert_eq!(
        gradient
            .abs()
            .unwrap()
            .sum_all()
            .unwrap()
            .to_scalar::<f64>()
            .unwrap(),
        0.0
    );
}

#[test]
fn only_what_is_tracked_gets_a_gradient() {
    let (parameters, _) = layer(4, 3, Activation::Silu);
    let frozen = Linear::new(&parameters.detached().scope().at("layer"), 4, 3).unwrap();
    let x = input((2, 4));
    let y = frozen.forward(&x).unwrap();
    assert!(loss(&y).backward().unwrap().get(&x).is_some());
    assert!(
        !frozen.forward(&x.detach()).unwrap().track_op(),
        "a view has no graph"
    );
}

#[test]
fn a_layer_without_bias_is_a_product() {
    let parameters = Parameters::new(1, DType::F64, &Device::Cpu);
    let linear = Linear::with_init(&parameters.scope(), 3, 2, LinearInit::new(3).without_bias()).unwrap();
    assert_eq!(parameters.names(), ["weight"]);
    assert!(linear.bias().is_none());
    let x = input((5, 3));
    let product = x.matmul(&linear.weight().t().unwrap()).unwrap();
    assert!(distance(&linear.forward(&x).unwrap(), &product) < 1e-15);
    let rebuilt = Linear::from_tensors(&linear.weight().detach(), None).unwrap();
    assert_eq!(
        distance(&rebuilt.forward(&x).unwrap(), &linear.forward(&x).unwrap()),
        0.0
    );
    assert!(Linear::from_tensors(linear.weight(), Some(&product)).is_err());
}

#[test]
fn a_layer_of_zeros_answers_zero() {
    let parameters = Parameters::new(1, DType::F64, &Device::Cpu);
    let linear = Linear::with_init(&parameters.scope(), 3, 2, LinearInit::zeros()).unwrap();
    let y = linear.forward(&input((5, 3))).unwrap();
    assert_eq!(
        y.abs().unwrap().sum_all().unwrap().to_scalar::<f64>().unwrap(),
        0.0
    );
}

#[test]
fn misfits_are_named_on_both_sides() {
    let (_, linear) = layer(4, 3, Activation::Silu);
    let message = linear.forward(&input((2, 5))).unwrap_err().to_string();
    assert!(
        message.contains("`layer`") && message.contains(", 4)") && message.contains("[2, 5]"),
        "{message}"
    );
    assert!(linear.forward(&input(4)).is_err());
    let single = input((2, 4)).to_dtype(DType::F32).unwrap();
    let message = linear.forward(&single).unwrap_err().to_string();
    assert!(message.contains("F64") && message.contains("F32"), "{message}");
}
