//! Gaussian modes on a circle: the test for lost modes.
//!
//! ```text
//! p(x) = 1/n Σ_k N(x; r (cos 2πk/n, sin 2πk/n), v I)
//! ```
//!
//! Source: Tong et al. 2023, arXiv:2302.00482, its code: n = 8, r = 5, v = 0.1.

use std::f64::consts::TAU;

use rand::RngCore;
use tallow_denoisers::{Batch, Dataset, Result};

use crate::error::check;
use crate::points::{Draws, choice};

/// Equally likely Gaussians on a circle; the label is the number of the mode, counted from the positive x axis.
///
/// Source: Tong et al. 2023, arXiv:2302.00482, its code: n = 8, r = 5, v = 0.1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gaussians {
    modes: u32,
    radius: f64,
    variance: f64,
}

impl Gaussians {
    /// Eight modes on a circle of radius 5, of variance 0.1.
    #[must_use]
    pub fn eight() -> Self {
        Self {
            modes: 8,
            radius: 5.0,
            variance: 0.1,
        }
    }

    /// `modes` of them on a circle of a radius, each with a variance in both directions.
    ///
    /// # Errors
    ///
    /// When `modes` is 0 or above 65,536, or `radius` or `variance` is outside [0, 1e6].
    pub fn new(modes: u32, radius: f64, variance: f64) -> crate::Result<Self> {
        let owner = "Gaussians";
        check(
            owner,
            "modes",
            modes,
            (1..=65_536).contains(&modes),
            "between 1 and 65536",
        )?;
        for (name, value) in [("radius", radius), ("variance", variance)] {
            crate::error::check_spread(owner, name, value)?;
        }
        Ok(Self {
            modes,
            radius,
            variance,
        })
    }

    /// The centres of the modes, by label.
    pub fn centres(&self) -> impl Iterator<Item = [f64; 2]> {
        let (modes, radius) = (self.modes, self.radius);
        (0..modes).map(move |k| {
            let (sine, cosine) = (TAU * f64::from(k) / f64::from(modes)).sin_cos();
            [radius * cosine, radius * sine]
        })
    }
}

impl Default for Gaussians {
    fn default() -> Self {
        Self::eight()
    }
}

impl Dataset for Gaussians {
    fn item_shape(&self) -> &[usize] {
        &[2]
    }

    fn draw(&self, count: usize, rng: &mut dyn RngCore) -> Result<Batch> {
        let draws = Draws::new("a draw of the Gaussians", count, (1, 2), rng)?;
        let (centres, spread) = (self.centres().collect::<Vec<_>>(), self.variance.sqrt());
        let points = draws.map(|u, z| {
            let label = choice(u[0], centres.len());
            let [x, y] = centres[label];
            ([x + spread * z[0], y + spread * z[1]], label as u32)
        });
        points.labelled()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::points::testing::{check_balance, draw, mean};

    #[test]
    fn each_mode_has_its_share_its_centre_and_its_variance() {
        let points = draw::<2>(&Gaussians::eight(), 80_000, 1);
        check_balance(&points, 8);
        for (k, centre) in Gaussians::eight().centres().enumerate() {
            assert!((centre[0].hypot(centre[1]) - 5.0).abs() < 1e-12);
            let own: Vec<_> = points
                .iter()
                .filter(|(_, label)| *label == k as u32)
                .copied()
                .collect();
            for axis in 0..2 {
                let shift = mean(&own, |point, _| point[axis] - centre[axis]);
                // Standard errors: √(0.1/10⁴) = 0.0032 and 0.1 √(2/10⁴) = 0.0014. Five of them, a little more for n.
                assert!(shift.abs() < 0.017, "mode {k}: {shift}");
                let variance = mean(&own, |point, _| (point[axis] - centre[axis]).powi(2));
                assert!((variance - 0.1).abs() < 0.0075, "mode {k}: {variance}");
            }
        }
    }

    #[test]
    fn one_mode_without_spread_is_a_point() {
        let point = Gaussians::new(1, 2.0, 0.0).unwrap();
        let drawn = point
            .draw(
                3,
                &mut <rand_chacha::ChaCha8Rng as rand::SeedableRng>::seed_from_u64(1),
            )
            .unwrap();
        assert_eq!(drawn.x0.to_vec2::<f32>().unwrap(), [[2.0, 0.0]; 3]);
    }

    #[test]
    fn impossible_parameters_are_refused() {
        assert!(Gaussians::new(0, 1.0, 1.0).is_err());
        assert!(Gaussians::new(3, -1.0, 1.0).is_err());
        assert!(Gaussians::new(3, 1.0, f64::NAN).is_err());
    }
}
