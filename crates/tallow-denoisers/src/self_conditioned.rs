//! A network that is told its own last estimate of the data, when sampling.
//!
//! ```text
//! x̃_0 ← 0        then at each estimate: x̂_0 = D(x_t, t, x̃_0), x̃_0 ← x̂_0
//! ```
//!
//! Source: Chen, Zhang & Hinton 2022 (Analog Bits), arXiv:2208.04202, Algorithm 2.

use std::cell::RefCell;

use candle_core::Tensor;

use crate::{Condition, Denoiser, Estimate, Levels, Network, Parameterization, Result};

/// A network trained with self-conditioning as a denoiser. What it is told lasts for one run; outside of a run it is told
/// zeros.
///
/// Source: Chen, Zhang & Hinton 2022 (Analog Bits), arXiv:2208.04202, Algorithm 2.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use tallow_denoisers::{Denoiser, Parameterization, Prediction, SelfConditioned, network};
/// use tallow_schedules::{RectifiedFlow, Schedule};
///
/// let counting = network(|call| match call.self_condition {
///     Some(last) => last + 1.0,
///     None => call.x.zeros_like(),
/// });
/// let model = SelfConditioned::new(counting, Parameterization::new(Prediction::Data));
/// let (x, at) = (Tensor::zeros((1, 1), DType::F64, &Device::Cpu)?, RectifiedFlow::default().level(0.5));
/// let run = model.begin().unwrap();
/// for count in 1..4 {
///     assert_eq!(run.estimate(&x, at.into())?.x0()?.to_vec2::<f64>()?, [[f64::from(count)]]);
/// }
/// # Ok::<(), tallow_denoisers::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct SelfConditioned<N> {
    network: N,
    parameterization: Parameterization,
    condition: Condition,
}

impl<N: Network> SelfConditioned<N> {
    /// The denoiser that a network is under a parameterization.
    pub fn new(network: N, parameterization: Parameterization) -> Self {
        Self {
            network,
            parameterization,
            condition: Condition::none(),
        }
    }

    /// The same under a condition, one row for each row that will be asked about.
    #[must_use]
    pub fn with_condition(mut self, condition: Condition) -> Self {
        self.condition = condition;
        self
    }

    fn estimate_told(&self, x: &Tensor, at: Levels<'_>, told: &Tensor) -> Result<Estimate> {
        let parameterization = &self.parameterization;
        for level in at.iter() {
            parameterization.prediction.check(level)?;
        }
        let output = parameterization.call_with(&self.network, x, at, &self.condition, Some(told))?;
        let (output, range) = parameterization.split(&output, x)?;
        Ok(Estimate::new(x, output, parameterization.prediction, at)?.with_range(range))
    }
}

impl<N: Network> Denoiser for SelfConditioned<N> {
    fn estimate(&self, x: &Tensor, at: Levels<'_>) -> Result<Estimate> {
        self.estimate_told(x, at, &x.zeros_like()?)
    }

    fn begin<'s>(&'s self) -> Option<Box<dyn Denoiser + 's>> {
        Some(Box::new(Running {
            model: self,
            last: RefCell::default(),
        }))
    }
}

/// The model in one run, with its last estimate.
struct Running<'s, N> {
    model: &'s SelfConditioned<N>,
    last: RefCell<Option<Tensor>>,
}

impl<N: Network> Denoiser for Running<'_, N> {
    fn estimate(&self, x: &Tensor, at: Levels<'_>) -> Result<Estimate> {
        let told = match self.last.borrow().clone() {
            Some(last) => last,
            None => x.zeros_like()?,
        };
        let estimate = self.model.estimate_told(x, at, &told)?;
        *self.last.borrow_mut() = Some(estimate.x0()?.detach());
        Ok(estimate)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};
    use tallow_schedules::{RectifiedFlow, Schedule};

    use super::*;
    use crate::{Prediction, network};

    #[test]
    fn no_estimate_survives_its_run_and_another_batch_is_refused() {
        let model = SelfConditioned::new(
            network(|call| match call.self_condition {
                Some(last) => last + 1.0,
                None => call.x.zeros_like(),
            }),
            Parameterization::new(Prediction::Data),
        );
        let at = RectifiedFlow::default().level(0.5);
        let x = |rows: usize| Tensor::zeros((rows, 1), DType::F64, &Device::Cpu).unwrap();
        let value = |estimate: &Estimate| estimate.x0().unwrap().to_vec2::<f64>().unwrap()[0][0];
        for _ in 0..2 {
            let run = model.begin().unwrap();
            assert_eq!(value(&run.estimate(&x(2), at.into()).unwrap()), 1.0);
            assert_eq!(value(&run.estimate(&x(2), at.into()).unwrap()), 2.0);
            let message = run.estimate(&x(3), at.into()).unwrap_err().to_string();
            assert!(message.contains("self_condition"), "{message}");
        }
        for _ in 0..2 {
            assert_eq!(value(&model.estimate(&x(2), at.into()).unwrap()), 1.0);
        }
    }
}
