use super::*;
use crate::parallel::on_threads;

const SHAPES: [(usize, usize, usize); 6] = [
    (1, 1, 2),
    (2, 3, 7),
    (1, 5, 33),
    (3, 70, 16),
    (2, 1, 100),
    (1, 2, 3000),
];

fn norm((batch, tokens, width): (usize, usize, usize), centre: Centre) -> RowNorm {
    RowNorm {
        batch,
        tokens,
        width,
        centre,
        epsilon: 1e-6,
    }
}

/// A wave around `mean` that repeats after a million values.
fn wave<T: Float>(n: usize, speed: f64, mean: f64) -> Vec<T> {
    (0..n)
        .map(|i| T::from_f64(mean + 1.4 * (i as f64 * speed + speed).sin()))
        .collect()
}

#[derive(Clone)]
struct Case<T> {
    norm: RowNorm,
    x: Vec<T>,
    dy: Vec<T>,
    gamma: Vec<T>,
    beta: Vec<T>,
    modulation: Vec<T>,
}

impl<T: Float> Case<T> {
    fn new(norm: RowNorm, mean: f64) -> Self {
        let n = norm.batch * norm.tokens * norm.width;
        Self {
            norm,
            x: wave(n, 0.7, mean),
            dy: wave(n, 1.1, 0.0),
            gamma: wave(norm.width, 1.3, 0.5),
            beta: wave(norm.width, 1.7, 0.0),
            modulation: wave(norm.batch * (2 * norm.width + 3), 1.9, 0.0),
        }
    }

    /// Shift first, then three columns of something else, then scale.
    fn modulation(&self) -> Modulation<'_, T> {
        let width = self.norm.width;
        Modulation {
            values: &self.modulation,
            stride: 2 * width + 3,
            shift: 0,
            scale: width + 3,
        }
    }

    fn affine(&self, parts: usize) -> Affine<'_, T> {
        Affine {
            gamma: (parts & 1 > 0).then_some(&self.gamma[..]),
            beta: (parts & 1 > 0).then_some(&self.beta[..]),
            modulation: (parts & 2 > 0).then(|| self.modulation()),
        }
    }

    /// y in f64, as the definition says.
    fn y(&self, parts: usize) -> Vec<f64> {
        let RowNorm { tokens, width, .. } = self.norm;
        let mut y = doubles(&self.x);
        for (row, y) in y.chunks_exact_mut(width).enumerate() {
            let mean = match self.norm.centre {
                Centre::Mean => y.iter().sum::<f64>() / width as f64,
                Centre::Zero => 0.0,
            };
            let square = y.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / width as f64;
            let modulation = &self.modulation[row / tokens * (2 * width + 3)..];
            for (j, y) in y.iter_mut().enumerate() {
                *y = (*y - mean) / (square + self.norm.epsilon).sqrt();
                if parts & 1 > 0 {
                    *y = *y * self.gamma[j].to_f64() + self.beta[j].to_f64();
                }
                if parts & 2 > 0 {
                    *y = *y * (1.0 + modulation[width + 3 + j].to_f64()) + modulation[j].to_f64();
                }
            }
        }
        y
    }
}

fn doubles<T: Float>(values: &[T]) -> Vec<f64> {
    values.iter().map(|v| v.to_f64()).collect()
}

fn largest<T: Float>(values: &[T], wanted: &[f64]) -> f64 {
    assert_eq!(values.len(), wanted.len());
    let errors = values.iter().zip(wanted).map(|(a, b)| (a.to_f64() - b).abs());
    errors.fold(0.0, |max: f64, e| if e > max || e.is_nan() { e } else { max })
}

fn outputs_are_those_of_the_definition<T: Float>(centre: Centre, mean: f64, tolerance: f64) {
    for shape in SHAPES {
        let norm = norm(shape, centre);
        let case = Case::<T>::new(norm, mean);
        for parts in 0..4 {
            let wanted = case.y(parts);
            for path in Path::available() {
                let (y, statistics) = norm.forward_on(path, &case.x, case.affine(parts)).unwrap();
                let error = largest(&y, &wanted);
                assert!(error <= tolerance, "{norm:?} {parts} {}: {error:e}", path.name());
                assert_eq!(statistics.rstd.len(), norm.rows());
            }
        }
    }
}

#[test]
fn outputs_are_those_of_a_loop_in_double_precision() {
    for centre in [Centre::Mean, Centre::Zero] {
        outputs_are_those_of_the_definition::<f32>(centre, 0.3, 1e-5);
        outputs_are_those_of_the_definition::<f64>(centre, 0.3, 1e-13);
    }
}

