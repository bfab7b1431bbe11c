//! Gradients by the names of their parameters: an audit, a norm, a clip.

use std::collections::BTreeMap;

use candle_core::backprop::GradStore;
use candle_core::{DType, Tensor};

use crate::error::{Error, Result};
use crate::parameters::Parameters;
use crate::slices::{Element, kernels_take, with_values};

/// What reached a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GradientState {
    /// Nothing: the loss does not depend on it, or an operation cut the graph.
    Absent,
    /// A gradient of zeros.
    Zero,
    /// A gradient with an infinite value or NaN.
    NonFinite,
    /// A gradient to train with.
    Flows,
}

/// What the gradient of `loss` is like, for every parameter by name: run it on the first step of a new model.
///
/// # Errors
///
/// When the backward pass fails.
pub fn gradient_audit(loss: &Tensor, parameters: &Parameters) -> Result<BTreeMap<String, GradientState>> {
    let gradients = loss.backward()?;
    let state = |gradient: Option<&Tensor>| match gradient {
        None => Ok(GradientState::Absent),
        Some(gradient) => squared_norm(gradient).map(|square| match square {
            0.0 => GradientState::Zero,
            square if square.is_finite() => GradientState::Flows,
            _ => GradientState::NonFinite,
        }),
    };
    let named = parameters.named().into_iter();
    named
        .map(|(name, variable)| Ok((name, state(gradients.get(&variable))?)))
        .collect()
}

/// The Euclidean norm of all gradients of `parameters` together, summed in the order of names; absent ones count as 0.
///
/// # Errors
///
/// When a gradient cannot be read.
pub fn gradient_norm(gradients: &GradStore, parameters: &Parameters) -> Result<f64> {
    let mut square = 0.0;
    for (_, variable) in parameters.named() {
        if let Some(gradient) = gradients.get(&variable) {
            square += squared_norm(gradient)?;
        }
    }
    Ok(square.sqrt())
}

/// Scales the gradients so that their norm is at most `max_norm`; returns the norm that they had.
///
/// [`crate::AdamW::step_clipped`] does the same without a pass of its own.
///
/// # Errors
///
/// When `max_norm` is not positive or the norm is not finite; nothing is then changed.
pub fn clip_grad_norm(gradients: &mut GradStore, parameters: &Parameters, max_norm: f64) -> Result<f64> {
    let norm = gradient_norm(gradients, parameters)?;
    let scale = clip_scale(norm, max_norm)?;
    if scale < 1.0 {
        for (_, variable) in parameters.named() {
            if let Some(gradient) = gradients.remove(&variable) {
                gradients.insert(&variable, (gradient * scale)?);
            }
        }
    }
    Ok(norm)
}

/// The factor that takes `norm` down to `max_norm`, 1 if it is below.
pub(crate) fn clip_scale(norm: f64, max_norm: f64) -> Result<f64> {
    if max_norm.is_nan() || max_norm <= 0.0 {
        return Err(Error::Setting {
            name: "max_norm",
            value: max_norm,
            allowed: "a positive number",
        });
    }
    if !norm.is_finite() {
        return Err(Error::NonFiniteGradients { norm });
    }
    Ok(if norm > max_norm { max_norm / norm } else { 1.0 })
}

pub(crate) fn squared_norm(tensor: &Tensor) -> Result<f64> {
    fn kernel<T: Element>(tensor: &Tensor) -> Result<f64> {
        Ok(with_values::<T, _>(&tensor.contiguous()?, |values| {
            Ok(tallow_kernels::squared_norm(values))
        })?)
    }
    match (kernels_take(tensor), tensor.dtype()) {
        (true, DType::F64) => kernel::<f64>(tensor),
        (true, _) => kernel::<f32>(tensor),
        (false, _) => Ok(f64::from(
            tensor
                .to_dtype(DType::F32)?
                .sqr()?
                .sum_all()?
                .to_scalar::<f32>()?,
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::init::Init;
    use candle_core::Device;

    fn three() -> (Parameters, Vec<Tensor>) {
        let parameters = Parameters::new(1, DType::F64, &Device::Cpu);
        let tensors = ["a", "b", "c"].map(|name| {
            parameters
                .scope()
                .parameter(name, 4, Init::Constant(2.0))
                .unwrap()
        });
        (parameters, tensors.to_vec())
    }

    #[test]
    fn the_audit_names_what_is_absent_zero_and_infinite() {
        let (parameters, t) = three();
        let loss = |c: Tensor| {
            (((&t[0] * 3.0).unwrap() + (&t[1] * t[1].zeros_like().unwrap()).unwrap()).unwrap() + c)
                .unwrap()
                .sum_all()
        };
        let finite = gradient_audit(&loss(t[0].detach()).unwrap(), &parameters).unwrap();
        let states: Vec<_> = finite.values().copied().collect();
        assert_eq!(
            states,
            [GradientState::Flows, GradientState::Zero, GradientState::Absent]
        );
        // √ has an infinite slope at 0.
        let infinite = loss((&t[2] - 2.0).unwrap().sqrt().unwrap()).unwrap();
        assert_eq!(
            gradient_audit(&infinite, &parameters).unwrap()["c"],
            GradientState::NonFinite
        );
    }

    #[test]
    fn clipping_brings_the_norm_down_and_never_up() {
        let (parameters, t) = three();
        let loss = ((&t[0] * 3.0).unwrap() + (&t[1] * 4.0).unwrap())
            .unwrap()
            .sum_all()
            .unwrap();
        // √(4·9 + 4·16) = 10.
        for (max_norm, after) in [(5.0, 5.0), (20.0, 10.0)] {
            let mut gradients = loss.backward().unwrap();
            assert_eq!(
                clip_grad_norm(&mut gradients, &parameters, max_norm).unwrap(),
                10.0
            );
            assert!((gradient_norm(&gradients, &parameters).unwrap() - after).abs() < 1e-12);
        }
        assert!(clip_grad_norm(&mut loss.backward().unwrap(), &parameters, 0.0).is_err());
    }

    #[test]
    fn a_norm_that_is_not_finite_is_an_error() {
        let (parameters, t) = three();
        let loss = (&t[0] - 2.0).unwrap().sqrt().unwrap().sum_all().unwrap();
        let clipped = clip_grad_norm(&mut loss.backward().unwrap(), &parameters, 1.0);
        assert!(matches!(clipped, Err(Error::NonFiniteGradients { .. })));
    }
}
