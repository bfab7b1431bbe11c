use super::*;
use crate::parameters::Parameters;
use crate::testing::{check_dual, check_gradients, distance, random};
use candle_core::{DType, Device, Shape};

fn layer(groups: usize, channels: usize, activation: Activation) -> (Parameters, GroupNorm) {
    let parameters = Parameters::new(11, DType::F64, &Device::Cpu);
    let norm = GroupNorm::new(&parameters.scope().at("norm"), groups, channels).unwrap();
    for (index, variable) in parameters.named().into_iter().map(|(_, v)| v).enumerate() {
        variable.set(&random(channels, 90 + index as u64)).unwrap();
    }
    (parameters, norm.activated(activation))
}

/// The norm with other parameters, as a function of them.
fn with_parameters(norm: &GroupNorm, weight: &Tensor, bias: &Tensor) -> GroupNorm {
    let mut norm = norm.clone();
    norm.norm.weight = Some(weight.clone());
    norm.norm.bias = Some(bias.clone());
    norm
}

const SHAPES: [(&[usize], usize); 5] = [
    (&[1, 1, 2], 1),
    (&[2, 6, 3, 5], 3),
    (&[3, 4], 2),
    (&[1, 4, 7, 1], 4),
    (&[2, 2, 3, 3, 3], 1),
];

#[test]
fn gradients_of_input_parameters_and_modulation_are_central_differences() {
    for (dims, groups) in SHAPES {
        let channels = dims[1];
        for activation in [Activation::Identity, Activation::Silu] {
            let (_, norm) = layer(groups, channels, activation);
            let (x, weight, bias) = (random(dims, 1), random(channels, 2), random(channels, 3));
            check_gradients(&[x.clone(), weight.clone(), bias.clone()], |t| {
                with_parameters(&norm, &t[1], &t[2]).forward(&t[0])
            });
            let (scale, shift) = (random((dims[0], channels), 4), random((dims[0], channels), 5));
            check_gradients(&[x.clone(), weight, bias, scale, shift], |t| {
                with_parameters(&norm, &t[1], &t[2]).forward_modulated(&t[0], &t[3], &t[4])
            });
            let wide = random((dims[0], 2 * channels + 3), 6);
            for modulation in [Modulation::shift_then_scale, Modulation::scale_then_shift] {
                check_gradients(&[x.clone(), wide.clone()], |t| {
                    norm.forward_with(&t[0], &modulation(&t[1], 2))
                });
            }
        }
    }
}

#[test]
fn the_kernel_and_candles_operations_agree_in_value_gradient_and_tangent() {
    for (dims, groups) in SHAPES {
        let (parameters, norm) = layer(groups, dims[1], Activation::Silu);
        let x = candle_core::Var::from_tensor(&random(dims, 1)).unwrap();
        let values = random((dims[0], 2 * dims[1]), 2);
        let tangent = |t: &Tensor| random(t.shape(), 9);
        let dual = Dual::new(x.as_tensor().clone(), tangent(&x)).unwrap();
        let values = Modulation::shift_then_scale(&Dual::new(values.clone(), tangent(&values)).unwrap(), 0);
        for modulation in [None, Some(&values)] {
            let ours = norm.norm.forward_dual(&dual, modulation).unwrap();
            let theirs = norm.norm.composed(&dual, modulation).unwrap();
            assert!(distance(ours.value(), theirs.value()) < 1e-12);
            assert!(distance(ours.tangent().unwrap(), theirs.tangent().unwrap()) < 1e-10);
            let gradients = |y: &Dual| {
                (y.value() * random(dims, 3))
                    .unwrap()
                    .sum_all()
                    .unwrap()
                    .backward()
            };
            let (ours, theirs) = (gradients(&ours).unwrap(), gradients(&theirs).unwrap());
            for (name, variable) in parameters
                .named()
                .into_iter()
                .chain([("x".to_string(), x.clone())])
            {
                let error = distance(ours.get(&variable).unwrap(), theirs.get(&variable).unwrap());
                assert!(error < 1e-10, "{dims:?} {name}: {error}");
            }
        }
    }
}

#[test]
fn tangents_are_central_differences() {
    for (dims, groups) in SHAPES {
        let (_, norm) = layer(groups, dims[1], Activation::Silu);
        let x = random(dims, 1);
        check_dual(&x, |x| norm.forward_dual(x), |x| norm.forward(x));
        let (scale, shift) = (random((dims[0], dims[1]), 4), random((dims[0], dims[1]), 5));
        let fixed = Dual::constant(x.clone());
        check_dual(
            &scale,
            |scale| norm.forward_modulated_dual(&fixed, scale, &scale.scale(0.5)?),
            |scale| norm.forward_modulated(&x, scale, &(scale * 0.5)?),
        );
        let (scale_dual, shift_dual) = (Dual::constant(scale.clone()), Dual::constant(shift.clone()));
        check_dual(
            &x,
            |x| norm.forward_modulated_dual(x, &scale_dual, &shift_dual),
            |x| norm.forward_modulated(x, &scale, &shift),
        );
    }
}

