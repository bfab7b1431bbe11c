//! Gradient descent, plain or with momentum.
//!
//! ```text
//! g ← g + λ p                                             (L2; p ← (1 − η λ) p instead if decoupled)
//! b ← g at the first step, later μ b + (1 − τ) g
//! p ← p − η b     classic          p ← p − η (g + μ b)     Nesterov          p ← p − η g     without momentum
//! ```
//!
//! Sources: Polyak 1964, doi:10.1016/0041-5553(64)90137-5; Sutskever et al. 2013, ICML, in PyTorch's arrangement.

use candle_core::Tensor;
use tallow_kernels::{Decay, Float, Momentum, SgdStep};

use crate::descent::Descent;
use crate::error::Result;
use crate::moments::forgotten;
use crate::rule::{At, MissingGradient, Rule, Settings, below_one};

/// Gradient descent over a set of parameters; remembers a tensor per parameter if it has momentum.
///
/// Sources: Polyak 1964, doi:10.1016/0041-5553(64)90137-5; Sutskever et al. 2013, ICML, in PyTorch's arrangement.
pub type Sgd = Descent<SgdConfig>;

/// The settings of [`Sgd`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SgdConfig {
    /// The learning rate η.
    pub learning_rate: f64,
    /// The momentum μ, in [0, 1); 0 for none.
    pub momentum: f64,
    /// Where the momentum leads.
    pub kind: Momentum,
    /// The dampening τ, in [0, 1): how much of a gradient the momentum does not take up.
    pub dampening: f64,
    /// The weight decay λ.
    pub weight_decay: f64,
    /// Where λ enters.
    pub decay: Decay,
    /// What happens when a parameter has no gradient.
    pub missing: MissingGradient,
}

impl Default for SgdConfig {
    /// η = 1e-3, no momentum, no weight decay, as L2 if there were: PyTorch's.
    fn default() -> Self {
        Self {
            learning_rate: 1e-3,
            momentum: 0.0,
            kind: Momentum::Classic,
            dampening: 0.0,
            weight_decay: 0.0,
            decay: Decay::L2,
            missing: MissingGradient::Refuse,
        }
    }
}

impl SgdConfig {
    fn step(&self, at: &At) -> SgdStep {
        SgdStep {
            learning_rate: at.learning_rate,
            momentum: self.momentum,
            dampening: self.dampening,
            kind: self.kind,
            weight_decay: at.weight_decay,
            decay: self.decay,
            step: at.step,
            gradient_scale: at.gradient_scale,
        }
    }
}

impl Rule for SgdConfig {
    fn settings(&self) -> Settings {
        Settings {
            learning_rate: self.learning_rate,
            weight_decay: self.weight_decay,
            missing: self.missing,
        }
    }

    fn remembers(&self) -> &'static [&'static str] {
        if self.momentum == 0.0 { &[] } else { &["momentum"] }
    }

    fn check(&self) -> Result<()> {
        below_one("momentum", self.momentum)?;
        below_one("dampening", self.dampening)
    }

    fn fused<T: Float>(&self, p: &mut [T], g: &[T], memory: &mut [Vec<T>], at: &At) -> Result<()> {
        let step = self.step(at);
        match memory {
            [] => Ok(step.apply(p, g, &mut [])?),
            [momentum] => Ok(step.apply(p, g, momentum)?),
            more => Err(forgotten(more.len())),
        }
    }

    fn composed(&self, p: &Tensor, g: &Tensor, memory: &mut [Tensor], at: &At) -> Result<Tensor> {
        let f = self.step(at).factors::<f64>()?;
        let g = ((g * f.scale)? + (p * f.l2)?)?;
        let mut change = (&g * f.of_gradient)?;
        if let [momentum] = memory {
            *momentum = ((&*momentum * f.keep)? + (&g * f.take)?)?;
            change = (change + (&*momentum * f.of_momentum)?)?;
        }
        Ok(((p * f.shrink)? - change)?)
    }
}
