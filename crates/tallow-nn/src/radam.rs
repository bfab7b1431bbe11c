//! RAdam: Adam that waits with its second moment until enough squares are in it, so that it needs no warm-up.
//!
//! ```text
//! m ← β₁ m + (1 − β₁) g     v ← β₂ v + (1 − β₂) g²     m̂ = m/(1 − β₁ⁿ)
//! ρ > 5:  p ← p − η r m̂ √(1 − β₂ⁿ)/(√v + ε)     else:  p ← p − η m̂
//! r = √[(ρ − 4)(ρ − 2) ρ∞/((ρ∞ − 4)(ρ∞ − 2) ρ)],   ρ = ρ∞ − 2n β₂ⁿ/(1 − β₂ⁿ),   ρ∞ = 2/(1 − β₂) − 1
//! ```
//!
//! Source: Liu et al. 2020, arXiv:1908.03265, algorithm 2, in PyTorch's arrangement (ε beside √v, threshold 5).

use candle_core::Tensor;
use tallow_kernels::{Decay, Float, Variance};

use crate::descent::Descent;
use crate::error::Result;
use crate::moments::{self, Moments};
use crate::rule::{At, MissingGradient, Rule, Settings};

/// RAdam over a set of parameters: what consistency models are trained with.
///
/// Source: Liu et al. 2020, arXiv:1908.03265, algorithm 2, in PyTorch's arrangement (ε beside √v, threshold 5).
pub type RAdam = Descent<RAdamConfig>;

/// The settings of [`RAdam`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RAdamConfig {
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
    /// Where λ enters.
    pub decay: Decay,
    /// What happens when a parameter has no gradient.
    pub missing: MissingGradient,
}

impl Default for RAdamConfig {
    /// η = 1e-3, β = (0.9, 0.999), ε = 1e-8, no weight decay, as L2 if there were: PyTorch's.
    fn default() -> Self {
        Self {
            learning_rate: 1e-3,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            weight_decay: 0.0,
            decay: Decay::L2,
            missing: MissingGradient::Refuse,
        }
    }
}

impl RAdamConfig {
    fn moments(&self) -> Moments {
        Moments {
            beta1: self.beta1,
            beta2: self.beta2,
            epsilon: self.epsilon,
            decay: self.decay,
            variance: Variance::Rectified,
        }
    }
}

impl Rule for RAdamConfig {
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
