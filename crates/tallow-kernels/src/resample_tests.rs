use super::*;
use crate::parallel::on_threads;

fn waves(n: usize) -> Vec<f64> {
    (0..n).map(|i| (i as f64 * 0.7).sin() + 0.1).collect()
}

/// Axes of every kind, growing, shrinking and staying.
fn axes() -> Vec<Axis> {
    let mut axes = Vec::new();
    for inputs in [1, 2, 5, 7] {
        for outputs in [1, 2, 3, 5, 10, 13] {
            axes.push(Axis::nearest(inputs, outputs).unwrap());
            axes.push(Axis::linear(inputs, outputs).unwrap());
            axes.push(Axis::linear_aligned(inputs, outputs).unwrap());
        }
        for (kernel, stride) in [(1, 2), (2, 2), (3, 1), (2, 3)] {
            axes.extend(Axis::average(inputs, kernel, stride));
        }
    }
    axes
}

#[test]
fn the_result_is_the_product_with_both_matrices() {
    let axes = axes();
    for (i, height) in axes.iter().enumerate() {
        let width = &axes[(i * 7 + 3) % axes.len()];
        let (rows, columns) = (height.inputs(), width.inputs());
        let x = waves(3 * rows * columns);
        let y = resample(height, width, 3, &x).unwrap();
        let size = height.outputs() * width.outputs();
        for (index, y) in y.iter().enumerate() {
            let (plane, row, column) = (
                index / size,
                index % size / width.outputs(),
                index % width.outputs(),
            );
            let mut sum = 0.0;
            for &(i, a) in height.taps(row) {
                for &(j, b) in width.taps(column) {
                    sum += a * b * x[(plane * rows + i) * columns + j];
                }
            }
            assert!((y - sum).abs() < 1e-14, "{height:?} {width:?}");
        }
    }
}

#[test]
fn the_transposed_axes_give_the_adjoint() {
    let axes = axes();
    for (i, height) in axes.iter().enumerate() {
        let width = &axes[(i * 5 + 1) % axes.len()];
        let x = waves(2 * height.inputs() * width.inputs());
        let y = resample(height, width, 2, &x).unwrap();
        let dy: Vec<_> = waves(y.len()).iter().map(|v| v * v - 0.3).collect();
        let dx = resample(&height.transposed(), &width.transposed(), 2, &dy).unwrap();
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        assert!(
            (dot(&y, &dy) - dot(&x, &dx)).abs() < 1e-12,
            "{height:?} {width:?}"
        );
    }
}

#[test]
fn constants_stay_and_lines_stay_lines() {
    for axis in axes() {
        for output in 0..axis.outputs() {
            let sum: f64 = axis.taps(output).iter().map(|tap| tap.1).sum();
            assert!((sum - 1.0).abs() < 1e-15, "{axis:?}");
        }
    }
    // Between the centres of the first and the last value, a line is met exactly.
    let at = |axis: &Axis, output: usize| -> f64 {
        axis.taps(output)
            .iter()
            .map(|&(input, weight)| input as f64 * weight)
            .sum()
    };
    let axis = Axis::linear(6, 15).unwrap();
    for output in 1..14 {
        assert!((at(&axis, output) - ((output as f64 + 0.5) * 0.4 - 0.5)).abs() < 1e-14);
    }
    let axis = Axis::linear_aligned(6, 11).unwrap();
    for output in 0..11 {
        assert!((at(&axis, output) - output as f64 * 0.5).abs() < 1e-14);
    }
}

#[test]
fn integer_factors_repeat_and_sizes_take_the_floor() {
    let inputs = |axis: &Axis| (0..axis.outputs()).map(|o| axis.taps(o)[0].0).collect::<Vec<_>>();
    assert_eq!(inputs(&Axis::nearest(3, 6).unwrap()), [0, 0, 1, 1, 2, 2]);
    assert_eq!(inputs(&Axis::nearest(5, 3).unwrap()), [0, 1, 3]);
    assert_eq!(inputs(&Axis::nearest(3, 4).unwrap()), [0, 0, 1, 2]);
    // In single precision, 41 · 2/82 is below 1.
    assert_eq!(inputs(&Axis::nearest(2, 82).unwrap())[40..42], [0, 1]);
    assert_eq!(inputs(&Axis::linear(4, 4).unwrap()), [0, 1, 2, 3]);
}

#[test]
fn patterns_are_seen_where_they_are() {
    let nearest = |inputs, outputs| Axis::nearest(inputs, outputs).unwrap();
    for (axis, pattern) in [
        (nearest(3, 3), Pattern::Repeats(1)),
        (nearest(3, 6), Pattern::Repeats(2)),
        (nearest(3, 5), Pattern::Table),
        (nearest(6, 3), Pattern::Table),
        (nearest(3, 9).transposed(), Pattern::Blocks(3)),
        (Axis::average(6, 2, 2).unwrap(), Pattern::Blocks(2)),
        (Axis::average(7, 2, 2).unwrap(), Pattern::Table),
        (Axis::average(6, 3, 1).unwrap(), Pattern::Table),
        (Axis::average(6, 2, 2).unwrap().transposed(), Pattern::Table),
        (Axis::linear(4, 4).unwrap(), Pattern::Repeats(1)),
        (Axis::linear(4, 8).unwrap(), Pattern::Table),
    ] {
        assert_eq!(Pattern::of(&axis), pattern, "{axis:?}");
    }
}

#[test]
fn planes_have_the_same_bytes_in_every_batch_and_on_any_threads() {
    let (height, width) = (Axis::linear(33, 70).unwrap(), Axis::nearest(40, 80).unwrap());
    let x: Vec<f32> = waves(64 * 33 * 40).iter().map(|&v| v as f32).collect();
    let all = on_threads(1, || resample(&height, &width, 64, &x).unwrap());
    for threads in [2, 5] {
        assert_eq!(
            all,
            on_threads(threads, || resample(&height, &width, 64, &x).unwrap())
        );
    }
    let one = resample(&height, &width, 1, &x[7 * 33 * 40..8 * 33 * 40]).unwrap();
    assert_eq!(one, all[7 * 70 * 80..8 * 70 * 80]);
}

#[test]
fn sizes_that_do_not_fit_are_refused_and_no_planes_give_nothing() {
    let axis = Axis::nearest(2, 4).unwrap();
    assert!(resample::<f32>(&axis, &axis, 0, &[]).unwrap().is_empty());
    assert!(resample(&axis, &axis, 1, &[1f32; 5]).is_err());
    assert!(Axis::nearest(0, 4).is_err());
    assert!(Axis::linear(4, 0).is_err());
    assert!(Axis::average(4, 5, 1).is_err());
    assert!(Axis::average(4, 2, 0).is_err());
    assert!(axis.taps(4).is_empty());
}

#[test]
fn what_is_not_read_does_not_matter() {
    let axis = Axis::linear_aligned(3, 5).unwrap();
    let x = [1.0, 2.0, f64::INFINITY];
    let y = resample(&Axis::nearest(1, 1).unwrap(), &axis, 1, &x).unwrap();
    assert_eq!(y, [1.0, 1.5, 2.0, f64::INFINITY, f64::INFINITY]);
}
