//! The times that a sampler visits, bound to the path they lie on.
//!
//! Each file below this one holds one family of grids: its plain numbers as public functions, for those who want only
//! these, and the constructors that put them onto a path.

mod exponential;
mod flow_shift;
mod iddpm;
mod karras;
mod order_plan;
mod table_steps;
mod uniform;

use std::fmt;
use std::sync::Arc;

pub use exponential::{exponential_sigmas, polyexponential_sigmas};
pub use flow_shift::{
    flow_base_times, flow_shift_of_pixels, flow_shift_of_sequence, flow_time_of_sigma, karras_to_linear_flow,
    shift_time, shifted_flow_times,
};
pub use iddpm::iddpm_u_table;
pub use karras::karras_sigmas;
pub use order_plan::singlestep_order_plan;
pub use table_steps::{
    leading_steps, linspace_n_plus_1_steps, linspace_steps, quadratic_steps, trailing_steps,
};
pub use uniform::{quadratic_times, uniform_times};

use crate::{Error, NoiseLevel, Result, Schedule};

/// The largest number of steps of a grid.
pub const MAX_STEPS: usize = 10_000_000;

/// The times that a sampler visits, bound to the path they lie on: strictly monotone, checked once, immutable.
///
/// Sampling runs from noise to data, so times fall; a grid whose times rise encodes data to noise.
#[derive(Clone, Debug)]
pub struct TimeGrid {
    schedule: Arc<dyn Schedule>,
    times: Vec<f64>,
}

/// One interval of a grid. The schedule is there for solvers that evaluate in between.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// The path.
    pub schedule: &'a dyn Schedule,
    /// Where the step starts.
    pub from: NoiseLevel,
    /// Where it ends.
    pub to: NoiseLevel,
    /// Number of the step, from 0.
    pub index: usize,
    /// How many steps the grid has.
    pub count: usize,
}

impl TimeGrid {
    /// A grid of the times given.
    ///
    /// # Errors
    ///
    /// When there are fewer than two times, one is not finite or outside of `[0, t_max]`, or they are not strictly monotone.
    pub fn new(schedule: Arc<dyn Schedule>, times: Vec<f64>) -> Result<Self> {
        if times.len() < 2 {
            return Err(Error::TooShort { count: times.len() });
        }
        check_steps(times.len() - 1)?;
        let t_max = schedule.t_max();
        if let Some(&t) = times.iter().find(|t| !(0.0..=t_max).contains(*t)) {
            return Err(Error::Time { t, t_max });
        }
        let falls = times[1] < times[0];
        for (index, pair) in times.windows(2).enumerate() {
            if pair[0] == pair[1] || (pair[1] < pair[0]) != falls {
                return Err(Error::NotMonotone {
                    index: index + 1,
                    from: pair[0],
                    to: pair[1],
                });
            }
        }
        Ok(Self { schedule, times })
    }

    /// The grid that visits the levels σ/α given, and then the clean end of the path.
    ///
    /// Levels may be in any strict order; on `Ve` they are the times themselves. A last level of 0 is the clean end.
    ///
    /// # Errors
    ///
    /// When there are none, one is negative or not on the path, or they are not strictly monotone.
    pub fn of_noise_levels(schedule: Arc<dyn Schedule>, levels: &[f64]) -> Result<Self> {
        check_steps(levels.len())?;
        let mut times = Vec::with_capacity(levels.len() + 1);
        for &level in levels {
            times.push(time_of_noise_level(schedule.as_ref(), level)?);
        }
        if times.last() != Some(&0.0) {
            times.push(0.0);
        }
        Self::new(schedule, times)
    }

    /// The grid with the clean end t = 0 after its last time; unchanged if it ends there already.
    ///
    /// # Errors
    ///
    /// When the grid rises towards the noise: its end is there.
    pub fn then_clean(self) -> Result<Self> {
        let Self { schedule, mut times } = self;
        if times.last() != Some(&0.0) {
            times.push(0.0);
        }
        Self::new(schedule, times)
    }