#[test]
fn a_large_mean_costs_no_accuracy() {
    outputs_are_those_of_the_definition::<f32>(Centre::Mean, 1e4, 1e-5);
}

#[test]
fn gradients_are_the_central_differences_of_the_definition_on_every_path() {
    for centre in [Centre::Mean, Centre::Zero] {
        for shape in [(1, 3, 5), (2, 70, 3), (3, 1, 9)] {
            let norm = norm(shape, centre);
            let mut case = Case::<f64>::new(norm, 0.3);
            let stride = 2 * norm.width + 3;
            for parts in 0..4 {
                let (_, statistics) = norm.forward(&case.x, case.affine(parts)).unwrap();
                for path in Path::available() {
                    let got = norm
                        .backward_on(path, &case.x, &statistics, case.affine(parts), &case.dy)
                        .unwrap();
                    let mut check = |what: &str,
                                     pick: fn(&mut Case<f64>) -> &mut Vec<f64>,
                                     got: &[f64],
                                     place: &dyn Fn(usize) -> usize| {
                        for (i, got) in got.iter().enumerate().step_by(1 + got.len() / 40) {
                            let i = place(i);
                            let start = pick(&mut case)[i];
                            let mut at = |h: f64| -> f64 {
                                pick(&mut case)[i] = start + h;
                                case.y(parts).iter().zip(&case.dy).map(|(y, dy)| y * dy).sum()
                            };
                            let difference = (at(1e-5) - at(-1e-5)) / 2e-5;
                            pick(&mut case)[i] = start;
                            let error = (difference - got).abs();
                            assert!(
                                error < 1e-6 * (1.0 + got.abs()),
                                "d{what}[{i}]: {got}, {difference}"
                            );
                        }
                    };
                    check("x", |case| &mut case.x, &got.x, &|i| i);
                    if parts & 1 > 0 {
                        check("gamma", |case| &mut case.gamma, &got.gamma, &|i| i);
                        check("beta", |case| &mut case.beta, &got.beta, &|i| i);
                    }
                    assert_eq!(got.modulation.is_some(), parts & 2 > 0);
                    if let Some(modulation) = &got.modulation {
                        let row = |i: usize| i / norm.width * stride + i % norm.width;
                        check("shift", |case| &mut case.modulation, &modulation.shift, &row);
                        let place = |i: usize| row(i) + norm.width + 3;
                        check("scale", |case| &mut case.modulation, &modulation.scale, &place);
                    }
                }
            }
        }
    }
}

#[test]
fn single_precision_gradients_are_those_of_double_precision_even_at_a_large_mean() {
    for (centre, mean) in [(Centre::Mean, 0.3), (Centre::Mean, 1e4), (Centre::Zero, 0.3)] {
        for shape in SHAPES {
            let norm = norm(shape, centre);
            let single = Case::<f32>::new(norm, mean);
            let double = Case::<f64> {
                x: doubles(&single.x),
                ..Case::new(norm, mean)
            };
            let (_, statistics) = norm.forward(&single.x, single.affine(3)).unwrap();
            let got = norm
                .backward(&single.x, &statistics, single.affine(3), &single.dy)
                .unwrap();
            let (_, statistics) = norm.forward(&double.x, double.affine(3)).unwrap();
            let wanted = norm
                .backward(&double.x, &statistics, double.affine(3), &double.dy)
                .unwrap();
            let scale = wanted.x.iter().fold(1.0, |max: f64, v| max.max(v.abs()));
            assert!(largest(&got.x, &wanted.x) < 1e-5 * scale, "{norm:?}");
            let scale = (norm.rows() as f64).sqrt();
            assert!(largest(&got.gamma, &wanted.gamma) < 3e-5 * scale, "{norm:?}");
            assert!(largest(&got.beta, &wanted.beta) < 3e-5 * scale, "{norm:?}");
        }
    }
}

