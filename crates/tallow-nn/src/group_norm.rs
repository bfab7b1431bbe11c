//! Group normalisation of images, with modulation and activation in the same pass.
//!
//! ```text
//! y = act(z),   z = x̂ γ + β  or  (x̂ γ + β)(1 + scale) + shift,   x̂ = (x − mean)/√(variance + ε) over a group
//! ```
//!
//! Sources: Wu & He 2018, arXiv:1803.08494; Dhariwal & Nichol 2021, arXiv:2105.05233 (scale and shift).

use candle_core::{Module, Tensor};
use tallow_kernels::Activation;

use crate::dual::Dual;
use crate::error::Result;
use crate::modulation::Modulation;
use crate::norm::{Kind, Learned, Norm, side_by_side, side_by_side_dual};
use crate::scope::Scope;

/// Normalises groups of channels of (B, channels, …), with PyTorch's names `weight` and `bias`.
///
/// Sources: Wu & He 2018, arXiv:1803.08494; Dhariwal & Nichol 2021, arXiv:2105.05233 (scale and shift).
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use tallow_nn::{Activation, GroupNorm, Parameters};
///
/// let parameters = Parameters::new(7, DType::F32, &Device::Cpu);
/// let norm = GroupNorm::new(&parameters.scope().at("norm"), 8, 32)?.activated(Activation::Silu);
/// let x = Tensor::ones((2, 32, 14, 14), DType::F32, &Device::Cpu)?;
/// assert_eq!(norm.forward(&x)?.dims(), x.dims());
/// # Ok::<(), tallow_nn::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct GroupNorm {
    norm: Norm,
}

impl GroupNorm {
    /// A norm with ε = 1e-5 that starts with γ = 1 and β = 0.
    ///
    /// # Errors
    ///
    /// When `groups` does not divide `channels`; those of [`Scope::parameter`].
    pub fn new(scope: &Scope<'_>, groups: usize, channels: usize) -> Result<Self> {
        let norm = Norm::new(
            scope,
            Kind::Groups(groups),
            channels,
            1e-5,
            Learned::WeightAndBias,
        )?;
        Ok(Self { norm })
    }

    /// A norm with ε = 1e-5 that learns nothing.
    ///
    /// # Errors
    ///
    /// When `groups` does not divide `channels`.
    pub fn without_affine(scope: &Scope<'_>, groups: usize, channels: usize) -> Result<Self> {
        let norm = Norm::new(scope, Kind::Groups(groups), channels, 1e-5, Learned::Nothing)?;
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

    /// The same norm followed by `activation`, in the same pass over the data.
    #[must_use]
    pub fn activated(self, activation: Activation) -> Self {
        let norm = Norm {
            activation,
            ..self.norm
        };
        Self { norm }
    }

    /// The number of channels.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.norm.width
    }

    /// γ, (channels) if the norm learns it.
    #[must_use]
    pub fn weight(&self) -> Option<&Tensor> {
        self.norm.weight.as_ref()
    }

    /// β, (channels) if the norm learns it.
    #[must_use]
    pub fn bias(&self) -> Option<&Tensor> {
        self.norm.bias.as_ref()
    }

    /// y, of the shape of x, (B, channels, …).
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

    /// The norm followed by z (1 + scale) + shift, before the activation; `scale` and `shift` are (B, channels).
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

impl Module for GroupNorm {
    fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        Ok(Self::forward(self, x)?)
    }
}

#[cfg(test)]
#[path = "group_norm_tests.rs"]
mod tests;
