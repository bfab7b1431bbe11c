use super::*;
use crate::error::Error;
use crate::parallel::on_threads;

fn values<T: Float>(n: usize, seed: u64) -> Vec<T> {
    let mut state = seed;
    (0..n)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            T::from_f64((state >> 33) as f64 / f64::from(1u32 << 30) - 1.0)
        })
        .collect()
}

/// A 3x3 kernel that keeps the size of the image.
fn square(batch: usize, inputs: usize, outputs: usize, height: usize, width: usize) -> Convolution {
    Convolution {
        batch,
        inputs,
        outputs,
        height,
        width,
        kernel: [3, 3],
        stride: [1, 1],
        padding: [1, 1],
        dilation: [1, 1],
        groups: 1,
    }
}

struct Case<T> {
    sizes: Convolution,
    x: Vec<T>,
    weight: Vec<T>,
    bias: Vec<T>,
    dy: Vec<T>,
}

impl<T: Float> Case<T> {
    fn new(sizes: Convolution) -> Self {
        let shape = Shape::new(sizes).unwrap();
        Self {
            sizes,
            x: values(shape.x_len, 1),
            weight: values(shape.weight_len, 2),
            bias: values(sizes.outputs, 3),
            dy: values(shape.y_len, 4),
        }
    }

    /// y, dx, dw and the bias gradient.
    fn results(&self) -> [Vec<T>; 4] {
        let Self {
            sizes,
            x,
            weight,
            bias,
            dy,
        } = self;
        let y = sizes.forward(x, weight, Some(bias)).unwrap();
        let gradients = sizes.backward(x, weight, dy, Wanted::Yes, Wanted::Yes).unwrap();
        let [dx, dw, db] = [gradients.x, gradients.weight, gradients.bias].map(Option::unwrap);
        [y, dx, dw, db]
    }

    /// The definition, every product of it, in f64; the same four results.
    fn definition(&self) -> [Vec<f64>; 4] {
        let s = self.sizes;
        let [rows, columns] = s.output_size().unwrap();
        let mut y = vec![0.0; self.dy.len()];
        let mut dx = vec![0.0; self.x.len()];
        let mut dw = vec![0.0; self.weight.len()];
        let mut db = vec![0.0; s.outputs];
        let (group_in, group_out) = (s.inputs / s.groups, s.outputs / s.groups);
        for (at_y, y) in y.iter_mut().enumerate() {
            let (j, i) = (at_y % columns, at_y / columns % rows);
            let (o, b) = (
                at_y / (columns * rows) % s.outputs,
                at_y / (columns * rows * s.outputs),
            );
            *y = self.bias[o].to_f64();
            db[o] += self.dy[at_y].to_f64();
            for c in 0..group_in {
                for k in 0..s.kernel[0] {
                    for l in 0..s.kernel[1] {
                        let row = i * s.stride[0] + k * s.dilation[0];
                        let column = j * s.stride[1] + l * s.dilation[1];
                        if row < s.padding[0]
                            || row >= s.padding[0] + s.height
                            || column < s.padding[1]
                            || column >= s.padding[1] + s.width
                        {
                            continue;
                        }
                        let channel = o / group_out * group_in + c;
                        let at_x = ((b * s.inputs + channel) * s.height + row - s.padding[0]) * s.width
                            + column
                            - s.padding[1];
                        let at_w = ((o * group_in + c) * s.kernel[0] + k) * s.kernel[1] + l;
                        let (x, w) = (self.x[at_x].to_f64(), self.weight[at_w].to_f64());
                        *y += w * x;
                        dx[at_x] += w * self.dy[at_y].to_f64();
                        dw[at_w] += x * self.dy[at_y].to_f64();
                    }
                }
            }
        }
        [y, dx, dw, db]
    }

    /// Each result against the definition, relative to the square root of the number of products that it sums.
    fn check(&self, tolerance: f64) {
        let names = ["y", "dx", "dw", "db"];
        let s = self.sizes;
        let positions = self.dy.len() / s.outputs.max(1);
        let kernel = s.kernel[0] * s.kernel[1];
        let terms = [s.inputs * kernel + 1, s.outputs * kernel, positions, positions];
        for (((name, got), wanted), terms) in
            names.iter().zip(self.results()).zip(self.definition()).zip(terms)
        {
            assert_eq!(got.len(), wanted.len());
            for (i, (got, wanted)) in got.iter().zip(wanted).enumerate() {
                let error = (got.to_f64() - wanted).abs();
                assert!(
                    error <= tolerance * (terms as f64).sqrt().max(1.0),
                    "{s:?}\n{name}[{i}]: {got:?} for {wanted}"
                );
            }
        }
    }
}

fn bits<T: Float>(values: &[T]) -> Vec<u64> {
    values.iter().map(|v| v.to_f64().to_bits()).collect()
}

