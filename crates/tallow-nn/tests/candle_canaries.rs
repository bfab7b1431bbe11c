//! Known faults of candle 0.11.1, each asserted. A failure here is good news: it names what of ours may be dropped.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(
    clippy::disallowed_methods,
    reason = "these faults are why they are disallowed"
)]

use candle_core::{D, DType, Device, Result, Tensor, Var};
use candle_nn::{Module, VarBuilder};

fn waves(dims: &[usize]) -> Var {
    let count = dims.iter().product::<usize>() as f64;
    let values = Tensor::arange(0.0, count, &Device::Cpu).unwrap();
    let values = (values * 0.7).unwrap().sin().unwrap();
    Var::from_tensor(&values.reshape(dims).unwrap()).unwrap()
}

/// In the type that candle-nn's norms take; the gradient goes through.
fn single(x: &Tensor) -> Tensor {
    x.to_dtype(DType::F32).unwrap()
}

fn numbers(tensor: &Tensor) -> Vec<f64> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

/// The gradient of the sum of squares of `f(x)`.
fn gradient(x: &Var, f: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Option<Tensor>> {
    let loss = f(x)?.sqr()?.sum_all()?;
    Ok(loss.backward()?.remove(x))
}

/// The same by central differences.
fn differences(x: &Var, f: impl Fn(&Tensor) -> Result<Tensor>) -> Vec<f64> {
    let start = numbers(x);
    let at = |element: usize, h: f64| {
        let mut values = start.clone();
        values[element] += h;
        let x = Tensor::from_vec(values, x.shape(), &Device::Cpu).unwrap();
        numbers(&f(&x).unwrap()).iter().map(|y| y * y).sum::<f64>()
    };
    (0..start.len())
        .map(|i| (at(i, 1e-5) - at(i, -1e-5)) / 2e-5)
        .collect()
}

fn cut(f: impl Fn(&Tensor) -> Result<Tensor>) -> bool {
    gradient(&waves(&[2, 3, 4, 8]), f).unwrap().is_none()
}

fn wrong(x: &Var, f: impl Fn(&Tensor) -> Result<Tensor>) -> bool {
    let gradient = numbers(&gradient(x, &f).unwrap().unwrap());
    let largest = gradient.iter().fold(0.0, |max: f64, g| max.max(g.abs()));
    let differences = differences(x, f);
    gradient
        .iter()
        .zip(differences)
        .any(|(g, d)| (g - d).abs() > 1e-3 * largest)
}

#[test]
fn right_gradients_are_told_from_wrong_and_absent_ones() {
    assert!(!cut(Tensor::sin) && !wrong(&waves(&[2, 3]), Tensor::sin));
    assert!(!cut(|x| single(x).sin()) && cut(|x| x.detach().sin()));
    assert!(wrong(&waves(&[2, 3]), |x| x.detach().sin()? + x));
}

#[test]
fn a_cpu_cannot_be_seeded() {
    assert!(
        Device::Cpu.set_seed(1).is_err(),
        "candle can seed a CPU: `Init` and the noise sources could draw on the device"
    );
}

#[test]
fn layer_norm_cuts_the_graph() {
    let norm = candle_nn::LayerNorm::new(single(&waves(&[8])), single(&waves(&[8])), 1e-5);
    assert!(
        cut(|x| norm.forward(&single(x))),
        "candle-nn's LayerNorm has a gradient: our own is a matter of speed alone"
    );
}

#[test]
fn rms_norm_cuts_the_graph() {
    let norm = candle_nn::RmsNorm::new(single(&waves(&[8])), 1e-5);
    assert!(
        cut(|x| norm.forward(&single(x))),
        "candle-nn's RmsNorm has a gradient: our own is a matter of speed alone"
    );
}

#[test]
fn softmax_of_the_last_dimension_cuts_the_graph() {
    assert!(
        cut(candle_nn::ops::softmax_last_dim),
        "candle-nn's softmax_last_dim has a gradient: our own softmax is a matter of speed alone"
    );
    assert!(
        !cut(|x| candle_nn::ops::softmax(x, D::Minus1)),
        "the slow one has a gradient"
    );
}

#[test]
fn rotary_embeddings_cut_the_graph() {
    let table = |phase: f64| {
        let angles = Tensor::arange(0.0, 16.0, &Device::Cpu)
            .unwrap()
            .affine(0.3, phase);
        angles.unwrap().sin().unwrap().reshape((4, 4)).unwrap()
    };
    let (cosines, sines) = (table(std::f64::consts::FRAC_PI_2), table(0.0));
    for rope in [candle_nn::rotary_emb::rope, candle_nn::rotary_emb::rope_i] {
        assert!(
            cut(|x| rope(x, &cosines, &sines)),
            "candle-nn's rope has a gradient: our own is a matter of speed alone"
        );
    }
}

#[test]
fn a_variable_behind_a_cut_is_skipped_without_an_error() {
    let scale = VarBuilder::zeros(DType::F32, &Device::Cpu);
    let norm = candle_nn::layer_norm(8, 1e-5, scale).unwrap();
    let x = waves(&[3, 8]);
    let loss = (norm.forward(&single(&x)).unwrap() + 1.0)
        .unwrap()
        .sum_all()
        .unwrap();
    assert!(
        loss.backward().unwrap().get(&x).is_none(),
        "candle tells of absent gradients: `gradient_audit` may go"
    );
}

#[test]
fn nearest_upsampling_loses_the_gradient_of_a_second_consumer() {
    let x = waves(&[1, 2, 2, 2]);
    let gradient = |up_first: bool| {
        let h = (x.as_tensor() * 1.0).unwrap();
        let up = h.upsample_nearest2d(4, 4).unwrap().sum_all().unwrap();
        let skip = (&h * 3.0).unwrap().sum_all().unwrap();
        let loss = if up_first { up + skip } else { skip + up };
        numbers(&loss.unwrap().backward().unwrap().remove(&x).unwrap())
    };
    // Four values are made of each and the skip counts three: 7.
    assert!(
        [true, false].into_iter().any(|order| gradient(order) != [7.0; 8]),
        "candle's upsampling adds its gradient in both orders: `Resize` may take it"
    );
}

#[test]
fn the_weight_gradient_of_conv1d_is_wrong() {
    let (x, weight) = (waves(&[2, 3, 6]), waves(&[4, 3, 3]));
    assert!(
        wrong(&weight, |weight| x.conv1d(weight, 1, 1, 1, 1)),
        "candle's conv1d has a right weight gradient: it may leave the list of disallowed methods"
    );
    assert!(
        !wrong(&x, |x| x.conv1d(&weight, 1, 1, 1, 1)),
        "its input's is right"
    );
}

#[test]
fn conv2d_of_stride_two_has_no_gradient_where_sides_leave_different_remainders() {
    let (x, weight) = (waves(&[1, 2, 5, 6]), waves(&[3, 2, 3, 3]));
    let attempt = gradient(&x, |x| x.conv2d(&weight, 1, 2, 1, 1));
    assert!(
        attempt.is_err(),
        "candle's conv2d goes back to images that are not square: `convolution_composed` may take it there"
    );
    let even = waves(&[1, 2, 5, 7]);
    assert!(
        !wrong(&even, |x| x.conv2d(&weight, 1, 2, 1, 1)),
        "equal remainders are right"
    );
}

#[test]
fn the_gradient_of_max_pooling_is_divided_by_the_window() {
    let x = waves(&[1, 1, 4, 4]);
    assert!(
        wrong(&x, |x| x.max_pool2d(2)),
        "candle's max_pool2d has a right gradient: it may leave the list of disallowed methods"
    );
    let ones = x.max_pool2d(2).unwrap().sum_all().unwrap().backward().unwrap();
    // One value of each window should get 1; it gets a quarter.
    assert_eq!(numbers(ones.get(&x).unwrap()).iter().sum::<f64>(), 1.0);
}

#[test]
fn each_of_tied_maxima_gets_the_whole_gradient() {
    let x = Var::new(&[[2.0, 2.0, 1.0]], &Device::Cpu).unwrap();
    let gradients = x.max(1).unwrap().sum_all().unwrap().backward().unwrap();
    assert_eq!(
        numbers(gradients.get(&x).unwrap()),
        [1.0, 1.0, 0.0],
        "candle shares the gradient among tied maxima: they need not be detached in sums of exponentials"
    );
}

#[test]
fn some_operations_have_no_gradient_and_say_so() {
    let image = waves(&[1, 2, 5, 5]);
    assert!(
        gradient(&image, |x| x.upsample_bilinear2d(10, 10, false)).is_err(),
        "candle's bilinear upsampling has a gradient: `Resize` may take it"
    );
    assert!(
        gradient(&image, |x| x.upsample_nearest2d(7, 10)).is_err(),
        "candle's upsampling to any size has a gradient: `Resize` may take it"
    );
    assert!(
        gradient(&image, |x| x.avg_pool2d_with_stride(3, 1)).is_err(),
        "candle's pooling of overlapping windows has a gradient: `AveragePool` may take it"
    );
    let (line, weight) = (waves(&[1, 2, 5]), waves(&[2, 3, 3]));
    assert!(
        gradient(&line, |x| x.conv_transpose1d(&weight, 0, 0, 1, 1, 1)).is_err(),
        "candle's conv_transpose1d has a gradient"
    );
}
