//! A residual block as one operation of the graph: images, what they are told, and all parameters in one tensor.

use std::sync::{Mutex, PoisonError};

use candle_core::{CpuStorage, CustomOp3, DType, Layout, Result, Shape, Tensor, bail};
use tallow_kernels::{BlockState, ResidualBlock, Wanted};

use crate::slices::{Element, values, with_values};

/// x, told and parameters, all contiguous on the host.
pub(crate) struct ResidualBlockOp {
    sizes: ResidualBlock,
    state: Mutex<State>,
}

/// What the forward pass leaves for the backward pass.
enum State {
    Nothing,
    Single(BlockState<f32>),
    Double(BlockState<f64>),
}

/// The element types, and where each keeps its state.
trait Kept: Element {
    fn put(state: BlockState<Self>) -> State;
    fn get(state: &State) -> Option<&BlockState<Self>>;
}

impl Kept for f32 {
    fn put(state: BlockState<Self>) -> State {
        State::Single(state)
    }

    fn get(state: &State) -> Option<&BlockState<Self>> {
        if let State::Single(state) = state {
            Some(state)
        } else {
            None
        }
    }
}

impl Kept for f64 {
    fn put(state: BlockState<Self>) -> State {
        State::Double(state)
    }

    fn get(state: &State) -> Option<&BlockState<Self>> {
        if let State::Double(state) = state {
            Some(state)
        } else {
            None
        }
    }
}

type Gradients = (Option<Tensor>, Option<Tensor>, Option<Tensor>);

impl ResidualBlockOp {
    pub(crate) fn new(sizes: ResidualBlock) -> Self {
        Self {
            sizes,
            state: Mutex::new(State::Nothing),
        }
    }

    fn forward<T: Kept>(&self, x: &[T], told: &[T], parameters: &[T]) -> Result<CpuStorage> {
        let (y, state) = self
            .sizes
            .forward(x, told, parameters)
            .map_err(candle_core::Error::wrap)?;
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = T::put(state);
        Ok(T::to_cpu_storage_owned(y))
    }

    fn backward<T: Kept>(&self, [x, told, parameters]: [&Tensor; 3], dy: &Tensor) -> Result<Gradients> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(state) = T::get(&state) else {
            bail!("a residual block was differentiated before it was evaluated");
        };
        let wanted = if x.track_op() { Wanted::Yes } else { Wanted::No };
        let found = with_values::<T, _>(x, |x| {
            with_values::<T, _>(told, |told| {
                with_values::<T, _>(parameters, |parameters| {
                    with_values::<T, _>(dy, |dy| {
                        let found = self.sizes.backward(x, told, parameters, state, dy, wanted);
                        found.map_err(candle_core::Error::wrap)
                    })
                })
            })
        })?;
        let tensor = |values: Vec<T>, like: &Tensor| -> Result<Option<Tensor>> {
            if !like.track_op() {
                return Ok(None);
            }
            Tensor::from_vec(values, like.shape(), like.device()).map(Some)
        };
        let dx = found.x.map_or(Ok(None), |dx| tensor(dx, x))?;
        Ok((
            dx,
            tensor(found.told, told)?,
            tensor(found.parameters, parameters)?,
        ))
    }
}

impl CustomOp3 for ResidualBlockOp {
    fn name(&self) -> &'static str {
        "residual-block"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        told: &CpuStorage,
        told_layout: &Layout,
        parameters: &CpuStorage,
        layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let y = match x {
            CpuStorage::F64(_) => self.forward::<f64>(
                values(x, x_layout)?,
                values(told, told_layout)?,
                values(parameters, layout)?,
            )?,
            _ => self.forward::<f32>(
                values(x, x_layout)?,
                values(told, told_layout)?,
                values(parameters, layout)?,
            )?,
        };
        let mut dims = x_layout.dims().to_vec();
        dims[1] = self.sizes.outputs;
        Ok((y, dims.into()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        told: &Tensor,
        parameters: &Tensor,
        _y: &Tensor,
        dy: &Tensor,
    ) -> Result<Gradients> {
        let dy = dy.contiguous()?;
        match dy.dtype() {
            DType::F64 => self.backward::<f64>([x, told, parameters], &dy),
            _ => self.backward::<f32>([x, told, parameters], &dy),
        }
    }
}
