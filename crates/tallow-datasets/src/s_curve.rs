//! The S curve, as the plane sees it.
//!
//! ```text
//! t ~ U(−3π/2, 3π/2)      x = (sin t, sign(t) (cos t − 1)) + noise · N(0, I)
//! ```
//!
//! Source: scikit-learn's `make_s_curve`, first and third coordinate.

use std::f64::consts::PI;

use rand::RngCore;
use tallow_denoisers::{Batch, Dataset, Result};

use crate::error::check_spread;
use crate::points::Draws;

/// Two three-quarter circles joined to an S, within [-1, 1] x [-2, 2]; no labels.
///
/// Source: scikit-learn's `make_s_curve`, first and third coordinate.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SCurve {
    noise: f64,
}

impl SCurve {
    /// The curve without noise.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same with Gaussian noise of a standard deviation.
    ///
    /// # Errors
    ///
    /// When `noise` is outside [0, 1e6].
    pub fn with_noise(self, noise: f64) -> crate::Result<Self> {
        Ok(Self {
            noise: check_spread("SCurve", "noise", noise)?,
        })
    }
}

impl Dataset for SCurve {
    fn item_shape(&self) -> &[usize] {
        &[2]
    }

    fn draw(&self, count: usize, rng: &mut dyn RngCore) -> Result<Batch> {
        let draws = Draws::new("a draw of the S curve", count, (1, 2), rng)?;
        let points = draws.map(|u, z| {
            let t = 3.0 * PI * (u[0] - 0.5);
            let (sine, cosine) = t.sin_cos();
            (
                [
                    sine + self.noise * z[0],
                    t.signum() * (cosine - 1.0) + self.noise * z[1],
                ],
                0,
            )
        });
        points.batch()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::points::testing::{draw, mean};

    #[test]
    fn every_point_is_on_one_of_the_two_circles() {
        for ([x, y], _) in draw::<2>(&SCurve::new(), 50_000, 1) {
            // Circles of radius 1 about (0, 1) and (0, −1).
            let circle = (x.hypot(y - 1.0) - 1.0).abs().min((x.hypot(y + 1.0) - 1.0).abs());
            assert!(circle < 1e-6, "({x}, {y})");
        }
    }

    #[test]
    fn moments_are_those_of_the_curve() {
        let points = draw::<2>(&SCurve::new().with_noise(0.1).unwrap(), 100_000, 2);
        // E sin² t = ½; E (cos t − 1)² = 3/2 + 4/(3π); E xy = ∫ sign(t) sin t (cos t − 1) = −(1 − ½) 2/(3π) = −1/(3π).
        for (what, found, exact, bound) in [
            ("x", mean(&points, |[x, _], _| x), 0.0, 0.012),
            ("y", mean(&points, |[_, y], _| y), 0.0, 0.022),
            ("x²", mean(&points, |[x, _], _| x * x), 0.51, 0.007),
            (
                "y²",
                mean(&points, |[_, y], _| y * y),
                1.51 + 4.0 / (3.0 * PI),
                0.025,
            ),
            ("xy", mean(&points, |[x, y], _| x * y), -1.0 / (3.0 * PI), 0.02),
        ] {
            assert!(
                (found - exact).abs() < bound,
                "E {what} is {found}, exactly {exact}"
            );
        }
        assert!(SCurve::new().with_noise(f64::NAN).is_err());
    }
}
