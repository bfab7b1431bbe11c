//! A convex path whose signal falls like a power of the time that is left.
//!
//! ```text
//! α = (1 − t)^n      σ = 1 − (1 − t)^n      t(λ): α = 1/(1 + e^{−λ}),   t = 1 − α^{1/n}
//! ```

use crate::error::check;
use crate::variance_preserving::softplus;
use crate::{Result, Schedule};

/// The polynomial path of degree `n`; 1 (the default) is the straight line of rectified flow in the same clock.
///
/// α + σ = 1 for every `n`: the states visited are those of rectified flow, at other times.
///
/// Source: Lipman et al. 2024, arXiv:2412.06264 (convex schedulers).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Polynomial {
    n: f64,
}

impl Default for Polynomial {
    fn default() -> Self {
        Self { n: 1.0 }
    }
}

impl Polynomial {
    /// The path of degree `n`, not necessarily whole. Below 1 the slope at t = 1 is infinite.
    ///
    /// # Errors
    ///
    /// When `n` is outside `[1e-3, 1e3]`.
    pub fn new(n: f64) -> Result<Self> {
        check("Polynomial", "n", n, "in [1e-3, 1e3]", (1e-3..=1e3).contains(&n))?;
        Ok(Self { n })
    }

    /// The degree.
    #[must_use]
    pub fn n(&self) -> f64 {
        self.n
    }
}

impl Schedule for Polynomial {
    fn alpha(&self, t: f64) -> f64 {
        (1.0 - t).powf(self.n)
    }

    fn sigma(&self, t: f64) -> f64 {
        -(self.n * (-t).ln_1p()).exp_m1()
    }

    fn alpha_dot(&self, t: f64) -> f64 {
        -self.n * (1.0 - t).powf(self.n - 1.0)
    }

    fn sigma_dot(&self, t: f64) -> f64 {
        self.n * (1.0 - t).powf(self.n - 1.0)
    }

    fn inverse_lambda(&self, lambda: f64) -> f64 {
        let log_alpha = -softplus(-lambda);
        (-(log_alpha / self.n).exp_m1()).clamp(0.0, 1.0)
    }

    fn lambda(&self, t: f64) -> f64 {
        self.n * (-t).ln_1p() - self.sigma(t).ln()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{RectifiedFlow, laws};

    #[test]
    fn keeps_the_laws_of_a_path() {
        for n in [0.5, 1.0, 2.0, 3.0, 7.5] {
            let path = Polynomial::new(n).unwrap();
            laws::of_path(&path);
            laws::starts_clean(&path);
            laws::ends_in_noise(&path);
        }
    }

    #[test]
    fn of_degree_one_it_is_the_straight_line() {
        for t in [0.0, 0.3, 1.0] {
            let (line, power) = (RectifiedFlow::default().level(t), Polynomial::default().level(t));
            assert!((line.sigma - power.sigma).abs() < 1e-15 && (line.alpha - power.alpha).abs() < 1e-15);
            assert_eq!(
                (line.alpha_dot, line.sigma_dot),
                (power.alpha_dot, power.sigma_dot)
            );
        }
    }

    #[test]
    fn refuses_degrees_that_are_none() {
        for n in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(Polynomial::new(n).is_err(), "{n}");
        }
    }
}
