use super::super::cases::{bits, square, values};
use super::super::*;
use super::*;

/// Scale, shift, shift of the epilogue and residual, besides x, weight, bias and dy.
struct Block<T> {
    sizes: Convolution,
    x: Vec<T>,
    weight: Vec<T>,
    dy: Vec<T>,
    scale: Vec<T>,
    shift: Vec<T>,
    activation: Activation,
    bias: Vec<T>,
    time: Vec<T>,
    residual: Vec<T>,
}

impl<T: Float> Block<T> {
    fn new(sizes: Convolution, activation: Activation) -> Self {
        let shape = Shape::new(sizes).unwrap();
        Self {
            sizes,
            x: values(shape.x_len, 1),
            weight: values(shape.weight_len, 2),
            dy: values(shape.y_len, 3),
            scale: values(sizes.batch * sizes.inputs, 4),
            shift: values(sizes.batch * sizes.inputs, 5),
            activation,
            bias: values(sizes.outputs, 6),
            time: values(sizes.batch * sizes.outputs, 7),
            residual: values(shape.y_len, 8),
        }
    }

    fn prologue(&self) -> Prologue<'_, T> {
        Prologue {
            scale: &self.scale,
            shift: &self.shift,
            activation: self.activation,
        }
    }

    fn epilogue(&self) -> Epilogue<'_, T> {
        Epilogue {
            bias: Some(&self.bias),
            shift: Some(&self.time),
            residual: Some(&self.residual),
        }
    }

    /// y, dz, dw in one pass each.
    fn fused(&self, path: Path) -> [Vec<T>; 3] {
        let (sizes, prologue) = (&self.sizes, self.prologue());
        let Self { x, weight, dy, .. } = self;
        [
            sizes
                .forward_on(path, x, weight, Some(&prologue), &self.epilogue())
                .unwrap(),
            sizes
                .input_gradient_on(path, dy, weight, Some((&prologue, x)))
                .unwrap(),
            sizes.weight_gradient_on(path, x, dy, Some(&prologue)).unwrap(),
        ]
    }

    /// The same, step by step on whole tensors of f64.
    fn steps(&self) -> [Vec<f64>; 3] {
        let sizes = self.sizes;
        let f64s = |values: &[T]| values.iter().map(|v| v.to_f64()).collect::<Vec<f64>>();
        let (x, weight, dy) = (f64s(&self.x), f64s(&self.weight), f64s(&self.dy));
        let plane = sizes.height * sizes.width;
        let z: Vec<f64> = (0..x.len())
            .map(|i| self.scale[i / plane].to_f64() * x[i] + self.shift[i / plane].to_f64())
            .collect();
        let (mut f, mut slope) = (z.clone(), z.clone());
        self.activation.apply(&z, &mut f, Some(&mut slope)).unwrap();
        let bias = f64s(&self.bias);
        let mut y = sizes.forward(&f, &weight, Some(&bias)).unwrap();
        let positions = y.len() / (sizes.batch * sizes.outputs);
        for (i, y) in y.iter_mut().enumerate() {
            *y += self.time[i / positions].to_f64() + self.residual[i].to_f64();
        }
        let mut dz = sizes.input_gradient(&dy, &weight).unwrap();
        dz.iter_mut().zip(slope).for_each(|(dz, slope)| *dz *= slope);
        [y, dz, sizes.weight_gradient(&f, &dy).unwrap()]
    }
}

fn blocks(batch: usize) -> Vec<Convolution> {
    let same = square(batch, 12, 20, 9, 7);
    vec![
        same,
        square(batch, 5, 3, 70, 40),
        Convolution {
            stride: [2, 2],
            ..same
        },
        Convolution {
            kernel: [1, 1],
            padding: [0, 0],
            ..same
        },
        Convolution {
            groups: 4,
            dilation: [2, 1],
            ..same
        },
        Convolution {
            kernel: [2, 4],
            stride: [3, 1],
            padding: [1, 2],
            ..same
        },
    ]
}

#[test]
fn a_fused_block_is_its_steps_one_after_the_other() {
    fn law<T: Float>(path: Path, tolerance: f64) {
        for sizes in blocks(3) {
            for activation in [Activation::Silu, Activation::Identity, Activation::Gelu] {
                let block = Block::<T>::new(sizes, activation);
                for (name, (got, wanted)) in ["y", "dz", "dw"]
                    .iter()
                    .zip(block.fused(path).iter().zip(block.steps()))
                {
                    let largest = wanted.iter().fold(1.0f64, |largest, v| largest.max(v.abs()));
                    for (i, (got, wanted)) in got.iter().zip(wanted).enumerate() {
                        assert!(
                            (got.to_f64() - wanted).abs() <= tolerance * largest,
                            "{sizes:?} {activation:?} on {}: {name}[{i}] = {got:?} for {wanted}",
                            path.name()
                        );
                    }
                }
            }
        }
    }
    for path in Path::available() {
        law::<f32>(path, 3e-6);
        law::<f64>(path, 1e-13);
    }
}

#[test]
fn an_image_of_a_fused_block_has_the_same_bytes_in_every_batch_and_on_any_threads() {
    for sizes in blocks(7) {
        let all = Block::<f32>::new(sizes, Activation::Silu);
        let [y, dz, _] = crate::parallel::on_threads(2, || all.fused(Path::best()));
        let tail = |values: &[f32]| values[values.len() / 7 * 5..].to_vec();
        let part = Block {
            sizes: Convolution { batch: 2, ..sizes },
            x: tail(&all.x),
            dy: tail(&all.dy),
            scale: tail(&all.scale),
            shift: tail(&all.shift),
            time: tail(&all.time),
            residual: tail(&all.residual),
            weight: all.weight.clone(),
            bias: all.bias.clone(),
            activation: all.activation,
        };
        let [part_y, part_dz, _] = crate::parallel::on_threads(1, || part.fused(Path::best()));
        assert!(
            bits(&part_y) == bits(&tail(&y)) && bits(&part_dz) == bits(&tail(&dz)),
            "{sizes:?}"
        );
    }
}

#[test]
fn surroundings_of_other_lengths_are_refused() {
    let block = Block::<f32>::new(square(2, 3, 4, 5, 5), Activation::Silu);
    let Block {
        sizes, x, weight, dy, ..
    } = &block;
    let short = Prologue {
        scale: &block.scale[1..],
        ..block.prologue()
    };
    let nothing = Epilogue::default();
    assert!(sizes.fused_forward(x, weight, Some(&short), &nothing).is_err());
    let backward = |x, weights| sizes.fused_backward(&block.x, weight, dy, Some(&short), x, weights);
    assert!(backward(Wanted::Yes, Wanted::No).is_err() && backward(Wanted::No, Wanted::Yes).is_err());
    for wrong in [
        Epilogue {
            bias: Some(&block.bias[1..]),
            ..nothing
        },
        Epilogue {
            shift: Some(&block.time[1..]),
            ..nothing
        },
        Epilogue {
            residual: Some(&block.residual[1..]),
            ..nothing
        },
    ] {
        assert!(sizes.fused_forward(x, weight, None, &wrong).is_err());
    }
}
