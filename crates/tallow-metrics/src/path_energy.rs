//! How much samples move on their way, against the least that they could.
//!
//! ```text
//! energy = E Σ_k |x_{k+1} − x_k|² / |t_{k+1} − t_k|  ≈  ∫ E|v|² dt        straightness = energy − E|x_end − x_start|²
//! normalised = |energy − W₂²| / W₂²
//! ```
//!
//! No path from one distribution to another in unit time has less energy than W₂² between them (Benamou & Brenier), and
//! straight paths at even speed have none above their own displacement. Chords between states of a solver underestimate the
//! energy by O(Δt²): take enough of them.
//!
//! Sources: Tong et al. 2024, arXiv:2302.00482, section 5.1 (normalised path energy); Liu et al. 2022, arXiv:2209.03003,
//! equation 3 (straightness).

use crate::points::check_dimensions;
use crate::{Error, Points, Result};

/// What moving along trajectories took.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PathEnergy {
    /// The mean over trajectories of the sum of squared chords over their durations, in squared units of x per unit of time.
    pub energy: f64,
    /// The mean squared distance from start to end, over the whole duration.
    pub displacement: f64,
}

impl PathEnergy {
    /// What curves and changes of speed took: 0 for straight lines at even speed.
    #[must_use]
    pub fn excess(&self) -> f64 {
        self.energy - self.displacement
    }

    /// The energy above the squared Wasserstein distance of the ends, in units of that distance, for paths of unit duration.
    ///
    /// # Errors
    ///
    /// When that distance is not positive and finite.
    pub fn normalised(&self, wasserstein2_squared: f64) -> Result<f64> {
        if !(wasserstein2_squared > 0.0 && wasserstein2_squared < f64::INFINITY) {
            return Err(Error::Parameter {
                owner: "PathEnergy::normalised",
                name: "the squared Wasserstein distance",
                value: wasserstein2_squared,
                allowed: "positive and finite: between equal ends there is nothing to compare with",
            });
        }
        Ok((self.energy - wasserstein2_squared).abs() / wasserstein2_squared)
    }
}

/// The energy of trajectories: `states[k]` is where all of them are at `times[k]`, in the same order.
///
/// Sources: Tong et al. 2024, arXiv:2302.00482, section 5.1 (normalised path energy); Liu et al. 2022,
/// arXiv:2209.03003, equation 3 (straightness).
///
/// ```
/// use tallow_metrics::{Points, path_energy};
///
/// let (start, middle, end) = ([0.0, 0.0], [1.0, 0.0], [1.0, 1.0]);
/// let states = [&start, &middle, &end].map(|at| Points::new(at, 2).unwrap());
/// let found = path_energy(&states, &[1.0, 0.5, 0.0])?;
/// assert_eq!((found.energy, found.displacement), (4.0, 2.0));
/// # Ok::<(), tallow_metrics::Error>(())
/// ```
///
/// # Errors
///
/// When there are fewer than two states, not as many times as states, times that do not rise or fall throughout, or states
/// of different counts or dimensions.
pub fn path_energy(states: &[Points<'_>], times: &[f64]) -> Result<PathEnergy> {
    let (Some(first), Some(last)) = (states.first(), states.last()) else {
        return Err(Error::Trajectory {
            problem: "there is no state".to_owned(),
        });
    };
    if states.len() != times.len() || states.len() < 2 {
        let problem = format!("{} states come with {} times", states.len(), times.len());
        return Err(Error::Trajectory { problem });
    }
    let duration = times[times.len() - 1] - times[0];
    let mut energy = 0.0;
    for (k, (pair, ends)) in states.windows(2).zip(times.windows(2)).enumerate() {
        let step = ends[1] - ends[0];
        if !(step * duration.signum() > 0.0 && step.is_finite()) {
            let problem = format!("times go from {} to {} after entry {k}", ends[0], ends[1]);
            return Err(Error::Trajectory { problem });
        }
        energy += moved(&pair[0], &pair[1])? / step.abs();
    }
    Ok(PathEnergy {
        energy,
        displacement: moved(first, last)? / duration.abs(),
    })
}

/// The mean squared distance of points that belong together.
fn moved(from: &Points<'_>, to: &Points<'_>) -> Result<f64> {
    check_dimensions(from, to)?;
    if from.count() != to.count() {
        return Err(Error::Counts {
            x: from.count(),
            y: to.count(),
        });
    }
    let pairs = from.values().iter().zip(to.values());
    Ok(pairs.map(|(a, b)| (a - b).powi(2)).sum::<f64>() / from.count() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn straight_lines_at_even_speed_have_no_excess_and_the_energy_of_a_circle_is_known() {
        let steps = 2000;
        let times: Vec<f64> = (0..=steps).map(|k| f64::from(k) / f64::from(steps)).collect();
        let along = |at: &dyn Fn(f64) -> [f64; 2]| {
            let values: Vec<[f64; 2]> = times.iter().map(|&t| at(t)).collect();
            let states: Vec<Points<'_>> = values
                .iter()
                .map(|value| Points::new(value, 2).unwrap())
                .collect();
            path_energy(&states, &times).unwrap()
        };
        let line = along(&|t| [3.0 * t, -4.0 * t]);
        assert!((line.energy - 25.0).abs() < 1e-9 && line.excess().abs() < 1e-9);
        // Once around in unit time: speed 2π, back at the start.
        let circle = along(&|t| {
            [
                (std::f64::consts::TAU * t).cos(),
                (std::f64::consts::TAU * t).sin(),
            ]
        });
        assert!((circle.energy / std::f64::consts::TAU.powi(2) - 1.0).abs() < 1e-5);
        assert!((circle.excess() - circle.energy).abs() < 1e-12);
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(line.normalised(bad).is_err());
        }
        assert!((line.normalised(20.0).unwrap() - 0.25).abs() < 1e-10);
    }

    #[test]
    fn what_is_no_trajectory_is_refused_in_words() {
        let point = |x: f64| {
            Points::from_tensor(&candle_core::Tensor::new(&[[x]], &candle_core::Device::Cpu).unwrap())
                .unwrap()
        };
        let refused =
            |states: &[Points<'_>], times: &[f64]| path_energy(states, times).unwrap_err().to_string();
        assert!(refused(&[], &[]).contains("no state"));
        assert!(refused(&[point(0.0)], &[0.0]).contains("1 states"));
        assert!(refused(&[point(0.0), point(1.0)], &[0.0]).contains("1 times"));
        assert!(refused(&[point(0.0), point(1.0), point(2.0)], &[0.0, 1.0, 0.5]).contains("from 1 to 0.5"));
        assert!(refused(&[point(0.0), point(1.0)], &[0.0, f64::NAN]).contains("NaN"));
    }
}
