//! Variance-preserving path with √β linear in time: latent diffusion's table made continuous.
//!
//! ```text
//! √β(t) = a + c t     a = √β₀     c = √β₁ − √β₀     B(t) = a² t + a c t² + ⅓ c² t³     α = e^{−B/2}
//! t(λ): B = ln(1 + e^{−2λ}),   q = ∛(a³ + 3 c B),   t = 3B/(q² + q a + a²)
//! ```

use crate::vp_linear::check_betas;
use crate::{Result, Schedule, variance_preserving as vp};

/// √β rises linearly from √`beta_0` to √`beta_1`; defaults 0.85 and 12, Stable Diffusion's table times its 1000 steps.
///
/// The table itself is [`Table::scaled_linear_beta`](crate::Table::scaled_linear_beta).
///
/// Source: Rombach et al. 2022, arXiv:2112.10752, and its published training configuration.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScaledLinear {
    beta_0: f64,
    beta_1: f64,
}

impl Default for ScaledLinear {
    fn default() -> Self {
        Self {
            beta_0: 0.85,
            beta_1: 12.0,
        }
    }
}

impl ScaledLinear {
    /// The path whose rate of noise rises from `beta_0` (data) to `beta_1` (noise), per unit of time.
    ///
    /// # Errors
    ///
    /// When a rate is outside `[1e-12, 1e6]`, or `beta_0` is above `beta_1`.
    pub fn new(beta_0: f64, beta_1: f64) -> Result<Self> {
        check_betas("ScaledLinear", beta_0, beta_1)?;
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
        let (root, rise) = self.roots();
        (root + rise * t).powi(2)
    }

    /// (√β₀, √β₁ − √β₀).
    fn roots(&self) -> (f64, f64) {
        let root = self.beta_0.sqrt();
        (root, self.beta_1.sqrt() - root)
    }

    /// B(t) = ∫β = −ln ᾱ.
    fn integral(&self, t: f64) -> f64 {
        let (root, rise) = self.roots();
        t * (root * root + t * rise * (root + rise * t / 3.0))
    }
}

impl Schedule for ScaledLinear {
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
        let (root, rise) = self.roots();
        let integral = vp::integral(lambda);
        if integral >= self.integral(1.0) {
            return 1.0;
        }
        let end = (root.powi(3) + 3.0 * rise * integral).cbrt();
        (3.0 * integral / (end * end + end * root + root * root)).clamp(0.0, 1.0)
    }

    fn lambda(&self, t: f64) -> f64 {
        vp::lambda(self.integral(t))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Table, laws};

    #[test]
    fn keeps_the_laws_of_a_variance_preserving_path() {
        for (beta_0, beta_1) in [(0.85, 12.0), (2.0, 2.0), (1e-4, 30.0)] {
            let path = ScaledLinear::new(beta_0, beta_1).unwrap();
            laws::of_path(&path);
            laws::variance_is_preserved(&path);
            laws::starts_clean(&path);
        }
    }

    #[test]
    fn is_the_limit_of_its_table() {
        // First order in 1/T: four times the steps, a quarter of the difference.
        let difference = |steps: usize| {
            let table = Table::scaled_linear_beta(steps, 0.85 / steps as f64, 12.0 / steps as f64).unwrap();
            table.lambda(1.0) - ScaledLinear::default().lambda(1.0)
        };
        let ratio = difference(1000) / difference(4000);
        assert!((ratio - 4.0).abs() < 0.05, "the difference fell by {ratio}");
    }
}
