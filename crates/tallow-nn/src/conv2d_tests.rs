use super::*;
use crate::parameters::Parameters;
use crate::testing::{check_dual, check_gradients, distance, numbers, random};
use candle_core::{DType, Device, Var};

fn config(stride: [usize; 2], padding: [usize; 2], dilation: [usize; 2], groups: usize) -> Conv2dConfig {
    Conv2dConfig {
        stride,
        padding,
        dilation,
        groups,
    }
}

/// Configurations with their image, channels in and out, and kernel.
type Case = (Conv2dConfig, [usize; 2], [usize; 2], [usize; 2]);

fn cases() -> Vec<Case> {
    vec![
        (Conv2dConfig::default(), [5, 4], [3, 2], [1, 1]),
        (Conv2dConfig::same([3, 3]), [5, 4], [2, 3], [3, 3]),
        (Conv2dConfig::same([3, 3]).strided([2, 2]), [7, 7], [2, 3], [3, 3]),
        (Conv2dConfig::same([3, 3]).strided([2, 2]), [6, 7], [2, 3], [3, 3]),
        (config([2, 1], [0, 2], [1, 2], 1), [6, 5], [1, 2], [2, 3]),
        (config([1, 1], [2, 2], [2, 2], 2), [5, 5], [4, 6], [3, 3]),
        (config([3, 3], [1, 1], [1, 1], 3), [7, 5], [3, 3], [2, 2]),
        (config([1, 2], [4, 4], [1, 1], 1), [3, 3], [2, 1], [1, 1]),
        (config([2, 2], [0, 0], [1, 1], 1), [8, 8], [2, 2], [2, 2]),
    ]
}

fn parts(case: &Case) -> (Tensor, Tensor) {
    let &(config, _, [inputs, outputs], [height, width]) = case;
    (
        random((outputs, inputs / config.groups, height, width), 21),
        random(outputs, 22),
    )
}

/// The definition, one value at a time.
fn by_definition(x: &Tensor, weight: &Tensor, bias: &Tensor, config: &Conv2dConfig) -> Tensor {
    let (batch, inputs, height, width) = x.dims4().unwrap();
    let (outputs, depth, kernel_height, kernel_width) = weight.dims4().unwrap();
    let output = |axis: usize, size: usize, kernel: usize| {
        (size + 2 * config.padding[axis] - config.dilation[axis] * (kernel - 1) - 1) / config.stride[axis] + 1
    };
    let (rows, columns) = (output(0, height, kernel_height), output(1, width, kernel_width));
    let (x, weight, bias) = (numbers(x), numbers(weight), numbers(bias));
    let mut y = Vec::new();
    for index in 0..batch * outputs * rows * columns {
        let (j, i) = (index % columns, index / columns % rows);
        let (o, b) = (index / columns / rows % outputs, index / columns / rows / outputs);
        let mut sum = bias[o];
        for c in 0..depth {
            let channel = o / (outputs / config.groups) * (inputs / config.groups) + c;
            for k in 0..kernel_height {
                for l in 0..kernel_width {
                    let row = i * config.stride[0] + k * config.dilation[0];
                    let column = j * config.stride[1] + l * config.dilation[1];
                    let (Some(row), Some(column)) = (
                        row.checked_sub(config.padding[0]),
                        column.checked_sub(config.padding[1]),
                    ) else {
                        continue;
                    };
                    if row < height && column < width {
                        sum += weight[((o * depth + c) * kernel_height + k) * kernel_width + l]
                            * x[((b * inputs + channel) * height + row) * width + column];
                    }
                }
            }
        }
        y.push(sum);
    }
    Tensor::from_vec(y, (batch, outputs, rows, columns), &Device::Cpu).unwrap()
}

#[test]
fn outputs_are_the_definition() {
    for case in cases() {
        let (config, [height, width], [inputs, _], _) = case;
        let (weight, bias) = parts(&case);
        let x = random((2, inputs, height, width), 23);
        let y = Conv2d::from_tensors(&weight, Some(&bias), config)
            .unwrap()
            .forward(&x)
            .unwrap();
        let error = distance(&y, &by_definition(&x, &weight, &bias, &config));
        assert!(error < 1e-13, "{case:?}: {error}");
    }
}

