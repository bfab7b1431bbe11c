use super::*;
use crate::conv2d::Conv2d;
use crate::parameters::Parameters;
use crate::testing::{check_dual, check_gradients, distance, numbers, random};
use candle_core::{DType, Device, Var};

/// Configurations with their image, channels in and out, and kernel.
type Case = (ConvTranspose2dConfig, [usize; 2], [usize; 2], [usize; 2]);

fn cases() -> Vec<Case> {
    let plain = ConvTranspose2dConfig::default();
    let doubled = ConvTranspose2dConfig {
        stride: [2, 2],
        padding: [1, 1],
        ..plain
    };
    let odd = ConvTranspose2dConfig {
        output_padding: [1, 1],
        ..doubled
    };
    let uneven = ConvTranspose2dConfig {
        stride: [3, 2],
        padding: [0, 2],
        output_padding: [2, 0],
        dilation: [1, 2],
        groups: 1,
    };
    vec![
        (plain, [3, 4], [3, 2], [1, 1]),
        (plain, [3, 4], [2, 3], [3, 2]),
        (doubled, [3, 3], [2, 3], [4, 4]),
        (odd, [3, 4], [2, 3], [3, 3]),
        (uneven, [3, 4], [2, 1], [2, 3]),
        (ConvTranspose2dConfig { groups: 2, ..odd }, [3, 3], [4, 6], [3, 3]),
        (
            ConvTranspose2dConfig { groups: 3, ..uneven },
            [2, 3],
            [3, 3],
            [3, 3],
        ),
    ]
}

fn parts(case: &Case) -> (Tensor, Tensor) {
    let &(config, _, [inputs, outputs], [height, width]) = case;
    (
        random((inputs, outputs / config.groups, height, width), 41),
        random(outputs, 42),
    )
}

#[test]
fn it_is_the_adjoint_of_the_convolution_with_the_same_weight() {
    for case in cases() {
        let (config, [height, width], [inputs, _], _) = case;
        let (weight, _) = parts(&case);
        let x = random((2, inputs, height, width), 43);
        let up = ConvTranspose2d::from_tensors(&weight, None, config)
            .unwrap()
            .forward(&x)
            .unwrap();
        let z = random(up.shape(), 44);
        let down = Conv2d::from_tensors(&weight, None, config.convolution())
            .unwrap()
            .forward(&z)
            .unwrap();
        let dot = |a: &Tensor, b: &Tensor| numbers(&(a * b).unwrap()).iter().sum::<f64>();
        assert!((dot(&up, &z) - dot(&x, &down)).abs() < 1e-12, "{case:?}");
    }
}

#[test]
fn a_single_pixel_becomes_the_kernel() {
    let weight = random((1, 2, 3, 3), 45);
    let layer = ConvTranspose2d::from_tensors(&weight, None, ConvTranspose2dConfig::default()).unwrap();
    let one = Tensor::ones((1, 1, 1, 1), DType::F64, &Device::Cpu).unwrap();
    assert_eq!(distance(&layer.forward(&one).unwrap(), &weight), 0.0);
}

#[test]
fn gradients_and_tangents_are_central_differences() {
    for case in cases() {
        let (config, [height, width], [inputs, _], _) = case;
        let (weight, bias) = parts(&case);
        for batch in [1, 2] {
            let x = random((batch, inputs, height, width), 46);
            check_gradients(&[x, weight.clone(), bias.clone()], |p| {
                ConvTranspose2d::from_tensors(&p[1], Some(&p[2]), config)?.forward(&p[0])
            });
        }
        let turned = random((2, inputs, width, height), 47);
        check_gradients(&[turned], |p| {
            ConvTranspose2d::from_tensors(&weight, None, config)?.forward(&p[0].transpose(2, 3)?)
        });
        let column = random((1, inputs, height, 1), 48);
        check_gradients(&[column], |p| {
            let x = p[0].broadcast_as((2, inputs, height, width))?;
            ConvTranspose2d::from_tensors(&weight, None, config)?.forward(&x)
        });
        let layer = ConvTranspose2d::from_tensors(&weight, Some(&bias), config).unwrap();
        let x = random((1, inputs, height, width), 49);
        check_dual(&x, |x| layer.forward_dual(x), |x| layer.forward(x));
    }
}

