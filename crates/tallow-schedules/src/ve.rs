//! Variance-exploding path in EDM's clock: time is the noise level itself.
//!
//! ```text
//! α = 1      σ = t      t(λ) = e^{−λ}
//! ```

use crate::error::check;
use crate::{Result, Schedule};

/// EDM's path: σ = t up to `t_max`, 80 by default.
///
/// Source: Karras et al. 2022, arXiv:2206.00364, Table 1 (last column), σ(t) = t and s(t) = 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ve {
    t_max: f64,
}

impl Default for Ve {
    fn default() -> Self {
        Self { t_max: 80.0 }
    }
}

impl Ve {
    /// The path up to the noise level `t_max`, which should be far above the spread of the data.
    ///
    /// # Errors
    ///
    /// When `t_max` is outside `(0, 1e12]`.
    pub fn with_t_max(t_max: f64) -> Result<Self> {
        check("Ve", "t_max", t_max, "in (0, 1e12]", t_max > 0.0 && t_max <= 1e12)?;
        Ok(Self { t_max })
    }
}

impl Schedule for Ve {
    fn alpha(&self, _t: f64) -> f64 {
        1.0
    }

    fn sigma(&self, t: f64) -> f64 {
        t
    }

    fn alpha_dot(&self, _t: f64) -> f64 {
        0.0
    }

    fn sigma_dot(&self, _t: f64) -> f64 {
        1.0
    }

    fn inverse_lambda(&self, lambda: f64) -> f64 {
        (-lambda).exp().clamp(0.0, self.t_max)
    }

    fn t_max(&self) -> f64 {
        self.t_max
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::laws;

    #[test]
    fn keeps_the_laws_of_a_path() {
        for path in [
            Ve::default(),
            Ve::with_t_max(0.5).unwrap(),
            Ve::with_t_max(1e12).unwrap(),
        ] {
            laws::of_path(&path);
            laws::starts_clean(&path);
        }
    }

    #[test]
    fn refuses_a_clock_that_does_not_run() {
        for t_max in [0.0, -0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(Ve::with_t_max(t_max).is_err(), "{t_max}");
        }
    }
}
