//! The measured order of convergence: how fast the error falls when the steps double.
//!
//! ```text
//! slope = log₂(e_N / e_2N)        e_N: root mean square of the distance to the exact end after N steps
//! ```

use std::fmt;
use std::ops::ControlFlow;

use candle_core::Tensor;
use tallow_denoisers::Noise;

use super::Problem;
use crate::{Result, Sampler};

/// Numbers of steps, each twice the one before, at which the methods of this crate show their order.
pub const STEPS: [usize; 4] = [64, 128, 256, 512];

/// The same for methods of order 5 and above, whose errors are rounding at more.
pub const FEW_STEPS: [usize; 5] = [8, 16, 32, 64, 128];

/// Errors below this are rounding: no slope is taken from them.
pub const FLOOR: f64 = 2e-12;

/// How much neighbouring slopes may differ once the leading term of the error prevails.
const SETTLED: f64 = 0.1;

/// Errors for numbers of steps that double, and what they say of the order.
#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    /// The numbers of steps.
    pub steps: Vec<usize>,
    /// The root mean square error for each.
    pub errors: Vec<f64>,
    /// log₂ of the ratio of neighbouring errors, as far as both are above the [`FLOOR`].
    pub slopes: Vec<f64>,
    /// The last slope; none where all is rounding.
    pub measured: Option<f64>,
}

impl Order {
    /// What errors for numbers of steps say.
    #[must_use]
    pub fn of_errors(steps: &[usize], errors: Vec<f64>) -> Self {
        let slope = |pair: &[f64]| (pair[0] / pair[1]).log2();
        let above = |pair: &&[f64]| pair[0] > FLOOR && pair[1] > FLOOR;
        let slopes: Vec<f64> = errors.windows(2).take_while(above).map(slope).collect();
        Self {
            steps: steps.to_vec(),
            measured: slopes.last().copied(),
            errors,
            slopes,
        }
    }

    /// Whether more steps would say more: the last two slopes differ, and rounding is not reached.
    pub(super) fn is_open(&self) -> bool {
        let last = self.slopes.iter().rev().take(2).copied();
        let moved = last.reduce(|last, before| last - before).unwrap_or(0.0);
        self.slopes.len() + 1 == self.errors.len() && moved.abs() > SETTLED
    }

    /// Whether the last slope is within `tolerance` of what is claimed, and the one before not far below it.
    #[must_use]
    pub fn agrees(&self, claimed: f64, tolerance: f64) -> bool {
        let before = self.slopes.iter().rev().nth(1);
        self.measured
            .is_some_and(|slope| (slope - claimed).abs() <= tolerance)
            && before.is_none_or(|slope| *slope >= claimed - 2.0 * tolerance)
    }

    /// Whether the error falls, over all steps whose error is above the [`FLOOR`], at least like the power that is claimed, but
    /// for `tolerance`: for orders so high that rounding comes before the last slope has settled. Errors that are all rounding
    /// agree with any claim.
    #[must_use]
    pub fn reaches(&self, claimed: f64, tolerance: f64) -> bool {
        let mean = self.slopes.iter().sum::<f64>() / self.slopes.len().max(1) as f64;
        self.slopes.is_empty() || mean >= claimed - tolerance
    }

    /// Whether the errors bear out a claim: within `tolerance` below order 5, at least that from there on.
    #[must_use]
    pub fn supports(&self, claimed: f64, tolerance: f64) -> bool {
        if claimed < 5.0 {
            self.agrees(claimed, tolerance)
        } else {
            self.reaches(claimed, tolerance)
        }
    }
}

/// The numbers of steps at which a claimed order shows.
#[must_use]
pub fn steps_for(claimed: f64) -> &'static [usize] {
    if claimed < 5.0 { &STEPS } else { &FEW_STEPS }
}

/// The slopes, then the errors.
impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "slopes")?;
        for slope in &self.slopes {
            write!(f, " {slope:.3}")?;
        }
        write!(f, ", errors")?;
        for error in &self.errors {
            write!(f, " {error:.1e}")?;
        }
        Ok(())
    }
}