#[test]
fn gradients_and_tangents_are_central_differences() {
    for case in cases() {
        let (config, [height, width], [inputs, _], _) = case;
        let (weight, bias) = parts(&case);
        for batch in [1, 2] {
            let x = random((batch, inputs, height, width), 24);
            check_gradients(&[x, weight.clone(), bias.clone()], |p| {
                Conv2d::from_tensors(&p[1], Some(&p[2]), config)?.forward(&p[0])
            });
        }
        let turned = random((2, inputs, width, height), 25);
        check_gradients(&[turned, weight.clone()], |p| {
            Conv2d::from_tensors(&p[1], None, config)?.forward(&p[0].transpose(2, 3)?)
        });
        let column = random((1, inputs, height, 1), 26);
        check_gradients(
            &[column, weight.transpose(2, 3).unwrap().contiguous().unwrap()],
            |p| {
                let x = p[0].broadcast_as((2, inputs, height, width))?;
                Conv2d::from_tensors(&p[1].transpose(2, 3)?, None, config)?.forward(&x)
            },
        );
        let longer = random((3, inputs + 1, height, width), 27);
        check_gradients(&[longer], |p| {
            let x = p[0].narrow(1, 1, inputs)?.narrow(0, 1, 1)?;
            Conv2d::from_tensors(&weight, Some(&bias), config)?.forward(&x)
        });
        let layer = Conv2d::from_tensors(&weight, Some(&bias), config).unwrap();
        let x = random((1, inputs, height, width), 28);
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
            Var::from_tensor(&random((2, inputs, image[0], image[1]), 29)).unwrap(),
            Var::from_tensor(&weight).unwrap(),
        ];
        let sizes = config.sizes(2, image, &weight).unwrap();
        let output = sizes.output_size().unwrap();
        let ours = Conv2d::from_tensors(&variables[1], None, config)
            .unwrap()
            .forward(&variables[0])
            .unwrap();
        let mut others =
            vec![composed::gathered(&variables[0], &variables[1], &Reading::of(&sizes, output)).unwrap()];
        if composed::candle_is_right(&Device::Cpu, &sizes, output) {
            taken += 1;
            others.push(composed::convolution(&variables[0], &variables[1], &sizes).unwrap());
        }
        let projection = random(ours.shape(), 30);
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
        let x = random((2, inputs, height, width), 31);
        let exact = Conv2d::from_tensors(&weight, Some(&bias), config)
            .unwrap()
            .forward(&x)
            .unwrap();
        let half = |x: &Tensor| x.to_dtype(DType::F16).unwrap();
        let layer = Conv2d::from_tensors(&half(&weight), Some(&half(&bias)), config).unwrap();
        let y = layer.forward(&half(&x)).unwrap();
        assert_eq!(y.dtype(), DType::F16);
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
        let layer = Conv2d::new(&scope, inputs, outputs, kernel, config).unwrap();
        let x = random((64, inputs, height, width), 32)
            .to_dtype(DType::F32)
            .unwrap();
        let all = layer.forward(&x).unwrap();
        for rows in [1, 2, 7] {
            let some = layer.forward(&x.narrow(0, 64 - rows, rows).unwrap()).unwrap();
            assert_eq!(distance(&some, &all.narrow(0, 64 - rows, rows).unwrap()), 0.0);
        }
        let none = layer.forward(&x.narrow(0, 0, 0).unwrap()).unwrap();
        assert_eq!(none.dims(), [&[0], &all.dims()[1..]].concat());
        let gradients = none.sum_all().unwrap().backward().unwrap();
        let gradient = gradients.get(layer.weight()).unwrap();
        assert_eq!(distance(gradient, &gradient.zeros_like().unwrap()), 0.0);
    }
}

#[test]
fn at_the_sizes_of_networks_single_precision_follows_double_and_rows_keep_their_bytes() {
    for (config, kernel, [inputs, outputs], [height, width]) in [
        (Conv2dConfig::same([3, 3]), [3, 3], [16, 24], [28, 28]),
        (
            Conv2dConfig::same([3, 3]).strided([2, 2]),
            [3, 3],
            [24, 16],
            [28, 30],
        ),
        (Conv2dConfig::default(), [1, 1], [32, 48], [14, 14]),
        (Conv2dConfig::same([3, 3]), [3, 3], [3, 32], [17, 23]),
        (config([1, 1], [3, 3], [1, 1], 8), [7, 7], [16, 16], [16, 16]),
    ] {
        let parts = [
            random((64, inputs, height, width), 34),
            random((outputs, inputs / config.groups, kernel[0], kernel[1]), 35),
            random(outputs, 36),
        ];
        let run = |dtype: DType| {
            let [x, weight, bias] = parts
                .clone()
                .map(|part| Var::from_tensor(&part.to_dtype(dtype).unwrap()).unwrap());
            let layer = Conv2d::from_tensors(&weight, Some(&bias), config).unwrap();
            let y = layer.forward(&x).unwrap();
            let projection = random(y.shape(), 37).to_dtype(dtype).unwrap();
            let gradients = (&y * projection).unwrap().sum_all().unwrap().backward().unwrap();
            if dtype == DType::F32 {
                for rows in [1, 2, 7] {
                    let some = layer.forward(&x.narrow(0, 64 - rows, rows).unwrap()).unwrap();
                    assert_eq!(distance(&some, &y.narrow(0, 64 - rows, rows).unwrap()), 0.0);
                }
            }
            let gradient = |variable: &Var| gradients.get(variable).unwrap().clone();
            [y.detach(), gradient(&x), gradient(&weight), gradient(&bias)]
        };
        for (index, (single, double)) in run(DType::F32).iter().zip(run(DType::F64)).enumerate() {
            let largest = numbers(&double)
                .into_iter()
                .fold(0.0, |max: f64, v| max.max(v.abs()));
            let error = distance(single, &double);
            assert!(
                error < 1e-5 * largest,
                "{config:?}, part {index}: {error} of {largest}"
            );
        }
    }
}

