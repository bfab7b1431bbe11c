//! Learning rates as functions of the step.
//!
//! ```text
//! rate = w (floor + (peak − floor) s)
//!
//! warm-up w            (n + 1)/W  or, from zero,  n/W           n < W, 1 later
//! constant s           1
//! cosine               ½ (1 + cos πp)                           p = (n − W)/(N − W), at most 1
//! with c cycles        ½ (1 + cos π(cp mod 1)), 0 at the end
//! polynomial           (1 − p)^power;  a line for power 1
//! inverse square root  1/√max(n/R, 1)
//! ```
//!
//! Sources: Loshchilov & Hutter 2017, arXiv:1608.03983, Eq. 5 (cosine, restarts); Karras et al. 2024, arXiv:2312.02696, Eq. 67
//! (inverse square root).

use std::f64::consts::PI;

use crate::{Error, Result};

/// A learning rate for each step n = 0, 1, …
///
/// Sources: Loshchilov & Hutter 2017, arXiv:1608.03983, Eq. 5 (cosine, restarts); Karras et al. 2024,
/// arXiv:2312.02696, Eq. 67 (inverse square root).
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
    rise: Rise,
    annealing: Annealing,
}

/// Where a warm-up starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rise {
    /// The first step moves.
    FromFirst,
    /// The first step has a rate of 0.
    FromZero,
}

/// How a learning rate falls after its warm-up.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Annealing {
    /// It does not.
    Constant,
    /// Along half a cosine, down to the floor at step `steps`.
    Cosine {
        /// Steps of the whole run, warm-up included.
        steps: u64,
    },
    /// Along half a cosine, again and again from the peak, down to the floor at step `steps`.
    CosineWithRestarts {
        /// Steps of the whole run, warm-up included.
        steps: u64,
        /// How often it falls.
        cycles: u64,
    },
    /// Along a line, down to the floor at step `steps`.
    Linear {
        /// Steps of the whole run, warm-up included.
        steps: u64,
    },
    /// Along a power of what is left of the run, down to the floor at step `steps`.
    Polynomial {
        /// Steps of the whole run, warm-up included.
        steps: u64,
        /// The power: 1 is a line, larger ones fall early.
        power: f64,
    },
    /// As 1/√n from step `after` on, without an end.
    InverseSquareRoot {
        /// The last step at the peak.
        after: u64,
    },
}

impl LearningRate {
    /// `peak` at every step.
    ///
    /// # Errors
    ///
    /// When `peak` is not positive and finite.
    pub fn constant(peak: f64) -> Result<Self> {
        check_positive("peak", peak)?;
        Ok(Self {
            peak,
            floor: 0.0,
            warm_up: 0,
            rise: Rise::FromFirst,
            annealing: Annealing::Constant,
        })
    }

    /// From `peak` along half a cosine to 0 at step `steps`.
    ///
    /// # Errors
    ///
    /// When `peak` is not positive and finite, or `steps` is 0.
    pub fn cosine(peak: f64, steps: u64) -> Result<Self> {
        Self::annealed(peak, "steps", steps, Annealing::Cosine { steps })
    }

    /// From `peak` along half a cosine, `cycles` times over, to 0 at step `steps`.
    ///
    /// # Errors
    ///
    /// When `peak` is not positive and finite, or `steps` or `cycles` is 0.
    pub fn cosine_with_restarts(peak: f64, steps: u64, cycles: u64) -> Result<Self> {
        check_count("cycles", cycles)?;
        let annealing = Annealing::CosineWithRestarts { steps, cycles };
        Self::annealed(peak, "steps", steps, annealing)
    }

    /// From `peak` along a line to 0 at step `steps`.
    ///
    /// # Errors
    ///
    /// When `peak` is not positive and finite, or `steps` is 0.
    pub fn linear(peak: f64, steps: u64) -> Result<Self> {
        Self::annealed(peak, "steps", steps, Annealing::Linear { steps })
    }

    /// From `peak` along a power of what is left of the run to 0 at step `steps`.
    ///
    /// # Errors
    ///
    /// When `peak` or `power` is not positive and finite, or `steps` is 0.
    pub fn polynomial(peak: f64, steps: u64, power: f64) -> Result<Self> {
        check_positive("power", power)?;
        Self::annealed(peak, "steps", steps, Annealing::Polynomial { steps, power })
    }

    /// `peak` until step `after`, then `peak` √(after/n): it needs no end (EDM2). A warm-up multiplies it.
    ///
    /// # Errors
    ///
    /// When `peak` is not positive and finite, or `after` is 0.
    pub fn inverse_square_root(peak: f64, after: u64) -> Result<Self> {
        Self::annealed(peak, "after", after, Annealing::InverseSquareRoot { after })
    }

    /// The same after a linear rise over the first `steps` steps, which count among those of the run: step n has
    /// (n + 1)/`steps` of the rate, so that the first one moves.
    #[must_use]
    pub fn with_warm_up(mut self, steps: u64) -> Self {
        self.warm_up = steps;
        self.rise = Rise::FromFirst;
        self
    }

    /// The same after a linear rise in which step n has n/`steps` of the rate, so that the first one has none: as in
    /// diffusers and EDM2.
    #[must_use]
    pub fn with_warm_up_from_zero(mut self, steps: u64) -> Self {
        self.warm_up = steps;
        self.rise = Rise::FromZero;
        self
    }

    /// The same with `floor` in place of 0 where it ends.
    ///
    /// # Errors
    ///
    /// When `floor` is negative, above the peak or not finite.
    pub fn with_floor(mut self, floor: f64) -> Result<Self> {
        if !(0.0..=self.peak).contains(&floor) {
            return Err(Error::Parameter {
                owner: "LearningRate",
                name: "floor",
                value: floor,
                allowed: "between 0 and the peak",
            });
        }
        self.floor = floor;
        Ok(self)
    }