/// The order of a deterministic sampler on a problem, from runs of `steps` steps, each twice the one before; and of twice and
/// four times the last, if the slopes have not settled by then (terms of the error that cancel delay it).
///
/// ```
/// use tallow_solvers::{Heun, testing};
///
/// let problem = testing::Problem::mixture_2d(testing::Path::RectifiedFlow)?;
/// let order = testing::order(&Heun::default(), &problem, &testing::STEPS)?;
/// assert!(order.agrees(2.0, 0.15), "{order:?}");
/// # Ok::<(), tallow_solvers::Error>(())
/// ```
///
/// # Errors
///
/// When a run fails, or the sampler draws noise: see [`weak_order`](super::weak_order()).
pub fn order(sampler: &dyn Sampler, problem: &Problem, steps: &[usize]) -> Result<Order> {
    let run = |steps: &usize| Ok(error(sampler, problem, *steps)?.error);
    let mut steps = steps.to_vec();
    let mut order = Order::of_errors(&steps, steps.iter().map(run).collect::<Result<_>>()?);
    for _ in 0..2 {
        if let Some(last) = steps.last().copied().filter(|_| order.is_open()) {
            steps.push(2 * last);
            order.errors.push(run(&(2 * last))?);
            order = Order::of_errors(&steps, order.errors);
        }
    }
    Ok(order)
}

/// What one run came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    /// The root mean square of the distance to the exact end.
    pub error: f64,
    /// Network evaluations.
    pub evaluations: usize,
}

/// The error of a deterministic sampler after `steps` steps of equal length in λ.
///
/// # Errors
///
/// As [`order`].
pub fn error(sampler: &dyn Sampler, problem: &Problem, steps: usize) -> Result<Measured> {
    let grid = problem.grid(steps)?;
    let mut watch = |_: &crate::Progress<'_>| ControlFlow::Continue(());
    let sampled = sampler.run(problem.model(), &grid, &problem.start, &mut Silence, &mut watch)?;
    Ok(Measured {
        error: problem.error(&sampled.x)?,
        evaluations: sampled.evaluations,
    })
}

/// The noise of deterministic solvers: asking for it is an error.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silence;

impl Noise for Silence {
    fn increment(
        &mut self,
        like: &Tensor,
        _from_lambda: f64,
        _to_lambda: f64,
    ) -> tallow_denoisers::Result<Tensor> {
        self.fresh(like)
    }

    fn fresh(&mut self, _like: &Tensor) -> tallow_denoisers::Result<Tensor> {
        let why = "a solver that claims an order draws noise: claim a weak order";
        Err(tallow_denoisers::Error::User(why.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slopes_are_powers_and_stop_at_the_floor() {
        let order = Order::of_errors(&[1, 2, 4, 8], vec![1.0, 0.25, 0.0625, 1e-14]);
        assert_eq!(order.slopes, [2.0, 2.0]);
        assert!(order.agrees(2.0, 1e-12) && !order.agrees(1.8, 0.15) && !order.agrees(2.2, 0.15));
        assert!(order.reaches(1.9, 0.0) && !order.reaches(2.2, 0.1));
        assert!(order.supports(2.0, 0.1) && !order.supports(5.0, 0.15));
        assert_eq!(Order::of_errors(&[1, 2], vec![1e-15, 1e-15]).measured, None);
    }

    #[test]
    fn an_order_that_falls_at_the_end_is_not_the_one_it_had_before() {
        let order = Order::of_errors(&[1, 2, 4], vec![1.0, 1.0 / 8.0, 1.0 / 16.0]);
        assert!(!order.agrees(3.0, 0.15));
    }

    #[test]
    fn slopes_that_still_move_ask_for_more_steps_until_rounding_is_reached() {
        let open = |errors: &[f64]| Order::of_errors(&[1, 2, 4], errors.to_vec()).is_open();
        assert!(open(&[1.0, 0.4, 0.1]) && open(&[1.0, 0.1, 0.04]));
        assert!(!open(&[1.0, 0.25, 0.0625]) && !open(&[1.0, 0.1, 1e-13]));
    }
}
