//! Restart sampling: at a low level, go back up with fresh noise and come down again, several times.
//!
//! ```text
//! K times:  x_up = (α_up/α_s) x_s + √(σ_up² − (α_up/α_s)² σ_s²) z          x_s = solver(x_up → s) in n steps
//! ```
//!
//! The way down visits EDM's levels, ρ = 7 in σ/α. A restart happens where the grid first arrives at or below the interval's
//! low end, and goes down to there. Errors made above the low end shrink with each round, those of the few steps inside
//! the interval are made anew.
//!
//! Source: Xu et al. 2023, arXiv:2306.14878, Algorithm 1.

use candle_core::Tensor;
use tallow_denoisers::{Denoiser, Noise};
use tallow_schedules::{NoiseLevel, Schedule, Step};

use crate::ancestral::towards_data;
use crate::error::check;
use crate::forward::noised;
use crate::{Point, Result, Solver};

/// Adds restarts to a solver. No order is claimed: the rounds' own steps do not shrink with the grid. Needs Gaussian noise
/// that is independent of the data. After a restart the memory of a multistep solver begins afresh.
///
/// Source: Xu et al. 2023, arXiv:2306.14878, Algorithm 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Restarted<S> {
    solver: S,
    intervals: Vec<Restart>,
}

/// An interval of levels σ/α that is passed again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Restart {
    /// Steps of each round (N_Restart).
    pub steps: usize,
    /// Rounds (K).
    pub rounds: usize,
    /// The low end (t_min), in σ/α.
    pub low: f64,
    /// The high end (t_max), in σ/α.
    pub high: f64,
}

impl Restart {
    /// Two rounds of three steps from 0.30 to 0.06, as in the paper's examples for CIFAR-10.
    pub const CIFAR10: Self = Self {
        steps: 3,
        rounds: 2,
        low: 0.06,
        high: 0.30,
    };
}

impl<S: Default> Default for Restarted<S> {
    /// The restarts of [`Restart::CIFAR10`].
    fn default() -> Self {
        Self {
            solver: S::default(),
            intervals: vec![Restart::CIFAR10],
        }
    }
}

impl<S> Restarted<S> {
    /// `solver` with restarts in these intervals, in this order where one step passes several.
    ///
    /// # Errors
    ///
    /// When an interval has no steps or rounds, a low end that is not positive, or a high end that is not above it.
    pub fn new(solver: S, intervals: Vec<Restart>) -> Result<Self> {
        for restart in &intervals {
            let Restart {
                steps,
                rounds,
                low,
                high,
            } = *restart;
            check("Restarted", "steps", steps as f64, "at least 1", steps > 0)?;
            check("Restarted", "rounds", rounds as f64, "at least 1", rounds > 0)?;
            check("Restarted", "low", low, "positive", low > 0.0)?;
            let fits = high > low && high.is_finite();
            check("Restarted", "high", high, "finite and above low", fits)?;
        }
        Ok(Self { solver, intervals })
    }
}

impl Restart {
    /// Whether a step arrives at or below the low end.
    fn is_due(&self, step: &Step<'_>) -> bool {
        step.from.noise_to_signal() > self.low && step.to.noise_to_signal() <= self.low
    }

    /// The levels of a round: from the high end, EDM's grid, to `end`.
    fn levels(&self, schedule: &dyn Schedule, end: NoiseLevel) -> Result<Vec<NoiseLevel>> {
        const RHO: f64 = 7.0;
        let noisiest = schedule.level(schedule.t_max()).noise_to_signal();
        let allowed = "on the path: at most sigma/alpha where that ends";
        check("Restarted", "high", self.high, allowed, self.high <= noisiest)?;
        let (first, last) = (self.high.powf(1.0 / RHO), end.noise_to_signal().powf(1.0 / RHO));
        let between = (0..self.steps).map(|i| {
            let share = i as f64 / self.steps as f64;
            let level = (first + share * (last - first)).powf(RHO);
            schedule.level(schedule.inverse_lambda(-level.ln()))
        });
        Ok(between.chain([end]).collect())
    }
}

impl<S: Solver> Solver for Restarted<S> {
    type History = S::History;

    fn step(
        &self,
        model: &dyn Denoiser,
        x: &Tensor,
        step: &Step<'_>,
        history: &mut S::History,
        noise: &mut dyn Noise,
    ) -> Result<Point> {
        towards_data("Restarted", step)?;
        let mut point = self.solver.step(model, x, step, history, noise)?;
        for restart in self.intervals.iter().filter(|restart| restart.is_due(step)) {
            let levels = restart.levels(step.schedule, step.to)?;
            for _ in 0..restart.rounds {
                point.x = noised(&point.x, step.to, levels[0], 1.0, noise)?;
                *history = S::History::default();
                for (index, pair) in levels.windows(2).enumerate() {
                    let inner = Step {
                        schedule: step.schedule,
                        from: pair[0],
                        to: pair[1],
                        index,
                        count: restart.steps,
                    };
                    point.x = self.solver.step(model, &point.x, &inner, history, noise)?.x;
                }
            }
            *history = S::History::default();
        }
        Ok(point)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weak;
    use crate::{Ddim, Dpm2, Heun};

    fn restarted<S>(solver: S) -> Restarted<S> {
        Restarted::new(solver, vec![Restart::CIFAR10]).unwrap()
    }

    #[test]
    fn a_restart_costs_its_own_steps_once() {
        // Two rounds of three steps after one of the ten.
        assert_eq!(weak::evaluations(&restarted(Ddim::default()), 10), 16);
    }

    #[test]
    fn data_points_are_sampled_exactly_in_any_number_of_steps() {
        weak::assert_exact_in_law_for_a_point(&restarted(Dpm2));
        weak::assert_exact_in_law_for_a_point(&restarted(Ddim::default()));
    }

    /// The point of it: at equal main steps, what is wrong with the start is forgotten.
    #[test]
    fn an_error_of_the_start_shrinks_with_the_rounds() {
        let error = |rounds| {
            let restart = Restart {
                steps: 20,
                rounds,
                low: 0.3,
                high: 3.0,
            };
            weak::mean_error(&Restarted::new(Heun::default(), vec![restart]).unwrap(), 40)
        };
        let (one, three) = (error(1), error(3));
        assert!(three < 0.2 * one, "from {one} to {three}");
    }

    #[test]
    fn parameters_that_make_no_sense_are_refused() {
        let good = Restart::CIFAR10;
        for bad in [
            Restart { steps: 0, ..good },
            Restart { rounds: 0, ..good },
            Restart { low: 0.0, ..good },
            Restart { high: 0.01, ..good },
            Restart {
                high: f64::NAN,
                ..good
            },
        ] {
            assert!(Restarted::new(Ddim::default(), vec![bad]).is_err());
        }
        let above = Restart { high: 1e6, ..good };
        let error = weak::failure(&Restarted::new(Ddim::default(), vec![above]).unwrap());
        assert!(error.contains("on the path"), "{error}");
    }
}