    /// The rate of step n, counted from 0.
    #[must_use]
    pub fn at(&self, step: u64) -> f64 {
        self.risen(step) * (self.floor + (self.peak - self.floor) * self.share(step))
    }

    fn annealed(peak: f64, name: &'static str, steps: u64, annealing: Annealing) -> Result<Self> {
        check_count(name, steps)?;
        Ok(Self {
            annealing,
            ..Self::constant(peak)?
        })
    }

    /// w of the equations above.
    fn risen(&self, step: u64) -> f64 {
        if step >= self.warm_up {
            return 1.0;
        }
        let done = match self.rise {
            Rise::FromFirst => step + 1,
            Rise::FromZero => step,
        };
        done as f64 / self.warm_up as f64
    }

    /// s of the equations above.
    fn share(&self, step: u64) -> f64 {
        let done = step.saturating_sub(self.warm_up);
        let span = |steps: u64| steps.saturating_sub(self.warm_up).max(1);
        let progress = |steps: u64| (done as f64 / span(steps) as f64).min(1.0);
        let falling = |p: f64| 0.5 * (1.0 + (PI * p).cos());
        match self.annealing {
            Annealing::Constant => 1.0,
            Annealing::Cosine { steps } => falling(progress(steps)),
            Annealing::CosineWithRestarts { steps, .. } if done >= span(steps) => 0.0,
            Annealing::CosineWithRestarts { steps, cycles } => {
                // In whole numbers: a cycle starts at the peak, not a rounding before it.
                let within = u128::from(cycles) * u128::from(done) % u128::from(span(steps));
                falling(within as f64 / span(steps) as f64)
            }
            Annealing::Linear { steps } => 1.0 - progress(steps),
            Annealing::Polynomial { steps, power } => (1.0 - progress(steps)).powf(power),
            Annealing::InverseSquareRoot { after } => 1.0 / (step as f64 / after as f64).max(1.0).sqrt(),
        }
    }
}

fn check_positive(name: &'static str, value: f64) -> Result<()> {
    if value.is_finite() && value > 0.0 {
        return Ok(());
    }
    Err(Error::Parameter {
        owner: "LearningRate",
        name,
        value,
        allowed: "positive and finite",
    })
}

fn check_count(name: &'static str, value: u64) -> Result<()> {
    if value > 0 {
        return Ok(());
    }
    Err(Error::Parameter {
        owner: "LearningRate",
        name,
        value: 0.0,
        allowed: "at least 1",
    })
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
    fn a_warm_up_from_zero_starts_at_zero_and_reaches_the_peak_at_its_end() {
        let rate = LearningRate::linear(1.0, 14).unwrap().with_warm_up_from_zero(4);
        let rates: Vec<f64> = (0..6).map(|step| rate.at(step)).collect();
        assert_eq!(rates, [0.0, 0.25, 0.5, 0.75, 1.0, 0.9]);
    }

    #[test]
    fn a_restarted_cosine_is_its_first_cycle_again_and_ends_at_its_floor() {
        let rate = LearningRate::cosine_with_restarts(2.0, 310, 3).unwrap();
        let rate = rate.with_warm_up(10).with_floor(0.5).unwrap();
        let cycle = LearningRate::cosine(2.0, 100).unwrap().with_floor(0.5).unwrap();
        for step in 0..300 {
            let wanted = cycle.at(step % 100);
            assert!((rate.at(10 + step) - wanted).abs() < 1e-14, "{step}");
        }
        assert_eq!((rate.at(110), rate.at(310), rate.at(1000)), (2.0, 0.5, 0.5));
    }

    #[test]
    fn a_polynomial_of_power_one_is_a_line_and_of_power_two_a_parabola() {
        let power = |power| LearningRate::polynomial(3.0, 100, power).unwrap();
        let line = LearningRate::linear(3.0, 100).unwrap();
        for step in [0, 1, 40, 99, 100, 101] {
            assert!((power(1.0).at(step) - line.at(step)).abs() < 1e-15);
        }
        let parabola = power(2.0).with_floor(1.0).unwrap();
        assert!((parabola.at(30) - (1.0 + 2.0 * 0.49)).abs() < 1e-14);
        assert_eq!((parabola.at(100), parabola.at(500)), (1.0, 1.0));
    }

    #[test]
    fn an_inverse_square_root_halves_at_four_times_its_start_while_it_warms_up_or_not() {
        let rate = LearningRate::inverse_square_root(1.0, 100).unwrap();
        assert_eq!([0, 100, 400, 10_000].map(|n| rate.at(n)), [1.0, 1.0, 0.5, 0.1]);
        let late = rate.with_warm_up_from_zero(800);
        assert_eq!(
            [0, 50, 400, 900].map(|n| late.at(n)),
            [0.0, 1.0 / 16.0, 0.25, 1.0 / 3.0]
        );
    }

    #[test]
    fn impossible_parameters_are_refused() {
        assert!(LearningRate::constant(0.0).is_err());
        assert!(LearningRate::constant(f64::NAN).is_err());
        assert!(LearningRate::cosine(1.0, 0).is_err());
        assert!(LearningRate::cosine_with_restarts(1.0, 10, 0).is_err());
        assert!(LearningRate::polynomial(1.0, 10, -1.0).is_err());
        assert!(LearningRate::inverse_square_root(1.0, 0).is_err());
        assert!(LearningRate::constant(1.0).unwrap().with_floor(2.0).is_err());
    }
}