#[test]
fn candles_operations_give_the_same_values_and_gradients_where_they_are_taken() {
    let mut taken = 0;
    for case in cases() {
        let (config, image, [inputs, _], _) = case;
        let (weight, _) = parts(&case);
        let variables = [
            Var::from_tensor(&random((2, inputs, image[0], image[1]), 50)).unwrap(),
            Var::from_tensor(&weight).unwrap(),
        ];
        let layer = ConvTranspose2d::from_tensors(&variables[1], None, config).unwrap();
        let sizes = layer.sizes(2, image).unwrap();
        let ours = layer.forward(&variables[0]).unwrap();
        let reading = Reading::of_transpose(&sizes, image);
        let mut others = vec![composed::gathered(&variables[0], &variables[1], &reading).unwrap()];
        if composed::candle_is_right(&Device::Cpu, &sizes, image) {
            taken += 1;
            others.push(composed::transposed(&variables[0], &variables[1], &sizes, image).unwrap());
        }
        let projection = random(ours.shape(), 51);
        let gradients = |y: &Tensor| (y * &projection).unwrap().sum_all().unwrap().backward().unwrap();
        for other in others {
            assert!(distance(&ours, &other) < 1e-13, "{case:?}");
            let (ours, other) = (gradients(&ours), gradients(&other));
            for variable in &variables {
                let error = distance(ours.get(variable).unwrap(), other.get(variable).unwrap());
                assert!(error < 1e-12, "{case:?}: {error}");
            }
        }
    }
    assert!((3..cases().len()).contains(&taken), "{taken}");
}

#[test]
fn other_types_take_candles_operations() {
    for case in cases() {
        let (config, [height, width], [inputs, _], _) = case;
        let (weight, bias) = parts(&case);
        let x = random((2, inputs, height, width), 52);
        let exact = ConvTranspose2d::from_tensors(&weight, Some(&bias), config)
            .unwrap()
            .forward(&x)
            .unwrap();
        let half = |x: &Tensor| x.to_dtype(DType::F16).unwrap();
        let layer = ConvTranspose2d::from_tensors(&half(&weight), Some(&half(&bias)), config).unwrap();
        let y = layer.forward(&half(&x)).unwrap();
        assert!(distance(&y, &exact) < 0.05, "{case:?}: {}", distance(&y, &exact));
        let none = half(&x).narrow(0, 0, 0).unwrap();
        assert_eq!(layer.forward(&none).unwrap().dims()[..2], [0, layer.outputs()]);
    }
}

#[test]
fn rows_have_the_same_bytes_in_every_batch_and_none_gives_none() {
    let parameters = Parameters::new(3, DType::F32, &Device::Cpu);
    for (index, (config, [height, width], [inputs, outputs], kernel)) in cases().into_iter().enumerate() {
        let scope = parameters.scope().at(index);
        let layer = ConvTranspose2d::new(&scope, inputs, outputs, kernel, config).unwrap();
        let x = random((64, inputs, height, width), 53)
            .to_dtype(DType::F32)
            .unwrap();
        let all = layer.forward(&x).unwrap();
        for rows in [1, 2, 7] {
            let some = layer.forward(&x.narrow(0, 64 - rows, rows).unwrap()).unwrap();
            assert_eq!(distance(&some, &all.narrow(0, 64 - rows, rows).unwrap()), 0.0);
        }
        let none = layer.forward(&x.narrow(0, 0, 0).unwrap()).unwrap();
        assert_eq!(none.dims(), [&[0], &all.dims()[1..]].concat());
    }
}

#[test]
fn starts_are_pytorchs_and_misfits_are_named_on_both_sides() {
    let parameters = Parameters::new(7, DType::F64, &Device::Cpu);
    let plain = ConvTranspose2dConfig::default();
    let layer = ConvTranspose2d::new(&parameters.scope().at("up"), 6, 16, [4, 4], plain).unwrap();
    assert_eq!(layer.weight().dims(), [6, 16, 4, 4]);
    assert_eq!((layer.inputs(), layer.outputs()), (6, 16));
    let largest = numbers(layer.weight())
        .into_iter()
        .fold(0.0, |max: f64, w| max.max(w.abs()));
    // PyTorch's bound here is 1/√(outputs · 16).
    assert!(largest <= 1.0 / 16.0 && largest > 0.9 / 16.0, "{largest}");
    let says = |result: Result<Tensor>, words: &[&str]| {
        let message = result.unwrap_err().to_string();
        for word in words {
            assert!(message.contains(word), "{message}");
        }
    };
    says(
        layer.forward(&random((2, 5, 4, 4), 1)),
        &["`up`", "(batch, 6, height, width)", "[2, 5, 4, 4]"],
    );
    let single = random((1, 6, 4, 4), 1).to_dtype(DType::F32).unwrap();
    says(layer.forward(&single), &["F64", "F32"]);
    let cut = ConvTranspose2dConfig {
        padding: [3, 0],
        ..plain
    };
    let cut = ConvTranspose2d::from_tensors(layer.weight(), None, cut).unwrap();
    says(cut.forward(&random((1, 6, 2, 2), 1)), &["[3, 0]", "[2, 2]"]);
    let beyond = ConvTranspose2dConfig {
        output_padding: [0, 1],
        ..plain
    };
    let message = ConvTranspose2d::from_tensors(layer.weight(), None, beyond)
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("output_padding = 1") && message.contains("stride"),
        "{message}"
    );
    let grouped = ConvTranspose2dConfig { groups: 4, ..plain };
    assert!(ConvTranspose2d::new(&parameters.scope().at("b"), 6, 16, [4, 4], grouped).is_err());
    assert_eq!(parameters.names().len(), 2, "nothing was created");
}
