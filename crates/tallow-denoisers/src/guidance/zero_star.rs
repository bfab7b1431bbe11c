//! CFG-Zero*: the unconditional velocity is scaled to fit the conditional one before the two are compared, and the first
//! steps may stand still.
//!
//! ```text
//! u* = u ⟨c, u⟩/(‖u‖² + floor)        v̂ = u* + s (c − u*)        v̂ = 0 while σ/α > still_above
//! ```
//!
//! Products are over all elements of a sample; c and u are velocities of the path.
//!
//! Source: Fan et al. 2025, arXiv:2503.18886.

use tallow_schedules::{NoiseLevel, Prediction};

use super::{Rule, Scale, rows};
use crate::{Error, Estimate, Result, choose_rows, lincomb};

/// CFG-Zero*: guidance away from the conditional velocity's projection onto the unconditional one; for flow models.
///
/// Source: Fan et al. 2025, arXiv:2503.18886.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ZeroStar {
    /// How far to go.
    pub scale: Scale,
    /// The noise level σ/α above which the velocity is 0 ("zero-init"); infinite for none.
    pub still_above: f64,
    /// What is added to ‖u‖², so that a vanishing unconditional velocity is not blown up: 1e-8 as in the authors' program,
    /// or 0.
    pub floor: f64,
}

impl ZeroStar {
    /// Guides from the first step on.
    #[must_use]
    pub fn new(scale: Scale) -> Self {
        Self {
            scale,
            still_above: f64::INFINITY,
            floor: 1e-8,
        }
    }

    fn is_still(&self, at: NoiseLevel) -> bool {
        self.still_above.is_finite() && at.sigma > self.still_above * at.alpha
    }
}

impl Rule for ZeroStar {
    type Memory = ();

    fn guide(&self, main: &Estimate, other: &Estimate, _memory: &mut ()) -> Result<Estimate> {
        let (c, u) = (main.velocity()?, other.velocity()?);
        let fit = rows::ratio(&rows::dot(&c, &u)?, &(rows::dot(&u, &u)? + self.floor)?, 0.0)?;
        let scale = self.scale.imagen();
        let mut velocity = lincomb([(scale, &c), (1.0 - scale, &rows::scaled(&u, &fit)?)])?;
        let count = c.dims().first().copied().unwrap_or(0);
        let still: Vec<bool> = (0..count)
            .map(|row| main.levels().row(row).is_some_and(|at| self.is_still(at)))
            .collect();
        if still.contains(&true) {
            velocity = choose_rows(&still, &velocity.zeros_like()?, &velocity)?;
        }
        let estimate = Estimate::new(main.x(), velocity, Prediction::Velocity, main.levels())?;
        Ok(estimate.with_range(main.range().cloned()))
    }

    fn check(&self) -> Result<()> {
        self.scale.check_finite("ZeroStar")?;
        let refused = |name, value, allowed| {
            Err(Error::Parameter {
                owner: "ZeroStar",
                name,
                value,
                allowed,
            })
        };
        if self.still_above.is_nan() || self.still_above <= 0.0 {
            return refused(
                "still_above",
                self.still_above,
                "positive, or infinite for no standstill",
            );
        }
        if !(self.floor.is_finite() && self.floor >= 0.0) {
            return refused("floor", self.floor, "at least 0 and finite");
        }
        Ok(())
    }
}
