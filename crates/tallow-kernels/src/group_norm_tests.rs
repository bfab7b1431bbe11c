use super::*;
use crate::parallel::on_threads;

/// Numbers around `mean` with spread `spread`, the same for the same seed.
fn numbers<T: Float>(n: usize, seed: u64, mean: f64, spread: f64) -> Vec<T> {
    // The finaliser of SplitMix64.
    let mixed = |z: u64| (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = |i: u64| mixed((i + 1 + (seed << 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let words = (0..n.next_multiple_of(2) as u64).map(|i| word(i) ^ (word(i) >> 31));
    let bits: Vec<u64> = words.collect();
    let mut normals = vec![0.0; n];
    crate::normals_from_bits(&bits, &mut normals).unwrap();
    normals
        .into_iter()
        .map(|z| T::from_f64(mean + spread * z))
        .collect()
}

fn norm(batch: usize, channels: usize, spatial: usize, groups: usize) -> GroupNorm {
    GroupNorm {
        batch,
        channels,
        spatial,
        groups,
        epsilon: 1e-5,
        activation: Activation::Silu,
    }
}

const SHAPES: [(usize, usize, usize, usize); 7] = [
    (1, 1, 1, 1),
    (1, 6, 1, 2),
    (2, 4, 49, 4),
    (3, 6, 35, 2),
    (2, 8, 784, 8),
    (1, 2, 5000, 1),
    (5, 3, 7, 1),
];

struct Case<T> {
    norm: GroupNorm,
    x: Vec<T>,
    dy: Vec<T>,
    gamma: Vec<T>,
    beta: Vec<T>,
    modulation: Vec<T>,
}

impl<T: Float> Case<T> {
    fn new(norm: GroupNorm, mean: f64) -> Self {
        let n = norm.batch * norm.channels * norm.spatial;
        Self {
            norm,
            x: numbers(n, 1, mean, 1.0),
            dy: numbers(n, 2, 0.0, 1.0),
            gamma: numbers(norm.channels, 3, 1.0, 0.5),
            beta: numbers(norm.channels, 4, 0.0, 0.5),
            modulation: numbers(norm.batch * (2 * norm.channels + 3), 5, 0.0, 0.5),
        }
    }

    /// Shift first, then three columns of something else, then scale.
    fn modulation(&self) -> Modulation<'_, T> {
        let channels = self.norm.channels;
        Modulation {
            values: &self.modulation,
            stride: 2 * channels + 3,
            shift: 0,
            scale: channels + 3,
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
    fn y(&self, x: &[f64], parts: usize) -> Vec<f64> {
        let (c, s) = (self.norm.channels, self.norm.spatial);
        let size = c / self.norm.groups * s;
        let mut z = vec![0.0; x.len()];
        for (z, x) in z.chunks_exact_mut(size).zip(x.chunks_exact(size)) {
            let mean = x.iter().sum::<f64>() / size as f64;
            let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / size as f64;
            for (z, x) in z.iter_mut().zip(x) {
                *z = (x - mean) / (variance + self.norm.epsilon).sqrt();
            }
        }
        for (i, z) in z.iter_mut().enumerate() {
            let (image, channel) = (i / (c * s), i / s % c);
            if parts & 1 > 0 {
                *z = *z * self.gamma[channel].to_f64() + self.beta[channel].to_f64();
            }
            if parts & 2 > 0 {
                let row = &self.modulation[image * (2 * c + 3)..];
                *z = *z * (1.0 + row[c + 3 + channel].to_f64()) + row[channel].to_f64();
            }
        }
        let mut y = z.clone();
        self.norm.activation.apply(&z, &mut y, None).unwrap();
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

fn outputs_are_those_of_the_definition<T: Float>(mean: f64, tolerance: f64) {
    for (batch, channels, spatial, groups) in SHAPES {
        for activation in [Activation::Identity, Activation::Silu, Activation::GeluErf] {
            let norm = GroupNorm {
                activation,
                ..norm(batch, channels, spatial, groups)
            };
            let case = Case::<T>::new(norm, mean);
            for parts in 0..4 {
                let wanted = case.y(&doubles(&case.x), parts);
                for path in Path::available() {
                    let (y, statistics) = norm.forward_on(path, &case.x, case.affine(parts)).unwrap();
                    let error = largest(&y, &wanted);
                    assert!(error <= tolerance, "{norm:?} {parts} {}: {error:e}", path.name());
                    assert_eq!(statistics.mean.len(), batch * groups);
                }
            }
        }
    }
}

#[test]
fn outputs_are_those_of_a_loop_in_double_precision() {
    outputs_are_those_of_the_definition::<f32>(0.3, 5e-6);
    outputs_are_those_of_the_definition::<f64>(0.3, 1e-13);
}

#[test]
fn a_large_mean_costs_no_accuracy() {
    // x itself is rounded to 2⁻¹¹ here; the loop in double precision reads the same rounded values.
    outputs_are_those_of_the_definition::<f32>(1e4, 5e-6);
    outputs_are_those_of_the_definition::<f64>(1e7, 1e-7);
}

#[test]
fn gradients_are_the_central_differences_of_the_definition_on_every_path() {
    for (batch, channels, spatial, groups) in [(1, 6, 1, 2), (2, 4, 9, 2), (3, 2, 35, 1)] {
        let norm = norm(batch, channels, spatial, groups);
        let mut case = Case::<f64>::new(norm, 0.3);
        for parts in 0..4 {
            let loss = |case: &Case<f64>| -> f64 {
                case.y(&case.x, parts)
                    .iter()
                    .zip(&case.dy)
                    .map(|(y, dy)| y * dy)
                    .sum()
            };
            let (_, statistics) = norm.forward(&case.x, case.affine(parts)).unwrap();
            for path in Path::available() {
                let got = norm
                    .backward_on(path, &case.x, &statistics, case.affine(parts), &case.dy)
                    .unwrap();
                let mut check =
                    |what: &str, pick: fn(&mut Case<f64>) -> &mut Vec<f64>, at: &[usize], got: &[f64]| {
                        for (&i, got) in at.iter().zip(got) {
                            let start = pick(&mut case)[i];
                            let mut at = |h: f64| {
                                pick(&mut case)[i] = start + h;
                                loss(&case)
                            };
                            let difference = (at(1e-5) - at(-1e-5)) / 2e-5;
                            pick(&mut case)[i] = start;
                            let error = (difference - got).abs();
                            assert!(
                                error < 1e-7 * (1.0 + got.abs()),
                                "d{what}[{i}] {parts}: {got}, {difference}"
                            );
                        }
                    };
                let all: Vec<_> = (0..batch * channels * spatial).collect();
                check("x", |case| &mut case.x, &all, &got.x);
                if parts & 1 > 0 {
                    check("gamma", |case| &mut case.gamma, &all[..channels], &got.gamma);
                    check("beta", |case| &mut case.beta, &all[..channels], &got.beta);
                }
                assert_eq!(got.modulation.is_some(), parts & 2 > 0);
                if let Some(modulation) = &got.modulation {
                    let place = |first: usize| -> Vec<usize> {
                        (0..batch * channels)
                            .map(|i| i / channels * (2 * channels + 3) + first + i % channels)
                            .collect()
                    };
                    check("shift", |case| &mut case.modulation, &place(0), &modulation.shift);
                    check(
                        "scale",
                        |case| &mut case.modulation,
                        &place(channels + 3),
                        &modulation.scale,
                    );
                }
            }
        }
    }
}

#[test]
fn single_precision_gradients_are_those_of_double_precision_even_at_a_large_mean() {
    for mean in [0.3, 1e4] {
        for (batch, channels, spatial, groups) in SHAPES {
            let norm = norm(batch, channels, spatial, groups);
            let single = Case::<f32>::new(norm, mean);
            let mut double = Case::<f64>::new(norm, mean);
            double.x = doubles(&single.x);
            let (_, statistics) = norm.forward(&single.x, single.affine(3)).unwrap();
            let got = norm
                .backward(&single.x, &statistics, single.affine(3), &single.dy)
                .unwrap();
            let (_, statistics) = norm.forward(&double.x, double.affine(3)).unwrap();
            let wanted = norm
                .backward(&double.x, &statistics, double.affine(3), &double.dy)
                .unwrap();
            // Gradients are rstd times a difference of terms of size 1; a group of one value has rstd 300.
            let scale = statistics.rstd.iter().fold(1.0, |max: f64, &v| max.max(v));
            assert!(largest(&got.x, &wanted.x) < 5e-6 * scale, "{norm:?}");
            let scale = (batch as f64 * spatial as f64).sqrt();
            assert!(largest(&got.gamma, &wanted.gamma) < 1e-5 * scale, "{norm:?}");
            assert!(largest(&got.beta, &wanted.beta) < 1e-5 * scale, "{norm:?}");
        }
    }
}

#[test]
fn the_tangent_is_the_central_difference_of_the_definition() {
    for (batch, channels, spatial, groups) in [(1, 6, 1, 2), (2, 4, 9, 2), (3, 2, 35, 1)] {
        let norm = norm(batch, channels, spatial, groups);
        let case = Case::<f64>::new(norm, 0.3);
        let moved: Vec<f64> = numbers(case.x.len(), 7, 0.0, 1.0);
        let turned: Vec<f64> = numbers(case.modulation.len(), 8, 0.0, 1.0);
        for parts in 0..4 {
            for (along_x, along_modulation) in [(1.0, 0.0), (0.0, 1.0), (1.0, 1.0)] {
                let at = |h: f64| {
                    let mut case = Case::<f64>::new(norm, 0.3);
                    let add = |values: &mut Vec<f64>, direction: &[f64], h: f64| {
                        values.iter_mut().zip(direction).for_each(|(v, d)| *v += h * d);
                    };
                    add(&mut case.x, &moved, h * along_x);
                    add(&mut case.modulation, &turned, h * along_modulation);
                    case.y(&case.x, parts)
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
fn coefficients_and_statistics_give_the_same_output() {
    let norm = norm(3, 6, 35, 2);
    let case = Case::<f64>::new(norm, 0.3);
    let (y, statistics) = norm.forward(&case.x, case.affine(3)).unwrap();
    assert_eq!(norm.statistics(&case.x).unwrap(), statistics);
    let (a, b) = norm.coefficients(&statistics, case.affine(3)).unwrap();
    let z: Vec<f64> = (0..y.len()).map(|i| a[i / 35] * case.x[i] + b[i / 35]).collect();
    let mut wanted = z.clone();
    norm.activation.apply(&z, &mut wanted, None).unwrap();
    assert!(largest(&y, &wanted) < 1e-13);
}

#[test]
fn an_image_has_the_same_bytes_in_every_batch_and_on_any_number_of_threads() {
    let whole = norm(64, 6, 333, 3);
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
    let image = 6 * 333;
    for batch in [1, 2, 7] {
        let part = GroupNorm { batch, ..whole };
        let (y, statistics) = part.forward(&case.x[..batch * image], case.affine(3)).unwrap();
        assert_eq!(y, one.0[..batch * image]);
        let gradients = part
            .backward(
                &case.x[..batch * image],
                &statistics,
                case.affine(3),
                &case.dy[..batch * image],
            )
            .unwrap();
        assert_eq!(gradients.x, one.2.x[..batch * image]);
    }
}

#[test]
fn a_constant_group_gives_its_offset_and_empty_ones_nothing() {
    let norm = GroupNorm {
        activation: Activation::Identity,
        ..norm(2, 4, 9, 2)
    };
    let beta = [1.0f32, 2.0, 3.0, 4.0];
    let affine = Affine {
        beta: Some(&beta),
        ..Affine::default()
    };
    let (y, _) = norm.forward(&[0.1f32; 72], affine).unwrap();
    for (i, y) in y.iter().enumerate() {
        assert!((y - beta[i / 9 % 4]).abs() < 1e-4, "{y}");
    }
    for empty in [GroupNorm { batch: 0, ..norm }, GroupNorm { spatial: 0, ..norm }] {
        let (y, statistics) = empty.forward::<f32>(&[], affine).unwrap();
        assert!(y.is_empty());
        let gradients = empty.backward::<f32>(&[], &statistics, affine, &[]).unwrap();
        assert_eq!(gradients.beta, [0.0; 4]);
    }
}

#[test]
fn arguments_that_do_not_fit_are_named() {
    let right = norm(2, 6, 5, 2);
    let x = [0.0f32; 60];
    let message =
        |norm: GroupNorm, affine: Affine<'_, f32>| norm.forward(&x, affine).unwrap_err().to_string();
    let changed = |change: fn(&mut GroupNorm)| {
        let mut norm = right;
        change(&mut norm);
        message(norm, Affine::default())
    };
    let uneven = changed(|norm| norm.groups = 4);
    assert!(uneven.contains("4 groups") && uneven.contains("6 "), "{uneven}");
    assert!(changed(|norm| norm.groups = 0).contains("0 groups"));
    assert!(changed(|norm| norm.epsilon = 0.0).contains("epsilon"));
    assert!(changed(|norm| norm.batch = 3).contains("90"));
    assert!(changed(|norm| norm.batch = usize::MAX).contains("larger"));
    let short = Affine {
        gamma: Some(&x[..5]),
        ..Affine::default()
    };
    assert!(message(right, short).contains("gamma"));
    let values = &x[..23];
    let short = Modulation {
        values,
        stride: 12,
        shift: 0,
        scale: 6,
    };
    let short = Affine {
        modulation: Some(short),
        ..Affine::default()
    };
    assert!(message(right, short).contains("24"));
    let other = Statistics::zeros(3);
    assert!(right.backward(&x, &other, Affine::default(), &x).is_err());
    assert!(
        right
            .backward(&x, &Statistics::zeros(4), Affine::default(), &x[1..])
            .is_err()
    );
}
