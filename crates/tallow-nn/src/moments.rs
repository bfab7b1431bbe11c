//! The two moments of a parameter and their update: one fused pass on the host, candle's operations elsewhere.

use std::sync::{Mutex, PoisonError};

use candle_core::{CpuStorage, DType, InplaceOp2, Layout, Shape, Tensor, Var, bail};
use tallow_kernels::{AdamStep, Decay};

use crate::error::Result;
use crate::slices::{Element, kernels_take, values};

/// Running means of the gradient and of its square.
#[derive(Debug)]
pub(crate) enum Moments {
    F32([Vec<f32>; 2]),
    F64([Vec<f64>; 2]),
    /// On other devices; in f32 at least, because squares of small gradients vanish in half precision.
    Tensors([Tensor; 2]),
}

impl Moments {
    pub(crate) fn zeros(variable: &Var) -> Result<Self> {
        let n = variable.elem_count();
        Ok(match (kernels_take(variable), variable.dtype()) {
            (true, DType::F64) => Self::F64([vec![0.0; n], vec![0.0; n]]),
            (true, _) => Self::F32([vec![0.0; n], vec![0.0; n]]),
            (false, _) => {
                let zeros =
                    || Tensor::zeros(variable.shape(), moment_type(variable.dtype()), variable.device());
                Self::Tensors([zeros()?, zeros()?])
            }
        })
    }

    /// The moments of `variable` with the given values.
    pub(crate) fn from_tensors(variable: &Var, first: &Tensor, second: &Tensor) -> Result<Self> {
        Ok(match (kernels_take(variable), variable.dtype()) {
            (true, DType::F64) => Self::F64([host(first)?, host(second)?]),
            (true, _) => Self::F32([host(first)?, host(second)?]),
            (false, dtype) => {
                let place = |t: &Tensor| {
                    t.to_dtype(moment_type(dtype))?
                        .to_device(variable.device())?
                        .copy()
                };
                Self::Tensors([place(first)?, place(second)?])
            }
        })
    }

    /// Deep copies on the host.
    pub(crate) fn copy(&self, shape: &Shape) -> Result<[Tensor; 2]> {
        let cpu = &candle_core::Device::Cpu;
        Ok(match self {
            Self::F32([m, v]) => [
                Tensor::from_slice(m, shape, cpu)?,
                Tensor::from_slice(v, shape, cpu)?,
            ],
            Self::F64([m, v]) => [
                Tensor::from_slice(m, shape, cpu)?,
                Tensor::from_slice(v, shape, cpu)?,
            ],
            Self::Tensors([m, v]) => [m.copy()?.to_device(cpu)?, v.copy()?.to_device(cpu)?],
        })
    }

    /// One step of `variable` along a contiguous gradient of its type.
    pub(crate) fn update(&mut self, variable: &Var, gradient: &Tensor, step: AdamStep) -> Result<()> {
        match self {
            Self::F32(moments) => fused(variable, gradient, moments, step),
            Self::F64(moments) => fused(variable, gradient, moments, step),
            Self::Tensors(moments) => composed(variable, gradient, moments, step),
        }
    }
}

fn moment_type(dtype: DType) -> DType {
    if dtype == DType::F64 {
        DType::F64
    } else {
        DType::F32
    }
}

fn host<T: candle_core::WithDType>(tensor: &Tensor) -> candle_core::Result<Vec<T>> {
    tensor.to_dtype(T::DTYPE)?.flatten_all()?.to_vec1()
}

fn fused<T: Element + InStorage>(
    variable: &Var,
    gradient: &Tensor,
    moments: &mut [Vec<T>; 2],
    step: AdamStep,
) -> Result<()> {
    Ok(variable.inplace_op2(
        gradient,
        &Fused {
            moments: Mutex::new(moments),
            step,
        },
    )?)
}

struct Fused<'a, T> {
    /// candle hands an operation out by shared reference; the lock gives the exclusive one back.
    moments: Mutex<&'a mut [Vec<T>; 2]>,
    step: AdamStep,
}

impl<T: Element + InStorage> InplaceOp2 for Fused<'_, T> {
    fn name(&self) -> &'static str {
        "adamw"
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
            bail!("a parameter and its moments differ in type or length");
        };
        let mut moments = self.moments.lock().unwrap_or_else(PoisonError::into_inner);
        let [first, second] = &mut **moments;
        self.step
            .apply(parameter, gradient, first, second)
            .map_err(candle_core::Error::wrap)
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

/// The same update by candle's operations.
fn composed(variable: &Var, gradient: &Tensor, moments: &mut [Tensor; 2], step: AdamStep) -> Result<()> {
    let dtype = moment_type(variable.dtype());
    let parameter = variable.as_detached_tensor().to_dtype(dtype)?;
    let mut gradient = (gradient.detach().to_dtype(dtype)? * step.gradient_scale)?;
    let mut shrunk = parameter.clone();
    match step.decay {
        Decay::L2 => gradient = (gradient + (&parameter * step.weight_decay)?)?,
        Decay::Decoupled => shrunk = (&parameter * (1.0 - step.learning_rate * step.weight_decay))?,
    }
    let [m, v] = moments;
    *m = ((&*m * step.beta1)? + (&gradient * (1.0 - step.beta1))?)?;
    *v = ((&*v * step.beta2)? + (gradient.sqr()? * (1.0 - step.beta2))?)?;
    let missing = |beta: f64| -(step.step as f64 * beta.ln()).exp_m1();
    let root = (v.sqrt()? * (1.0 / missing(step.beta2).sqrt()))?;
    let change = ((&*m * (step.learning_rate / missing(step.beta1)))? / (root + step.epsilon)?)?;
    Ok(variable.set(&(shrunk - change)?.to_dtype(variable.dtype())?)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn the_fused_update_is_the_composed_one() {
        let wave = |phase: f64| {
            Tensor::arange(0f64, 50.0, &Device::Cpu)
                .unwrap()
                .affine(1.0, phase)
                .unwrap()
                .sin()
        };
        for decay in [Decay::Decoupled, Decay::L2] {
            let (fused, other) = (
                Var::from_tensor(&wave(0.0).unwrap()),
                Var::from_tensor(&wave(0.0).unwrap()),
            );
            let (fused, other) = (fused.unwrap(), other.unwrap());
            let mut moments = Moments::zeros(&fused).unwrap();
            let zeros = || Tensor::zeros(50, DType::F64, &Device::Cpu).unwrap();
            let mut tensors = Moments::Tensors([zeros(), zeros()]);
            for step in 1..=5 {
                let gradient = wave(step as f64).unwrap();
                let constants = AdamStep {
                    learning_rate: 0.01,
                    beta1: 0.9,
                    beta2: 0.99,
                    epsilon: 1e-8,
                    weight_decay: 0.1,
                    decay,
                    step,
                    gradient_scale: 0.7,
                };
                moments.update(&fused, &gradient, constants).unwrap();
                tensors.update(&other, &gradient, constants).unwrap();
            }
            let difference = (fused.as_tensor() - other.as_tensor()).unwrap().abs().unwrap();
            assert!(
                difference.max_all().unwrap().to_scalar::<f64>().unwrap() < 1e-14,
                "{decay:?}"
            );
        }
    }
}
