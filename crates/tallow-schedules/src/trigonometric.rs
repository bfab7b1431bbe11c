//! A quarter of a circle: from data to noise at constant speed.
//!
//! ```text
//! α = cos(πt/2)      σ = sin(πt/2)      t(λ) = (2/π) atan e^{−λ}
//! ```

use std::f64::consts::FRAC_PI_2;

use crate::{Schedule, variance_preserving as vp};

/// The trigonometric interpolant, variance-preserving and without parameters; α(1) is exactly 0.
///
/// Source: Albergo & Vanden-Eijnden 2022, arXiv:2209.15571, and Salimans & Ho 2022, arXiv:2202.00512, whose angle
/// is πt/2.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Trigonometric;

impl Schedule for Trigonometric {
    fn alpha(&self, t: f64) -> f64 {
        ((1.0 - t) * FRAC_PI_2).sin()
    }

    fn sigma(&self, t: f64) -> f64 {
        (t * FRAC_PI_2).sin()
    }

    fn alpha_dot(&self, t: f64) -> f64 {
        -FRAC_PI_2 * self.sigma(t)
    }

    fn sigma_dot(&self, t: f64) -> f64 {
        FRAC_PI_2 * self.alpha(t)
    }

    fn inverse_lambda(&self, lambda: f64) -> f64 {
        let (alpha, sigma) = vp::circle(lambda);
        (sigma.atan2(alpha) / FRAC_PI_2).clamp(0.0, 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::laws;

    #[test]
    fn keeps_the_laws_of_a_variance_preserving_path() {
        laws::of_path(&Trigonometric);
        laws::variance_is_preserved(&Trigonometric);
        laws::starts_clean(&Trigonometric);
        laws::ends_in_noise(&Trigonometric);
    }
}
