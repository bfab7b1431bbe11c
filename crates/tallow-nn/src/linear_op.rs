//! The linear layer as one operation of candle's graph.

use candle_core::{CpuStorage, CustomOp3, DType, Layout, Shape, Tensor};
use tallow_kernels::{Layer, Saved, Wanted};

use crate::activation::Slope;
use crate::slices::{Element, values, with_values};

/// x, W and b of one layer, all contiguous on the host.
pub(crate) struct LinearOp {
    pub(crate) layer: Layer,
    pub(crate) keep: Wanted,
    pub(crate) slope: Slope,
}

impl LinearOp {
    fn forward<T: Element>(&self, x: &[T], weight: &[T], bias: &[T]) -> candle_core::Result<CpuStorage> {
        let result = self.layer.forward(x, weight, Some(bias), self.keep);
        let (y, slope) = result.map_err(candle_core::Error::wrap)?;
        if !slope.is_empty() {
            self.slope.put(slope);
        }
        Ok(T::to_cpu_storage_owned(y))
    }

    fn backward<T: Element>(
        &self,
        [x, weight, bias]: [&Tensor; 3],
        dy: &Tensor,
    ) -> candle_core::Result<Gradients> {
        let wanted = |tracked| if tracked { Wanted::Yes } else { Wanted::No };
        let weights = weight.track_op() || bias.track_op();
        let gradients = with_values::<T, _>(x, |x_values| {
            with_values::<T, _>(weight, |weight| {
                with_values::<T, _>(dy, |dy| {
                    self.slope.with::<T, _>(|slope| {
                        let saved = Saved {
                            x: x_values,
                            weight,
                            slope,
                        };
                        let result = self
                            .layer
                            .backward(saved, dy, wanted(x.track_op()), wanted(weights));
                        result.map_err(candle_core::Error::wrap)
                    })
                })
            })
        })?;
        let tensor = |values: Option<Vec<T>>, like: &Tensor| match values {
            Some(values) if like.track_op() => {
                Tensor::from_vec(values, like.shape(), like.device()).map(Some)
            }
            _ => Ok(None),
        };
        Ok((
            tensor(gradients.x, x)?,
            tensor(gradients.weight, weight)?,
            tensor(gradients.bias, bias)?,
        ))
    }
}

type Gradients = (Option<Tensor>, Option<Tensor>, Option<Tensor>);

impl CustomOp3 for LinearOp {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
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
        let mut dims = x_layout.dims().to_vec();
        if let Some(last) = dims.last_mut() {
            *last = self.layer.outputs;
        }
        Ok((y, dims.into()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _y: &Tensor,
        dy: &Tensor,
    ) -> candle_core::Result<Gradients> {
        let dy = dy.contiguous()?;
        match dy.dtype() {
            DType::F64 => self.backward::<f64>([x, weight, bias], &dy),
            _ => self.backward::<f32>([x, weight, bias], &dy),
        }
    }
}
