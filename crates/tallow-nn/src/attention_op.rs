//! Attention as an operation of the graph, on the kernels of the host; tensors are read through their strides.

use candle_core::{
    CpuStorage, CustomOp1, CustomOp3, DType, Layout, Result, Shape, Storage, Tensor, WithDType, bail,
};
use tallow_kernels::{Attention, AttentionSaved, HeadStrides, Heads, Mask};

use crate::activation::Slope as Kept;
use crate::slices::{Element, with_values};

/// A mask of the whole shape (B, H, N, M), rows contiguous, repeated by strides of 0.
pub(crate) enum OpMask {
    None,
    Causal,
    Keep(Tensor),
    Bias(Tensor),
}

/// q, k and v, (B, H, tokens, width) each with contiguous rows, to y, (B, N, H, width).
pub(crate) struct AttentionOp {
    pub(crate) sizes: Attention,
    pub(crate) mask: OpMask,
    /// (m, 1/l) of every query.
    pub(crate) statistics: Kept,
}

/// The three of them in one tensor, (B, N, 3 · H · width), to y, (B, N, H · width).
pub(crate) struct FusedAttentionOp(pub(crate) AttentionOp);

type Gradients = (Option<Tensor>, Option<Tensor>, Option<Tensor>);

impl AttentionOp {
    fn forward<T: Element>(&self, [q, k, v]: [Heads<'_, T>; 3]) -> Result<CpuStorage> {
        let result = with_mask(&self.mask, |mask| {
            self.sizes
                .forward(q, k, v, mask)
                .map_err(candle_core::Error::wrap)
        });
        let (y, statistics) = result?;
        self.statistics.put(statistics);
        Ok(T::to_cpu_storage_owned(y))
    }

    /// Calls `f` with everything that the way back needs.
    fn with_saved<T: Element, R>(
        &self,
        [q, k, v]: [Heads<'_, T>; 3],
        y: &Tensor,
        f: impl FnOnce(AttentionSaved<'_, T>) -> tallow_kernels::Result<R>,
    ) -> Result<R> {
        with_values::<T, _>(y, |y| {
            self.statistics.with::<T, _>(|statistics| {
                with_mask(&self.mask, |mask| {
                    let saved = AttentionSaved {
                        q,
                        k,
                        v,
                        mask,
                        y,
                        statistics,
                    };
                    f(saved).map_err(candle_core::Error::wrap)
                })
            })
        })
    }

    fn backward<T: Element>(&self, inputs: [&Tensor; 3], y: &Tensor, dy: &Tensor) -> Result<Gradients> {
        let [q, k, v] = inputs;
        let gradients = with_heads::<T, _>(q, |q| {
            with_heads::<T, _>(k, |k| {
                with_heads::<T, _>(v, |v| {
                    with_values::<T, _>(dy, |dy| {
                        self.with_saved([q, k, v], y, |saved| self.sizes.backward(saved, dy))
                    })
                })
            })
        })?;
        let tensor = |values: Vec<T>, like: &Tensor| {
            if !like.track_op() {
                return Ok(None);
            }
            let (batch, heads, tokens, width) = like.dims4()?;
            let shape = (batch, tokens, heads, width);
            Tensor::from_vec(values, shape, like.device())?
                .transpose(1, 2)
                .map(Some)
        };
        Ok((
            tensor(gradients.q, q)?,
            tensor(gradients.k, k)?,
            tensor(gradients.v, v)?,
        ))
    }
}

impl CustomOp3 for AttentionOp {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn cpu_fwd(
        &self,
        q: &CpuStorage,
        q_layout: &Layout,
        k: &CpuStorage,
        k_layout: &Layout,
        v: &CpuStorage,
        v_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let y = match q {
            CpuStorage::F64(_) => {
                self.forward::<f64>([heads(q, q_layout)?, heads(k, k_layout)?, heads(v, v_layout)?])?
            }
            _ => self.forward::<f32>([heads(q, q_layout)?, heads(k, k_layout)?, heads(v, v_layout)?])?,
        };
        let Attention {
            batch,
            heads,
            queries,
            value_width,
            ..
        } = self.sizes;
        Ok((y, (batch, queries, heads, value_width).into()))
    }

    fn bwd(&self, q: &Tensor, k: &Tensor, v: &Tensor, y: &Tensor, dy: &Tensor) -> Result<Gradients> {
        let dy = dy.contiguous()?;
        match dy.dtype() {
            DType::F64 => self.backward::<f64>([q, k, v], y, &dy),
            _ => self.backward::<f32>([q, k, v], y, &dy),
        }
    }
}

impl FusedAttentionOp {
    /// Queries, keys and values in the fused tensor.
    fn parts<'a, T>(&self, values: &'a [T]) -> [Heads<'a, T>; 3] {
        let Attention {
            heads,
            queries,
            width,
            ..
        } = self.0.sizes;
        let strides = HeadStrides::fused(queries, heads, width);
        [0, 1, 2].map(|part| Heads {
            values: values.get(part * heads * width..).unwrap_or_default(),
            strides,
        })
    }

    fn backward<T: Element>(&self, fused: &Tensor, y: &Tensor, dy: &Tensor) -> Result<Tensor> {
        let gradient = with_values::<T, _>(fused, |fused| {
            with_values::<T, _>(dy, |dy| {
                self.0.with_saved(self.parts(fused), y, |saved| {
                    self.0.sizes.backward_fused(saved, dy)
                })
            })
        })?;
        Tensor::from_vec(gradient, fused.shape(), fused.device())
    }
}

impl CustomOp1 for FusedAttentionOp {
    fn name(&self) -> &'static str {
        "fused attention"
    }

    fn cpu_fwd(&self, fused: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let y = match fused {
            CpuStorage::F64(_) => self
                .0
                .forward(self.parts::<f64>(crate::slices::values(fused, layout)?))?,
            _ => self
                .0
                .forward(self.parts::<f32>(crate::slices::values(fused, layout)?))?,
        };
        let Attention {
            batch,
            heads,
            queries,
            width,
            ..
        } = self.0.sizes;
        Ok((y, (batch, queries, heads * width).into()))
    }

    fn bwd(&self, fused: &Tensor, y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let dy = dy.contiguous()?;
        let gradient = match dy.dtype() {
            DType::F64 => self.backward::<f64>(fused, y, &dy)?,
            _ => self.backward::<f32>(fused, y, &dy)?,
        };
        Ok(Some(gradient))
    }
}

/// The values of a layout of rank 4, and where its tokens are.
fn heads<'a, T: WithDType>(storage: &'a CpuStorage, layout: &Layout) -> Result<Heads<'a, T>> {
    let &[batch, head, token, _] = layout.stride() else {
        bail!("attention was given a tensor of shape {:?}", layout.shape());
    };
    let values = T::cpu_storage_as_slice(storage)?;
    Ok(Heads {
        values: values.get(layout.start_offset()..).unwrap_or_default(),
        strides: HeadStrides { batch, head, token },
    })
}

fn with_heads<T: WithDType, R>(tensor: &Tensor, f: impl FnOnce(Heads<'_, T>) -> Result<R>) -> Result<R> {
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cpu(storage) => f(heads(storage, layout)?),
        _ => bail!("a kernel of the host was given a tensor on {:?}", tensor.device()),
    }
}

fn with_mask<T: Element, R>(mask: &OpMask, f: impl FnOnce(Mask<'_, T>) -> Result<R>) -> Result<R> {
    match mask {
        OpMask::None => f(Mask::None),
        OpMask::Causal => f(Mask::Causal),
        OpMask::Keep(keep) => with_heads(keep, |keep| f(Mask::Keep(keep))),
        OpMask::Bias(bias) => with_heads(bias, |bias| f(Mask::Bias(bias))),
    }
}
