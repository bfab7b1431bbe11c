//! What Inception-v3 is made of: convolutions with their normalizations folded in, three pools, branches that join.

use candle_core::{DType, Device, Result, Tensor};

use crate::weights::Weights;

/// The ε of every batch norm.
const EPSILON: f64 = 1e-3;

/// One step of the network, (N, C, H, W) to (N, C', H', W').
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// A convolution, its normalization and max(0, ·).
    Convolution(Convolution),
    /// The mean of 3 × 3 pixels, at the border of those that exist.
    Mean,
    /// The largest of 3 × 3 pixels; the size stays.
    Largest,
    /// The largest of 3 × 3 pixels, at every other pixel.
    LargestOfEveryOther,
    /// Several ways side by side, joined along the channels.
    Branches(Vec<Vec<Step>>),
}

impl Step {
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Convolution(convolution) => convolution.forward(x),
            Self::Mean => mean(x),
            // What comes here is nowhere negative, so zeros around it are never the largest.
            Self::Largest => padded(x, [1, 1])?.max_pool2d_with_stride(3, 1),
            Self::LargestOfEveryOther => x.max_pool2d_with_stride(3, 2),
            Self::Branches(branches) => {
                let along = |steps: &Vec<Self>| steps.iter().try_fold(x.clone(), |x, step| step.forward(&x));
                let joined = branches.iter().map(along).collect::<Result<Vec<_>>>()?;
                Tensor::cat(&joined, 1)
            }
        }
    }
}

/// A convolution whose weights contain the normalization: w γ/√(v + ε), β − m γ/√(v + ε).
#[derive(Clone, Debug)]
pub(super) struct Convolution {
    weight: Tensor,
    /// (1, C, 1, 1).
    bias: Tensor,
    stride: usize,
    padding: [usize; 2],
}

impl Convolution {
    /// From the tensors under `name`; `shape`: channels out and in, rows and columns of the kernel.
    pub(super) fn read(
        weights: &Weights,
        name: &str,
        shape: [usize; 4],
        stride: usize,
        padding: [usize; 2],
        device: &Device,
    ) -> crate::Result<Self> {
        let outputs = shape[0];
        let weight = weights.tensor(&format!("{name}.conv.weight"), &shape, DType::F64)?;
        let norm = |part: &str| weights.tensor(&format!("{name}.bn.{part}"), &[outputs], DType::F64);
        let spread = (norm("running_var")? + EPSILON)?.sqrt()?;
        let scale = (norm("weight")? / spread)?;
        let bias = (norm("bias")? - (norm("running_mean")? * &scale)?)?;
        let folded = weight.broadcast_mul(&scale.reshape((outputs, 1, 1, 1))?)?;
        Ok(Self {
            weight: folded.to_dtype(DType::F32)?.to_device(device)?,
            bias: bias
                .to_dtype(DType::F32)?
                .reshape((1, outputs, 1, 1))?
                .to_device(device)?,
            stride,
            padding,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let x = padded(x, self.padding)?;
        x.conv2d(&self.weight, 0, self.stride, 1, 1)?
            .broadcast_add(&self.bias)?
            .relu()
    }
}

fn padded(x: &Tensor, [rows, columns]: [usize; 2]) -> Result<Tensor> {
    x.pad_with_zeros(2, rows, rows)?
        .pad_with_zeros(3, columns, columns)
}

/// The sum of nine, over how many of them are inside of the image.
fn mean(x: &Tensor) -> Result<Tensor> {
    let (_, _, height, width) = x.dims4()?;
    let inside = |at: usize, side: usize| (3 - usize::from(at == 0) - usize::from(at + 1 == side)) as f32;
    let shares: Vec<f32> = (0..height * width)
        .map(|index| 9.0 / (inside(index / width, height) * inside(index % width, width)))
        .collect();
    let shares = Tensor::from_vec(shares, (1, 1, height, width), &Device::Cpu)?.to_device(x.device())?;
    padded(x, [1, 1])?
        .avg_pool2d_with_stride(3, 1)?
        .broadcast_mul(&shares)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pools_at_the_border_see_what_is_inside() {
        let image = Tensor::arange(1f32, 10.0, &Device::Cpu)
            .unwrap()
            .reshape((1, 1, 3, 3))
            .unwrap();
        let values = |step: &Step| {
            step.forward(&image)
                .unwrap()
                .flatten_all()
                .unwrap()
                .to_vec1::<f32>()
                .unwrap()
        };
        // 1 2 3 / 4 5 6 / 7 8 9: of four, six and nine.
        let means = [3.0, 3.5, 4.0, 4.5, 5.0, 5.5, 6.0, 6.5, 7.0];
        for (found, exact) in values(&Step::Mean).into_iter().zip(means) {
            assert!((found - exact).abs() < 1e-6, "{found} for {exact}");
        }
        assert_eq!(
            values(&Step::Largest),
            [5.0, 6.0, 6.0, 8.0, 9.0, 9.0, 8.0, 9.0, 9.0]
        );
        assert_eq!(values(&Step::LargestOfEveryOther), [9.0]);
        let both = Step::Branches(vec![vec![], vec![Step::Largest]]);
        assert_eq!(both.forward(&image).unwrap().dims(), [1, 2, 3, 3]);
    }
}
