//! Self-conditioning: the network is told its own last estimate of the data.
//!
//! ```text
//! x̃_0 = sg(x̂_0(x_t, t, 0)) with probability p, else 0        loss of f_θ(x_t, t, x̃_0)
//! ```
//!
//! The estimate travels in the call's `self_condition`, always present and zero where there is none, so that a network can
//! stack it on x. When sampling, `SelfConditioned` of `tallow-denoisers` hands each estimate to the next.
//!
//! Source: Chen, Zhang & Hinton 2022 (Analog Bits), arXiv:2208.04202, Algorithm 1; p = 0.5 there.

use candle_core::Tensor;
use rand::RngCore;
use tallow_denoisers::{Condition, Estimate, Levels, Network, Parameterization, uniforms};

use crate::{Error, Result};

/// How often a training batch is told an estimate: a second network call, without a gradient.
///
/// Source: Chen, Zhang & Hinton 2022 (Analog Bits), arXiv:2208.04202, Algorithm 1; p = 0.5 there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SelfConditioning {
    probability: f64,
}

impl Default for SelfConditioning {
    /// Every second batch, as in the paper.
    fn default() -> Self {
        Self { probability: 0.5 }
    }
}

impl SelfConditioning {
    /// With a probability for each batch.
    ///
    /// # Errors
    ///
    /// When it is outside [0, 1].
    pub fn new(probability: f64) -> Result<Self> {
        if (0.0..=1.0).contains(&probability) {
            return Ok(Self { probability });
        }
        Err(Error::Parameter {
            owner: "SelfConditioning",
            name: "probability",
            value: probability,
            allowed: "in [0, 1]",
        })
    }

    /// What a batch is told: the network's own estimate, cut off from the graph, or zeros.
    pub(crate) fn told(
        self,
        parameterization: &Parameterization,
        network: &dyn Network,
        x_t: &Tensor,
        at: Levels<'_>,
        condition: &Condition,
        rng: &mut dyn RngCore,
    ) -> Result<Tensor> {
        let nothing = x_t.zeros_like()?;
        let chosen = uniforms(1, rng).first().is_some_and(|u| *u < self.probability);
        if !chosen {
            return Ok(nothing);
        }
        let output = parameterization.call_with(network, x_t, at, condition, Some(&nothing))?;
        let (output, _) = parameterization.split(&output, x_t)?;
        let estimate = Estimate::new(x_t, output.detach(), parameterization.prediction, at)?;
        Ok(estimate.x0()?)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::sync::Arc;

    use candle_core::{DType, Device, Var};
    use tallow_denoisers::{Batch, Prediction, Seeded, network};
    use tallow_schedules::RectifiedFlow;

    use super::*;
    use crate::{Objective, Regression};

    fn objective(probability: f64) -> Regression {
        let path = Arc::new(RectifiedFlow::default());
        Regression::new(path, Parameterization::new(Prediction::Data))
            .with_self_conditioning(SelfConditioning::new(probability).unwrap())
    }

    fn batch() -> Batch {
        Batch::new(Tensor::ones((3, 2), DType::F64, &Device::Cpu).unwrap())
    }

    #[test]
    fn the_second_call_is_told_the_first_ones_estimate_and_no_gradient_flows_through_it() {
        let told = RefCell::new(Vec::new());
        let weight = Var::new(2.0f64, &Device::Cpu).unwrap();
        let model = network(|call| {
            let said = call.self_condition.unwrap();
            told.borrow_mut().push(said.to_vec2::<f64>()?);
            // Linear in the weight and in what is told.
            said.broadcast_add(&Tensor::ones(1, DType::F64, &Device::Cpu)?)?
                .broadcast_mul(&weight)
        });
        let loss = objective(1.0)
            .loss(&model, &batch(), &mut Seeded::new(0))
            .unwrap();
        // Zeros first: output 2 = x̂_0. Then output 2 · (2 + 1) = 6.
        assert_eq!(
            told.borrow().as_slice(),
            [vec![vec![0.0; 2]; 3], vec![vec![2.0; 2]; 3]]
        );
        assert!((loss.mean.to_scalar::<f64>().unwrap() - 25.0).abs() < 1e-12);
        let gradient = loss.mean.backward().unwrap().remove(&weight).unwrap();
        // d/dw (w (2 + 1) − 1)² with the told 2 held fixed: 2 · 5 · 3; through it, it would be 2 · 5 · 5.
        assert!((gradient.to_scalar::<f64>().unwrap() - 30.0).abs() < 1e-12);
    }

    #[test]
    fn the_share_of_batches_told_is_the_probability() {
        let calls = RefCell::new(0);
        let model = network(|call| {
            *calls.borrow_mut() += 1;
            Ok(call.x.clone())
        });
        let (objective, mut rng) = (objective(0.3), Seeded::new(4));
        let count = 4000;
        for _ in 0..count {
            objective.loss(&model, &batch(), &mut rng).unwrap();
        }
        let share = f64::from(*calls.borrow()) / f64::from(count) - 1.0;
        assert!(
            (share - 0.3).abs() < 6.1 * (0.21 / f64::from(count)).sqrt(),
            "{share}"
        );
    }

    #[test]
    fn impossible_probabilities_are_refused() {
        assert!(SelfConditioning::new(-0.1).is_err() && SelfConditioning::new(f64::NAN).is_err());
    }
}
