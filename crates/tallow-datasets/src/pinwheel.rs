//! A pinwheel: Gaussian blades, bent the more the further they are out.
//!
//! ```text
//! f = (1 + 0.3 z₁, 0.1 z₂)      angle = 2πk/n + ¼ e^{f₁}      x = 2 R(angle) f      z ~ N(0, I)
//! ```
//!
//! Source: Johnson et al. 2016, arXiv:1603.06277, figure 1 and its code; Grathwohl et al. 2018, arXiv:1810.01367, for the
//! factor 2.

use std::f64::consts::TAU;

use rand::RngCore;
use tallow_denoisers::{Batch, Dataset, Result};

use crate::error::{check, check_spread};
use crate::points::{Draws, choice};

/// Blades about the origin; the label is the number of the blade.
///
/// Source: Johnson et al. 2016, arXiv:1603.06277, figure 1 and its code; Grathwohl et al. 2018, arXiv:1810.01367, for
/// the factor 2.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pinwheel {
    blades: u32,
    radial: f64,
    tangential: f64,
    rate: f64,
}

impl Pinwheel {
    /// Five blades, with a spread of 0.3 along and 0.1 across, bent at the rate 1/4.
    #[must_use]
    pub fn new() -> Self {
        Self {
            blades: 5,
            radial: 0.3,
            tangential: 0.1,
            rate: 0.25,
        }
    }

    /// The same with another number of blades.
    ///
    /// # Errors
    ///
    /// When `blades` is 0 or above 65,536.
    pub fn with_blades(self, blades: u32) -> crate::Result<Self> {
        let allowed = (1..=65_536).contains(&blades);
        Ok(Self {
            blades: check("Pinwheel", "blades", blades, allowed, "between 1 and 65536")?,
            ..self
        })
    }

    /// The same with other spreads along and across a blade, before the factor 2.
    ///
    /// # Errors
    ///
    /// When `radial` is outside [0, 1] (a blade would reach through the centre) or `tangential` outside [0, 1e6].
    pub fn with_spread(self, radial: f64, tangential: f64) -> crate::Result<Self> {
        let radial = check(
            "Pinwheel",
            "radial",
            radial,
            (0.0..=1.0).contains(&radial),
            "in [0, 1]",
        )?;
        Ok(Self {
            radial,
            tangential: check_spread("Pinwheel", "tangential", tangential)?,
            ..self
        })
    }

    /// The same bent at another rate; 0 leaves the blades straight.
    ///
    /// # Errors
    ///
    /// When `rate` is outside [-10, 10].
    pub fn with_rate(self, rate: f64) -> crate::Result<Self> {
        let allowed = (-10.0..=10.0).contains(&rate);
        Ok(Self {
            rate: check("Pinwheel", "rate", rate, allowed, "in [-10, 10]")?,
            ..self
        })
    }
}

impl Default for Pinwheel {
    fn default() -> Self {
        Self::new()
    }
}

impl Dataset for Pinwheel {
    fn item_shape(&self) -> &[usize] {
        &[2]
    }

    fn draw(&self, count: usize, rng: &mut dyn RngCore) -> Result<Batch> {
        let draws = Draws::new("a draw of the pinwheel", count, (1, 2), rng)?;
        let points = draws.map(|u, z| {
            let label = choice(u[0], self.blades as usize);
            let (along, across) = (1.0 + self.radial * z[0], self.tangential * z[1]);
            let angle = TAU * label as f64 / f64::from(self.blades) + self.rate * along.exp();
            let (sine, cosine) = angle.sin_cos();
            (
                [
                    2.0 * (along * cosine - across * sine),
                    2.0 * (along * sine + across * cosine),
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
    fn unbending_a_blade_gives_its_two_gaussians() {
        let points = draw::<2>(&Pinwheel::new(), 50_000, 1);
        check_balance(&points, 5);
        // The rotation keeps lengths: E r² = 4 (1 + 0.09 + 0.01). Var r² = 16 (4·0.09 + 2·0.0081 + 2·0.0001) = 6.02.
        let square = mean(&points, |[x, y], _| x * x + y * y);
        assert!((square - 4.4).abs() < 5.0 * (6.02_f64 / 5e4).sqrt(), "{square}");
    }

    #[test]
    fn a_blade_without_width_is_the_curve_of_its_angle() {
        let thin = Pinwheel::new().with_spread(0.3, 0.0).unwrap();
        for ([x, y], label) in draw::<2>(&thin, 20_000, 2) {
            let along = x.hypot(y) / 2.0;
            let angle = TAU * f64::from(label) / 5.0 + 0.25 * along.exp();
            let (dx, dy) = (x - 2.0 * along * angle.cos(), y - 2.0 * along * angle.sin());
            // Points beyond the centre (z₁ < −3.3) have a negative length along the blade; they are 1 in 2300.
            assert!(dx.hypot(dy) < 1e-5 || along < 0.5, "({x}, {y})");
        }
    }

    #[test]
    fn straight_blades_point_where_their_label_says() {
        let straight = Pinwheel::new().with_rate(0.0).unwrap().with_blades(4).unwrap();
        let points = draw::<2>(&straight, 40_000, 3);
        check_balance(&points, 4);
        // Turned back by its label's angle, each blade has the mean (2, 0).
        let turned = |[x, y]: [f64; 2], label: u32| {
            let (sine, cosine) = (TAU * f64::from(label) / 4.0).sin_cos();
            [x * cosine + y * sine, y * cosine - x * sine]
        };
        assert!((mean(&points, |point, label| turned(point, label)[0]) - 2.0).abs() < 5.0 * 0.6 / 200.0);
        assert!(mean(&points, |point, label| turned(point, label)[1]).abs() < 5.0 * 0.2 / 200.0);
    }

    #[test]
    fn impossible_parameters_are_refused() {
        assert!(Pinwheel::new().with_blades(0).is_err());
        assert!(Pinwheel::new().with_spread(1.5, 0.1).is_err());
        assert!(Pinwheel::new().with_spread(0.1, f64::NAN).is_err());
        assert!(Pinwheel::new().with_rate(f64::INFINITY).is_err());
    }
}
