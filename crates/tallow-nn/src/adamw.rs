//! AdamW: Adam whose weight decay shrinks the parameter itself.
//!
//! ```text
//! m ← β₁ m + (1 − β₁) g     v ← β₂ v + (1 − β₂) g²     m̂ = m/(1 − β₁ⁿ)     v̂ = v/(1 − β₂ⁿ)
//! p ← p (1 − η λ) − η m̂/(√v̂ + ε)
//! ```
//!
//! Source: Loshchilov & Hutter 2019, arXiv:1711.05101, algorithm 2.

use candle_core::Tensor;
use tallow_kernels::{Decay, Float, Variance};

use crate::descent::Descent;
use crate::error::Result;
use crate::moments::{self, Moments};
use crate::rule::{At, MissingGradient, Rule, Settings};

/// AdamW over a set of parameters: what most diffusion models are trained with.
///
/// Source: Loshchilov & Hutter 2019, arXiv:1711.05101, algorithm 2.
///
/// ```
/// # use candle_core::{DType, Device, Tensor};
/// # use tallow_nn::{AdamW, AdamWConfig, Group, Linear, Parameters};
/// let parameters = Parameters::new(1, DType::F32, &Device::Cpu);
/// let linear = Linear::new(&parameters.scope(), 2, 1)?;
/// let config = AdamWConfig { learning_rate: 1e-2, weight_decay: 0.1, ..AdamWConfig::default() };
/// let mut adam = AdamW::new(&parameters, config)?
///     .with_group(|name| name.ends_with("bias"), Group::Train { weight_decay: 0.0, learning_rate_factor: 1.0 })?;
/// let loss = linear.forward(&Tensor::ones((4, 2), DType::F32, &Device::Cpu)?)?.sqr()?.mean_all()?;
/// adam.backward_step(&loss)?;
/// # Ok::<(), tallow_nn::Error>(())
/// ```
pub type AdamW = Descent<AdamWConfig>;

/// The settings of [`AdamW`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamWConfig {
    /// The learning rate η.
    pub learning_rate: f64,
    /// The decay of the first moment, in [0, 1).
    pub beta1: f64,
    /// The decay of the second moment, in [0, 1).
    pub beta2: f64,
    /// The floor ε of the denominator.
    pub epsilon: f64,
    /// The weight decay λ.
    pub weight_decay: f64,
    /// What happens when a parameter has no gradient.
    pub missing: MissingGradient,
}

impl Default for AdamWConfig {
    /// η = 1e-3, β = (0.9, 0.999), ε = 1e-8, no weight decay.
    fn default() -> Self {
        Self {
            learning_rate: 1e-3,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            weight_decay: 0.0,
            missing: MissingGradient::Refuse,
        }
    }
}

impl AdamWConfig {
    fn moments(&self) -> Moments {
        Moments {
            beta1: self.beta1,
            beta2: self.beta2,
            epsilon: self.epsilon,
            decay: Decay::Decoupled,
            variance: Variance::Corrected,
        }
    }
}

impl Rule for AdamWConfig {
    fn settings(&self) -> Settings {
        Settings {
            learning_rate: self.learning_rate,
            weight_decay: self.weight_decay,
            missing: self.missing,
        }
    }

    fn remembers(&self) -> &'static [&'static str] {
        moments::NAMES
    }

    fn check(&self) -> Result<()> {
        self.moments().check()
    }

    fn fused<T: Float>(&self, p: &mut [T], g: &[T], memory: &mut [Vec<T>], at: &At) -> Result<()> {
        self.moments().fused(p, g, memory, at)
    }

    fn composed(&self, p: &Tensor, g: &Tensor, memory: &mut [Tensor], at: &At) -> Result<Tensor> {
        self.moments().composed(p, g, memory, at)
    }
}
