//! What an optimiser remembers of a parameter, and the update: one fused pass on the host, candle's operations elsewhere.

use std::sync::{Mutex, PoisonError};

use candle_core::{CpuStorage, DType, Device, InplaceOp2, Layout, Shape, Tensor, Var, WithDType, bail};

use crate::error::Result;
use crate::rule::{At, Rule};
use crate::slices::{Element, kernels_take, values};

/// Tensors of the parameter's shape.
#[derive(Debug)]
pub(crate) enum Memory {
    F32(Vec<Vec<f32>>),
    F64(Vec<Vec<f64>>),
    /// On other devices; in f32 at least, because squares of small gradients vanish in half precision.
    Tensors(Vec<Tensor>),
}

impl Memory {
    /// `parts` tensors of zeros.
    pub(crate) fn zeros(variable: &Var, parts: usize) -> Result<Self> {
        let n = variable.elem_count();
        Ok(match (kernels_take(variable), variable.dtype()) {
            (true, DType::F64) => Self::F64(vec![vec![0.0; n]; parts]),
            (true, _) => Self::F32(vec![vec![0.0; n]; parts]),
            (false, dtype) => {
                let zeros = |_| Tensor::zeros(variable.shape(), wide(dtype), variable.device());
                Self::Tensors((0..parts).map(zeros).collect::<candle_core::Result<_>>()?)
            }
        })
    }

    /// The memory of `variable` with the given values.
    pub(crate) fn from_tensors(variable: &Var, parts: &[&Tensor]) -> Result<Self> {
        fn host<T: WithDType>(parts: &[&Tensor]) -> candle_core::Result<Vec<Vec<T>>> {
            let read = |part: &&Tensor| part.to_dtype(T::DTYPE)?.flatten_all()?.to_vec1();
            parts.iter().map(read).collect()
        }
        Ok(match (kernels_take(variable), variable.dtype()) {
            (true, DType::F64) => Self::F64(host(parts)?),
            (true, _) => Self::F32(host(parts)?),
            (false, dtype) => {
                let place = |part: &&Tensor| part.to_dtype(wide(dtype))?.to_device(variable.device())?.copy();
                Self::Tensors(parts.iter().map(place).collect::<candle_core::Result<_>>()?)
            }
        })
    }

    /// Deep copies on the host.
    pub(crate) fn copy(&self, shape: &Shape) -> Result<Vec<Tensor>> {
        let copies: candle_core::Result<_> = match self {
            Self::F32(parts) => parts
                .iter()
                .map(|part| Tensor::from_slice(part, shape, &Device::Cpu))
                .collect(),
            Self::F64(parts) => parts
                .iter()
                .map(|part| Tensor::from_slice(part, shape, &Device::Cpu))
                .collect(),
            Self::Tensors(parts) => parts
                .iter()
                .map(|part| part.copy()?.to_device(&Device::Cpu))
                .collect(),
        };
        Ok(copies?)
    }

    /// One step of `variable` along a gradient of its shape.
    pub(crate) fn update<R: Rule>(
        &mut self,
        rule: &R,
        variable: &Var,
        gradient: &Tensor,
        at: &At,
    ) -> Result<()> {
        match self {
            Self::F32(memory) => fused(rule, variable, gradient, memory, at),
            Self::F64(memory) => fused(rule, variable, gradient, memory, at),
            Self::Tensors(memory) => {
                let dtype = wide(variable.dtype());
                let parameter = variable.as_detached_tensor().to_dtype(dtype)?;
                let gradient = gradient.detach().to_dtype(dtype)?;
                let moved = rule.composed(&parameter, &gradient, memory, at)?;
                Ok(variable.set(&moved.to_dtype(variable.dtype())?)?)
            }
        }
    }
}

/// The type that sums and means over many steps are kept in.
pub(crate) fn wide(dtype: DType) -> DType {
    if dtype == DType::F64 {
        DType::F64
    } else {
        DType::F32
    }
}

fn fused<R: Rule, T: Element + InStorage>(
    rule: &R,
    variable: &Var,
    gradient: &Tensor,
    memory: &mut [Vec<T>],
    at: &At,
) -> Result<()> {
    let gradient = gradient.to_dtype(T::DTYPE)?.contiguous()?;
    let memory = Mutex::new(memory);
    Ok(variable.inplace_op2(&gradient, &Fused { rule, memory, at })?)
}

struct Fused<'a, R, T> {
    rule: &'a R,
    /// candle hands an operation out by shared reference; the lock gives the exclusive one back.
    memory: Mutex<&'a mut [Vec<T>]>,
    at: &'a At,
}

impl<R: Rule, T: Element + InStorage> InplaceOp2 for Fused<'_, R, T> {
    fn name(&self) -> &'static str {
        "optimizer"
    }

    fn cpu_fwd(
        &self,
        parameter: &mut CpuStorage,
        layout: &Layout,
        gradient: &CpuStorage,
        gradient_layout: &Layout,
    ) -> candle_core::Result<()> {
        let gradient = values::<T>(gradient, gradient_layout)?;
        let Some((start, end)) = layout.contiguous_offsets() else {
            bail!("a parameter of shape {:?} is not contiguous", layout.shape());
        };
        let Some(parameter) = T::slice_mut(parameter).and_then(|values| values.get_mut(start..end)) else {
            bail!("a parameter and its memory differ in type or length");
        };
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(self.rule.fused(parameter, gradient, &mut memory, self.at)?)
    }
}

/// A type whose values can be changed in a storage of the host.
pub(crate) trait InStorage: Sized {
    fn slice_mut(storage: &mut CpuStorage) -> Option<&mut [Self]>;
}

impl InStorage for f32 {
    fn slice_mut(storage: &mut CpuStorage) -> Option<&mut [Self]> {
        if let CpuStorage::F32(values) = storage {
            Some(values)
        } else {
            None
        }
    }
}

impl InStorage for f64 {
    fn slice_mut(storage: &mut CpuStorage) -> Option<&mut [Self]> {
        if let CpuStorage::F64(values) = storage {
            Some(values)
        } else {
            None
        }
    }
}
