use super::*;

fn ramp(count: usize, seed: usize) -> Vec<f64> {
    (0..count)
        .map(|i| (((i + seed) * 7919) % 1013) as f64 / 600.0 - 0.8)
        .collect()
}

fn block(inputs: usize, outputs: usize, injection: Injection) -> ResidualBlock {
    ResidualBlock {
        batch: 2,
        inputs,
        outputs,
        height: 5,
        width: 4,
        groups: 2,
        epsilon: 1e-5,
        injection,
    }
}

const SHAPES: [(usize, usize, Injection); 4] = [
    (4, 4, Injection::Shift),
    (6, 4, Injection::Shift),
    (4, 4, Injection::ScaleShift),
    (2, 6, Injection::ScaleShift),
];

/// The block by its definition, every sum written out.
fn naive(block: &ResidualBlock, x: &[f64], told: &[f64], parameters: &[f64]) -> Vec<f64> {
    let parts = block.parts(parameters).unwrap();
    let plane = block.height * block.width;
    let silu = |z: f64| z / (1.0 + (-z).exp());
    let normed = |x: &[f64], channels: usize, [gamma, beta]: [&[f64]; 2]| -> Vec<f64> {
        let each = channels / block.groups * plane;
        x.chunks(each)
            .enumerate()
            .flat_map(|(group, values)| {
                let mean = values.iter().sum::<f64>() / each as f64;
                let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / each as f64;
                let first = group % block.groups * (channels / block.groups);
                let of = move |(k, v): (usize, &f64)| {
                    let c = first + k / plane;
                    (v - mean) / (variance + block.epsilon).sqrt() * gamma[c] + beta[c]
                };
                values.iter().enumerate().map(of).collect::<Vec<_>>()
            })
            .collect()
    };
    let convolved = |x: &[f64], inputs: usize, weight: &[f64], bias: &[f64], side: usize| -> Vec<f64> {
        let at = |b: usize, c: usize, i: isize, j: isize| {
            let inside = (0..block.height as isize).contains(&i) && (0..block.width as isize).contains(&j);
            if inside {
                x[((b * inputs + c) * block.height + i as usize) * block.width + j as usize]
            } else {
                0.0
            }
        };
        let mut y = Vec::new();
        for b in 0..block.batch {
            for (o, bias) in bias.iter().enumerate() {
                for p in 0..plane {
                    let mut sum = *bias;
                    for c in 0..inputs {
                        for tap in 0..side * side {
                            let (k, l) = ((tap / side) as isize, (tap % side) as isize);
                            let (i, j) = ((p / block.width) as isize, (p % block.width) as isize);
                            let pad = (side / 2) as isize;
                            sum += weight[(o * inputs + c) * side * side + tap]
                                * at(b, c, i + k - pad, j + l - pad);
                        }
                    }
                    y.push(sum);
                }
            }
        }
        y
    };
    let of_channel = |p: usize| (p / plane / block.outputs, p / plane % block.outputs);
    let a: Vec<f64> = normed(x, block.inputs, parts.norms[0])
        .into_iter()
        .map(silu)
        .collect();
    let mut h = convolved(&a, block.inputs, parts.weights[0], parts.biases[0], 3);
    if block.injection == Injection::Shift {
        for (p, h) in h.iter_mut().enumerate() {
            let (b, c) = of_channel(p);
            *h += told[b * block.outputs + c];
        }
    }
    let mut n = normed(&h, block.outputs, parts.norms[1]);
    if block.injection == Injection::ScaleShift {
        for (p, n) in n.iter_mut().enumerate() {
            let (b, c) = of_channel(p);
            let row = &told[b * 2 * block.outputs..];
            *n = *n * (1.0 + row[c]) + row[block.outputs + c];
        }
    }
    let a: Vec<f64> = n.into_iter().map(silu).collect();
    let y = convolved(&a, block.outputs, parts.weights[1], parts.biases[1], 3);
    let around = parts.skip.map_or_else(
        || x.to_vec(),
        |(weight, bias)| convolved(x, block.inputs, weight, bias, 1),
    );
    y.iter().zip(around).map(|(y, around)| y + around).collect()
}

fn case(block: &ResidualBlock) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
    let x = ramp(block.batch * block.inputs * block.height * block.width, 1);
    (
        x,
        ramp(block.batch * block.told(), 77),
        ramp(block.parameter_count().unwrap(), 400),
    )
}

