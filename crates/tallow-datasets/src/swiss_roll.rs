//! The Swiss roll: a rolled-up sheet, in space or as the plane sees it from the side.
//!
//! ```text
//! (t cos t, h, t sin t) + noise · N(0, I)      t ~ U(3π/2, 9π/2), h ~ U(0, 21)
//! ```
//!
//! With a hole, the sheet is cut into 3 x 3 pieces of π x 7 and the middle one is left out. From the side, where h is not
//! seen, the turn t ∈ (5π/2, 7π/2) is then thinner by a third rather than empty.
//!
//! Source: Marsland 2009, "Machine Learning: An Algorithmic Perspective", chapter 10; scikit-learn's `make_swiss_roll`.

use std::f64::consts::PI;

use rand::RngCore;
use tallow_denoisers::{Batch, Dataset, Result};

use crate::error::check_spread;
use crate::points::{Draws, choice};

/// The height of the sheet.
const HEIGHT: f64 = 21.0;

/// The roll in the units of its formula, or standardised; no labels.
///
/// Source: Marsland 2009, "Machine Learning: An Algorithmic Perspective", chapter 10; scikit-learn's
/// `make_swiss_roll`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SwissRoll {
    shape: &'static [usize],
    hole: bool,
    noise: f64,
    shift: f64,
    scale: f64,
}

impl SwissRoll {
    /// The roll from the side, (N, 2): t cos t and t sin t, without hole or noise.
    #[must_use]
    pub fn new() -> Self {
        Self {
            shape: &[2],
            hole: false,
            noise: 0.0,
            shift: 0.0,
            scale: 1.0,
        }
    }

    /// The roll in space, (N, 3): t cos t, h and t sin t.
    #[must_use]
    pub fn in_space() -> Self {
        Self {
            shape: &[3],
            ..Self::new()
        }
    }

    /// The set of a common course exercise: with a hole, without noise, first and third coordinate, shifted to a mean of
    /// 0 and scaled to a standard deviation of 2 over all values.
    ///
    /// Mean and deviation are those of the distribution (1.6592 and 6.7656, in closed form), not of a sample: every
    /// draw is of the same distribution.
    #[must_use]
    pub fn course() -> Self {
        let (mean, deviation) = moments_with_hole();
        let scale = 2.0 / deviation;
        Self {
            shift: -mean * scale,
            scale,
            ..Self::new().with_hole()
        }
    }

    /// The same with the middle of the sheet left out.
    #[must_use]
    pub fn with_hole(self) -> Self {
        Self { hole: true, ..self }
    }

    /// The same with Gaussian noise of a standard deviation in every coordinate, in the units of the formula.
    ///
    /// # Errors
    ///
    /// When `noise` is outside [0, 1e6].
    pub fn with_noise(self, noise: f64) -> crate::Result<Self> {
        Ok(Self {
            noise: check_spread("SwissRoll", "noise", noise)?,
            ..self
        })
    }

    /// Where on the sheet a point is: t and h.
    fn place(&self, u: &[f64]) -> (f64, f64) {
        if self.hole {
            // The eight pieces around the middle one, which is number 4.
            let piece = choice(u[2], 8);
            let piece = if piece < 4 { piece } else { piece + 1 };
            (
                PI * (1.5 + (piece / 3) as f64 + u[0]),
                HEIGHT / 3.0 * ((piece % 3) as f64 + u[1]),
            )
        } else {
            (1.5 * PI * (1.0 + 2.0 * u[0]), HEIGHT * u[1])
        }
    }
}

impl Default for SwissRoll {
    fn default() -> Self {
        Self::new()
    }
}

impl Dataset for SwissRoll {
    fn item_shape(&self) -> &[usize] {
        self.shape
    }

    fn draw(&self, count: usize, rng: &mut dyn RngCore) -> Result<Batch> {
        let draws = Draws::new("a draw of the Swiss roll", count, (3, 3), rng)?;
        let points = draws.map(|u, z| {
            let (t, h) = self.place(u);
            let (sine, cosine) = t.sin_cos();
            let values = [
                t * cosine + self.noise * z[0],
                h + self.noise * z[1],
                t * sine + self.noise * z[2],
            ];
            (values.map(|value| self.scale * value + self.shift), 0)
        });
        if self.shape == [3] {
            points.batch()
        } else {
            points.side().batch()
        }
    }
}