#[test]
fn only_what_is_tracked_gets_a_gradient() {
    let parameters = Parameters::new(3, DType::F64, &Device::Cpu);
    let config = Conv2dConfig::same([3, 3]);
    let layer = Conv2d::new(&parameters.scope(), 2, 2, [3, 3], config).unwrap();
    let x = random((1, 2, 4, 4), 33);
    let frozen = Conv2d::new(&parameters.detached().scope(), 2, 2, [3, 3], config).unwrap();
    assert!(!frozen.forward(&x).unwrap().track_op());
    let variable = Var::from_tensor(&x).unwrap();
    let loss = frozen.forward(&variable).unwrap().sum_all().unwrap();
    assert!(loss.backward().unwrap().get(&variable).is_some());
    let gradients = layer.forward(&x).unwrap().sum_all().unwrap().backward().unwrap();
    // Each of the 16 positions counts its bias once.
    assert_eq!(
        numbers(gradients.get(layer.bias().unwrap()).unwrap()),
        [16.0, 16.0]
    );
}

#[test]
fn starts_are_pytorchs_or_those_asked_for() {
    let parameters = Parameters::new(7, DType::F64, &Device::Cpu);
    let config = Conv2dConfig {
        groups: 2,
        ..Conv2dConfig::same([3, 3])
    };
    let layer = Conv2d::new(&parameters.scope().at("a"), 64, 32, [3, 3], config).unwrap();
    assert_eq!(parameters.names(), ["a.bias", "a.weight"]);
    assert_eq!(layer.weight().dims(), [32, 32, 3, 3]);
    let bound = 1.0 / (32.0f64 * 9.0).sqrt();
    for tensor in [layer.weight(), layer.bias().unwrap()] {
        let largest = numbers(tensor)
            .into_iter()
            .fold(0.0, |max: f64, w| max.max(w.abs()));
        assert!(largest <= bound && largest > 0.9 * bound, "{largest} {bound}");
    }
    let silent = LinearInit::zeros().without_bias();
    let layer = Conv2d::with_init(
        &parameters.scope().at("b"),
        2,
        3,
        [1, 1],
        Conv2dConfig::default(),
        silent,
    )
    .unwrap();
    assert!(layer.bias().is_none());
    assert_eq!((layer.inputs(), layer.outputs()), (2, 3));
    let y = layer.forward(&random((1, 2, 2, 2), 1)).unwrap();
    assert_eq!(distance(&y, &y.zeros_like().unwrap()), 0.0);
}

#[test]
fn misfits_are_named_on_both_sides() {
    let parameters = Parameters::new(7, DType::F64, &Device::Cpu);
    let config = Conv2dConfig::default();
    let layer = Conv2d::new(&parameters.scope().at("stem"), 3, 4, [3, 3], config).unwrap();
    let says = |result: Result<Tensor>, words: &[&str]| {
        let message = result.unwrap_err().to_string();
        for word in words {
            assert!(message.contains(word), "{message}");
        }
    };
    says(
        layer.forward(&random((2, 5, 4, 4), 1)),
        &["`stem`", "(batch, 3, height, width)", "[2, 5, 4, 4]"],
    );
    says(layer.forward(&random((3, 4, 4), 1)), &["[3, 4, 4]"]);
    says(layer.forward(&random((1, 3, 2, 4), 1)), &["height", "3", "2"]);
    let single = random((1, 3, 4, 4), 1).to_dtype(DType::F32).unwrap();
    says(layer.forward(&single), &["F64", "F32"]);
    let grouped = Conv2dConfig { groups: 2, ..config };
    let message = Conv2d::new(&parameters.scope().at("b"), 3, 4, [3, 3], grouped)
        .unwrap_err()
        .to_string();
    assert!(message.contains("2 groups") && message.contains('3'), "{message}");
    assert_eq!(parameters.names().len(), 2, "nothing was created");
    for (kernel, config) in [
        ([0, 1], config),
        ([1, 1], config.strided([1, 0])),
        ([1, 1], Conv2dConfig { groups: 0, ..config }),
    ] {
        assert!(Conv2d::new(&parameters.scope().at("c"), 3, 4, kernel, config).is_err());
    }
    assert!(Conv2d::from_tensors(layer.weight(), Some(&random(5, 1)), config).is_err());
    assert!(Conv2d::from_tensors(&random((3, 4), 1), None, config).is_err());
}