/// Many sizes that are multiples of nothing.
fn odd_sizes() -> Vec<Convolution> {
    let mut all = Vec::new();
    for (inputs, outputs) in [(1, 1), (1, 5), (2, 2), (3, 2), (5, 1), (2, 16), (16, 3), (16, 16)] {
        for kernel in [[1, 1], [3, 3], [5, 2]] {
            for stride in [[1, 1], [2, 2], [3, 3], [1, 2]] {
                for padding in [[0, 0], [1, 1], [2, 2], [3, 3], [2, 0]] {
                    for dilation in [[1, 1], [2, 2], [1, 2]] {
                        for groups in [1, 2, inputs] {
                            all.push(Convolution {
                                batch: [0, 1, 3][all.len() % 3],
                                inputs,
                                outputs,
                                height: [6, 9, 5][all.len() / 3 % 3],
                                width: [7, 5, 10, 8][all.len() % 4],
                                kernel,
                                stride,
                                padding,
                                dilation,
                                groups,
                            });
                        }
                    }
                }
            }
        }
    }
    let fits = |sizes: &Convolution| sizes.output_size().is_ok();
    all.into_iter().filter(fits).collect()
}

#[test]
fn every_result_is_the_definition_written_out() {
    let sizes = odd_sizes();
    assert!(sizes.len() > 1500, "{}", sizes.len());
    for sizes in sizes {
        Case::<f64>::new(sizes).check(1e-13);
        Case::<f32>::new(sizes).check(2e-6);
    }
}

#[test]
fn the_gradients_are_adjoint_to_the_forward_pass() {
    fn inner(a: &[f64], b: &[f64]) -> f64 {
        a.iter().zip(b).map(|(a, b)| a * b).sum()
    }
    for sizes in odd_sizes().into_iter().step_by(3) {
        let mut case = Case::<f64>::new(sizes);
        case.bias.fill(0.0);
        let [y, dx, dw, _] = case.results();
        let value = inner(&y, &case.dy);
        let close = |other: f64| (other - value).abs() <= 1e-11 * (1.0 + y.len() as f64);
        assert!(close(inner(&case.x, &dx)), "{sizes:?}");
        assert!(close(inner(&case.weight, &dw)), "{sizes:?}");
    }
}

/// One of every kind of convolution.
fn kinds(batch: usize) -> Vec<Convolution> {
    let same = square(batch, 20, 24, 9, 7);
    vec![
        same,
        Convolution {
            stride: [2, 2],
            ..same
        },
        Convolution {
            kernel: [1, 1],
            padding: [0, 0],
            ..same
        },
        Convolution { groups: 4, ..same },
        Convolution {
            kernel: [4, 2],
            dilation: [1, 2],
            ..same
        },
        Convolution { inputs: 1, ..same },
        Convolution { outputs: 1, ..same },
        square(batch, 3, 40, 14, 14),
        square(batch, 33, 8, 28, 28),
    ]
}

#[test]
fn an_image_has_the_same_bytes_in_every_batch() {
    fn law<T: Float>() {
        for sizes in kinds(64) {
            let all = Case::<T>::new(sizes);
            let [y, dx, ..] = all.results();
            for batch in [1, 2, 7] {
                // The last images of the large batch, so that they fall differently.
                let part = Case {
                    sizes: Convolution { batch, ..sizes },
                    x: all.x[all.x.len() / 64 * (64 - batch)..].to_vec(),
                    dy: all.dy[all.dy.len() / 64 * (64 - batch)..].to_vec(),
                    weight: all.weight.clone(),
                    bias: all.bias.clone(),
                };
                let [part_y, part_dx, ..] = part.results();
                assert_eq!(bits(&part_y), bits(&y[y.len() - part_y.len()..]), "{sizes:?}");
                assert_eq!(bits(&part_dx), bits(&dx[dx.len() - part_dx.len()..]), "{sizes:?}");
            }
        }
    }
    law::<f32>();
    law::<f64>();
}

#[test]
fn every_result_has_the_same_bytes_on_any_number_of_threads() {
    for sizes in kinds(19) {
        let case = Case::<f32>::new(sizes);
        let one = on_threads(1, || case.results().map(|values| bits(&values)));
        for threads in [2, 5] {
            let many = on_threads(threads, || case.results().map(|values| bits(&values)));
            assert!(many == one, "{sizes:?} on {threads} threads");
        }
    }
}

