//! Layer normalisation of rows, with modulation in the same pass.
//!
//! ```text
//! y = x̂ γ + β  or  (x̂ γ + β)(1 + scale) + shift,   x̂ = (x − mean)/√(variance + ε) over the last dimension
//! ```
//!
//! Sources: Ba et al. 2016, arXiv:1607.06450; Peebles & Xie 2023, arXiv:2212.09748 (adaLN).

use candle_core::{Module, Tensor};
use tallow_kernels::Centre;

use crate::dual::Dual;
use crate::error::Result;
use crate::modulation::Modulation;
use crate::norm::{Kind, Learned, Norm, side_by_side, side_by_side_dual};
use crate::scope::Scope;

/// Normalises the last dimension of (B, …, width), with PyTorch's names `weight` and `bias`.
///
/// Sources: Ba et al. 2016, arXiv:1607.06450; Peebles & Xie 2023, arXiv:2212.09748 (adaLN).
#[derive(Clone, Debug)]
pub struct LayerNorm {
    norm: Norm,
}

impl LayerNorm {
    /// A norm with ε = 1e-5 that starts with γ = 1 and β = 0.
    ///
    /// # Errors
    ///
    /// Those of [`Scope::parameter`].
    pub fn new(scope: &Scope<'_>, width: usize) -> Result<Self> {
        let kind = Kind::Rows(Centre::Mean);
        let norm = Norm::new(scope, kind, width, 1e-5, Learned::WeightAndBias)?;
        Ok(Self { norm })
    }

    /// A norm with ε = 1e-6 that learns nothing, as DiT's blocks modulate.
    ///
    /// # Errors
    ///
    /// Those of [`new`](Self::new).
    pub fn without_affine(scope: &Scope<'_>, width: usize) -> Result<Self> {
        let norm = Norm::new(scope, Kind::Rows(Centre::Mean), width, 1e-6, Learned::Nothing)?;
        Ok(Self { norm })
    }

    /// The same norm with another ε.
    ///
    /// # Errors
    ///
    /// When `epsilon` is not a positive number.
    pub fn with_epsilon(self, epsilon: f64) -> Result<Self> {
        let norm = self.norm.with_epsilon(epsilon)?;
        Ok(Self { norm })
    }

    /// Values of a row.
    #[must_use]
    pub fn width(&self) -> usize {
        self.norm.width
    }

    /// γ, (width) if the norm learns it.
    #[must_use]
    pub fn weight(&self) -> Option<&Tensor> {
        self.norm.weight.as_ref()
    }

    /// β, (width) if the norm learns it.
    #[must_use]
    pub fn bias(&self) -> Option<&Tensor> {
        self.norm.bias.as_ref()
    }

    /// y, of the shape of x, (B, …, width).
    ///
    /// # Errors
    ///
    /// When the shape, type or device of `x` does not fit the layer.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.norm.forward(x, None)
    }

    /// y with its derivative along the tangent of `x`.
    ///
    /// # Errors
    ///
    /// Those of [`forward`](Self::forward).
    pub fn forward_dual(&self, x: &Dual) -> Result<Dual> {
        self.norm.forward_dual(x, None)
    }

    /// The norm followed by z (1 + scale) + shift; `scale` and `shift` are (B, width).
    ///
    /// # Errors
    ///
    /// Those of [`forward`](Self::forward), or when scale and shift do not fit x.
    pub fn forward_modulated(&self, x: &Tensor, scale: &Tensor, shift: &Tensor) -> Result<Tensor> {
        self.forward_with(x, &side_by_side(scale, shift)?)
    }

    /// [`forward_modulated`](Self::forward_modulated) with scale and shift as columns of one tensor, which saves copies.
    ///
    /// # Errors
    ///
    /// Those of [`forward_modulated`](Self::forward_modulated).
    pub fn forward_with(&self, x: &Tensor, modulation: &Modulation) -> Result<Tensor> {
        self.norm.forward(x, Some(modulation))
    }

    /// [`forward_modulated`](Self::forward_modulated) with its derivative along the tangents of all three.
    ///
    /// # Errors
    ///
    /// Those of [`forward_modulated`](Self::forward_modulated).
    pub fn forward_modulated_dual(&self, x: &Dual, scale: &Dual, shift: &Dual) -> Result<Dual> {
        self.forward_dual_with(x, &side_by_side_dual(scale, shift)?)
    }

    /// [`forward_with`](Self::forward_with) with its derivative along the tangents of both.
    ///
    /// # Errors
    ///
    /// Those of [`forward_modulated`](Self::forward_modulated).
    pub fn forward_dual_with(&self, x: &Dual, modulation: &Modulation<Dual>) -> Result<Dual> {
        self.norm.forward_dual(x, Some(modulation))
    }
}

impl Module for LayerNorm {
    fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        Ok(Self::forward(self, x)?)
    }
}

#[cfg(test)]
#[path = "layer_norm_tests.rs"]
mod tests;
