//! The noise levels at which guidance acts.
//!
//! ```text
//! guided where σ_lo < σ/α ≤ σ_hi
//! ```
//!
//! Given in σ/α, not in a fraction of the steps, it means the same on every path, grid and number of steps.
//!
//! Source: Kynkäänniemi et al. 2024, arXiv:2404.07724.

use tallow_schedules::NoiseLevel;

use crate::{Error, Result};

/// A half-open interval of noise levels σ/α.
///
/// Source: Kynkäänniemi et al. 2024, arXiv:2404.07724.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    above: f64,
    up_to: f64,
}

impl Interval {
    /// The levels `above < σ/α ≤ up_to`.
    ///
    /// # Errors
    ///
    /// When `above` is negative, or not below `up_to` (which may be infinite).
    pub fn new(above: f64, up_to: f64) -> Result<Self> {
        let refused = |name, value, allowed| {
            Err(Error::Parameter {
                owner: "Interval",
                name,
                value,
                allowed,
            })
        };
        if !(above.is_finite() && above >= 0.0) {
            return refused("above", above, "at least 0 and finite");
        }
        if up_to.is_nan() || up_to <= above {
            return refused("up_to", up_to, "larger than the level above which it begins");
        }
        Ok(Self { above, up_to })
    }

    /// All levels but σ = 0.
    #[must_use]
    pub fn everywhere() -> Self {
        Self {
            above: 0.0,
            up_to: f64::INFINITY,
        }
    }

    /// Whether a level lies in it.
    #[must_use]
    pub fn contains(&self, at: NoiseLevel) -> bool {
        // Without the quotient, which is not finite at α = 0.
        self.above * at.alpha < at.sigma && (self.up_to.is_infinite() || at.sigma <= self.up_to * at.alpha)
    }
}

#[cfg(test)]
mod tests {
    use tallow_schedules::{RectifiedFlow, Schedule, Ve};

    use super::*;

    #[test]
    fn the_lower_end_is_outside_and_the_upper_end_inside() {
        let interval = Interval::new(0.28, 2.9).unwrap();
        let inside = |sigma: f64| interval.contains(Ve::default().level(sigma));
        assert!(!inside(0.28) && inside(0.280_028) && inside(2.9) && !inside(2.900_29));
    }

    #[test]
    fn a_level_without_signal_is_infinitely_noisy() {
        let end = RectifiedFlow::default().level(1.0);
        assert!(Interval::everywhere().contains(end) && !Interval::new(0.0, 1e300).unwrap().contains(end));
        assert!(!Interval::everywhere().contains(RectifiedFlow::default().level(0.0)));
    }

    #[test]
    fn an_empty_interval_is_refused() {
        for (above, up_to) in [
            (1.0, 1.0),
            (-1.0, 1.0),
            (f64::NAN, 1.0),
            (0.0, f64::NAN),
            (f64::INFINITY, f64::INFINITY),
        ] {
            assert!(Interval::new(above, up_to).is_err(), "{above} {up_to}");
        }
    }
}
