//! How straight trajectories are, whatever their speed.
//!
//! ```text
//! length = Σ_k |x_{k+1} − x_k|          chord = |x_end − x_start|          turning = Σ_k ∠(x_k − x_{k−1}, x_{k+1} − x_k)
//! ```
//!
//! The turning angle is the integral of the curvature over the length of a path; a solver's steps cost most where it is
//! large. See [`path_energy`](crate::path_energy) for what changes of speed add.

use crate::points::check_dimensions;
use crate::{Error, Points, Result};

/// The shape of trajectories, means over them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PathShape {
    /// The length of a path, in units of x.
    pub length: f64,
    /// The distance from its start to its end, in units of x.
    pub chord: f64,
    /// The angle by which it turns on its way, in radians: 0 for a straight one.
    pub turning: f64,
}

impl PathShape {
    /// Chord over length, of the means: 1 for straight paths; 1 where nothing moves.
    #[must_use]
    pub fn straightness(&self) -> f64 {
        if self.length == 0.0 {
            return 1.0;
        }
        self.chord / self.length
    }
}

/// The shape of trajectories: `states[k]` is where all of them are after k steps, in the same order.
///
/// ```
/// use tallow_metrics::{Points, path_shape};
///
/// let (start, middle, end) = ([0.0, 0.0], [3.0, 0.0], [3.0, 4.0]);
/// let states = [&start, &middle, &end].map(|at| Points::new(at, 2).unwrap());
/// let found = path_shape(&states)?;
/// assert_eq!((found.length, found.chord), (7.0, 5.0));
/// assert!((found.turning - std::f64::consts::FRAC_PI_2).abs() < 1e-15);
/// # Ok::<(), tallow_metrics::Error>(())
/// ```
///
/// # Errors
///
/// When there are fewer than two states, or states of different counts or dimensions.
pub fn path_shape(states: &[Points<'_>]) -> Result<PathShape> {
    let (Some(first), Some(last)) = (states.first(), states.get(1..).and_then(<[_]>::last)) else {
        let problem = format!("{} states", states.len());
        return Err(Error::Trajectory { problem });
    };
    for state in states {
        check_dimensions(first, state)?;
        if state.count() != first.count() {
            return Err(Error::Counts {
                x: first.count(),
                y: state.count(),
            });
        }
    }
    let (mut length, mut chord, mut turning) = (0.0, 0.0, 0.0);
    for path in 0..first.count() {
        let at =
            |state: &Points<'_>| state.values()[path * first.dimension()..][..first.dimension()].to_vec();
        let steps: Vec<Vec<f64>> = states
            .windows(2)
            .map(|pair| difference(&at(&pair[1]), &at(&pair[0])))
            // A step of no length has no direction.
            .filter(|step| norm(step) > 0.0)
            .collect();
        length += steps.iter().map(|step| norm(step)).sum::<f64>();
        chord += norm(&difference(&at(last), &at(first)));
        turning += steps
            .windows(2)
            .map(|pair| angle(&pair[0], &pair[1]))
            .sum::<f64>();
    }
    let count = first.count() as f64;
    Ok(PathShape {
        length: length / count,
        chord: chord / count,
        turning: turning / count,
    })
}

/// The angle between two vectors, exact for small ones, too: 2 atan(|â − b̂| / |â + b̂|).
fn angle(a: &[f64], b: &[f64]) -> f64 {
    let (la, lb) = (norm(a), norm(b));
    let combined = |sign: f64| {
        let parts = a.iter().zip(b).map(|(a, b)| a / la + sign * b / lb);
        parts.map(|value| value * value).sum::<f64>().sqrt()
    };
    2.0 * combined(-1.0).atan2(combined(1.0))
}

fn difference(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}

fn norm(vector: &[f64]) -> f64 {
    vector.iter().map(|value| value * value).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use std::f64::consts::PI;

    use super::*;

    #[test]
    fn half_a_circle_has_its_length_and_turns_by_pi() {
        // One path goes round half a circle of radius 2, the other straight at an uneven speed.
        let steps = 1000;
        let values: Vec<[f64; 4]> = (0..=steps)
            .map(|k| {
                let s = f64::from(k) / f64::from(steps);
                let (sin, cos) = (PI * s).sin_cos();
                [2.0 * cos, 2.0 * sin, s * s, -s * s]
            })
            .collect();
        let states: Vec<_> = values
            .iter()
            .map(|value| Points::new(value, 2).unwrap())
            .collect();
        let found = path_shape(&states).unwrap();
        let root = 2.0_f64.sqrt();
        assert!((found.length - (2.0 * PI + root) / 2.0).abs() < 1e-5, "{found:?}");
        assert!((found.chord - (4.0 + root) / 2.0).abs() < 1e-12);
        // The chords of n steps turn n − 1 times.
        assert!((found.turning - PI * 0.999 / 2.0).abs() < 1e-6);
        assert!((found.straightness() - (4.0 + root) / (2.0 * PI + root)).abs() < 1e-5);
    }

    #[test]
    fn paths_that_rest_are_straight_and_impossible_ones_are_refused() {
        let here = Points::new(&[1.0, 2.0], 2).unwrap();
        let found = path_shape(&[here.clone(), here.clone(), here.clone()]).unwrap();
        assert_eq!(
            (found.length, found.turning, found.straightness()),
            (0.0, 0.0, 1.0)
        );
        assert!(matches!(path_shape(&[]), Err(Error::Trajectory { .. })));
        assert!(matches!(
            path_shape(std::slice::from_ref(&here)),
            Err(Error::Trajectory { .. })
        ));
        let two = Points::new(&[1.0, 2.0, 3.0, 4.0], 2).unwrap();
        assert!(matches!(
            path_shape(&[here, two]),
            Err(Error::Counts { x: 1, y: 2 })
        ));
    }
}
