//! Images of another size: nearest and bilinear resampling, average pooling.
//!
//! ```text
//! y = A x Bᵀ for each plane,    dx = Aᵀ dy B
//! ```
//!
//! with A and B as in [`tallow_kernels::resample`]. candle's nearest upsampling loses gradients when its input has a second
//! consumer, its bilinear one has none, and its pooling only where the stride is the kernel.

use candle_core::{CpuStorage, CustomOp1, DType, Layout, Shape, Tensor, WithDType};
use tallow_kernels::Axis;

use crate::dual::Dual;
use crate::error::{Error, Result};
use crate::slices::{Element, kernels_take, values, with_values};

/// What a resized image has between the values of the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Interpolation {
    /// The value at ⌊position⌋: repeats values when growing by an integer (PyTorch's `mode="nearest"`).
    #[default]
    Nearest,
    /// Between the four values around; the outer edges of the images lie on each other (`align_corners=False`).
    Bilinear,
    /// Between the four values around; the centres of the corner values lie on each other (`align_corners=True`).
    BilinearAligned,
}

impl Interpolation {
    fn axis(self, inputs: usize, outputs: usize) -> Result<Axis> {
        Ok(match self {
            Self::Nearest => Axis::nearest(inputs, outputs)?,
            Self::Bilinear => Axis::linear(inputs, outputs)?,
            Self::BilinearAligned => Axis::linear_aligned(inputs, outputs)?,
        })
    }
}

/// Gives images another height and width: (N, C, H, W) to (N, C, H′, W′).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resize {
    size: Size,
    interpolation: Interpolation,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Size {
    To([usize; 2]),
    By([usize; 2]),
}

impl Resize {
    /// To a height and width.
    #[must_use]
    pub fn to(size: [usize; 2], interpolation: Interpolation) -> Self {
        Self {
            size: Size::To(size),
            interpolation,
        }
    }

    /// To as many times the height and the width.
    #[must_use]
    pub const fn by(factors: [usize; 2], interpolation: Interpolation) -> Self {
        Self {
            size: Size::By(factors),
            interpolation,
        }
    }

    /// The resized images.
    ///
    /// # Errors
    ///
    /// When `x` is not of rank 4, or a size before or after is 0.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        resample(x, &self.axes(x)?)
    }

    /// The resized images with their derivative along the tangent of `x`.
    ///
    /// # Errors
    ///
    /// Those of [`forward`](Self::forward).
    pub fn forward_dual(&self, x: &Dual) -> Result<Dual> {
        let axes = self.axes(x.value())?;
        x.linear(|x| Ok(resample(x, &axes)?))
    }

    fn axes(&self, x: &Tensor) -> Result<[Axis; 2]> {
        let [height, width] = image_size(x, "a resized image")?;
        let [to_height, to_width] = match self.size {
            Size::To(size) => size,
            Size::By([down, across]) => [height.saturating_mul(down), width.saturating_mul(across)],
        };
        Ok([
            self.interpolation.axis(height, to_height)?,
            self.interpolation.axis(width, to_width)?,
        ])
    }
}

/// The mean of each window of an image: (N, C, H, W) to (N, C, H′, W′), H′ = ⌊(H − kernel)/stride⌋ + 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AveragePool {
    kernel: [usize; 2],
    stride: [usize; 2],
}

impl AveragePool {
    /// Windows of `kernel` values, `stride` apart, both (vertical, horizontal).
    #[must_use]
    pub const fn new(kernel: [usize; 2], stride: [usize; 2]) -> Self {
        Self { kernel, stride }
    }

    /// Windows side by side: each image shrinks by the factors.
    #[must_use]
    pub const fn by(factors: [usize; 2]) -> Self {
        Self::new(factors, factors)
    }

    /// The means.
    ///
    /// # Errors
    ///
    /// When `x` is not of rank 4, kernel or stride is 0, or the kernel is larger than the image.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        resample(x, &self.axes(x)?)
    }

    /// The means with their derivative along the tangent of `x`.
    ///
    /// # Errors
    ///
    /// Those of [`forward`](Self::forward).
    pub fn forward_dual(&self, x: &Dual) -> Result<Dual> {
        let axes = self.axes(x.value())?;
        x.linear(|x| Ok(resample(x, &axes)?))
    }

    fn axes(&self, x: &Tensor) -> Result<[Axis; 2]> {
        let [height, width] = image_size(x, "average pooling")?;
        Ok([
            Axis::average(height, self.kernel[0], self.stride[0])?,
            Axis::average(width, self.kernel[1], self.stride[1])?,
        ])
    }
}

