use super::*;
use crate::linear::LinearInit;
use crate::modulation::AdaLn;
use crate::parameters::Parameters;
use crate::rms_norm::RmsNorm;
use crate::testing::{check_dual, check_gradients, distance, random};
use candle_core::{DType, Device};

/// Both norms of rows, each with and without parameters, which are random.
fn norms(width: usize) -> [Norm; 4] {
    let parameters = Parameters::new(11, DType::F64, &Device::Cpu);
    let scope = parameters.scope();
    let norms = [
        LayerNorm::new(&scope.at("layer"), width).unwrap().norm,
        LayerNorm::without_affine(&scope.at("plain"), width).unwrap().norm,
        RmsNorm::new(&scope.at("rms"), width).unwrap().norm,
        RmsNorm::without_affine(&scope.at("bare"), width).unwrap().norm,
    ];
    assert_eq!(parameters.names(), ["layer.bias", "layer.weight", "rms.weight"]);
    for (index, variable) in parameters.named().into_iter().map(|(_, v)| v).enumerate() {
        variable.set(&random(width, 90 + index as u64)).unwrap();
    }
    norms
}

const SHAPES: [&[usize]; 4] = [&[1, 2], &[2, 3, 5], &[3, 33], &[2, 2, 3, 4]];

#[test]
fn gradients_of_input_parameters_and_modulation_are_central_differences() {
    for dims in SHAPES {
        let width = dims[dims.len() - 1];
        for norm in norms(width) {
            let with = |weight: &Tensor, bias: &Tensor| Norm {
                weight: norm.weight.is_some().then(|| weight.clone()),
                bias: norm.bias.is_some().then(|| bias.clone()),
                ..norm.clone()
            };
            let (x, weight, bias) = (random(dims, 1), random(width, 2), random(width, 3));
            let wide = random((dims[0], 2 * width + 3), 4);
            check_gradients(&[x.clone(), weight.clone(), bias.clone()], |t| {
                with(&t[1], &t[2]).forward(&t[0], None)
            });
            check_gradients(&[x, weight, bias, wide], |t| {
                let modulation = Modulation::shift_then_scale(&t[3], 1);
                with(&t[1], &t[2]).forward(&t[0], Some(&modulation))
            });
        }
    }
}

#[test]
fn tangents_are_central_differences_and_candles_operations_agree() {
    for dims in SHAPES {
        let width = dims[dims.len() - 1];
        for norm in norms(width) {
            let (x, wide) = (random(dims, 1), random((dims[0], 2 * width + 3), 4));
            check_dual(&x, |x| norm.forward_dual(x, None), |x| norm.forward(x, None));
            let place = |values: &Tensor| Modulation::scale_then_shift(values, 2);
            let fixed = place(&wide).of(Dual::constant(wide.clone()));
            check_dual(
                &x,
                |x| norm.forward_dual(x, Some(&fixed)),
                |x| norm.forward(x, Some(&place(&wide))),
            );
            check_dual(
                &x,
                |x| norm.composed(x, Some(&fixed)),
                |x| norm.forward(x, Some(&place(&wide))),
            );
            let still = Dual::constant(x.clone());
            check_dual(
                &wide,
                |wide| norm.forward_dual(&still, Some(&fixed.of(wide.clone()))),
                |wide| norm.forward(&x, Some(&place(wide))),
            );
            check_gradients(&[x, wide], |t| {
                let modulation = fixed.of(Dual::constant(t[1].clone()));
                let y = norm.composed(&Dual::constant(t[0].clone()), Some(&modulation))?;
                Ok(y.value().clone())
            });
        }
    }
}

#[test]
fn leading_dimensions_and_views_do_not_matter() {
    for norm in norms(4) {
        let x = random((6, 5, 4), 1);
        let y = norm.forward(&x, None).unwrap();
        let flat = norm.forward(&x.reshape((30, 4)).unwrap(), None).unwrap();
        assert_eq!(distance(&y.reshape((30, 4)).unwrap(), &flat), 0.0);
        let turned = norm.forward(&x.transpose(0, 1).unwrap(), None).unwrap();
        assert_eq!(distance(&turned.transpose(0, 1).unwrap(), &y), 0.0);
        let row = x.narrow(0, 2, 1).unwrap().narrow(1, 3, 1).unwrap();
        let repeated = norm.forward(&row.broadcast_as((6, 5, 4)).unwrap(), None).unwrap();
        let single = norm.forward(&row, None).unwrap().broadcast_as((6, 5, 4)).unwrap();
        assert_eq!(distance(&repeated, &single), 0.0);
    }
}

