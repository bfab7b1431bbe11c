//! The sub-VP path: the signal of the VP path with less noise beside it.
//!
//! ```text
//! α = e^{−B/2}      σ = 1 − α²      B(t) = β₀ t + ½ (β₁ − β₀) t²      λ = −ln(2 sinh(B/2))
//! t(λ): B = 2 asinh(½ e^{−λ}), then as for the VP path
//! ```

use crate::vp_linear::check_betas;
use crate::{Result, Schedule, VpLinear};

/// The sub-VP SDE, whose variance stays below the VP path's; defaults 0.1 and 20. Good likelihoods.
///
/// Source: Song et al. 2021, arXiv:2011.13456, Eq. 29.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SubVp {
    signal: VpLinear,
}

impl SubVp {
    /// The path whose rate rises from `beta_0` (data) to `beta_1` (noise), per unit of time.
    ///
    /// # Errors
    ///
    /// When a rate is outside `[1e-12, 1e6]`, or `beta_0` is above `beta_1`.
    pub fn new(beta_0: f64, beta_1: f64) -> Result<Self> {
        check_betas("SubVp", beta_0, beta_1)?;
        Ok(Self {
            signal: VpLinear::new(beta_0, beta_1)?,
        })
    }

    /// The rate at the data.
    #[must_use]
    pub fn beta_0(&self) -> f64 {
        self.signal.beta_0()
    }

    /// The rate at the end.
    #[must_use]
    pub fn beta_1(&self) -> f64 {
        self.signal.beta_1()
    }
}

impl Schedule for SubVp {
    fn alpha(&self, t: f64) -> f64 {
        self.signal.alpha(t)
    }

    fn sigma(&self, t: f64) -> f64 {
        -(-self.signal.integral(t)).exp_m1()
    }

    fn alpha_dot(&self, t: f64) -> f64 {
        self.signal.alpha_dot(t)
    }

    fn sigma_dot(&self, t: f64) -> f64 {
        self.signal.beta(t) * (-self.signal.integral(t)).exp()
    }

    fn inverse_lambda(&self, lambda: f64) -> f64 {
        self.signal.time(2.0 * (0.5 * (-lambda).exp()).asinh())
    }

    fn lambda(&self, t: f64) -> f64 {
        // −ln(2 sinh(B/2)), written so that neither factor overflows.
        let integral = self.signal.integral(t);
        -0.5 * integral - (-(-integral).exp_m1()).ln()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{laws, variance_preserving as vp};

    #[test]
    fn keeps_the_laws_of_a_path() {
        for path in [SubVp::default(), SubVp::new(0.5, 8.0).unwrap()] {
            laws::of_path(&path);
            laws::starts_clean(&path);
        }
    }

    #[test]
    fn its_noise_is_the_square_of_the_vp_noise() {
        let (sub, full) = (SubVp::default(), VpLinear::default());
        for t in [1e-4, 0.2, 0.7, 1.0] {
            assert!((sub.sigma(t) - vp::sigma(full.integral(t)).powi(2)).abs() < 1e-15);
        }
    }
}
