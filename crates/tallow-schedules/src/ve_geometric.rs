//! Variance-exploding path whose noise grows by equal factors in equal times.
//!
//! ```text
//! α = 1      σ = σ_min (σ_max/σ_min)^t      λ = −ln σ_min − t ln(σ_max/σ_min)
//! ```

use crate::error::{check, check_order};
use crate::{Result, Schedule};

/// The VE-SDE: σ runs geometrically from `sigma_min` (never 0) to `sigma_max`; defaults 0.01 and 50. λ is linear in t.
///
/// Source: Song et al. 2021, arXiv:2011.13456, appendix C.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VeGeometric {
    sigma_min: f64,
    sigma_max: f64,
}

impl Default for VeGeometric {
    fn default() -> Self {
        Self {
            sigma_min: 0.01,
            sigma_max: 50.0,
        }
    }
}

impl VeGeometric {
    /// The path from `sigma_min` to `sigma_max`, both in units of the data.
    ///
    /// # Errors
    ///
    /// When either is outside `[1e-12, 1e12]`, or `sigma_max` is not above `sigma_min` by a thousandth.
    pub fn new(sigma_min: f64, sigma_max: f64) -> Result<Self> {
        const OWNER: &str = "VeGeometric";
        for (name, value) in [("sigma_min", sigma_min), ("sigma_max", sigma_max)] {
            check(
                OWNER,
                name,
                value,
                "in [1e-12, 1e12]",
                (1e-12..=1e12).contains(&value),
            )?;
        }
        check_order(OWNER, ("sigma_min", sigma_min), ("sigma_max", sigma_max))?;
        let ratio = sigma_max / sigma_min;
        check(
            OWNER,
            "sigma_max/sigma_min",
            ratio,
            "of at least 1.001",
            ratio >= 1.001,
        )?;
        Ok(Self { sigma_min, sigma_max })
    }

    /// The noise that stays on the data.
    #[must_use]
    pub fn sigma_min(&self) -> f64 {
        self.sigma_min
    }

    /// The noise at the end.
    #[must_use]
    pub fn sigma_max(&self) -> f64 {
        self.sigma_max
    }

    /// ln(σ_max/σ_min), the fall of λ over the path.
    fn log_ratio(&self) -> f64 {
        self.sigma_max.ln() - self.sigma_min.ln()
    }
}

impl Schedule for VeGeometric {
    fn alpha(&self, _t: f64) -> f64 {
        1.0
    }

    fn sigma(&self, t: f64) -> f64 {
        self.sigma_min * (self.log_ratio() * t).exp()
    }

    fn alpha_dot(&self, _t: f64) -> f64 {
        0.0
    }

    fn sigma_dot(&self, t: f64) -> f64 {
        self.log_ratio() * self.sigma(t)
    }

    fn inverse_lambda(&self, lambda: f64) -> f64 {
        ((-lambda - self.sigma_min.ln()) / self.log_ratio()).clamp(0.0, 1.0)
    }

    fn lambda(&self, t: f64) -> f64 {
        -self.sigma_min.ln() - self.log_ratio() * t
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::laws;

    #[test]
    fn keeps_the_laws_of_a_path() {
        for (sigma_min, sigma_max) in [(0.01, 50.0), (1.0, 1.1), (1e-6, 1e4)] {
            let path = VeGeometric::new(sigma_min, sigma_max).unwrap();
            laws::of_path(&path);
            assert!((path.sigma(0.0) / sigma_min - 1.0).abs() < 1e-15);
            assert!((path.sigma(1.0) / sigma_max - 1.0).abs() < 1e-14);
        }
    }

    #[test]
    fn refuses_levels_out_of_order() {
        for (sigma_min, sigma_max) in [
            (0.0, 1.0),
            (2.0, 1.0),
            (1.0, 1.0),
            (f64::NAN, 1.0),
            (0.01, f64::INFINITY),
        ] {
            assert!(
                VeGeometric::new(sigma_min, sigma_max).is_err(),
                "{sigma_min} {sigma_max}"
            );
        }
    }
}
