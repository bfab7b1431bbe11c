//! Variance-preserving path with β linear in time: DDPM's forward process made continuous.
//!
//! ```text
//! β(t) = β₀ + (β₁ − β₀) t      B(t) = β₀ t + ½ (β₁ − β₀) t²      α = e^{−B/2}      σ = √(1 − α²)
//! t(λ): B = ln(1 + e^{−2λ}),   t = 2B/(√(β₀² + 2 (β₁ − β₀) B) + β₀)
//! ```

use crate::error::{check, check_order};
use crate::{Result, Schedule, variance_preserving as vp};

/// The VP-SDE: β rises linearly from `beta_0` to `beta_1`; defaults 0.1 and 20.
///
/// λ runs from +∞ at t = 0 to −5.02 at t = 1 (defaults): the path ends close to, not at, pure noise.
///
/// Source: Song et al. 2021, arXiv:2011.13456, appendix C; Ho et al. 2020, arXiv:2006.11239 for the discrete form.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VpLinear {
    beta_0: f64,
    beta_1: f64,
}

impl Default for VpLinear {
    fn default() -> Self {
        Self {
            beta_0: 0.1,
            beta_1: 20.0,
        }
    }
}

impl VpLinear {
    /// The path whose rate of noise rises from `beta_0` (data) to `beta_1` (noise), per unit of time.
    ///
    /// # Errors
    ///
    /// When a rate is outside `[1e-12, 1e6]`, or `beta_0` is above `beta_1`.
    pub fn new(beta_0: f64, beta_1: f64) -> Result<Self> {
        check_betas("VpLinear", beta_0, beta_1)?;
        Ok(Self { beta_0, beta_1 })
    }

    /// The rate of noise at the data.
    #[must_use]
    pub fn beta_0(&self) -> f64 {
        self.beta_0
    }

    /// The rate of noise at the end.
    #[must_use]
    pub fn beta_1(&self) -> f64 {
        self.beta_1
    }

    /// β(t), the rate at which noise comes in.
    #[must_use]
    pub fn beta(&self, t: f64) -> f64 {
        self.beta_0 + (self.beta_1 - self.beta_0) * t
    }

    /// B(t) = ∫β = −ln ᾱ.
    pub(crate) fn integral(&self, t: f64) -> f64 {
        t * (self.beta_0 + 0.5 * (self.beta_1 - self.beta_0) * t)
    }

    /// The time at which the integral is B, within `[0, 1]`.
    pub(crate) fn time(&self, integral: f64) -> f64 {
        if integral >= self.integral(1.0) {
            return 1.0;
        }
        let rise = self.beta_1 - self.beta_0;
        let root = (self.beta_0 * self.beta_0 + 2.0 * rise * integral).sqrt();
        (2.0 * integral / (root + self.beta_0)).clamp(0.0, 1.0)
    }
}

impl Schedule for VpLinear {
    fn alpha(&self, t: f64) -> f64 {
        vp::alpha(self.integral(t))
    }

    fn sigma(&self, t: f64) -> f64 {
        vp::sigma(self.integral(t))
    }

    fn alpha_dot(&self, t: f64) -> f64 {
        vp::alpha_dot(self.integral(t), self.beta(t))
    }

    fn sigma_dot(&self, t: f64) -> f64 {
        vp::sigma_dot(self.integral(t), self.beta(t))
    }

    fn inverse_lambda(&self, lambda: f64) -> f64 {
        self.time(vp::integral(lambda))
    }

    fn lambda(&self, t: f64) -> f64 {
        vp::lambda(self.integral(t))
    }
}

/// Checks the two rates of a path of this family.
pub(crate) fn check_betas(owner: &'static str, beta_0: f64, beta_1: f64) -> Result<()> {
    for (name, value) in [("beta_0", beta_0), ("beta_1", beta_1)] {
        check(
            owner,
            name,
            value,
            "in [1e-12, 1e6]",
            (1e-12..=1e6).contains(&value),
        )?;
    }
    check_order(owner, ("beta_0", beta_0), ("beta_1", beta_1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::laws;

    #[test]
    fn keeps_the_laws_of_a_variance_preserving_path() {
        for path in [
            VpLinear::default(),
            VpLinear::new(1.0, 1.0).unwrap(),
            VpLinear::new(1e-3, 40.0).unwrap(),
        ] {
            laws::of_path(&path);
            laws::variance_is_preserved(&path);
            laws::starts_clean(&path);
        }
    }

    #[test]
    fn agrees_with_published_noise_levels() {
        // σ/α and λ of β 0.1..20, six digits.
        let path = VpLinear::default();
        for (t, ratio, lambda) in [
            (1.0, 152.167, -5.02498),
            (1e-3, 0.010_486_0, 4.55771),
            (1e-4, 0.003_178_0, 5.75151),
            (1e-5, 0.001_000_5, 6.90726),
        ] {
            let level = path.level(t);
            assert!(
                (level.noise_to_signal() / ratio - 1.0).abs() < 1e-5,
                "σ/α {}",
                level.noise_to_signal()
            );
            assert!((path.lambda(t) - lambda).abs() < 6e-6, "λ {}", path.lambda(t));
        }
    }

    #[test]
    fn lambda_is_finite_where_the_signal_underflows() {
        let path = VpLinear::new(1.0, 5000.0).unwrap();
        assert_eq!(path.alpha(1.0), 0.0);
        assert!((path.lambda(1.0) + 1250.25).abs() < 1e-9);
        assert!((path.inverse_lambda(-1000.0) - 0.894_334).abs() < 1e-3);
    }

    #[test]
    fn refuses_rates_that_are_no_rates() {
        for (beta_0, beta_1) in [
            (0.0, 1.0),
            (-0.0, 1.0),
            (f64::NAN, 1.0),
            (0.1, f64::INFINITY),
            (2.0, 1.0),
            (1.0, 1e7),
        ] {
            assert!(VpLinear::new(beta_0, beta_1).is_err(), "{beta_0} {beta_1}");
        }
        let message = VpLinear::new(2.0, 1.0).unwrap_err().to_string();
        assert_eq!(
            message,
            "VpLinear needs beta_0 at most beta_1, got beta_0 = 2 and beta_1 = 1"
        );
    }
}
