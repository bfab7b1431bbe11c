//! Two interleaved half circles.
//!
//! ```text
//! θ ~ U(0, π)      label 0: (cos θ, sin θ)      label 1: (1 − cos θ, ½ − sin θ)      + noise · N(0, I)
//! ```
//!
//! Source: scikit-learn's `make_moons`; the variant of the flow papers: Tong et al. 2023, arXiv:2302.00482, its code.

use std::f64::consts::PI;

use rand::RngCore;
use tallow_denoisers::{Batch, Dataset, Result};

use crate::error::check_spread;
use crate::points::{Draws, choice};

/// Two half moons with labels 0 (upper) and 1 (lower); no noise by default.
///
/// Source: scikit-learn's `make_moons`; the variant of the flow papers: Tong et al. 2023, arXiv:2302.00482, its code.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moons {
    noise: f64,
    scale: f64,
    shift: f64,
}

impl Moons {
    /// The two half circles of radius 1.
    #[must_use]
    pub fn new() -> Self {
        Self {
            noise: 0.0,
            scale: 1.0,
            shift: 0.0,
        }
    }

    /// The target of the flow-matching papers: noise 0.2, then 3x − 1 in both coordinates.
    #[must_use]
    pub fn flow_matching() -> Self {
        Self {
            noise: 0.2,
            scale: 3.0,
            shift: -1.0,
        }
    }

    /// The same with Gaussian noise of a standard deviation, in units of the half circles' radius.
    ///
    /// # Errors
    ///
    /// When `noise` is outside [0, 1e6].
    pub fn with_noise(self, noise: f64) -> crate::Result<Self> {
        Ok(Self {
            noise: check_spread("Moons", "noise", noise)?,
            ..self
        })
    }
}

impl Default for Moons {
    fn default() -> Self {
        Self::new()
    }
}

impl Dataset for Moons {
    fn item_shape(&self) -> &[usize] {
        &[2]
    }

    fn draw(&self, count: usize, rng: &mut dyn RngCore) -> Result<Batch> {
        let draws = Draws::new("a draw of the moons", count, (2, 2), rng)?;
        let points = draws.map(|u, z| {
            let (sine, cosine) = (PI * u[0]).sin_cos();
            let label = choice(u[1], 2);
            let [x, y] = if label == 0 {
                [cosine, sine]
            } else {
                [1.0 - cosine, 0.5 - sine]
            };
            let place = |value: f64, z: f64| self.scale * (value + self.noise * z) + self.shift;
            ([place(x, z[0]), place(y, z[1])], label as u32)
        });
        points.labelled()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::points::testing::{check_balance, draw, mean};

    #[test]
    fn without_noise_each_moon_is_half_a_circle() {
        let points = draw::<2>(&Moons::new(), 50_000, 1);
        check_balance(&points, 2);
        for ([x, y], label) in points {
            let (cx, cy, side) = if label == 0 {
                (0.0, 0.0, 1.0)
            } else {
                (1.0, 0.5, -1.0)
            };
            assert!(((x - cx).hypot(y - cy) - 1.0).abs() < 1e-6);
            assert!(side * (y - cy) > -1e-6);
        }
    }

    #[test]
    fn the_variant_of_the_papers_has_its_moments() {
        let points = draw::<2>(&Moons::flow_matching(), 100_000, 2);
        // Before 3x − 1: E x = ½, E y = ¼; Var x = ½ + ¼ + 0.04 (the centres are ±½ about the mean).
        let mean_x = mean(&points, |[x, _], _| x);
        assert!(
            (mean_x - 0.5).abs() < 5.0 * 3.0 * (0.79_f64 / 1e5).sqrt(),
            "{mean_x}"
        );
        // y has the mean 2/π − ¼ from its own centre; Var y = ½ + 0.04 − (2/π)² + (¼ − 2/π)² = 0.2841.
        let mean_y = mean(&points, |[_, y], _| y);
        assert!(
            (mean_y + 0.25).abs() < 5.0 * 3.0 * (0.2841_f64 / 1e5).sqrt(),
            "{mean_y}"
        );
        let variance = mean(&points, |[x, _], _| (x - 0.5).powi(2));
        assert!((variance - 9.0 * 0.79).abs() < 0.12, "{variance}");
    }

    #[test]
    fn impossible_noise_is_refused() {
        for bad in [-0.1, f64::NAN, f64::INFINITY] {
            assert!(Moons::new().with_noise(bad).is_err());
        }
    }
}