    /// The same times in the opposite order: from data to noise, which encodes.
    #[must_use]
    pub fn reversed(mut self) -> Self {
        self.times.reverse();
        self
    }

    /// The path that the times lie on.
    #[must_use]
    pub fn schedule(&self) -> &Arc<dyn Schedule> {
        &self.schedule
    }

    /// All times, one more than there are steps.
    #[must_use]
    pub fn times(&self) -> &[f64] {
        &self.times
    }

    /// The number of steps, at least 1.
    #[must_use]
    pub fn step_count(&self) -> usize {
        self.times.len() - 1
    }

    /// The level at which a run starts.
    #[must_use]
    pub fn first(&self) -> NoiseLevel {
        self.schedule.level(self.times[0])
    }

    /// The level at which a run ends.
    #[must_use]
    pub fn last(&self) -> NoiseLevel {
        self.schedule.level(self.times[self.times.len() - 1])
    }

    /// The step of a number below [`step_count`](Self::step_count), if there is one.
    #[must_use]
    pub fn step(&self, index: usize) -> Option<Step<'_>> {
        let (from, to) = (self.times.get(index)?, self.times.get(index + 1)?);
        let schedule = self.schedule.as_ref();
        let count = self.step_count();
        Some(Step {
            schedule,
            from: schedule.level(*from),
            to: schedule.level(*to),
            index,
            count,
        })
    }

    /// The steps, in the order of a run.
    pub fn steps(&self) -> impl ExactSizeIterator<Item = Step<'_>> {
        let schedule = self.schedule.as_ref();
        let count = self.step_count();
        self.times.windows(2).enumerate().map(move |(index, pair)| Step {
            schedule,
            from: schedule.level(pair[0]),
            to: schedule.level(pair[1]),
            index,
            count,
        })
    }
}

impl Step<'_> {
    /// The step's length in λ = ln(α/σ): positive towards the data, +∞ into σ = 0 or out of α = 0.
    #[must_use]
    pub fn h(&self) -> f64 {
        self.to.lambda() - self.from.lambda()
    }

    /// The level at the fraction `r` of the step's length in λ.
    #[must_use]
    pub fn at_fraction(&self, r: f64) -> NoiseLevel {
        let lambda = self.from.lambda() + r * self.h();
        self.schedule.level(self.schedule.inverse_lambda(lambda))
    }
}

/// The number of steps, the range of λ and the signal-to-noise ratio at the noisy end.
impl fmt::Display for TimeGrid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, last) = (self.first(), self.last());
        let noisy = if first.t > last.t { first } else { last };
        write!(
            f,
            "{} steps, lambda {:.4} to {:.4}, terminal SNR {:.4e}",
            self.step_count(),
            self.schedule.lambda(first.t),
            self.schedule.lambda(last.t),
            noisy.snr()
        )
    }
}

/// The time at which the path has the noise level σ/α, within rounding of its ends.
fn time_of_noise_level(schedule: &dyn Schedule, level: f64) -> Result<f64> {
    const ROUNDING: f64 = 1e-9;
    if level == 0.0 {
        return Ok(0.0);
    }
    let lowest = (-schedule.lambda(0.0)).exp();
    let highest = (-schedule.lambda(schedule.t_max())).exp();
    if level >= lowest * (1.0 - ROUNDING) && level <= highest * (1.0 + ROUNDING) && level.is_finite() {
        Ok(schedule.inverse_lambda(-level.ln()))
    } else {
        Err(Error::OffPath {
            level,
            lowest,
            highest,
        })
    }
}