/// Mean and standard deviation of all values t cos t and t sin t together, where the three turns hold 3, 2 and 3 eighths.
fn moments_with_hole() -> (f64, f64) {
    // Integrals of t cos t + t sin t and of t² (cos² + sin² = 1).
    let first = |t: f64| (t.cos() + t * t.sin()) + (t.sin() - t * t.cos());
    let second = |t: f64| t.powi(3) / 3.0;
    let over = |integral: &dyn Fn(f64) -> f64| -> f64 {
        let turn = |(k, eighths): (f64, f64)| {
            eighths / (8.0 * PI) * (integral(PI * (2.5 + k)) - integral(PI * (1.5 + k)))
        };
        [(0.0, 3.0), (1.0, 2.0), (2.0, 3.0)].map(turn).into_iter().sum()
    };
    let mean = over(&first) / 2.0;
    (mean, (over(&second) / 2.0 - mean * mean).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::points::testing::{draw, mean};

    /// t of a point of the roll without noise.
    fn turn([x, _, z]: [f64; 3]) -> f64 {
        x.hypot(z)
    }

    #[test]
    fn a_point_in_space_is_on_the_sheet() {
        let points = draw::<3>(&SwissRoll::in_space(), 50_000, 1);
        for (point, _) in &points {
            let t = turn(*point);
            assert!((1.5 * PI - 1e-5..4.5 * PI + 1e-5).contains(&t));
            assert!((0.0..=HEIGHT).contains(&point[1]));
            assert!((point[0] - t * t.cos()).hypot(point[2] - t * t.sin()) < 1e-4);
        }
        // Both places are uniform: means 3π and 21/2, with standard errors of 3π/√12/√n and 21/√12/√n.
        assert!((mean(&points, |point, _| turn(point)) - 3.0 * PI).abs() < 0.061);
        assert!((mean(&points, |point, _| point[1]) - 10.5).abs() < 0.136);
    }

    #[test]
    fn the_hole_is_empty_and_the_eight_pieces_are_equally_full() {
        let n = 80_000;
        let mut pieces = [[0_u32; 3]; 3];
        for (point, _) in draw::<3>(&SwissRoll::in_space().with_hole(), n, 2) {
            pieces[((turn(point) / PI - 1.5) as usize).min(2)][((point[1] / 7.0) as usize).min(2)] += 1;
        }
        // Rounding to f32 may move a few points on the edges of the hole by 1e-6 into it.
        assert!(pieces[1][1] <= 1, "{pieces:?}");
        for (k, count) in pieces.into_iter().flatten().enumerate().filter(|(k, _)| *k != 4) {
            // Standard deviation of a count: √(n/8 · 7/8) = 94. Five of them.
            assert!(count.abs_diff(n as u32 / 8) < 470, "piece {k}: {count}");
        }
    }

    #[test]
    fn from_the_side_the_first_and_third_coordinate_are_left() {
        let (space, side) = (SwissRoll::in_space().with_hole(), SwissRoll::new().with_hole());
        let space = draw::<3>(&space.with_noise(0.5).unwrap(), 100, 3);
        let side = draw::<2>(&side.with_noise(0.5).unwrap(), 100, 3);
        for (([x, _, z], _), (side, _)) in space.into_iter().zip(side) {
            assert_eq!([x, z], side);
        }
    }

    #[test]
    fn the_course_set_has_mean_zero_and_deviation_two_over_all_values() {
        let points = draw::<2>(&SwissRoll::course(), 200_000, 4);
        let all = mean(&points, |[x, y], _| (x + y) / 2.0);
        let square = mean(&points, |[x, y], _| (x * x + y * y) / 2.0);
        // Standard errors: below 2/√n = 0.0045, and below 2.6/√n = 0.0058 (the fourth moment of t is bounded).
        assert!(all.abs() < 0.0225, "{all}");
        assert!((square - 4.0).abs() < 0.04, "{square}");
        let (mean, deviation) = moments_with_hole();
        let midpoints = |f: &dyn Fn(f64) -> f64| {
            let weight = |t: f64| {
                if (2.5 * PI..3.5 * PI).contains(&t) {
                    2.0
                } else {
                    3.0
                }
            };
            let points = (0..30_000).map(|i| PI * (1.5 + 3.0 * (f64::from(i) + 0.5) / 30_000.0));
            points.map(|t| weight(t) / 8.0 * f(t)).sum::<f64>() / 10_000.0
        };
        assert!((midpoints(&|t| t * (t.cos() + t.sin()) / 2.0) - mean).abs() < 1e-6);
        assert!((midpoints(&|t| t * t / 2.0) - mean * mean - deviation * deviation).abs() < 1e-6);
    }

    #[test]
    fn impossible_noise_is_refused() {
        assert!(SwissRoll::new().with_noise(-1.0).is_err());
    }
}