#[test]
fn a_row_has_the_same_bytes_in_every_batch() {
    let parameters = Parameters::new(1, DType::F32, &Device::Cpu);
    let norm = LayerNorm::new(&parameters.scope(), 33).unwrap();
    let single = |t: Tensor| t.to_dtype(DType::F32).unwrap();
    let (x, m) = (single(random((64, 7, 33), 1)), single(random((64, 66), 2)));
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
fn empty_batches_give_empty_outputs() {
    for norm in norms(4) {
        for shape in [(0, 3, 4), (2, 0, 4)] {
            let modulation = Modulation::shift_then_scale(&random((shape.0, 8), 1), 0);
            for modulation in [None, Some(&modulation)] {
                assert_eq!(
                    norm.forward(&random(shape, 1), modulation).unwrap().dims(),
                    [shape.0, shape.1, 4]
                );
            }
        }
    }
}

#[test]
fn misfits_are_named_on_both_sides() {
    for norm in norms(4) {
        let message = norm.forward(&random((2, 5), 1), None).unwrap_err().to_string();
        assert!(
            message.contains(", 4)") && message.contains("[2, 5]"),
            "{message}"
        );
        assert!(norm.forward(&random(4, 1), None).is_err());
        let wrong = Modulation::shift_then_scale(&random((2, 8), 1), 1);
        let message = norm
            .forward(&random((2, 4), 1), Some(&wrong))
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("9 columns") && message.contains("[2, 8]"),
            "{message}"
        );
        assert!(norm.with_epsilon(f64::NAN).is_err());
    }
}

#[test]
fn adaptive_slices_modulate_and_gate() {
    let parameters = Parameters::new(3, DType::F64, &Device::Cpu);
    let scope = parameters.scope();
    let norm = LayerNorm::without_affine(&scope.at("norm"), 4).unwrap();
    let ada = AdaLn::new(&scope.at("ada"), 6, 4, 3, LinearInit::new(6)).unwrap();
    let (x, c) = (random((2, 5, 4), 1), random((2, 6), 2));
    let slices = ada.forward(&c).unwrap();
    let part = |index: usize| slices.values().narrow(1, 4 * index, 4).unwrap();
    let wanted = norm.forward_modulated(&x, &part(1), &part(0)).unwrap();
    let y = norm.forward_with(&x, &slices.modulation(0)).unwrap();
    assert_eq!(distance(&y, &wanted), 0.0);
    assert_eq!(distance(&slices.gate(2).unwrap(), &part(2)), 0.0);
    assert!(slices.gate(3).is_err());
    let block = |c: &Tensor| {
        let slices = ada.forward(c)?;
        let h = norm.forward_with(&x, &slices.modulation(0))?;
        crate::gated_residual(&x, &slices.gate(2)?, &h)
    };
    check_gradients(std::slice::from_ref(&c), |t| block(&t[0]));
    let still = Dual::constant(x.clone());
    let moving = |c: &Dual| {
        let slices = ada.forward_dual(c)?;
        let h = norm.forward_dual_with(&still, &slices.modulation(0))?;
        crate::gated_residual_dual(&still, &slices.gate(2)?, &h)
    };
    check_dual(&c, moving, block);
    let zero = AdaLn::new(&scope.at("zero"), 6, 4, 3, LinearInit::zeros()).unwrap();
    let slices = zero.forward(&c).unwrap();
    let h = norm.forward_with(&x, &slices.modulation(0)).unwrap();
    assert_eq!(
        distance(
            &crate::gated_residual(&x, &slices.gate(2).unwrap(), &h).unwrap(),
            &x
        ),
        0.0
    );
    assert!(AdaLn::new(&scope.at("none"), 6, 0, 3, LinearInit::zeros()).is_err());
}
