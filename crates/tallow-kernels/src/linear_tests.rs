use super::*;
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

struct Case<T> {
    layer: Layer,
    x: Vec<T>,
    weight: Vec<T>,
    bias: Vec<T>,
    dy: Vec<T>,
}

fn case<T: Float>(rows: usize, inputs: usize, outputs: usize, activation: Activation) -> Case<T> {
    Case {
        layer: Layer {
            rows,
            inputs,
            outputs,
            activation,
        },
        x: values(rows * inputs, 1),
        weight: values(inputs * outputs, 2),
        bias: values(outputs, 3),
        dy: values(rows * outputs, 4),
    }
}

impl<T: Float> Case<T> {
    fn forward(&self) -> (Vec<T>, Vec<T>) {
        self.layer
            .forward(&self.x, &self.weight, Some(&self.bias), Wanted::Yes)
            .unwrap()
    }

    fn backward(&self) -> Gradients<T> {
        let (_, slope) = self.forward();
        let saved = Saved {
            x: &self.x,
            weight: &self.weight,
            slope: &slope,
        };
        self.layer
            .backward(saved, &self.dy, Wanted::Yes, Wanted::Yes)
            .unwrap()
    }

    /// Σ dy ⊙ y, of which `backward` is the gradient.
    fn loss(&self) -> f64 {
        self.forward()
            .0
            .iter()
            .zip(&self.dy)
            .map(|(y, dy)| y.to_f64() * dy.to_f64())
            .sum()
    }
}

fn bits<T: Float>(values: &[T]) -> Vec<u64> {
    values.iter().map(|v| v.to_f64().to_bits()).collect()
}

#[test]
fn the_forward_pass_is_the_sum_written_out() {
    for (rows, inputs, outputs) in [
        (1, 1, 1),
        (1, 5, 3),
        (7, 3, 1),
        (2, 2, 2),
        (65, 33, 17),
        (300, 600, 20),
        (40, 0, 3),
    ] {
        let case = case::<f64>(rows, inputs, outputs, Activation::Tanh);
        let (y, _) = case.forward();
        for i in 0..rows {
            for j in 0..outputs {
                let sum: f64 = (0..inputs)
                    .map(|k| case.x[i * inputs + k] * case.weight[j * inputs + k])
                    .sum();
                let wanted = (sum + case.bias[j]).tanh();
                let got = y[i * outputs + j];
                assert!(
                    (got - wanted).abs() < 1e-12,
                    "{rows}x{inputs}x{outputs} at ({i}, {j}): {got} {wanted}"
                );
            }
        }
    }
}

#[test]
fn gradients_are_the_central_differences_of_the_forward_pass() {
    for activation in Activation::ALL {
        for (rows, inputs, outputs) in [(1, 1, 1), (3, 2, 5), (5, 7, 1), (150, 4, 3)] {
            let mut case = case::<f64>(rows, inputs, outputs, activation);
            let gradients = case.backward();
            let [dx, dw, db] = [gradients.x, gradients.weight, gradients.bias].map(Option::unwrap);
            let h = 1e-6;
            let check = |name: &str,
                         case: &mut Case<f64>,
                         pick: fn(&mut Case<f64>) -> &mut Vec<f64>,
                         wanted: &[f64]| {
                for (i, &wanted) in wanted.iter().enumerate().step_by(7) {
                    pick(case)[i] += h;
                    let above = case.loss();
                    pick(case)[i] -= 2.0 * h;
                    let below = case.loss();
                    pick(case)[i] += h;
                    let difference = (above - below) / (2.0 * h);
                    assert!(
                        (difference - wanted).abs() < 1e-6,
                        "{activation:?} {name}[{i}]: {wanted} {difference}"
                    );
                }
            };
            check("dx", &mut case, |c| &mut c.x, &dx);
            check("dW", &mut case, |c| &mut c.weight, &dw);
            check("db", &mut case, |c| &mut c.bias, &db);
        }
    }
}

