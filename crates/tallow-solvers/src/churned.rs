//! EDM's churn: before each step, go up to a somewhat noisier level with fresh noise.
//!
//! ```text
//! γ = min(S_churn/N, √2 − 1) where S_min ≤ σ/α ≤ S_max, else 0          σ̂/α̂ = (1 + γ) σ/α
//! x̂ = (α̂/α) x + S_noise √(σ̂² − (α̂/α)² σ²) z          then the solver's step from σ̂ to the step's end
//! ```
//!
//! Written in σ/α, so it means the same on every path; the model is asked at the churned level, which lies on the path.
//! A path ends: no level above its last one is gone to, so that a step from t_max is not churned. (EDM's own program
//! leaves its path there: give `Ve` a larger `t_max` for that.) Nor is a step out of α = 0, above which there is nothing.
//!
//! Source: Karras et al. 2022, arXiv:2206.00364, Algorithm 2 and Table 5.

use candle_core::Tensor;
use tallow_denoisers::{Denoiser, Noise};
use tallow_schedules::{NoiseLevel, Step};

use crate::ancestral::{noise_scale, towards_data};
use crate::error::check;
use crate::forward::noised;
use crate::{Point, Result, Solver};

/// The largest γ: σ̂² is at most twice σ².
const MOST: f64 = std::f64::consts::SQRT_2 - 1.0;

/// Adds churn to a one-step solver, whose weak order it keeps up to 2. Needs Gaussian noise that is independent of the data.
///
/// Around [`Heun`](crate::Heun) on the path `Ve` it is EDM's stochastic sampler. The estimate of a step is the model's at
/// the churned state.
///
/// Source: Karras et al. 2022, arXiv:2206.00364, Algorithm 2 and Table 5.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Churned<S> {
    /// What takes the steps.
    pub solver: S,
    /// How much noise is added.
    pub churn: Churn,
}

/// How much noise is added before a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Churn {
    amount: f64,
    lowest: f64,
    highest: f64,
    noise_scale: f64,
}

impl Default for Churn {
    /// S_churn = 10 at all levels, S_noise = 1.
    fn default() -> Self {
        Self {
            amount: 10.0,
            lowest: 0.0,
            highest: f64::INFINITY,
            noise_scale: 1.0,
        }
    }
}

impl Churn {
    /// EDM's setting for its ImageNet model at 64 × 64: S_churn 40 from 0.05 to 50, S_noise 1.003.
    pub const EDM_IMAGENET: Self = Self {
        amount: 40.0,
        lowest: 0.05,
        highest: 50.0,
        noise_scale: 1.003,
    };

    /// S_churn = `amount`, spread over the steps of a grid, at all levels.
    ///
    /// # Errors
    ///
    /// When `amount` is negative or not finite.
    pub fn new(amount: f64) -> Result<Self> {
        let fits = amount >= 0.0 && amount.is_finite();
        check("Churn", "amount", amount, "finite and not negative", fits)?;
        Ok(Self {
            amount,
            ..Self::default()
        })
    }

    /// The same where σ/α is from `lowest` (S_min) to `highest` (S_max, may be infinite).
    ///
    /// # Errors
    ///
    /// When `lowest` is negative or above `highest`.
    pub fn between(self, lowest: f64, highest: f64) -> Result<Self> {
        check("Churn", "lowest", lowest, "not negative", lowest >= 0.0)?;
        check("Churn", "highest", highest, "at least lowest", highest >= lowest)?;
        Ok(Self {
            lowest,
            highest,
            ..self
        })
    }

    /// The same with the added noise times `scale` (S_noise), a little above 1 where a network removes too much; biased
    /// unless 1.
    ///
    /// # Errors
    ///
    /// When `scale` is negative or not finite.
    pub fn with_noise_scale(self, scale: f64) -> Result<Self> {
        Ok(Self {
            noise_scale: noise_scale("Churn", scale)?,
            ..self
        })
    }

    /// Where a step starts after churn, if that is elsewhere.
    pub(crate) fn level(self, step: &Step<'_>) -> Option<NoiseLevel> {
        let noise_to_signal = step.from.noise_to_signal();
        let inside = (self.lowest..=self.highest).contains(&noise_to_signal);
        if !inside || noise_to_signal.is_infinite() {
            return None;
        }
        let gamma = (self.amount / step.count as f64).min(MOST);
        let lambda = step.from.lambda() - gamma.ln_1p();
        let up = step.schedule.level(step.schedule.inverse_lambda(lambda));
        (gamma > 0.0 && up.t > step.from.t).then_some(up)
    }
}

