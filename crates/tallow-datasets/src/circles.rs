//! A circle inside a circle.
//!
//! ```text
//! label 0: (cos θ, sin θ)      label 1: factor (cos θ, sin θ)      θ ~ U(0, 2π), + noise · N(0, I)
//! ```
//!
//! Source: scikit-learn's `make_circles`.

use std::f64::consts::TAU;

use rand::RngCore;
use tallow_denoisers::{Batch, Dataset, Result};

use crate::error::{check, check_spread};
use crate::points::{Draws, choice};

/// Two circles about the origin with labels 0 (outer, radius 1) and 1 (inner).
///
/// Source: scikit-learn's `make_circles`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Circles {
    factor: f64,
    noise: f64,
}

impl Circles {
    /// An inner circle of radius 1/2, no noise.
    #[must_use]
    pub fn new() -> Self {
        Self {
            factor: 0.5,
            noise: 0.0,
        }
    }

    /// The same with an inner circle of radius `factor`.
    ///
    /// # Errors
    ///
    /// When `factor` is outside (0, 1).
    pub fn with_factor(self, factor: f64) -> crate::Result<Self> {
        let allowed = factor > 0.0 && factor < 1.0;
        Ok(Self {
            factor: check("Circles", "factor", factor, allowed, "in (0, 1)")?,
            ..self
        })
    }

    /// The same with Gaussian noise of a standard deviation.
    ///
    /// # Errors
    ///
    /// When `noise` is outside [0, 1e6].
    pub fn with_noise(self, noise: f64) -> crate::Result<Self> {
        Ok(Self {
            noise: check_spread("Circles", "noise", noise)?,
            ..self
        })
    }
}

impl Default for Circles {
    fn default() -> Self {
        Self::new()
    }
}

impl Dataset for Circles {
    fn item_shape(&self) -> &[usize] {
        &[2]
    }

    fn draw(&self, count: usize, rng: &mut dyn RngCore) -> Result<Batch> {
        let draws = Draws::new("a draw of the circles", count, (2, 2), rng)?;
        let points = draws.map(|u, z| {
            let (sine, cosine) = (TAU * u[0]).sin_cos();
            let label = choice(u[1], 2);
            let radius = if label == 0 { 1.0 } else { self.factor };
            (
                [
                    radius * cosine + self.noise * z[0],
                    radius * sine + self.noise * z[1],
                ],
                label as u32,
            )
        });
        points.labelled()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::points::testing::{check_balance, draw, mean};

    #[test]
    fn without_noise_a_point_lies_on_the_circle_of_its_label() {
        let points = draw::<2>(&Circles::new().with_factor(0.3).unwrap(), 50_000, 1);
        check_balance(&points, 2);
        for ([x, y], label) in &points {
            let radius = if *label == 0 { 1.0 } else { 0.3 };
            assert!((x.hypot(*y) - radius).abs() < 1e-6);
        }
        for axis in 0..2 {
            // Var = (1 + 0.09)/4; five standard errors.
            assert!(mean(&points, |point, _| point[axis]).abs() < 5.0 * (0.2725_f64 / 5e4).sqrt());
        }
    }

    #[test]
    fn noise_adds_its_variance_to_both_coordinates() {
        let points = draw::<2>(&Circles::new().with_noise(0.5).unwrap(), 100_000, 2);
        // E r² = (1 + ¼)/2 + 2 · ¼; the standard deviation of r² is below 1.3.
        let square = mean(&points, |[x, y], _| x * x + y * y);
        assert!((square - 1.125).abs() < 0.021, "{square}");
    }

    #[test]
    fn impossible_parameters_are_refused() {
        for bad in [0.0, 1.0, -0.5, f64::NAN] {
            assert!(Circles::new().with_factor(bad).is_err());
        }
        assert!(Circles::new().with_noise(-1.0).is_err());
    }
}