#[test]
fn views_of_inputs_and_modulations_do_not_matter() {
    let (_, norm) = layer(3, 6, Activation::Silu);
    let (x, wide) = (random((4, 5, 6), 1), random((14, 4), 2));
    let (x, wide) = (x.transpose(1, 2).unwrap(), wide.t().unwrap());
    let copied = Modulation::scale_then_shift(&wide.contiguous().unwrap(), 1);
    let wanted = norm.forward_with(&x.contiguous().unwrap(), &copied).unwrap();
    let got = norm
        .forward_with(&x, &Modulation::scale_then_shift(&wide, 1))
        .unwrap();
    assert_eq!(distance(&got, &wanted), 0.0);
    // One row for the whole batch, and columns of a wider matrix.
    let row = random((1, 20), 3);
    let repeated = row.broadcast_as((4, 20)).unwrap().narrow(1, 5, 12).unwrap();
    let got = norm
        .forward_with(&x, &Modulation::shift_then_scale(&repeated, 0))
        .unwrap();
    let repeated = repeated.contiguous().unwrap();
    let wanted = norm
        .forward_with(&x, &Modulation::shift_then_scale(&repeated, 0))
        .unwrap();
    assert_eq!(distance(&got, &wanted), 0.0);
}

#[test]
fn an_image_has_the_same_bytes_in_every_batch() {
    let parameters = Parameters::new(1, DType::F32, &Device::Cpu);
    let norm = GroupNorm::new(&parameters.scope(), 2, 6)
        .unwrap()
        .activated(Activation::Silu);
    let single = |shape: (usize, usize, usize), seed| random(shape, seed).to_dtype(DType::F32).unwrap();
    let (x, m) = (single((64, 6, 35), 1), single((64, 12, 1), 2).squeeze(2).unwrap());
    let whole = norm
        .forward_with(&x, &Modulation::shift_then_scale(&m, 0))
        .unwrap();
    for batch in [1, 2, 7] {
        let part = |t: &Tensor| t.narrow(0, 0, batch).unwrap();
        let y = norm
            .forward_with(&part(&x), &Modulation::shift_then_scale(&part(&m), 0))
            .unwrap();
        let bytes = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(bytes(&y), bytes(&part(&whole)));
    }
}

#[test]
fn half_precision_is_normalised_in_single() {
    let (_, norm) = layer(2, 4, Activation::Silu);
    let x = random((2, 4, 9), 1);
    let half = |t: &Tensor| t.to_dtype(DType::BF16).unwrap();
    let small = with_parameters(&norm, &half(norm.weight().unwrap()), &half(norm.bias().unwrap()));
    let y = small.forward(&half(&x)).unwrap();
    assert_eq!(y.dtype(), DType::BF16);
    assert!(distance(&y, &norm.forward(&x).unwrap()) < 0.05);
}

#[test]
fn empty_batches_give_empty_outputs_and_zero_gradients() {
    let (parameters, norm) = layer(2, 4, Activation::Silu);
    for shape in [Shape::from((0, 4, 3)), Shape::from((2, 4, 0))] {
        let x = random(shape.clone(), 1);
        let y = norm.forward(&x).unwrap();
        assert_eq!(y.shape(), &shape);
        let gradients = y.sum_all().unwrap().backward().unwrap();
        let weight = parameters.variable("norm.weight").unwrap();
        assert_eq!(
            distance(
                gradients.get(&weight).unwrap(),
                &random(4, 1).zeros_like().unwrap()
            ),
            0.0
        );
    }
}

#[test]
fn only_what_is_tracked_gets_a_gradient() {
    let (parameters, _) = layer(2, 4, Activation::Silu);
    let frozen = GroupNorm::new(&parameters.detached().scope().at("norm"), 2, 4).unwrap();
    assert!(
        !frozen.forward(&random((2, 4, 3), 1)).unwrap().track_op(),
        "a view has no graph"
    );
    assert_eq!(parameters.names(), ["norm.bias", "norm.weight"]);
    let plain = GroupNorm::without_affine(&parameters.scope().at("plain"), 2, 4).unwrap();
    assert!(plain.weight().is_none() && plain.bias().is_none() && parameters.names().len() == 2);
    check_gradients(&[random((2, 4, 3), 1)], |t| plain.forward(&t[0]));
}

#[test]
fn misfits_are_named_on_both_sides() {
    let parameters = Parameters::new(1, DType::F64, &Device::Cpu);
    let uneven = GroupNorm::new(&parameters.scope().at("a"), 4, 6)
        .unwrap_err()
        .to_string();
    assert!(uneven.contains("4 groups") && uneven.contains('6'), "{uneven}");
    assert!(parameters.names().is_empty(), "nothing is left behind");
    let (_, norm) = layer(2, 4, Activation::Silu);
    let message = norm.forward(&random((2, 5, 3), 1)).unwrap_err().to_string();
    assert!(
        message.contains("`norm`") && message.contains(", 4,") && message.contains("[2, 5, 3]"),
        "{message}"
    );
    assert!(norm.forward(&random(4, 1)).is_err());
    let x = random((2, 4, 3), 1);
    let message = norm
        .forward(&x.to_dtype(DType::F32).unwrap())
        .unwrap_err()
        .to_string();
    assert!(message.contains("F64") && message.contains("F32"), "{message}");
    for wrong in [random((3, 8), 2), random((2, 7), 2), random((2, 8, 1), 2)] {
        let message = norm
            .forward_with(&x, &Modulation::shift_then_scale(&wrong, 0))
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("2 rows") && message.contains("8 columns"),
            "{message}"
        );
        assert!(message.contains(&format!("{:?}", wrong.shape())), "{message}");
    }
    let single = random((2, 8), 2).to_dtype(DType::F32).unwrap();
    assert!(
        norm.forward_with(&x, &Modulation::shift_then_scale(&single, 0))
            .is_err()
    );
    assert!(norm.with_epsilon(0.0).is_err());
}