impl<S> Churned<S> {
    /// `solver` with churn before each step.
    pub const fn new(solver: S, churn: Churn) -> Self {
        Self { solver, churn }
    }
}

impl<S: Solver<History = ()>> Solver for Churned<S> {
    type History = ();

    fn step(
        &self,
        model: &dyn Denoiser,
        x: &Tensor,
        step: &Step<'_>,
        history: &mut (),
        noise: &mut dyn Noise,
    ) -> Result<Point> {
        towards_data("Churned", step)?;
        let Some(up) = self.churn.level(step) else {
            return self.solver.step(model, x, step, history, noise);
        };
        let x = noised(x, step.from, up, self.churn.noise_scale, noise)?;
        self.solver
            .step(model, &x, &Step { from: up, ..*step }, history, noise)
    }
}

#[cfg(test)]
mod tests {
    use tallow_schedules::{RectifiedFlow, Schedule, Ve};

    use super::*;
    use crate::weak::{self, noise_then_flow};
    use crate::{Ddim, Dpm2, Euler, Heun};

    #[test]
    fn weak_orders_are_those_of_the_solver_inside() {
        let churn = Churn::default();
        let exact = noise_then_flow(churn);
        weak::assert_order(&Churned::new(Ddim::default(), churn), &exact, 1.0);
        weak::assert_order(&Churned::new(Dpm2, churn), &exact, 2.0);
        weak::assert_order(&Churned::new(Heun::default(), churn), &exact, 2.0);
        weak::assert_order(&Churned::new(Euler::default(), churn), &exact, 1.0);
    }

    #[test]
    fn no_churn_changes_nothing_and_draws_nothing() {
        let none = Churn::new(0.0).unwrap();
        weak::assert_same(&Churned::new(Dpm2, none), &Dpm2);
        let elsewhere = Churn::new(40.0).unwrap().between(1e6, 1e7).unwrap();
        weak::assert_same(&Churned::new(Dpm2, elsewhere), &Dpm2);
    }

    #[test]
    fn the_churned_level_lies_on_the_path_and_stops_at_its_end() {
        let step = |schedule: &'static dyn Schedule, from: f64| Step {
            schedule,
            from: schedule.level(from),
            to: schedule.level(0.5 * from),
            index: 0,
            count: 20,
        };
        static FLOW: std::sync::LazyLock<RectifiedFlow> = std::sync::LazyLock::new(RectifiedFlow::default);
        static VE: std::sync::LazyLock<Ve> = std::sync::LazyLock::new(Ve::default);
        let churn = Churn::new(4.0).unwrap();
        let up = churn.level(&step(&*FLOW, 0.6)).unwrap();
        assert!((up.noise_to_signal() / (1.2 * 0.6 / 0.4) - 1.0).abs() < 1e-12);
        assert!(churn.level(&step(&*FLOW, 1.0)).is_none());
        assert!(churn.level(&step(&*VE, 80.0)).is_none());
        assert_eq!(churn.level(&step(&*VE, 75.0)).unwrap().t, 80.0);
        // γ is capped.
        let strong = Churn::new(1e9).unwrap().level(&step(&*VE, 10.0)).unwrap();
        assert!((strong.sigma - 10.0 * 2f64.sqrt()).abs() < 1e-12);
    }

    #[test]
    fn data_points_are_sampled_exactly_in_any_number_of_steps() {
        weak::assert_exact_in_law_for_a_point(&Churned::new(Dpm2, Churn::default()));
        weak::assert_exact_in_law_for_a_point(&Churned::new(Ddim::default(), Churn::default()));
    }

    #[test]
    fn parameters_that_make_no_sense_are_refused() {
        assert!(Churn::new(-1.0).is_err() && Churn::new(f64::NAN).is_err());
        assert!(
            Churn::default().between(2.0, 1.0).is_err() && Churn::default().between(f64::NAN, 1.0).is_err()
        );
        assert!(Churn::default().with_noise_scale(f64::INFINITY).is_err());
    }
}