/// Refuses a number of steps that makes no grid.
pub(crate) fn check_steps(steps: usize) -> Result<()> {
    if (1..=MAX_STEPS).contains(&steps) {
        Ok(())
    } else {
        Err(Error::Steps {
            steps,
            max: MAX_STEPS,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{RectifiedFlow, Trigonometric, Ve, VeGeometric, VpLinear};

    fn vp() -> Arc<dyn Schedule> {
        Arc::new(VpLinear::default())
    }

    #[test]
    fn a_grid_is_finite_inside_its_path_and_strictly_monotone() {
        for times in [
            vec![],
            vec![0.5],
            vec![0.5, 0.5],
            vec![1.0, 0.2, 0.3],
            vec![f64::NAN, 0.0],
            vec![1.1, 0.0],
            vec![0.0, -0.1],
        ] {
            assert!(TimeGrid::new(vp(), times.clone()).is_err(), "{times:?}");
        }
        assert!(
            TimeGrid::new(vp(), vec![0.1, 0.2, 0.9]).is_ok(),
            "encoding runs upward"
        );
        let message = TimeGrid::new(vp(), vec![1.0, 0.2, 0.3]).unwrap_err().to_string();
        assert_eq!(
            message,
            "a grid must be strictly monotone: entry 2 is 0.3 after 0.2"
        );
    }

    #[test]
    fn steps_join_and_count() {
        let grid = TimeGrid::uniform(vp(), 4).unwrap();
        let steps: Vec<_> = grid.steps().collect();
        assert_eq!((steps.len(), grid.step_count(), steps[3].count), (4, 4, 4));
        assert!(steps.windows(2).all(|pair| pair[0].to == pair[1].from));
        assert_eq!(grid.step(1).map(|step| step.from.t), Some(0.75));
        assert!(grid.step(4).is_none());
        assert_eq!(steps[3].h(), f64::INFINITY);
        let middle = steps[1].at_fraction(0.5).lambda();
        assert!((middle - 0.5 * (steps[1].from.lambda() + steps[1].to.lambda())).abs() < 1e-12);
    }

    #[test]
    fn a_grid_prints_what_it_covers() {
        let grid = TimeGrid::uniform(vp(), 10).unwrap();
        assert_eq!(
            grid.to_string(),
            "10 steps, lambda -5.0250 to inf, terminal SNR 4.3188e-5"
        );
        assert!(grid.reversed().to_string().ends_with("terminal SNR 4.3188e-5"));
    }

    #[test]
    fn levels_off_the_path_are_refused_not_moved() {
        let geometric: Arc<dyn Schedule> = Arc::new(VeGeometric::default());
        assert!(matches!(
            TimeGrid::of_noise_levels(geometric.clone(), &[80.0, 1.0]),
            Err(Error::OffPath { .. })
        ));
        let grid = TimeGrid::of_noise_levels(geometric, &[50.0, 1.0, 0.01]).unwrap();
        assert_eq!((grid.first().t, grid.last().t, grid.step_count()), (1.0, 0.0, 2));
        for path in [
            Arc::new(RectifiedFlow::default()) as Arc<dyn Schedule>,
            Arc::new(Trigonometric),
        ] {
            let grid = TimeGrid::of_noise_levels(path, &[80.0, 1.0, 0.1]).unwrap();
            assert!((grid.first().noise_to_signal() - 80.0).abs() < 1e-10);
            assert_eq!(grid.last().sigma, 0.0);
        }
        let ve: Arc<dyn Schedule> = Arc::new(Ve::default());
        for level in [-1.0, f64::NAN, f64::INFINITY, 81.0] {
            assert!(
                TimeGrid::of_noise_levels(ve.clone(), &[level, 0.5]).is_err(),
                "{level}"
            );
        }
    }

    #[test]
    fn the_clean_end_is_added_once_and_never_to_a_rising_grid() {
        let grid = TimeGrid::uniform_between(vp(), 1.0, 0.1, 3)
            .unwrap()
            .then_clean()
            .unwrap();
        assert_eq!(grid.step_count(), 4);
        assert_eq!(grid.clone().then_clean().unwrap().step_count(), 4);
        assert!(
            TimeGrid::uniform_between(vp(), 0.1, 1.0, 3)
                .unwrap()
                .then_clean()
                .is_err()
        );
    }
}