#[test]
fn a_row_has_the_same_bytes_in_every_batch() {
    fn law<T: Float>() {
        for (inputs, outputs) in [
            (3, 256),
            (256, 256),
            (256, 2),
            (5, 1),
            (2, 7),
            (1, 3),
            (600, 5),
            (1100, 64),
            (17, 2),
        ] {
            let all = case::<T>(1100, inputs, outputs, Activation::Silu);
            let (y, slope) = all.forward();
            for rows in [1, 2, 3, 7, 63, 64, 65, 129, 513] {
                let layer = Layer { rows, ..all.layer };
                // The last rows of the large batch, so that blocks fall differently.
                let first = 1100 - rows;
                let x = &all.x[first * inputs..];
                let (part, part_slope) = layer
                    .forward(x, &all.weight, Some(&all.bias), Wanted::Yes)
                    .unwrap();
                assert_eq!(
                    bits(&part),
                    bits(&y[first * outputs..]),
                    "{inputs}->{outputs}, batch {rows}"
                );
                assert_eq!(bits(&part_slope), bits(&slope[first * outputs..]));
            }
        }
    }
    law::<f32>();
    law::<f64>();
}

#[test]
fn every_result_has_the_same_bytes_on_any_number_of_threads() {
    for (rows, inputs, outputs) in [(1000, 64, 96), (256, 256, 256), (4096, 3, 256), (2048, 256, 2)] {
        let case = case::<f32>(rows, inputs, outputs, Activation::Gelu);
        let one = on_threads(1, || (case.forward(), case.backward()));
        for threads in [2, 3] {
            let many = on_threads(threads, || (case.forward(), case.backward()));
            assert!(many == one, "{rows}x{inputs}x{outputs} on {threads} threads");
        }
    }
}

#[test]
fn unwanted_gradients_are_left_out_and_the_others_do_not_change() {
    let case = case::<f32>(200, 9, 11, Activation::Relu);
    let all = case.backward();
    let (_, slope) = case.forward();
    let saved = Saved {
        x: &case.x,
        weight: &case.weight,
        slope: &slope,
    };
    let weights = case
        .layer
        .backward(saved, &case.dy, Wanted::No, Wanted::Yes)
        .unwrap();
    assert!(weights.x.is_none() && weights.weight == all.weight && weights.bias == all.bias);
    let x = case
        .layer
        .backward(saved, &case.dy, Wanted::Yes, Wanted::No)
        .unwrap();
    assert!(x.x == all.x && x.weight.is_none() && x.bias.is_none());
}

#[test]
fn a_layer_without_bias_is_one_with_a_bias_of_zero() {
    let case = case::<f32>(33, 5, 6, Activation::Silu);
    let without = case
        .layer
        .forward(&case.x, &case.weight, None, Wanted::No)
        .unwrap();
    let with = case
        .layer
        .forward(&case.x, &case.weight, Some(&[0.0; 6]), Wanted::No)
        .unwrap();
    assert_eq!(without, with);
    assert!(without.1.is_empty());
}

#[test]
fn an_empty_batch_has_empty_outputs_and_zero_gradients() {
    let case = case::<f32>(0, 4, 3, Activation::Silu);
    assert_eq!(case.forward(), (vec![], vec![]));
    let gradients = case.backward();
    assert_eq!(gradients.x, Some(vec![]));
    assert_eq!(gradients.weight, Some(vec![0.0; 12]));
    assert_eq!(gradients.bias, Some(vec![0.0; 3]));
    let none = self::case::<f32>(5, 4, 0, Activation::Silu);
    assert_eq!(none.forward(), (vec![], vec![]));
    assert_eq!(none.backward().x, Some(vec![0.0; 20]));
    assert_eq!(
        self::case::<f32>(5, 0, 2, Activation::Silu).backward().weight,
        Some(vec![])
    );
}

#[test]
fn slices_of_other_lengths_are_refused() {
    let case = case::<f32>(4, 3, 2, Activation::Silu);
    assert!(
        case.layer
            .forward(&case.x[1..], &case.weight, None, Wanted::No)
            .is_err()
    );
    assert!(
        case.layer
            .forward(&case.x, &case.weight[1..], None, Wanted::No)
            .is_err()
    );
    assert!(
        case.layer
            .forward(&case.x, &case.weight, Some(&case.bias[1..]), Wanted::No)
            .is_err()
    );
    let saved = Saved {
        x: &case.x,
        weight: &case.weight,
        slope: &[],
    };
    assert!(
        case.layer
            .backward(saved, &case.dy, Wanted::Yes, Wanted::Yes)
            .is_err()
    );
    let huge = Layer {
        rows: usize::MAX,
        inputs: 2,
        outputs: 2,
        activation: Activation::Relu,
    };
    assert!(huge.forward::<f32>(&[], &[0.0; 4], None, Wanted::No).is_err());
}
