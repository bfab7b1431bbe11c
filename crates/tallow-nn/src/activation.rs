//! Activations as operations on tensors: one pass forward, one product backward.

use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{CpuStorage, CustomOp1, DType, Layout, Result, Shape, Tensor, bail};
use tallow_kernels::Activation;

use crate::dual::Dual;
use crate::slices::{Element, kernels_take, values, with_values};

/// Applies `activation` to every value of `x`, of any shape; differentiable once.
///
/// On the host, in f32 and f64, this is one pass of tallow-kernels that keeps the slope for the way back; elsewhere it is
/// composed of candle's operations.
///
/// # Errors
///
/// When candle's operations fail.
pub fn activate(x: &Tensor, activation: Activation) -> crate::Result<Tensor> {
    if activation == Activation::Identity {
        return Ok(x.clone());
    }
    if !kernels_take(x) {
        return Ok(composed(x, activation)?);
    }
    let op = ActivationOp {
        activation,
        slope: Slope::default(),
        keep: x.track_op(),
    };
    Ok(x.contiguous()?.apply_op1(op)?)
}

/// Applies `activation` to a value and its slope to the tangent, both from one pass over the value.
///
/// # Errors
///
/// When candle's operations fail.
pub fn activate_dual(x: &Dual, activation: Activation) -> crate::Result<Dual> {
    let (z, Some(tangent)) = (x.value(), x.tangent()) else {
        return Ok(Dual::constant(activate(x.value(), activation)?));
    };
    if activation == Activation::Identity {
        return Ok(x.clone());
    }
    if !kernels_take(z) {
        let slope = composed_slope(&z.detach(), activation)?;
        return Dual::new(composed(z, activation)?, (slope * tangent)?);
    }
    let slope = Slope::default();
    let op = ActivationOp {
        activation,
        slope: slope.clone(),
        keep: true,
    };
    Dual::new(z.contiguous()?.apply_op1(op)?, slope.times(tangent)?)
}

/// The activation by candle's differentiable operations: for other devices and types, and as a reference in tests.
pub(crate) fn composed(z: &Tensor, activation: Activation) -> Result<Tensor> {
    match activation {
        Activation::Relu => z.relu(),
        Activation::Silu => z * sigmoid(z)?,
        Activation::Gelu => gelu(z),
        // Candle's own has constants of six digits in its gradient.
        Activation::GeluErf => z * (z * std::f64::consts::FRAC_1_SQRT_2)?.erf()?.affine(0.5, 0.5)?,
        // λ = 1.0507… and α = 1.67326… of Klambauer et al. 2017.
        Activation::Selu => z.elu(1.673_263_242_354_377_2)? * 1.050_700_987_355_480_5,
        Activation::Sigmoid => sigmoid(z),
        Activation::Tanh => z.tanh(),
        Activation::Identity => Ok(z.clone()),
        other => bail!("the activation {other:?} has no form by candle's operations"),
    }
}

/// dy/dz by candle's operations.
fn composed_slope(z: &Tensor, activation: Activation) -> Result<Tensor> {
    match activation {
        Activation::Relu => z.gt(0.0)?.to_dtype(z.dtype()),
        Activation::Silu => {
            // s + z s (1 − s)
            let s = sigmoid(z)?;
            let falling = (z * &s)? * s.affine(-1.0, 1.0)?;
            s + falling?
        }
        Activation::Gelu => {
            // ½ (1 + tanh u) + ½ z (1 − tanh² u) u′
            let root = (2.0 / std::f64::consts::PI).sqrt();
            let square = z.sqr()?;
            let tanh = (z * square.affine(0.044_715 * root, root)?)?.tanh()?;
            let bend = (z * square.affine(3.0 * 0.044_715 * root, root)?)?;
            let second = tanh.sqr()?.affine(-0.5, 0.5)? * bend;
            tanh.affine(0.5, 0.5)? + second?
        }
        Activation::GeluErf => {
            // Φ + z φ
            let phi = (z * std::f64::consts::FRAC_1_SQRT_2)?.erf()?.affine(0.5, 0.5)?;
            let density = (z.sqr()? * -0.5)?.exp()? * (2.0 * std::f64::consts::PI).sqrt().recip();
            phi + (z * density?)?
        }
        Activation::Selu => {
            let below = z.minimum(0.0)?.exp()? * (1.673_263_242_354_377_2 * 1.050_700_987_355_480_5);
            let above = z.ones_like()? * 1.050_700_987_355_480_5;
            z.gt(0.0)?.where_cond(&above?, &below?)
        }
        Activation::Sigmoid => {
            let s = sigmoid(z)?;
            &s * s.affine(-1.0, 1.0)?
        }
        Activation::Tanh => z.tanh()?.sqr()?.affine(-1.0, 1.0),
        Activation::Identity => z.ones_like(),
        other => bail!("the activation {other:?} has no form by candle's operations"),
    }
}

