//! Learning rates as functions of the step.
//!
//! ```text
//! warm-up    peak (n + 1)/w                       n < w
//! constant   peak
//! cosine     floor + (peak − floor) ½ (1 + cos πp)
//! linear     floor + (peak − floor) (1 − p)       p = (n − w)/(N − w), at most 1
//! ```
//!
//! Source: Loshchilov & Hutter 2017, arXiv:1608.03983, Eq. 5 (cosine).

use std::f64::consts::PI;

use crate::{Error, Result};

/// A learning rate for each step n = 0, 1, …
///
/// ```
/// use tallow_train::LearningRate;
///
/// let rate = LearningRate::cosine(3e-3, 1000)?.with_warm_up(100);
/// assert_eq!(rate.at(0), 3e-5);
/// assert_eq!(rate.at(99), 3e-3);
/// assert!(rate.at(999) < 1e-8);
/// # Ok::<(), tallow_train::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LearningRate {
    peak: f64,
    floor: f64,
    warm_up: u64,
    annealing: Annealing,
}

/// How a learning rate falls after its warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Annealing {
    /// It does not.
    Constant,
    /// Along half a cosine, down to the floor at step `steps`.
    Cosine {
        /// Steps of the whole run, warm-up included.
        steps: u64,
    },
    /// Along a line, down to the floor at step `steps`.
    Linear {
        /// Steps of the whole run, warm-up included.
        steps: u64,
    },
}

impl LearningRate {
    /// `peak` at every step.
    ///
    /// # Errors
    ///
    /// When `peak` is not positive and finite.
    pub fn constant(peak: f64) -> Result<Self> {
        if !(peak.is_finite() && peak > 0.0) {
            let (name, allowed) = ("peak", "positive and finite");
            return Err(Error::Parameter {
                owner: "LearningRate",
                name,
                value: peak,
                allowed,
            });
        }
        Ok(Self {
            peak,
            floor: 0.0,
            warm_up: 0,
            annealing: Annealing::Constant,
        })
    }

    /// From `peak` along half a cosine to 0 at step `steps`.
    ///
    /// # Errors
    ///
    /// When `peak` is not positive and finite, or `steps` is 0.
    pub fn cosine(peak: f64, steps: u64) -> Result<Self> {
        check_steps(steps)?;
        Ok(Self {
            annealing: Annealing::Cosine { steps },
            ..Self::constant(peak)?
        })
    }

    /// From `peak` along a line to 0 at step `steps`.
    ///
    /// # Errors
    ///
    /// When `peak` is not positive and finite, or `steps` is 0.
    pub fn linear(peak: f64, steps: u64) -> Result<Self> {
        check_steps(steps)?;
        Ok(Self {
            annealing: Annealing::Linear { steps },
            ..Self::constant(peak)?
        })
    }

    /// The same after a linear rise over the first `steps` steps, which count among those of the run.
    #[must_use]
    pub fn with_warm_up(mut self, steps: u64) -> Self {
        self.warm_up = steps;
        self
    }

    /// The same with `floor` in place of 0 where it ends.
    ///
    /// # Errors
    ///
    /// When `floor` is negative, above the peak or not finite.
    pub fn with_floor(mut self, floor: f64) -> Result<Self> {
        if !(0.0..=self.peak).contains(&floor) {
            let (name, allowed) = ("floor", "between 0 and the peak");
            return Err(Error::Parameter {
                owner: "LearningRate",
                name,
                value: floor,
                allowed,
            });
        }
        self.floor = floor;
        Ok(self)
    }

    /// The rate of step n, counted from 0.
    #[must_use]
    pub fn at(&self, step: u64) -> f64 {
        if step < self.warm_up {
            return self.peak * (step + 1) as f64 / self.warm_up as f64;
        }
        let progress = |steps: u64| {
            let span = steps.saturating_sub(self.warm_up).max(1) as f64;
            ((step - self.warm_up) as f64 / span).min(1.0)
        };
        let share = match self.annealing {
            Annealing::Constant => 1.0,
            Annealing::Cosine { steps } => 0.5 * (1.0 + (PI * progress(steps)).cos()),
            Annealing::Linear { steps } => 1.0 - progress(steps),
        };
        self.floor + (self.peak - self.floor) * share
    }
}

fn check_steps(steps: u64) -> Result<()> {
    if steps == 0 {
        return Err(Error::Parameter {
            owner: "LearningRate",
            name: "steps",
            value: 0.0,
            allowed: "at least 1",
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cosine_starts_at_its_peak_is_half_way_in_the_middle_and_ends_at_its_floor() {
        let rate = LearningRate::cosine(2.0, 100).unwrap().with_floor(1.0).unwrap();
        assert_eq!(rate.at(0), 2.0);
        assert!((rate.at(50) - 1.5).abs() < 1e-12);
        assert!((rate.at(25) - (1.0 + 0.5 * (1.0 + 0.5f64.sqrt()))).abs() < 1e-12);
        assert_eq!(rate.at(100), 1.0);
        assert_eq!(rate.at(1000), 1.0);
    }

    #[test]
    fn a_warm_up_rises_to_the_peak_and_the_fall_starts_there() {
        let rate = LearningRate::linear(1.0, 14).unwrap().with_warm_up(4);
        let rates: Vec<f64> = (0..6).map(|step| rate.at(step)).collect();
        assert_eq!(rates, [0.25, 0.5, 0.75, 1.0, 1.0, 0.9]);
        // A warm-up longer than the run rises all the while.
        assert_eq!(LearningRate::cosine(1.0, 2).unwrap().with_warm_up(4).at(1), 0.5);
    }

    #[test]
    fn impossible_parameters_are_refused() {
        assert!(LearningRate::constant(0.0).is_err());
        assert!(LearningRate::constant(f64::NAN).is_err());
        assert!(LearningRate::cosine(1.0, 0).is_err());
        assert!(LearningRate::constant(1.0).unwrap().with_floor(2.0).is_err());
    }
}