fn image_size(x: &Tensor, layer: &str) -> Result<[usize; 2]> {
    let &[_, _, height, width] = x.dims() else {
        return Err(Error::Input {
            layer: layer.to_string(),
            wanted: "(batch, channels, height, width)".to_string(),
            got: x.shape().clone(),
        });
    };
    Ok([height, width])
}

fn resample(x: &Tensor, axes: &[Axis; 2]) -> Result<Tensor> {
    if kernels_take(x) {
        Ok(x.contiguous()?.apply_op1(ResampleOp(axes.clone()))?)
    } else {
        Ok(composed(x, axes)?)
    }
}

/// By candle's operations, for other devices and types; also the reference in tests.
fn composed(x: &Tensor, [height, width]: &[Axis; 2]) -> candle_core::Result<Tensor> {
    composed_axis(&composed_axis(x, width, 3)?, height, 2)
}

/// Σ over the taps of an output, each of them a selection of the inputs; candle's selection has a right gradient.
fn composed_axis(x: &Tensor, axis: &Axis, dim: usize) -> candle_core::Result<Tensor> {
    let x = x.contiguous()?;
    let count = (0..axis.outputs()).map(|o| axis.taps(o).len()).max();
    let mut sum: Option<Tensor> = None;
    for tap in 0..count.unwrap_or(0) {
        let (mut inputs, mut weights) = (Vec::new(), Vec::new());
        for taps in (0..axis.outputs()).map(|output| axis.taps(output)) {
            // Outputs with fewer taps read their last one again, with weight 0.
            let (input, weight) = taps.get(tap).copied().unwrap_or_else(|| {
                let last = taps.last().map_or(0, |tap| tap.0);
                (last, 0.0)
            });
            inputs.push(input as u32);
            weights.push(weight);
        }
        let all_ones = weights.iter().all(|&weight| weight == 1.0);
        let inputs = Tensor::new(inputs, x.device())?;
        let mut part = x.index_select(&inputs, dim)?;
        if !all_ones {
            let shape = if dim == 2 {
                (1, 1, weights.len(), 1)
            } else {
                (1, 1, 1, weights.len())
            };
            let weights = Tensor::from_vec(weights, shape, &candle_core::Device::Cpu)?;
            let weights = weights.to_dtype(x.dtype())?.to_device(x.device())?;
            part = part.broadcast_mul(&weights)?;
        }
        sum = Some(match sum {
            Some(sum) => (sum + part)?,
            None => part,
        });
    }
    sum.map_or_else(|| x.narrow(dim, 0, 0), Ok)
}

/// Vertical and horizontal axis, for a contiguous input on the host.
struct ResampleOp([Axis; 2]);

impl ResampleOp {
    fn kernel<T: Element>([height, width]: &[Axis; 2], x: &[T]) -> candle_core::Result<Vec<T>> {
        let planes = x.len() / (height.inputs() * width.inputs());
        tallow_kernels::resample(height, width, planes, x).map_err(candle_core::Error::wrap)
    }

    fn backward<T: Element>(&self, x: &Tensor, dy: &Tensor) -> candle_core::Result<Tensor> {
        let axes = [self.0[0].transposed(), self.0[1].transposed()];
        let dx = with_values::<T, _>(dy, |dy| Self::kernel(&axes, dy))?;
        Tensor::from_vec(dx, x.shape(), x.device())
    }
}

impl CustomOp1 for ResampleOp {
    fn name(&self) -> &'static str {
        "resample"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let y = match x {
            CpuStorage::F64(_) => {
                f64::to_cpu_storage_owned(Self::kernel(&self.0, values::<f64>(x, layout)?)?)
            }
            _ => f32::to_cpu_storage_owned(Self::kernel(&self.0, values::<f32>(x, layout)?)?),
        };
        let (batch, channels, _, _) = layout.shape().dims4()?;
        Ok((
            y,
            (batch, channels, self.0[0].outputs(), self.0[1].outputs()).into(),
        ))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, dy: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let dy = dy.contiguous()?;
        Ok(Some(match dy.dtype() {
            DType::F64 => self.backward::<f64>(x, &dy)?,
            _ => self.backward::<f32>(x, &dy)?,
        }))
    }
}

#[cfg(test)]
#[path = "resample_tests.rs"]
mod tests;