#[test]
fn the_block_is_what_its_definition_says() {
    for (inputs, outputs, injection) in SHAPES {
        let block = block(inputs, outputs, injection);
        let (x, told, parameters) = case(&block);
        let (y, _) = block.forward(&x, &told, &parameters).unwrap();
        for (got, exact) in y.iter().zip(naive(&block, &x, &told, &parameters)) {
            assert!(
                (got - exact).abs() < 1e-11 * (1.0 + exact.abs()),
                "{inputs} {outputs} {injection:?}: {got} {exact}"
            );
        }
        let single = |values: &[f64]| values.iter().map(|v| *v as f32).collect::<Vec<_>>();
        let (z, _) = block
            .forward(&single(&x), &single(&told), &single(&parameters))
            .unwrap();
        for (got, exact) in z.iter().zip(&y) {
            assert!((f64::from(*got) - exact).abs() < 3e-5 * (1.0 + exact.abs()));
        }
    }
}

#[test]
fn every_gradient_is_that_of_central_differences() {
    for (inputs, outputs, injection) in SHAPES {
        let block = block(inputs, outputs, injection);
        let (x, told, parameters) = case(&block);
        let (y, state) = block.forward(&x, &told, &parameters).unwrap();
        let dy = ramp(y.len(), 9);
        let found = block
            .backward(&x, &told, &parameters, &state, &dy, Wanted::Yes)
            .unwrap();
        let loss = |x: &[f64], told: &[f64], parameters: &[f64]| -> f64 {
            naive(&block, x, told, parameters)
                .iter()
                .zip(&dy)
                .map(|(y, dy)| y * dy)
                .sum()
        };
        let check = |name: &str, values: &[f64], gradient: &[f64], of: &dyn Fn(&[f64]) -> f64| {
            assert_eq!(values.len(), gradient.len());
            for k in (0..values.len()).step_by(values.len().div_ceil(40)) {
                let mut moved = values.to_vec();
                let step = 1e-5;
                moved[k] += step;
                let above = of(&moved);
                moved[k] -= 2.0 * step;
                let exact = (above - of(&moved)) / (2.0 * step);
                assert!(
                    (gradient[k] - exact).abs() < 1e-6 * (1.0 + exact.abs()),
                    "{name}[{k}] of {block:?}: {} {exact}",
                    gradient[k]
                );
            }
        };
        check("x", &x, found.x.as_ref().unwrap(), &|x| {
            loss(x, &told, &parameters)
        });
        check("told", &told, &found.told, &|told| loss(&x, told, &parameters));
        check("parameters", &parameters, &found.parameters, &|parameters| {
            loss(&x, &told, parameters)
        });
        assert!(
            block
                .backward(&x, &told, &parameters, &state, &dy, Wanted::No)
                .unwrap()
                .x
                .is_none()
        );
    }
}

#[test]
fn an_image_has_the_same_bytes_in_every_batch_and_gradients_on_any_number_of_threads() {
    let block = ResidualBlock {
        batch: 7,
        inputs: 16,
        outputs: 24,
        height: 9,
        width: 7,
        ..block(4, 4, Injection::Shift)
    };
    let block = ResidualBlock { groups: 8, ..block };
    let (x, told, parameters) = case(&block);
    let single = |values: &[f64]| values.iter().map(|v| *v as f32).collect::<Vec<_>>();
    let (x, told, parameters) = (single(&x), single(&told), single(&parameters));
    let (y, state) = block.forward(&x, &told, &parameters).unwrap();
    let (image, row) = (x.len() / 7, told.len() / 7);
    for b in [0, 3, 6] {
        let one = ResidualBlock { batch: 1, ..block };
        let (alone, _) = one
            .forward(&x[b * image..][..image], &told[b * row..][..row], &parameters)
            .unwrap();
        assert_eq!(alone, y[b * alone.len()..][..alone.len()]);
    }
    let run = |threads| {
        parallel::on_threads(threads, || {
            block
                .backward(&x, &told, &parameters, &state, &y, Wanted::Yes)
                .unwrap()
        })
    };
    assert_eq!(run(1), run(3));
}

#[test]
fn slices_and_groups_that_do_not_fit_are_refused() {
    let block = block(4, 6, Injection::Shift);
    let (x, told, parameters) = case(&block);
    assert!(block.forward(&x[1..], &told, &parameters).is_err());
    assert!(block.forward(&x, &told[1..], &parameters).is_err());
    assert!(block.forward(&x, &told, &parameters[1..]).is_err());
    assert!(
        ResidualBlock { groups: 3, ..block }
            .forward(&x, &told, &parameters)
            .is_err()
    );
    let empty = ResidualBlock { batch: 0, ..block };
    assert!(empty.forward::<f64>(&[], &[], &parameters).unwrap().0.is_empty());
}