/// ½ z (1 + tanh u) written out: candle's own has constants of seven digits in its gradient.
fn gelu(z: &Tensor) -> Result<Tensor> {
    let root = (2.0 / std::f64::consts::PI).sqrt();
    let u = (z * z.sqr()?.affine(0.044_715 * root, root)?)?;
    z * u.tanh()?.affine(0.5, 0.5)?
}

/// ½ (1 + tanh ½z): neither the value nor candle's gradient of it overflows.
fn sigmoid(z: &Tensor) -> Result<Tensor> {
    (z * 0.5)?.tanh()?.affine(0.5, 0.5)
}

/// dy/dz as the forward pass left it; the graph keeps it alive with the operation.
#[derive(Clone, Debug, Default)]
pub(crate) struct Slope(Arc<Mutex<Option<CpuStorage>>>);

impl Slope {
    pub(crate) fn put<T: Element>(&self, slope: Vec<T>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(T::to_cpu_storage_owned(slope));
    }

    /// Calls `f` with the slope, empty if none was kept.
    pub(crate) fn with<T: Element, R>(&self, f: impl FnOnce(&[T]) -> Result<R>) -> Result<R> {
        match &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(storage) => f(T::cpu_storage_as_slice(storage)?),
            None => f(&[]),
        }
    }

    /// slope ⊙ dz: dy from dz of the same shape, and the other way round.
    pub(crate) fn times(&self, dz: &Tensor) -> Result<Tensor> {
        let dz = dz.contiguous()?;
        match dz.dtype() {
            DType::F64 => self.times_values::<f64>(&dz),
            _ => self.times_values::<f32>(&dz),
        }
    }

    fn times_values<T: Element>(&self, dz: &Tensor) -> Result<Tensor> {
        let dy = with_values::<T, _>(dz, |dz| {
            self.with::<T, _>(|slope| {
                Ok(dz
                    .iter()
                    .zip(slope)
                    .map(|(&dz, &slope)| dz * slope)
                    .collect::<Vec<T>>())
            })
        })?;
        Tensor::from_vec(dy, dz.shape(), dz.device())
    }
}

struct ActivationOp {
    activation: Activation,
    slope: Slope,
    keep: bool,
}

impl ActivationOp {
    fn forward<T: Element>(&self, storage: &CpuStorage, layout: &Layout) -> Result<CpuStorage> {
        let z = values::<T>(storage, layout)?;
        let mut y = z.to_vec();
        if self.keep {
            let mut slope = z.to_vec();
            self.activation
                .apply(z, &mut y, Some(&mut slope))
                .map_err(candle_core::Error::wrap)?;
            self.slope.put(slope);
        } else {
            self.activation
                .apply(z, &mut y, None)
                .map_err(candle_core::Error::wrap)?;
        }
        Ok(T::to_cpu_storage_owned(y))
    }
}

