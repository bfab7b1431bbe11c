//! Scale and shift computed from a condition: what adaptive norms take, and the layer of a DiT that makes them.
//!
//! ```text
//! z = x̂ (1 + scale) + shift      scale, shift, gate, …: slices of  W silu(c) + b  for every entry of the batch
//! ```
//!
//! All slices stay columns of one tensor: no norm copies its own.
//!
//! Sources: Perez et al. 2018, arXiv:1709.07871 (FiLM); Peebles & Xie 2023, arXiv:2212.09748 (adaLN-Zero).

use candle_core::Tensor;
use tallow_kernels::Activation;

use crate::activation::{activate, activate_dual};
use crate::dual::Dual;
use crate::error::{Error, Result};
use crate::linear::{Linear, LinearInit};
use crate::scope::Scope;

/// Scale and shift for every entry of a batch, as columns of one matrix (a [`Tensor`] or a [`Dual`]).
///
/// Sources: Perez et al. 2018, arXiv:1709.07871 (FiLM); Peebles & Xie 2023, arXiv:2212.09748 (adaLN-Zero).
#[derive(Clone, Debug)]
pub struct Modulation<V = Tensor> {
    pub(crate) values: V,
    first: usize,
    order: Order,
}

#[derive(Clone, Copy, Debug)]
enum Order {
    ShiftScale,
    ScaleShift,
}

impl<V: Clone> Modulation<V> {
    /// [shift | scale] from the column `first` of `values` (B, n), as DiT lays them out.
    #[must_use]
    pub fn shift_then_scale(values: &V, first: usize) -> Self {
        Self {
            values: values.clone(),
            first,
            order: Order::ShiftScale,
        }
    }

    /// [scale | shift] from the column `first` of `values` (B, n), as ADM's residual blocks lay them out.
    #[must_use]
    pub fn scale_then_shift(values: &V, first: usize) -> Self {
        Self {
            order: Order::ScaleShift,
            ..Self::shift_then_scale(values, first)
        }
    }

    /// The first columns of shift and scale for a norm of `width` channels.
    pub(crate) fn columns(&self, width: usize) -> Columns {
        let second = self.first.saturating_add(width);
        match self.order {
            Order::ShiftScale => Columns {
                shift: self.first,
                scale: second,
            },
            Order::ScaleShift => Columns {
                shift: second,
                scale: self.first,
            },
        }
    }

    /// The same place in another matrix.
    pub(crate) fn of<W>(&self, values: W) -> Modulation<W> {
        Modulation {
            values,
            first: self.first,
            order: self.order,
        }
    }
}

/// Where shift and scale begin.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Columns {
    pub(crate) shift: usize,
    pub(crate) scale: usize,
}

/// The layer that turns a condition into modulations: W silu(c) + b, cut into slices of one width.
///
/// Sources: Perez et al. 2018, arXiv:1709.07871 (FiLM); Peebles & Xie 2023, arXiv:2212.09748 (adaLN-Zero).
#[derive(Clone, Debug)]
pub struct AdaLn {
    linear: Linear,
    width: usize,
}

impl AdaLn {
    /// `slices` slices of `width` values from a condition of `inputs` values; `init` is [`LinearInit::zeros`] for
    /// adaLN-Zero, whose blocks start as the identity.
    ///
    /// # Errors
    ///
    /// When `width` or `slices` is 0; those of [`Scope::parameter`].
    pub fn new(
        scope: &Scope<'_>,
        inputs: usize,
        width: usize,
        slices: usize,
        init: LinearInit,
    ) -> Result<Self> {
        for (name, value) in [
            ("the width of an adaLN", width),
            ("the slices of an adaLN", slices),
        ] {
            if value == 0 {
                let (value, allowed) = (0.0, "a positive number");
                return Err(Error::Setting { name, value, allowed });
            }
        }
        let linear = Linear::with_init(scope, inputs, width.saturating_mul(slices), init)?;
        Ok(Self { linear, width })
    }

    /// The slices for every row of `condition` (B, inputs).
    ///
    /// # Errors
    ///
    /// When the shape, type or device of the condition does not fit the layer.
    pub fn forward(&self, condition: &Tensor) -> Result<Slices> {
        let values = self.linear.forward(&activate(condition, Activation::Silu)?)?;
        Ok(Slices {
            values,
            width: self.width,
        })
    }

    /// [`forward`](Self::forward) with the derivative along the tangent of the condition.
    ///
    /// # Errors
    ///
    /// Those of [`forward`](Self::forward).
    pub fn forward_dual(&self, condition: &Dual) -> Result<Slices<Dual>> {
        let values = self
            .linear
            .forward_dual(&activate_dual(condition, Activation::Silu)?)?;
        Ok(Slices {
            values,
            width: self.width,
        })
    }
}

/// Slices of one width, (B, slices · width), as an [`AdaLn`] makes them.
#[derive(Clone, Debug)]
pub struct Slices<V = Tensor> {
    values: V,
    width: usize,
}

impl<V: Clone> Slices<V> {
    /// All slices side by side.
    #[must_use]
    pub fn values(&self) -> &V {
        &self.values
    }

    /// Slice `first` as shift and the next one as scale.
    #[must_use]
    pub fn modulation(&self, first: usize) -> Modulation<V> {
        Modulation::shift_then_scale(&self.values, first.saturating_mul(self.width))
    }
}

impl Slices {
    /// Slice `index`, (B, width), as a view.
    ///
    /// # Errors
    ///
    /// When there are fewer slices.
    pub fn gate(&self, index: usize) -> Result<Tensor> {
        Ok(self
            .values
            .narrow(1, index.saturating_mul(self.width), self.width)?)
    }
}

impl Slices<Dual> {
    /// Slice `index`, (B, width), as a view.
    ///
    /// # Errors
    ///
    /// When there are fewer slices.
    pub fn gate(&self, index: usize) -> Result<Dual> {
        let first = index.saturating_mul(self.width);
        self.values.linear(|values| values.narrow(1, first, self.width))
    }
}
