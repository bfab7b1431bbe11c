//! Convolution and its transpose as an operation of the graph, on the kernels of the host.
//!
//! ```text
//! along   y = conv(x, w) + b           dx = convᵀ(dy, w)      dw = Σ dy ⊗ x     db = Σ dy
//! back    y = convᵀ(x, w) + b          dx = conv(dy, w)       dw = Σ x ⊗ dy     db = Σ dy
//! ```

use candle_core::{CpuStorage, CustomOp3, DType, Layout, Result, Shape, Tensor};
use tallow_kernels::Convolution;

use crate::slices::{Element, values, with_values};

/// x, weight and bias of a convolution or its transpose, all contiguous on the host.
pub(crate) struct ConvolutionOp {
    pub(crate) sizes: Convolution,
    pub(crate) way: Way,
    pub(crate) biased: bool,
}

/// Which side of `sizes` the layer's input is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Its x: a convolution.
    Along,
    /// Its y: a transposed convolution.
    Back,
}

/// Gradients of x, weight and bias.
type Gradients = (Option<Tensor>, Option<Tensor>, Option<Tensor>);

impl ConvolutionOp {
    fn forward<T: Element>(&self, x: &[T], weight: &[T], bias: &[T]) -> Result<CpuStorage> {
        let y = match self.way {
            Way::Along => self.sizes.forward(x, weight, self.biased.then_some(bias)),
            Way::Back => self.sizes.input_gradient(x, weight).map(|mut y| {
                let plane = (self.sizes.height * self.sizes.width).max(1);
                if self.biased {
                    for (plane, &bias) in y.chunks_mut(plane).zip(bias.iter().cycle()) {
                        plane.iter_mut().for_each(|y| *y += bias);
                    }
                }
                y
            }),
        };
        Ok(T::to_cpu_storage_owned(y.map_err(wrap)?))
    }

    fn backward<T: Element>(&self, [x, weight, bias]: [&Tensor; 3], dy: &Tensor) -> Result<Gradients> {
        let dims = dy.dims4()?;
        with_values::<T, _>(dy, |dy| {
            let dx = wanted(x, || {
                with_values::<T, _>(weight, |weight| match self.way {
                    Way::Along => self.sizes.input_gradient(dy, weight).map_err(wrap),
                    Way::Back => self.sizes.forward(dy, weight, None).map_err(wrap),
                })
            })?;
            let dw = wanted(weight, || {
                with_values::<T, _>(x, |x| match self.way {
                    Way::Along => self.sizes.weight_gradient(x, dy).map_err(wrap),
                    Way::Back => self.sizes.weight_gradient(dy, x).map_err(wrap),
                })
            })?;
            Ok((dx, dw, wanted(bias, || channel_sums(dy, dims))?))
        })
    }

    fn output(&self) -> Result<[usize; 4]> {
        let sizes = &self.sizes;
        Ok(match self.way {
            Way::Along => {
                let [height, width] = sizes.output_size().map_err(wrap)?;
                [sizes.batch, sizes.outputs, height, width]
            }
            Way::Back => [sizes.batch, sizes.inputs, sizes.height, sizes.width],
        })
    }
}

impl CustomOp3 for ConvolutionOp {
    fn name(&self) -> &'static str {
        match self.way {
            Way::Along => "convolution",
            Way::Back => "transposed convolution",
        }
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let y = match x {
            CpuStorage::F64(_) => self.forward::<f64>(
                values(x, x_layout)?,
                values(weight, weight_layout)?,
                values(bias, bias_layout)?,
            )?,
            _ => self.forward::<f32>(
                values(x, x_layout)?,
                values(weight, weight_layout)?,
                values(bias, bias_layout)?,
            )?,
        };
        Ok((y, Shape::from_dims(&self.output()?)))
    }

    fn bwd(&self, x: &Tensor, weight: &Tensor, bias: &Tensor, _y: &Tensor, dy: &Tensor) -> Result<Gradients> {
        let dy = dy.contiguous()?;
        match dy.dtype() {
            DType::F64 => self.backward::<f64>([x, weight, bias], &dy),
            _ => self.backward::<f32>([x, weight, bias], &dy),
        }
    }
}

fn wrap(error: tallow_kernels::Error) -> candle_core::Error {
    candle_core::Error::wrap(error)
}

/// A tensor like `like` of what `compute` answers, if `like` is in the graph.
fn wanted<T: Element>(like: &Tensor, compute: impl FnOnce() -> Result<Vec<T>>) -> Result<Option<Tensor>> {
    if !like.track_op() {
        return Ok(None);
    }
    Tensor::from_vec(compute()?, like.shape(), like.device()).map(Some)
}

/// The sum of each channel of dy, (batch, channels, height, width).
fn channel_sums<T: Element>(dy: &[T], dims: (usize, usize, usize, usize)) -> Result<Vec<T>> {
    let (batch, channels, height, width) = dims;
    let sizes = Convolution {
        batch,
        inputs: channels,
        outputs: channels,
        height,
        width,
        kernel: [1, 1],
        stride: [1, 1],
        padding: [0, 0],
        dilation: [1, 1],
        groups: 1,
    };
    sizes.bias_gradient(dy).map_err(wrap)
}
