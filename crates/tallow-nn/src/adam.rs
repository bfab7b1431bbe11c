//! Adam, with weight decay as a part of the gradient (L2).
//!
//! ```text
//! g ← g + λ p
//! m ← β₁ m + (1 − β₁) g     v ← β₂ v + (1 − β₂) g²     m̂ = m/(1 − β₁ⁿ)     v̂ = v/(1 − β₂ⁿ)
//! p ← p − η m̂/(√v̂ + ε)
//! ```
//!
//! Source: Kingma & Ba 2015, arXiv:1412.6980, algorithm 1.

use candle_core::Tensor;
use tallow_kernels::{Decay, Float, Variance};

use crate::descent::Descent;
use crate::error::Result;
use crate::moments::{self, Moments};
use crate::rule::{At, MissingGradient, Rule, Settings};

/// Adam over a set of parameters; where weights decay, [`crate::AdamW`] is the better rule.
///
/// Source: Kingma & Ba 2015, arXiv:1412.6980, algorithm 1.
pub type Adam = Descent<AdamConfig>;

/// The settings of [`Adam`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamConfig {
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

impl Default for AdamConfig {
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

impl AdamConfig {
    fn moments(&self) -> Moments {
        Moments {
            beta1: self.beta1,
            beta2: self.beta2,
            epsilon: self.epsilon,
            decay: Decay::L2,
            variance: Variance::Corrected,
        }
    }
}

impl Rule for AdamConfig {
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