#[test]
fn the_tangent_is_the_central_difference_of_the_definition() {
    for (centre, shape) in [
        (Centre::Mean, (2, 3, 7)),
        (Centre::Zero, (2, 3, 7)),
        (Centre::Mean, (1, 1, 33)),
    ] {
        let norm = norm(shape, centre);
        let case = Case::<f64>::new(norm, 0.3);
        let moved: Vec<f64> = wave(case.x.len(), 2.3, 0.0);
        let turned: Vec<f64> = wave(case.modulation.len(), 2.9, 0.0);
        for parts in 0..4 {
            for (along_x, along_modulation) in [(1.0, 0.0), (0.0, 1.0), (1.0, 1.0)] {
                let at = |h: f64| {
                    let mut case = case.clone();
                    let add = |values: &mut Vec<f64>, direction: &[f64], h: f64| {
                        values.iter_mut().zip(direction).for_each(|(v, d)| *v += h * d);
                    };
                    add(&mut case.x, &moved, h * along_x);
                    add(&mut case.modulation, &turned, h * along_modulation);
                    case.y(parts)
                };
                let differences = at(1e-5).into_iter().zip(at(-1e-5));
                let wanted: Vec<f64> = differences.map(|(a, b)| (a - b) / 2e-5).collect();
                let (_, statistics) = norm.forward(&case.x, case.affine(parts)).unwrap();
                let direction = Modulation {
                    values: &turned,
                    ..case.modulation()
                };
                let got = norm.tangent(
                    &case.x,
                    &statistics,
                    case.affine(parts),
                    (along_x > 0.0).then_some(&moved[..]),
                    (along_modulation > 0.0 && parts & 2 > 0).then_some(direction),
                );
                let error = largest(&got.unwrap(), &wanted);
                assert!(
                    error < 1e-7,
                    "{norm:?} {parts} {along_x} {along_modulation}: {error}"
                );
            }
        }
    }
}

#[test]
fn an_entry_has_the_same_bytes_in_every_batch_and_on_any_number_of_threads() {
    for centre in [Centre::Mean, Centre::Zero] {
        let whole = norm((64, 70, 96), centre);
        let case = Case::<f32>::new(whole, 0.3);
        let run = |threads: usize| {
            on_threads(threads, || {
                let (y, statistics) = whole.forward(&case.x, case.affine(3)).unwrap();
                let gradients = whole
                    .backward(&case.x, &statistics, case.affine(3), &case.dy)
                    .unwrap();
                (y, statistics, gradients)
            })
        };
        let one = run(1);
        assert!(one == run(2) && one == run(3));
        for batch in [1, 2, 7] {
            let part = RowNorm { batch, ..whole };
            let (x, dy) = (&case.x[..batch * 70 * 96], &case.dy[..batch * 70 * 96]);
            let (y, statistics) = part.forward(x, case.affine(3)).unwrap();
            assert_eq!(y, one.0[..x.len()]);
            let gradients = part.backward(x, &statistics, case.affine(3), dy).unwrap();
            assert_eq!(gradients.x, one.2.x[..x.len()]);
            let (part, all) = (gradients.modulation.unwrap(), one.2.modulation.as_ref().unwrap());
            assert!(part.scale == all.scale[..batch * 96] && part.shift == all.shift[..batch * 96]);
        }
    }
}

#[test]
fn empty_batches_and_rows_give_nothing() {
    for shape in [(0, 3, 4), (2, 0, 4), (2, 3, 0)] {
        let norm = norm(shape, Centre::Mean);
        let case = Case::<f32>::new(norm, 0.3);
        let (y, statistics) = norm.forward(&case.x, case.affine(1)).unwrap();
        assert!(y.is_empty());
        let gradients = norm
            .backward(&case.x, &statistics, case.affine(1), &case.dy)
            .unwrap();
        assert_eq!(gradients.beta, vec![0.0; norm.width]);
    }
}

#[test]
fn arguments_that_do_not_fit_are_named() {
    let right = norm((2, 3, 5), Centre::Mean);
    let x = [0.0f32; 30];
    let message = |norm: RowNorm, affine: Affine<'_, f32>| norm.forward(&x, affine).unwrap_err().to_string();
    assert!(
        message(
            RowNorm {
                epsilon: f64::NAN,
                ..right
            },
            Affine::default()
        )
        .contains("epsilon")
    );
    assert!(message(RowNorm { tokens: 4, ..right }, Affine::default()).contains("40"));
    assert!(
        message(
            RowNorm {
                batch: usize::MAX,
                ..right
            },
            Affine::default()
        )
        .contains("larger")
    );
    let short = Affine {
        beta: Some(&x[..4]),
        ..Affine::default()
    };
    assert!(message(right, short).contains("beta"));
    let short = Modulation {
        values: &x[..19],
        stride: 10,
        shift: 0,
        scale: 5,
    };
    let short = Affine {
        modulation: Some(short),
        ..Affine::default()
    };
    assert!(message(right, short).contains("20"));
    assert!(
        right
            .backward(&x, &Statistics::zeros(5), Affine::default(), &x)
            .is_err()
    );
    assert!(
        right
            .backward(&x, &Statistics::zeros(6), Affine::default(), &x[1..])
            .is_err()
    );
}
