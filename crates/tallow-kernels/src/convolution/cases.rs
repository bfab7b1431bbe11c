//! Convolutions on fixed random data, and their definition written out: what the tests of this folder share.

use super::*;

pub(super) fn values<T: Float>(n: usize, seed: u64) -> Vec<T> {
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
pub(super) fn square(
    batch: usize,
    inputs: usize,
    outputs: usize,
    height: usize,
    width: usize,
) -> Convolution {
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

pub(super) struct Case<T> {
    pub(super) sizes: Convolution,
    pub(super) x: Vec<T>,
    pub(super) weight: Vec<T>,
    pub(super) bias: Vec<T>,
    pub(super) dy: Vec<T>,
}

impl<T: Float> Case<T> {
    pub(super) fn new(sizes: Convolution) -> Self {
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
    pub(super) fn results(&self) -> [Vec<T>; 4] {
        self.results_on(Path::best())
    }

    pub(super) fn results_on(&self, path: Path) -> [Vec<T>; 4] {
        let Self {
            sizes,
            x,
            weight,
            bias,
            dy,
        } = self;
        let epilogue = Epilogue {
            bias: Some(bias),
            ..Epilogue::default()
        };
        [
            sizes.forward_on(path, x, weight, None, &epilogue).unwrap(),
            sizes.input_gradient_on(path, dy, weight, None).unwrap(),
            sizes.weight_gradient_on(path, x, dy, None).unwrap(),
            sizes.bias_gradient(dy).unwrap(),
        ]
    }

    /// The definition, every product of it, in f64; the same four results.
    pub(super) fn definition(&self) -> [Vec<f64>; 4] {
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
    pub(super) fn check(&self, path: Path, tolerance: f64) {
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
                    "{s:?} on {}\n{name}[{i}]: {got:?} for {wanted}",
                    path.name()
                );
            }
        }
    }
}

pub(super) fn bits<T: Float>(values: &[T]) -> Vec<u64> {
    values.iter().map(|v| v.to_f64().to_bits()).collect()
}
