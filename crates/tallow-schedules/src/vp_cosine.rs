//! Variance-preserving path whose signal falls like a cosine.
//!
//! ```text
//! α = cos b / cos a      a = (s/(1+s)) π/2      b = ((t+s)/(1+s)) π/2
//! σ² = 1 − α² = sin(b − a) sin(b + a) / cos² a,    with b − a = t r,   b + a = π − (2 − t) r,   r = π/(2 (1+s))
//! ```
//!
//! σ is a product, so it keeps its digits at t → 0, and α is exactly 0 at t = 1.

use std::f64::consts::FRAC_PI_2;

use crate::error::check;
use crate::{Result, Schedule, variance_preserving as vp};

/// The cosine path without a cap on β; the offset `s` (default 0.008) keeps the first steps from being too small.
///
/// λ runs from +∞ to −∞: α(1) = 0, so noise prediction cannot start at t = 1. The table with capped β is
/// [`Table::cosine`](crate::Table::cosine).
///
/// Source: Nichol & Dhariwal 2021, arXiv:2102.09672, Eq. 17, where ᾱ = α².
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VpCosine {
    s: f64,
}

impl Default for VpCosine {
    fn default() -> Self {
        Self { s: 0.008 }
    }
}

impl VpCosine {
    /// The path with offset `s`; 0 makes it the trigonometric one.
    ///
    /// # Errors
    ///
    /// When `s` is outside `[0, 1e3]`.
    pub fn new(s: f64) -> Result<Self> {
        check("VpCosine", "s", s, "in [0, 1e3]", (0.0..=1e3).contains(&s))?;
        Ok(Self { s })
    }

    /// The offset.
    #[must_use]
    pub fn s(&self) -> f64 {
        self.s
    }

    /// What one unit of time turns the angle by.
    fn rate(&self) -> f64 {
        FRAC_PI_2 / (1.0 + self.s)
    }

    /// The angle at the data, a.
    fn first(&self) -> f64 {
        self.s * self.rate()
    }

    /// cos a, as the sine of the angle that is left.
    fn cos_first(&self) -> f64 {
        self.rate().sin()
    }
}

impl Schedule for VpCosine {
    fn alpha(&self, t: f64) -> f64 {
        ((1.0 - t) * self.rate()).sin() / self.cos_first()
    }

    fn sigma(&self, t: f64) -> f64 {
        let rate = self.rate();
        ((t * rate).sin() * ((2.0 - t) * rate).sin()).sqrt() / self.cos_first()
    }

    fn alpha_dot(&self, t: f64) -> f64 {
        -self.rate() * ((t + self.s) * self.rate()).sin() / self.cos_first()
    }

    fn sigma_dot(&self, t: f64) -> f64 {
        // d(σ²)/dt = rate · sin(2b)/cos² a; with s = 0 it is 0/0 at t = 0, where σ = sin(turned).
        if self.s == 0.0 {
            return self.rate() * ((1.0 - t) * self.rate()).sin();
        }
        -self.alpha(t) * self.alpha_dot(t) / self.sigma(t)
    }

    fn inverse_lambda(&self, lambda: f64) -> f64 {
        let (alpha, sigma) = vp::circle(lambda);
        if alpha == 0.0 {
            return 1.0;
        }
        let (sin_a, cos_a) = (self.first().sin(), self.cos_first());
        let sin_b = sin_a.hypot(cos_a * sigma);
        // sin b − α sin a = σ²/(sin b + α sin a): no cancellation at either end.
        let turned = if sigma == 0.0 {
            0.0
        } else {
            let sine = cos_a * sigma * (sigma / (sin_b + alpha * sin_a));
            sine.atan2(cos_a * cos_a * alpha + sin_b * sin_a)
        };
        (turned / self.rate()).clamp(0.0, 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::laws;

    #[test]
    fn keeps_the_laws_of_a_variance_preserving_path() {
        for s in [0.0, 0.008, 0.5, 100.0] {
            let path = VpCosine::new(s).unwrap();
            laws::of_path(&path);
            laws::variance_is_preserved(&path);
            laws::starts_clean(&path);
            laws::ends_in_noise(&path);
        }
    }

    #[test]
    fn without_offset_it_is_a_quarter_of_a_circle() {
        let path = VpCosine::new(0.0).unwrap();
        for t in [0.1, 0.5, 0.9] {
            assert!((path.alpha(t) - (FRAC_PI_2 * t).cos()).abs() < 1e-15);
            assert!((path.sigma_dot(t) - FRAC_PI_2 * (FRAC_PI_2 * t).cos()).abs() < 1e-14);
        }
        assert_eq!(path.sigma_dot(0.0), FRAC_PI_2);
    }

    #[test]
    fn refuses_an_offset_that_is_none() {
        for s in [-1e-9, f64::NAN, f64::INFINITY, 1e4] {
            assert!(VpCosine::new(s).is_err(), "{s}");
        }
    }
}
