use super::*;
use crate::testing::{check_dual, random};
use candle_core::{Device, Var};

fn distance(a: &Tensor, b: &Tensor) -> f64 {
    let difference = (a - b).unwrap().abs().unwrap().flatten_all().unwrap();
    difference
        .max(0)
        .unwrap()
        .to_dtype(DType::F64)
        .unwrap()
        .to_scalar()
        .unwrap()
}

fn points() -> Var {
    Var::new(&[[0.3f64, -1.2], [2.5, 0.0], [-0.7, 0.9]], &Device::Cpu).unwrap()
}

#[test]
fn values_and_gradients_are_those_of_candles_operations() {
    let harmonics = FourierFeatures::harmonics(2, 3, 1.5).unwrap();
    let octaves = FourierFeatures::octaves(2, 4, 3.0)
        .unwrap()
        .with_order(WaveOrder::SinesFirst);
    let random = FourierFeatures::random(2, 5, 0.7, 3)
        .unwrap()
        .with_order(WaveOrder::Interleaved);
    for features in [harmonics, octaves, random] {
        let x = points();
        let (ours, theirs) = (features.forward(&x).unwrap(), features.composed(&x).unwrap());
        assert_eq!(ours.dims(), [3, features.outputs()]);
        assert!(distance(&ours, &theirs) < 1e-14);
        let weights = Tensor::arange(0f64, features.outputs() as f64, &Device::Cpu).unwrap();
        let gradient = |y: &Tensor| {
            let loss = y.broadcast_mul(&weights).unwrap().sum_all().unwrap();
            loss.backward().unwrap().remove(&x).unwrap()
        };
        assert!(distance(&gradient(&ours), &gradient(&theirs)) < 1e-11);
    }
}

#[test]
fn tangents_are_central_differences_in_every_order() {
    for (order, inputs, shape) in [
        (WaveOrder::SinesFirst, 2, vec![3, 2]),
        (WaveOrder::CosinesFirst, 3, vec![130, 3]),
        (WaveOrder::Interleaved, 1, vec![2, 3, 1]),
    ] {
        let features = FourierFeatures::random(inputs, 5, 0.3, 9)
            .unwrap()
            .with_order(order);
        let x = random(shape, 4);
        check_dual(&x, |x| features.forward_dual(x), |x| features.forward(x));
        check_dual(
            &x,
            |x| {
                let y = features.composed(x.value())?;
                match x.tangent() {
                    Some(direction) => Dual::new(y, features.composed_tangent(x.value(), direction)?),
                    None => Ok(Dual::constant(y)),
                }
            },
            |x| features.forward(x),
        );
    }
    let half = random((3, 2), 5).to_dtype(DType::F16).unwrap();
    let features = FourierFeatures::harmonics(2, 3, 1.0).unwrap();
    let y = features.forward_dual(&Dual::new(half.clone(), half).unwrap());
    assert_eq!(y.unwrap().tangent().unwrap().dtype(), DType::F16);
}

#[test]
fn harmonics_are_multiples_and_octaves_powers() {
    let x = Tensor::new(&[[0.4f64]], &Device::Cpu).unwrap();
    let row = |features: FourierFeatures| features.forward(&x).unwrap().to_vec2::<f64>().unwrap().remove(0);
    let harmonics = row(FourierFeatures::harmonics(1, 3, 2.0).unwrap());
    let octaves = row(FourierFeatures::octaves(1, 3, 2.0).unwrap());
    for (i, (h, o)) in [(2.0, 2.0), (4.0, 4.0), (6.0, 8.0)].into_iter().enumerate() {
        assert!((harmonics[i] - (0.4f64 * h).cos()).abs() < 1e-15);
        assert!((octaves[3 + i] - (0.4f64 * o).sin()).abs() < 1e-15);
    }
}

#[test]
fn single_precision_is_the_rounded_double_and_half_comes_close() {
    let features = FourierFeatures::harmonics(2, 4, 3.0).unwrap();
    let single = points().to_dtype(DType::F32).unwrap();
    let ours = features.forward(&single).unwrap();
    let exact = features
        .forward(&single.to_dtype(DType::F64).unwrap())
        .unwrap()
        .to_dtype(DType::F32)
        .unwrap();
    assert_eq!(distance(&ours, &exact), 0.0);
    let half = features.forward(&single.to_dtype(DType::F16).unwrap()).unwrap();
    assert!(distance(&half.to_dtype(DType::F32).unwrap(), &ours) < 0.02);
}

#[test]
fn sizes_and_shapes_that_do_not_fit_are_refused() {
    assert!(FourierFeatures::harmonics(0, 3, 1.0).is_err());
    assert!(FourierFeatures::octaves(2, 0, 1.0).is_err());
    assert!(FourierFeatures::random(2, 3, f64::NAN, 1).is_err());
    assert!(
        FourierFeatures::harmonics(3, 2, 1.0)
            .unwrap()
            .forward(&points())
            .is_err()
    );
    let empty = Tensor::zeros((0, 2), DType::F32, &Device::Cpu).unwrap();
    assert_eq!(
        FourierFeatures::harmonics(2, 2, 1.0)
            .unwrap()
            .forward(&empty)
            .unwrap()
            .dims(),
        [0, 8]
    );
}
