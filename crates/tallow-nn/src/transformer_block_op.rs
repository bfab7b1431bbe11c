//! A whole transformer block as one operation of the graph.
//!
//! An operation has three inputs at most, a block has ten. So each layer's weight and bias enter a [`Handle`], which
//! gives one number that is never looked at; the block takes x, the modulation and these numbers. On the way back the
//! block leaves the gradients in the slots that it shares with its handles, and the handles, which candle asks after the
//! block, pass them on.

use std::any::Any;
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{CpuStorage, CustomOp2, CustomOp3, DType, Layout, Result, Shape, Tensor, bail};
use tallow_kernels::{LayerWeights, TransformerBlock, TransformerSaved, TransformerWeights, Wanted};

use crate::linear::Linear;
use crate::slices::{Element, values, with_values};

/// Gradients of a weight and its bias, from the block to the handle.
type Slot = Arc<Mutex<Option<(Tensor, Tensor)>>>;

/// Weight and bias of one layer, as an input of a block.
struct Handle(Slot);

impl CustomOp2 for Handle {
    fn name(&self) -> &'static str {
        "layer of a transformer block"
    }

    fn cpu_fwd(
        &self,
        weight: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let number = match weight {
            CpuStorage::F64(_) => CpuStorage::F64(vec![0.0]),
            _ => CpuStorage::F32(vec![0.0]),
        };
        Ok((number, 1.into()))
    }

    fn bwd(
        &self,
        weight: &Tensor,
        bias: &Tensor,
        _: &Tensor,
        _: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let Some((dw, db)) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            bail!("a transformer block left no gradient for one of its layers");
        };
        Ok((weight.track_op().then_some(dw), bias.track_op().then_some(db)))
    }
}

/// x and modulation, contiguous on the host, and the numbers of the handles.
struct BlockOp {
    sizes: TransformerBlock,
    /// Weights and biases of qkv, proj, fc1 and fc2, contiguous on the host.
    layers: [(Tensor, Tensor); 4],
    slots: [Slot; 4],
    keep: Wanted,
    /// A `TransformerSaved` of the type of x.
    saved: Mutex<Option<Box<dyn Any + Send>>>,
}

/// y of x (batch, tokens, width) and the modulation (batch, 6 · width), both on the host.
pub(crate) fn transformer_block(
    sizes: TransformerBlock,
    x: &Tensor,
    modulation: &Tensor,
    layers: [&Linear; 4],
) -> Result<Tensor> {
    let (x, modulation) = (x.contiguous()?, modulation.contiguous()?);
    let slots: [Slot; 4] = Default::default();
    let mut numbers = Vec::with_capacity(slots.len());
    for (layer, slot) in layers.iter().zip(&slots) {
        let handle = Handle(slot.clone());
        numbers.push(layer.weight().apply_op2(layer.bias_or_zeros(), handle)?);
    }
    let numbers = Tensor::cat(&numbers, 0)?;
    let tracked = x.track_op() || modulation.track_op() || numbers.track_op();
    let op = BlockOp {
        sizes,
        layers: layers.map(|layer| (layer.weight().clone(), layer.bias_or_zeros().clone())),
        slots,
        keep: if tracked { Wanted::Yes } else { Wanted::No },
        saved: Mutex::new(None),
    };
    x.apply_op3(&modulation, &numbers, op)
}

impl BlockOp {
    fn with_weights<T: Element, R>(
        &self,
        f: impl FnOnce(TransformerWeights<'_, T>) -> tallow_kernels::Result<R>,
    ) -> Result<R> {
        let [qkv, proj, fc1, fc2] = &self.layers;
        with_layer(qkv, |qkv| {
            with_layer(proj, |proj| {
                with_layer(fc1, |fc1| {
                    with_layer(fc2, |fc2| {
                        let weights = TransformerWeights { qkv, proj, fc1, fc2 };
                        f(weights).map_err(candle_core::Error::wrap)
                    })
                })
            })
        })
    }

    fn forward<T: Element>(&self, x: &[T], modulation: &[T]) -> Result<CpuStorage> {
        let (y, saved) =
            self.with_weights(|weights| self.sizes.forward(x, modulation, weights, self.keep))?;
        let saved = saved.map(|saved| Box::new(saved) as Box<dyn Any + Send>);
        *self.saved.lock().unwrap_or_else(PoisonError::into_inner) = saved;
        Ok(T::to_cpu_storage_owned(y))
    }

    fn backward<T: Element>(&self, [x, modulation, numbers]: [&Tensor; 3], dy: &Tensor) -> Result<Gradients> {
        let saved = self.saved.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(saved) = saved
            .as_ref()
            .and_then(|saved| saved.downcast_ref::<TransformerSaved<T>>())
        else {
            bail!("a transformer block was asked for gradients of another type than it saw");
        };
        let layers = if numbers.track_op() {
            Wanted::Yes
        } else {
            Wanted::No
        };
        let gradients = with_values::<T, _>(x, |x| {
            with_values::<T, _>(modulation, |modulation| {
                with_values::<T, _>(dy, |dy| {
                    self.with_weights(|weights| {
                        self.sizes.backward(x, modulation, weights, saved, dy, layers)
                    })
                })
            })
        })?;
        for ((slot, gradient), (weight, bias)) in self.slots.iter().zip(gradients.layers).zip(&self.layers) {
            let Some((dw, db)) = gradient else { continue };
            let dw = Tensor::from_vec(dw, weight.shape(), weight.device())?;
            let db = Tensor::from_vec(db, bias.shape(), bias.device())?;
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some((dw, db));
        }
        let tensor = |values: Vec<T>, like: &Tensor| {
            let wanted = like.track_op();
            wanted
                .then(|| Tensor::from_vec(values, like.shape(), like.device()))
                .transpose()
        };
        let nothing = numbers.track_op().then(|| numbers.zeros_like()).transpose()?;
        Ok((
            tensor(gradients.x, x)?,
            tensor(gradients.modulation, modulation)?,
            nothing,
        ))
    }
}

type Gradients = (Option<Tensor>, Option<Tensor>, Option<Tensor>);

impl CustomOp3 for BlockOp {
    fn name(&self) -> &'static str {
        "transformer block"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        modulation: &CpuStorage,
        modulation_layout: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let y = match x {
            CpuStorage::F64(_) => {
                self.forward::<f64>(values(x, x_layout)?, values(modulation, modulation_layout)?)?
            }
            _ => self.forward::<f32>(values(x, x_layout)?, values(modulation, modulation_layout)?)?,
        };
        Ok((y, x_layout.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        modulation: &Tensor,
        numbers: &Tensor,
        _y: &Tensor,
        dy: &Tensor,
    ) -> Result<Gradients> {
        let dy = dy.contiguous()?;
        match dy.dtype() {
            DType::F64 => self.backward::<f64>([x, modulation, numbers], &dy),
            _ => self.backward::<f32>([x, modulation, numbers], &dy),
        }
    }
}

fn with_layer<T: Element, R>(
    (weight, bias): &(Tensor, Tensor),
    f: impl FnOnce(LayerWeights<'_, T>) -> Result<R>,
) -> Result<R> {
    with_values::<T, _>(weight, |weight| {
        with_values::<T, _>(bias, |bias| f(LayerWeights { weight, bias }))
    })
}
