//! Two spiral arms, one the other turned by half a turn.
//!
//! ```text
//! θ = 2π·turns·√u      x = ± θ/3 (−cos θ, sin θ) + noise · N(0, I)      u ~ U(0, 1)
//! ```
//!
//! The root makes the density along an arm nearly even.
//!
//! Source: Lang & Witbrock 1988, "Learning to tell two spirals apart"; scaled as in Grathwohl et al. 2018,
//! arXiv:1810.01367.

use std::f64::consts::TAU;

use rand::RngCore;
use tallow_denoisers::{Batch, Dataset, Result};

use crate::error::{check, check_spread};
use crate::points::{Draws, choice};

/// Two arms with labels 0 and 1; one and a half turns and a noise of 0.1 by default.
///
/// Source: Lang & Witbrock 1988, "Learning to tell two spirals apart"; scaled as in Grathwohl et al. 2018,
/// arXiv:1810.01367.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spirals {
    turns: f64,
    noise: f64,
}

impl Spirals {
    /// One and a half turns, which end at the radius π; noise 0.1.
    #[must_use]
    pub fn new() -> Self {
        Self {
            turns: 1.5,
            noise: 0.1,
        }
    }

    /// The same with another number of turns: the arms end at the radius 2π·turns/3.
    ///
    /// # Errors
    ///
    /// When `turns` is outside (0, 100].
    pub fn with_turns(self, turns: f64) -> crate::Result<Self> {
        let allowed = turns > 0.0 && turns <= 100.0;
        Ok(Self {
            turns: check("Spirals", "turns", turns, allowed, "in (0, 100]")?,
            ..self
        })
    }

    /// The same with another standard deviation of the Gaussian noise.
    ///
    /// # Errors
    ///
    /// When `noise` is outside [0, 1e6].
    pub fn with_noise(self, noise: f64) -> crate::Result<Self> {
        Ok(Self {
            noise: check_spread("Spirals", "noise", noise)?,
            ..self
        })
    }
}

impl Default for Spirals {
    fn default() -> Self {
        Self::new()
    }
}

impl Dataset for Spirals {
    fn item_shape(&self) -> &[usize] {
        &[2]
    }

    fn draw(&self, count: usize, rng: &mut dyn RngCore) -> Result<Batch> {
        let draws = Draws::new("a draw of the spirals", count, (2, 2), rng)?;
        let points = draws.map(|u, z| {
            let angle = TAU * self.turns * u[0].sqrt();
            let (sine, cosine) = angle.sin_cos();
            let label = choice(u[1], 2);
            let radius = if label == 0 { angle / 3.0 } else { -angle / 3.0 };
            (
                [
                    -radius * cosine + self.noise * z[0],
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
    use std::f64::consts::PI;

    use super::*;
    use crate::points::testing::{check_balance, draw, mean};

    #[test]
    fn without_noise_the_radius_tells_the_angle() {
        let points = draw::<2>(&Spirals::new().with_noise(0.0).unwrap(), 50_000, 1);
        check_balance(&points, 2);
        for ([x, y], label) in points {
            let radius = x.hypot(y);
            assert!(radius <= PI + 1e-6);
            let sign = if label == 0 { 1.0 } else { -1.0 };
            let (sine, cosine) = (3.0 * radius).sin_cos();
            assert!((x + sign * radius * cosine).hypot(y - sign * radius * sine) < 1e-5);
        }
    }

    #[test]
    fn the_square_of_the_radius_is_uniform_and_the_noise_adds_to_it() {
        let points = draw::<2>(&Spirals::new(), 100_000, 2);
        // E r² = π²/2 + 2 · 0.01; the standard deviation of r² is π²/√12 = 2.85, with noise 2.87.
        let square = mean(&points, |[x, y], _| x * x + y * y);
        assert!((square - PI * PI / 2.0 - 0.02).abs() < 0.046, "{square}");
        // The arms are each other's mirror image in the origin.
        for axis in 0..2 {
            assert!(mean(&points, |point, _| point[axis]).abs() < 5.0 * 2.0 / 1e5_f64.sqrt());
        }
    }

    #[test]
    fn impossible_parameters_are_refused() {
        for bad in [0.0, -1.0, f64::NAN, 1e9] {
            assert!(Spirals::new().with_turns(bad).is_err());
        }
        assert!(Spirals::new().with_noise(-0.1).is_err());
    }
}