#[test]
fn unwanted_gradients_are_left_out_and_the_others_do_not_change() {
    for sizes in kinds(3) {
        let case = Case::<f32>::new(sizes);
        let [_, dx, dw, db] = case.results();
        let backward = |x, weights| {
            sizes
                .backward(&case.x, &case.weight, &case.dy, x, weights)
                .unwrap()
        };
        let weights = backward(Wanted::No, Wanted::Yes);
        assert!(
            weights.x.is_none() && weights.weight == Some(dw.clone()) && weights.bias == Some(db.clone())
        );
        let x = backward(Wanted::Yes, Wanted::No);
        assert!(x.x == Some(dx.clone()) && x.weight.is_none() && x.bias.is_none());
        assert_eq!(sizes.input_gradient(&case.dy, &case.weight), Ok(dx));
        assert_eq!(sizes.weight_gradient(&case.x, &case.dy), Ok(dw));
        assert_eq!(sizes.bias_gradient(&case.dy), Ok(db));
    }
}

#[test]
fn a_convolution_without_bias_is_one_with_a_bias_of_zero() {
    for sizes in kinds(2) {
        let case = Case::<f32>::new(sizes);
        let without = sizes.forward(&case.x, &case.weight, None).unwrap();
        let zero = vec![0.0; sizes.outputs];
        assert_eq!(sizes.forward(&case.x, &case.weight, Some(&zero)), Ok(without));
    }
}

#[test]
fn empty_sides_have_empty_outputs_and_zero_gradients() {
    let [y, dx, dw, db] = Case::<f32>::new(square(0, 2, 3, 5, 4)).results();
    assert!(y.is_empty() && dx.is_empty() && dw == vec![0.0; 54] && db == vec![0.0; 3]);
    let [y, dx, dw, db] = Case::<f32>::new(square(2, 2, 0, 5, 4)).results();
    assert!(y.is_empty() && dx == vec![0.0; 80] && dw.is_empty() && db.is_empty());
    let case = Case::<f32>::new(square(1, 0, 2, 2, 1));
    let [y, dx, dw, _] = case.results();
    assert!(y == [case.bias[0], case.bias[0], case.bias[1], case.bias[1]] && dx.is_empty() && dw.is_empty());
    // An image without rows, all padding.
    let sizes = Convolution {
        padding: [2, 1],
        ..square(1, 1, 1, 0, 3)
    };
    let [y, dx, dw, _] = Case::<f32>::new(sizes).results();
    assert!(y.len() == 6 && dx.is_empty() && dw == vec![0.0; 9]);
}

#[test]
fn sizes_that_do_not_fit_are_refused_in_words() {
    let good = square(2, 4, 6, 5, 5);
    let refused = |sizes: Convolution| sizes.output_size().unwrap_err();
    let error = refused(Convolution { groups: 4, ..good });
    assert_eq!(
        error.to_string(),
        "4 groups do not split 4 input and 6 output channels evenly: choose a divisor of both"
    );
    assert!(matches!(
        refused(Convolution { groups: 0, ..good }),
        Error::Groups { .. }
    ));
    let error = refused(Convolution {
        kernel: [3, 5],
        dilation: [1, 2],
        ..good
    });
    assert_eq!(
        error.to_string(),
        "a kernel that spans 9 values does not fit a padded width of 7: pad more or shrink the kernel"
    );
    for sizes in [
        Convolution {
            stride: [1, 0],
            ..good
        },
        Convolution {
            dilation: [0, 1],
            ..good
        },
        Convolution {
            kernel: [0, 3],
            ..good
        },
    ] {
        assert!(matches!(refused(sizes), Error::Setting { .. }));
    }
    for sizes in [
        Convolution {
            batch: usize::MAX / 2,
            ..good
        },
        Convolution {
            padding: [usize::MAX, 1],
            ..good
        },
        Convolution {
            padding: [usize::MAX / 2, 1],
            ..good
        },
        Convolution {
            height: usize::MAX,
            ..good
        },
        Convolution {
            dilation: [usize::MAX, 1],
            ..good
        },
    ] {
        assert!(matches!(refused(sizes), Error::TooLarge { .. }), "{sizes:?}");
    }
}

#[test]
fn slices_of_other_lengths_are_refused() {
    let case = Case::<f32>::new(square(2, 3, 4, 5, 6));
    let Case {
        sizes,
        x,
        weight,
        bias,
        dy,
    } = &case;
    assert!(sizes.forward(&x[1..], weight, None).is_err());
    assert!(sizes.forward(x, &weight[1..], None).is_err());
    assert!(sizes.forward(x, weight, Some(&bias[1..])).is_err());
    assert!(sizes.input_gradient(&dy[1..], weight).is_err());
    assert!(sizes.input_gradient(dy, &weight[1..]).is_err());
    assert!(sizes.weight_gradient(&x[1..], dy).is_err());
    assert!(sizes.weight_gradient(x, &dy[1..]).is_err());
    assert!(sizes.bias_gradient(&dy[1..]).is_err());
    assert!(
        sizes
            .backward(x, weight, &dy[1..], Wanted::No, Wanted::No)
            .is_err()
    );
}