impl CustomOp1 for ActivationOp {
    fn name(&self) -> &'static str {
        "activation"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let y = match storage {
            CpuStorage::F64(_) => self.forward::<f64>(storage, layout)?,
            _ => self.forward::<f32>(storage, layout)?,
        };
        Ok((y, layout.shape().clone()))
    }

    fn bwd(&self, _z: &Tensor, _y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(self.slope.times(dy)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::check_dual;
    use candle_core::{Device, Var};

    fn line(dtype: DType) -> Var {
        let z = Tensor::arange(0f64, 121.0, &Device::Cpu)
            .unwrap()
            .affine(0.1, -6.03)
            .unwrap();
        Var::from_tensor(&z.reshape((11, 11)).unwrap().to_dtype(dtype).unwrap()).unwrap()
    }

    fn distance(a: &Tensor, b: &Tensor) -> f64 {
        let difference = (a.to_dtype(DType::F64).unwrap() - b.to_dtype(DType::F64).unwrap()).unwrap();
        difference.abs().unwrap().max_all().unwrap().to_scalar().unwrap()
    }

    #[test]
    fn values_and_gradients_are_those_of_candles_operations() {
        for (dtype, tolerance) in [(DType::F32, 3e-6), (DType::F64, 1e-14)] {
            for activation in Activation::ALL {
                let z = line(dtype);
                let ours = activate(&z, activation).unwrap();
                let theirs = composed(&z, activation).unwrap();
                assert!(
                    distance(&ours, &theirs) < tolerance,
                    "{activation:?} {}",
                    distance(&ours, &theirs)
                );
                let gradient = |y: &Tensor| {
                    y.sqr()
                        .unwrap()
                        .sum_all()
                        .unwrap()
                        .backward()
                        .unwrap()
                        .remove(&z)
                        .unwrap()
                };
                let error = distance(&gradient(&ours), &gradient(&theirs));
                assert!(error < 40.0 * tolerance, "gradient of {activation:?}: {error}");
            }
        }
    }

    #[test]
    fn tangents_are_central_differences_and_those_of_candles_operations() {
        let z = line(DType::F64).as_tensor().detach();
        for activation in Activation::ALL {
            check_dual(&z, |z| activate_dual(z, activation), |z| activate(z, activation));
            let turned = |z: &Dual| activate_dual(&z.linear(Tensor::t)?, activation);
            check_dual(&z, turned, |z| activate(&z.t()?, activation));
            let slope = activate_dual(&Dual::new(z.clone(), z.ones_like().unwrap()).unwrap(), activation);
            let error = distance(
                slope.unwrap().tangent().unwrap(),
                &composed_slope(&z, activation).unwrap(),
            );
            assert!(error < 1e-14, "{activation:?}: {error}");
            let half = Dual::constant(z.to_dtype(DType::F16).unwrap());
            let half = half.add(&Dual::new(half.value().clone(), half.value().clone()).unwrap());
            let half = activate_dual(&half.unwrap(), activation).unwrap();
            assert_eq!(half.tangent().unwrap().dtype(), DType::F16);
        }
    }

    #[test]
    fn a_dual_value_keeps_the_graph_of_the_activation() {
        let z = line(DType::F64);
        let x = Dual::new(z.as_tensor().clone(), z.ones_like().unwrap()).unwrap();
        let y = activate_dual(&x, Activation::Silu).unwrap();
        let gradients = y.value().sum_all().unwrap().backward().unwrap();
        assert_eq!(distance(gradients.get(&z).unwrap(), y.tangent().unwrap()), 0.0);
    }

    #[test]
    fn a_transposed_input_keeps_its_shape_and_gradient() {
        let z = line(DType::F64);
        let y = activate(&z.t().unwrap(), Activation::Silu).unwrap();
        let direct = activate(&z, Activation::Silu).unwrap();
        assert_eq!(distance(&y.t().unwrap(), &direct), 0.0);
        let gradient = |y: &Tensor| y.sum_all().unwrap().backward().unwrap().remove(&z).unwrap();
        assert_eq!(distance(&gradient(&y), &gradient(&direct)), 0.0);
    }

    #[test]
    fn half_precision_takes_candles_operations() {
        let z = line(DType::F32).to_dtype(DType::F16).unwrap();
        let y = activate(&z, Activation::Gelu).unwrap();
        assert_eq!(y.dtype(), DType::F16);
        assert!(distance(&y, &activate(&line(DType::F32), Activation::Gelu).unwrap()) < 0.01);
    }
}
