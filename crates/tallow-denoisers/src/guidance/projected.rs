//! Adaptive projected guidance (APG): the part of the push along the conditional estimate, which oversaturates, is weakened.
//!
//! ```text
//! d = c − u + β d_before        d ← d min(1, r/‖d‖)        d = d∥ + d⊥ along and across c        (all of x̂_0)
//! x̂_0 = c + (s − 1)(d⊥ + η d∥)
//! ```
//!
//! Norms and products are over all elements of a sample. d_before is the d before it was shortened, of the run's estimate
//! before this one; momentum is thus defined by estimates, not by steps, where a solver makes several a step.
//!
//! Source: Sadat, Hilliges & Weber 2024, arXiv:2410.02416, Algorithm 1 (η = 0, r = 2.5 to 15, β = −0.5 to −0.75).

use candle_core::Tensor;

use super::{Rule, Scale, rows};
use crate::{Error, Estimate, Result, lincomb};

/// Guidance whose part along the conditional estimate is weakened, with momentum and a bound on its length.
///
/// Source: Sadat, Hilliges & Weber 2024, arXiv:2410.02416, Algorithm 1 (η = 0, r = 2.5 to 15, β = −0.5 to −0.75).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Projected {
    /// How far to go.
    pub scale: Scale,
    /// η: how much of the part along the conditional estimate is kept; 1 is plain guidance, 0 is usual.
    pub along: f64,
    /// r: the largest length of the push, a norm over the sample; infinite for none.
    pub longest: f64,
    /// β: how much of the last push is kept; negative in the paper, 0 for none.
    pub momentum: f64,
}

impl Projected {
    /// Keeps only the part across: no bound on its length, no momentum.
    #[must_use]
    pub fn new(scale: Scale) -> Self {
        Self {
            scale,
            along: 0.0,
            longest: f64::INFINITY,
            momentum: 0.0,
        }
    }
}

impl Rule for Projected {
    type Memory = Option<Tensor>;

    fn guide(&self, main: &Estimate, other: &Estimate, memory: &mut Self::Memory) -> Result<Estimate> {
        let (c, u) = (main.x0()?, other.x0()?);
        let mut push = lincomb([(1.0, &c), (-1.0, &u)])?;
        if self.momentum != 0.0 {
            if let Some(before) = memory.as_ref() {
                push = lincomb([(1.0, &push), (self.momentum, before)])?;
            }
            *memory = Some(push.detach());
        }
        if self.longest.is_finite() {
            let length = rows::dot(&push, &push)?.sqrt()?;
            let bound = length.affine(0.0, self.longest)?;
            let shorter = rows::ratio(&bound, &length, 1.0)?.minimum(1.0)?;
            push = rows::scaled(&push, &shorter)?;
        }
        let share = rows::ratio(&rows::dot(&push, &c)?, &rows::dot(&c, &c)?, 0.0)?;
        let along = rows::scaled(&c, &share)?;
        let more = self.scale.imagen() - 1.0;
        let x0 = lincomb([(1.0, &c), (more, &push), (more * (self.along - 1.0), &along)])?;
        Ok(Estimate::from_x0(main.x(), x0, main.levels())?.with_range(main.range().cloned()))
    }

    fn needs_other(&self) -> bool {
        self.scale.needs_other()
    }

    fn check(&self) -> Result<()> {
        self.scale.check_finite("Projected")?;
        let refused = |name, value, allowed| {
            Err(Error::Parameter {
                owner: "Projected",
                name,
                value,
                allowed,
            })
        };
        if !self.along.is_finite() {
            return refused("along", self.along, "finite");
        }
        if self.longest.is_nan() || self.longest <= 0.0 {
            return refused("longest", self.longest, "positive, or infinite for no bound");
        }
        if self.momentum.is_nan() || self.momentum.abs() >= 1.0 {
            return refused(
                "momentum",
                self.momentum,
                "between -1 and 1: a larger one grows without bound",
            );
        }
        Ok(())
    }
}
