//! Rectified flow: the straight line between a datum and its noise.
//!
//! ```text
//! α = 1 − t        σ = σ_min + (1 − σ_min) t        t(λ): α/σ = e^λ
//! ```

use crate::error::check;
use crate::{Result, Schedule};

/// The straight path of flow matching and rectified flow, with time from data (0) to noise (1).
///
/// Papers that run time backwards: `t = 1 − t'`, velocity `v = −u`.
///
/// Source: Liu et al. 2022, arXiv:2209.03003 (σ_min = 0); Lipman et al. 2022, arXiv:2210.02747, Eq. 20-23 (σ_min > 0).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RectifiedFlow {
    sigma_min: f64,
}

impl RectifiedFlow {
    /// The path that ends with the noise `sigma_min` on the data; the default has none.
    ///
    /// # Errors
    ///
    /// When `sigma_min` is outside `[0, 1)`.
    pub fn with_sigma_min(sigma_min: f64) -> Result<Self> {
        check(
            "RectifiedFlow",
            "sigma_min",
            sigma_min,
            "in [0, 1)",
            (0.0..1.0).contains(&sigma_min),
        )?;
        Ok(Self { sigma_min })
    }

    /// The noise that stays on the data.
    #[must_use]
    pub fn sigma_min(&self) -> f64 {
        self.sigma_min
    }
}

impl Schedule for RectifiedFlow {
    fn alpha(&self, t: f64) -> f64 {
        1.0 - t
    }

    fn sigma(&self, t: f64) -> f64 {
        self.sigma_min + (1.0 - self.sigma_min) * t
    }

    fn alpha_dot(&self, _t: f64) -> f64 {
        -1.0
    }

    fn sigma_dot(&self, _t: f64) -> f64 {
        1.0 - self.sigma_min
    }

    fn inverse_lambda(&self, lambda: f64) -> f64 {
        // 1 − t = e^λ (σ_min + (1 − σ_min) t), solved for t; by e^{−λ} where e^λ would overflow.
        let t = if lambda <= 0.0 {
            let ratio = lambda.exp();
            (1.0 - self.sigma_min * ratio) / (1.0 + (1.0 - self.sigma_min) * ratio)
        } else {
            let ratio = (-lambda).exp();
            (ratio - self.sigma_min) / (ratio + (1.0 - self.sigma_min))
        };
        t.clamp(0.0, 1.0)
    }

    fn lambda(&self, t: f64) -> f64 {
        (-t).ln_1p() - self.sigma(t).ln()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::laws;

    #[test]
    fn keeps_the_laws_of_a_path() {
        for sigma_min in [0.0, 1e-4, 0.3, 0.9] {
            let path = RectifiedFlow::with_sigma_min(sigma_min).unwrap();
            laws::of_path(&path);
            laws::ends_in_noise(&path);
            assert_eq!(path.level(0.0).sigma, sigma_min);
        }
        laws::starts_clean(&RectifiedFlow::default());
    }

    #[test]
    fn refuses_noise_that_leaves_no_line() {
        for sigma_min in [1.0, -1e-9, f64::NAN] {
            assert!(RectifiedFlow::with_sigma_min(sigma_min).is_err(), "{sigma_min}");
        }
    }
}
