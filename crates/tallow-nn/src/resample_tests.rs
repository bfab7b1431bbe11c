use super::*;
use crate::testing::{check_dual, check_gradients, distance, random};
use candle_core::Device;

const ALL: [Interpolation; 3] = [
    Interpolation::Nearest,
    Interpolation::Bilinear,
    Interpolation::BilinearAligned,
];

/// Every resampling of images of 5 x 3, growing, shrinking and staying.
fn all_axes() -> Vec<[Axis; 2]> {
    let x = random((1, 1, 5, 3), 1);
    let mut axes = Vec::new();
    for interpolation in ALL {
        for size in [[5, 3], [10, 6], [7, 2], [1, 1], [3, 8]] {
            axes.push(Resize::to(size, interpolation).axes(&x).unwrap());
        }
    }
    for (kernel, stride) in [
        ([2, 2], [2, 2]),
        ([3, 1], [1, 2]),
        ([5, 3], [1, 1]),
        ([1, 2], [3, 1]),
    ] {
        axes.push(AveragePool::new(kernel, stride).axes(&x).unwrap());
    }
    axes
}

#[test]
fn gradients_and_tangents_are_central_differences() {
    for axes in all_axes() {
        let x = random((1, 2, 5, 3), 2);
        let forward = |x: &Tensor| resample(x, &axes);
        check_gradients(std::slice::from_ref(&x), |x| forward(&x[0]));
        check_gradients(&[random((3, 1, 3, 5), 3)], |x| forward(&x[0].transpose(2, 3)?));
        check_gradients(&[random((2, 3, 5, 3), 4)], |x| forward(&x[0].narrow(1, 1, 2)?));
        check_gradients(&[random((1, 1, 5, 1), 5)], |x| {
            forward(&x[0].broadcast_as((2, 2, 5, 3))?)
        });
        check_gradients(std::slice::from_ref(&x), |x| Ok(composed(&x[0], &axes)?));
        check_dual(&x, |x| x.linear(|x| Ok(forward(x)?)), forward);
    }
    let (resize, pool) = (
        Resize::by([2, 3], Interpolation::Nearest),
        AveragePool::by([2, 1]),
    );
    let x = random((2, 1, 5, 3), 6);
    check_dual(&x, |x| resize.forward_dual(x), |x| resize.forward(x));
    check_dual(&x, |x| pool.forward_dual(x), |x| pool.forward(x));
}

#[test]
fn the_kernels_and_candles_operations_agree() {
    for axes in all_axes() {
        let x = random((2, 3, 5, 3), 7);
        let error = distance(&resample(&x, &axes).unwrap(), &composed(&x, &axes).unwrap());
        assert!(error < 1e-14, "{axes:?}: {error}");
        let half = resample(&x.to_dtype(DType::F16).unwrap(), &axes).unwrap();
        assert_eq!(half.dtype(), DType::F16);
        assert!(distance(&half, &resample(&x, &axes).unwrap()) < 0.01);
    }
}

#[test]
fn an_input_with_a_second_consumer_gets_both_gradients() {
    // Four values are made of each, and the sum counts three more: 7, in both orders.
    let resize = Resize::by([2, 2], Interpolation::Nearest);
    let x = candle_core::Var::from_tensor(&random((1, 2, 3, 3), 8)).unwrap();
    let h = (x.as_tensor() * 1.0).unwrap();
    let up = || resize.forward(&h).unwrap().sum_all().unwrap();
    let skip = || (&h * 3.0).unwrap().sum_all().unwrap();
    for loss in [up() + skip(), skip() + up()] {
        let gradient = loss.unwrap().backward().unwrap().remove(&x).unwrap();
        assert_eq!(distance(&gradient, &(x.ones_like().unwrap() * 7.0).unwrap()), 0.0);
    }
}

#[test]
fn pooling_undoes_repetition_and_halves_meet_in_the_middle() {
    let x = random((2, 3, 5, 4), 9);
    let up = Resize::by([3, 2], Interpolation::Nearest).forward(&x).unwrap();
    assert_eq!(up.dims(), [2, 3, 15, 8]);
    let back = AveragePool::by([3, 2]).forward(&up).unwrap();
    assert!(distance(&back, &x) < 1e-15);
    // Halving by bilinear interpolation is the mean of four.
    let x = random((1, 1, 6, 4), 10);
    let half = Resize::to([3, 2], Interpolation::Bilinear).forward(&x).unwrap();
    assert!(distance(&half, &AveragePool::by([2, 2]).forward(&x).unwrap()) < 1e-15);
}

#[test]
fn rows_have_the_same_bytes_in_every_batch_and_none_gives_none() {
    let x = random((64, 3, 9, 7), 11).to_dtype(DType::F32).unwrap();
    let resize = Resize::to([20, 13], Interpolation::Bilinear);
    let all = resize.forward(&x).unwrap();
    for rows in [1, 2, 7] {
        let some = resize.forward(&x.narrow(0, 0, rows).unwrap()).unwrap();
        assert_eq!(distance(&some, &all.narrow(0, 0, rows).unwrap()), 0.0);
    }
    let none = Tensor::zeros((0, 3, 9, 7), DType::F32, &Device::Cpu).unwrap();
    assert_eq!(resize.forward(&none).unwrap().dims(), [0, 3, 20, 13]);
    let none = none.to_dtype(DType::F16).unwrap();
    assert_eq!(resize.forward(&none).unwrap().dims(), [0, 3, 20, 13]);
}

#[test]
fn misfits_are_named_on_both_sides() {
    let message = Resize::by([2, 2], Interpolation::Nearest)
        .forward(&random((3, 4, 5), 1))
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("height") && message.contains("[3, 4, 5]"),
        "{message}"
    );
    let message = AveragePool::by([9, 1])
        .forward(&random((1, 1, 4, 5), 1))
        .unwrap_err()
        .to_string();
    assert!(
        message.contains('9') && message.contains("size of the image"),
        "{message}"
    );
    assert!(
        Resize::to([0, 4], Interpolation::Bilinear)
            .forward(&random((1, 1, 4, 5), 1))
            .is_err()
    );
}
