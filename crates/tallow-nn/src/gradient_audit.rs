//! What reached each parameter in a backward pass: for the first step of a new model.

use std::collections::BTreeMap;

use candle_core::Tensor;

use crate::error::Result;
use crate::gradients::Gradients;
use crate::parameters::Parameters;

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
    let gradients = Gradients::of(&loss.backward()?, parameters);
    let names = parameters.names().into_iter();
    let mut states: BTreeMap<_, _> = names.map(|name| (name, GradientState::Absent)).collect();
    for (name, square) in gradients.names().zip(gradients.squares()?) {
        let state = match *square {
            0.0 => GradientState::Zero,
            square if square.is_finite() => GradientState::Flows,
            _ => GradientState::NonFinite,
        };
        states.insert(name.to_string(), state);
    }
    Ok(states)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::init::Init;
    use candle_core::{DType, Device};

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
}
