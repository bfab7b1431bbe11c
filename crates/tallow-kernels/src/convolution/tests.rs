use super::cases::{Case, bits, square};
use super::*;
use crate::error::Error;
use crate::parallel::on_threads;

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
        Case::<f64>::new(sizes).check(Path::best(), 1e-13);
        for path in Path::available() {
            Case::<f32>::new(sizes).check(path, 2e-6);
        }
    }
}

/// Channels and sizes around those of tiles, vectors, pieces and bands.
fn sizes_around_tiles() -> Vec<Convolution> {
    let mut all = Vec::new();
    for size in [1, 2, 3, 4, 5, 6, 7, 8, 9, 14, 28] {
        for (inputs, outputs) in [(1, 9), (4, 7), (7, 1), (13, 40), (33, 17), (5, 32), (40, 12)] {
            for stride in [1, 2] {
                all.push(Convolution {
                    stride: [stride, stride],
                    ..square(
                        [1, 2, 5][all.len() % 3],
                        inputs,
                        outputs,
                        size,
                        size + all.len() % 2,
                    )
                });
            }
        }
    }
    // Bands of a large image, alone and with stride, dilation and groups.
    let large = square(2, 6, 10, 75, 61);
    // The same by Winograd's tiles.
    let tiled = square(2, 9, 10, 75, 61);
    all.extend([
        tiled,
        Convolution {
            dilation: [2, 1],
            padding: [2, 1],
            groups: 2,
            ..square(3, 16, 24, 14, 15)
        },
        Convolution {
            kernel: [1, 3],
            padding: [0, 0],
            ..square(3, 9, 11, 4, 9)
        },
        large,
        Convolution {
            stride: [2, 3],
            ..large
        },
        Convolution {
            dilation: [3, 2],
            padding: [4, 0],
            groups: 2,
            ..large
        },
        // Weights so large that they are summed in two runs.
        square(3, 256, 300, 2, 2),
    ]);
    all
}

#[test]
fn every_path_is_the_definition_at_the_sizes_of_its_tiles() {
    for sizes in sizes_around_tiles() {
        let case = Case::<f32>::new(sizes);
        for path in Path::available() {
            case.check(path, 2e-6);
        }
    }
}

#[test]
fn images_have_the_same_bytes_on_every_vector_width() {
    let paths = Path::available();
    let [_, avx2, avx512] = paths[..] else { return };
    for sizes in sizes_around_tiles() {
        let case = Case::<f32>::new(sizes);
        let [[y, dx, ..], [other_y, other_dx, ..]] = [avx2, avx512].map(|path| case.results_on(path));
        assert!(
            bits(&y) == bits(&other_y) && bits(&dx) == bits(&other_dx),
            "{sizes:?}"
        );
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
        for (sizes, path) in kinds(64)
            .into_iter()
            .flat_map(|sizes| Path::available().into_iter().map(move |path| (sizes, path)))
        {
            let all = Case::<T>::new(sizes);
            let [y, dx, ..] = all.results_on(path);
            for batch in [1, 2, 7] {
                // The last images of the large batch, so that they fall differently.
                let part = Case {
                    sizes: Convolution { batch, ..sizes },
                    x: all.x[all.x.len() / 64 * (64 - batch)..].to_vec(),
                    dy: all.dy[all.dy.len() / 64 * (64 - batch)..].to_vec(),
                    weight: all.weight.clone(),
                    bias: all.bias.clone(),
                };
                let [part_y, part_dx, ..] = part.results_on(path);
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
        for path in Path::available() {
            let on = |threads| on_threads(threads, || case.results_on(path).map(|values| bits(&values)));
            let one = on(1);
            for threads in [2, 5] {
                assert!(
                    on(threads) == one,
                    "{sizes:?} on {} and {threads} threads",
                    path.name()
                );
            }
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
