//! The weak order of stochastic solvers, without Monte Carlo.
//!
//! ```text
//! x_N = c + a x_0 + Σ_k b_k z_k          E x_N = c + a E x_0          Var x_N = a² Var x_0 + Σ_k b_k²
//! ```
//!
//! On Gaussian data the model is affine in x, and so is a whole run in its start and in every draw of noise, whatever it
//! remembers between steps. One run gives all coefficients: its rows are starts of 0, 1 and 2, a start of 1 with all draws 1,
//! and one row for every draw, in which this draw is 1 and all others are 0. Errors of mean and variance then follow without a random number.
//!
//! A run that starts on the marginal must end on the marginal: that is what converges with the weak order. The factor `a` by
//! which a start off the marginal is carried along depends on how much noise a method draws, which may itself depend on the
//! number of steps (churn); it must settle, at whatever order.

use std::fmt;
use std::ops::ControlFlow;

use candle_core::{Device, Tensor};
use tallow_denoisers::{ExactGaussian, Noise};
use tallow_schedules::{NoiseLevel, TimeGrid};

use super::order::{Measured, Order};
use super::problems::Path;
use crate::{Error, Progress, Result, Sampler};

/// Numbers of steps at which weak orders are measured.
pub const WEAK_STEPS: [usize; 4] = [32, 64, 128, 256];

/// A run on Gaussian data as an affine map of its start and of each draw of noise.
#[derive(Clone, Debug, PartialEq)]
pub struct AffineRun {
    /// c: where a start of 0 ends without noise.
    pub offset: f64,
    /// a: the factor on the start.
    pub factor: f64,
    /// b_k: the factor on each draw, in the order of drawing.
    pub noise: Vec<f64>,
    /// Network evaluations of the run.
    pub evaluations: usize,
}

impl AffineRun {
    /// Takes a sampler's run over a grid apart, for data from N(mean, std²).
    ///
    /// # Errors
    ///
    /// When a run fails, or is not affine on Gaussian data: it depends on norms of states or noise, for one.
    pub fn of(sampler: &dyn Sampler, grid: &TimeGrid, mean: f64, std: f64) -> Result<Self> {
        let model = ExactGaussian::new(vec![mean], vec![std])?;
        let mut counter = Probe::default();
        let zero = Tensor::new(&[[0.0f64]], &Device::Cpu)?;
        let mut watch = |_: &Progress<'_>| ControlFlow::Continue(());
        let counted = sampler.run(&model, grid, &zero, &mut counter, &mut watch)?;
        let mut starts = vec![0.0; FIRST + counter.drawn];
        (starts[1], starts[2], starts[ALL]) = (1.0, 2.0, 1.0);
        let starts = Tensor::new(starts, &Device::Cpu)?.unsqueeze(1)?;
        let end = sampler.sample(&model, grid, &starts, &mut Probe::default())?;
        let end = end.flatten_all()?.to_vec1::<f64>()?;
        let (offset, factor) = (end[0], end[1] - end[0]);
        let noise: Vec<f64> = end[FIRST..].iter().map(|end| end - offset).collect();
        let sum = offset + factor + noise.iter().sum::<f64>();
        let straight = (end[2] - offset - 2.0 * factor).abs().max((end[ALL] - sum).abs());
        if straight > 1e-9 * (1.0 + end[2].abs().max(end[ALL].abs())) {
            let why = format!(
                "a run is not affine on Gaussian data (by {straight:.1e}): its weak order needs Monte Carlo"
            );
            return Err(Error::User(why.into()));
        }
        Ok(Self {
            offset,
            factor,
            noise,
            evaluations: counted.evaluations,
        })
    }

    /// Mean and variance at the end, from those at the start.
    #[must_use]
    pub fn moments(&self, mean: f64, variance: f64) -> (f64, f64) {
        let noise: f64 = self.noise.iter().map(|b| b * b).sum();
        (
            self.offset + self.factor * mean,
            self.factor * self.factor * variance + noise,
        )
    }
}

/// Errors of moments for numbers of steps that double, and what they say of the weak order.
#[derive(Clone, Debug, PartialEq)]
pub struct WeakOrder {
    /// The mean's distance from the exact one, for a start on the marginal.
    pub mean: Order,
    /// The variance's.
    pub variance: Order,
    /// The change of the factor `a` when the steps double; its slopes are not part of the order.
    pub factor: Order,
    /// The lower of the orders of mean and variance; none where all is rounding.
    pub measured: Option<f64>,
}

impl WeakOrder {
    /// Whether mean and variance converge within `tolerance` of what is claimed, or one of them faster or exactly; and the
    /// factor settles.
    #[must_use]
    pub fn agrees(&self, claimed: f64, tolerance: f64) -> bool {
        let settles = self.factor.measured.is_none_or(|slope| slope > 0.5);
        let converges = self
            .measured
            .is_some_and(|slope| (slope - claimed).abs() <= tolerance);
        settles && converges
    }
}

impl fmt::Display for WeakOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            mean,
            variance,
            factor,
            ..
        } = self;
        write!(f, "mean: {mean}; variance: {variance}; factor: {factor}")
    }
}

/// The weak order of a stochastic sampler on a path, for data from N(0.8, 0.4²), from runs of `steps` steps, each twice the
/// one before; and of twice and four times the last, if the slopes have not settled by then.
///
/// # Errors
///
/// As [`AffineRun::of`].
pub fn weak_order(sampler: &dyn Sampler, path: Path, steps: &[usize]) -> Result<WeakOrder> {
    let mut errors = steps
        .iter()
        .map(|steps| Errors::of(sampler, path, *steps))
        .collect::<Result<Vec<_>>>()?;
    let mut order = Errors::order(&errors);
    for _ in 0..2 {
        let open = order.mean.is_open() || order.variance.is_open();
        if let Some(last) = errors.last().filter(|_| open).map(|errors| errors.steps) {
            errors.push(Errors::of(sampler, path, 2 * last)?);
            order = Errors::order(&errors);
        }
    }
    Ok(order)
}

/// What one number of steps shows.
struct Errors {
    steps: usize,
    mean: f64,
    variance: f64,
    factor: f64,
}

impl Errors {
    fn of(sampler: &dyn Sampler, path: Path, steps: usize) -> Result<Self> {
        let (run, reached, exact) = moments(sampler, path, steps)?;
        Ok(Self {
            steps,
            mean: (reached.0 - exact.0).abs(),
            variance: (reached.1 - exact.1).abs(),
            factor: run.factor,
        })
    }

    fn order(all: &[Self]) -> WeakOrder {
        let steps: Vec<_> = all.iter().map(|errors| errors.steps).collect();
        let changes = all.windows(2).map(|pair| (pair[0].factor - pair[1].factor).abs());
        let mean = Order::of_errors(&steps, all.iter().map(|errors| errors.mean).collect());
        let variance = Order::of_errors(&steps, all.iter().map(|errors| errors.variance).collect());
        let measured = [&mean, &variance]
            .into_iter()
            .filter_map(|order| order.measured)
            .reduce(f64::min);
        WeakOrder {
            factor: Order::of_errors(&steps[..steps.len().saturating_sub(1)], changes.collect()),
            mean,
            variance,
            measured,
        }
    }
}

/// How far a stochastic sampler's samples are from their exact distribution after `steps` steps of equal length in λ, for
/// data from N(0.8, 0.4²): the Wasserstein-2 distance of two normal distributions, √(Δmean² + Δstd²).
///
/// # Errors
///
/// As [`AffineRun::of`].
pub fn weak_error(sampler: &dyn Sampler, path: Path, steps: usize) -> Result<Measured> {
    let (run, reached, exact) = moments(sampler, path, steps)?;
    Ok(Measured {
        error: (reached.0 - exact.0).hypot(reached.1.sqrt() - exact.1.sqrt()),
        evaluations: run.evaluations,
    })
}

/// Mean and variance.
type Moments = (f64, f64);

/// A run, mean and variance where it leads from the exact marginal, and what they should be.
fn moments(sampler: &dyn Sampler, path: Path, steps: usize) -> Result<(AffineRun, Moments, Moments)> {
    let (mean, std) = (0.8, 0.4);
    let (from_t, to_t) = path.interval();
    let grid = TimeGrid::uniform_lambda(path.schedule(), from_t, to_t, steps)?;
    let run = AffineRun::of(sampler, &grid, mean, std)?;
    let exact = |level: NoiseLevel| {
        let variance = (level.alpha * std).powi(2) + level.sigma.powi(2);
        (level.alpha * mean, variance)
    };
    let start = exact(grid.first());
    let reached = run.moments(start.0, start.1);
    Ok((run, reached, exact(grid.last())))
}

/// The row in which every draw is 1, and that of the first draw alone.
const ALL: usize = 3;
const FIRST: usize = 4;

/// Noise of which the k-th draw is 1 in its own row and in the row of all, and 0 elsewhere.
#[derive(Clone, Copy, Debug, Default)]
struct Probe {
    drawn: usize,
}

impl Noise for Probe {
    fn increment(
        &mut self,
        like: &Tensor,
        _from_lambda: f64,
        _to_lambda: f64,
    ) -> tallow_denoisers::Result<Tensor> {
        self.fresh(like)
    }

    fn fresh(&mut self, like: &Tensor) -> tallow_denoisers::Result<Tensor> {
        let mut values = vec![0.0; like.elem_count()];
        for row in [ALL, FIRST + self.drawn] {
            if let Some(one) = values.get_mut(row) {
                *one = 1.0;
            }
        }
        self.drawn += 1;
        Ok(Tensor::from_vec(values, like.shape(), like.device())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Ddim, Ddpm};

    /// For η = 1 the exact transition from t to s is known, also off the marginal:
    /// mean α_s μ + (S_s²α_{t|s}/S_t²) δ, variance S_s²σ²_{t|s}/S_t² (+ factor² times the start's).
    #[test]
    fn ancestral_steps_carry_a_start_off_the_mean_as_the_exact_transition_does() {
        for path in Path::ALL {
            let (from_t, to_t) = path.interval();
            let grid = TimeGrid::uniform_lambda(path.schedule(), from_t, to_t, 20).unwrap();
            let (from, to) = (grid.first(), grid.last());
            let total = |alpha: f64, sigma: f64| (0.4 * alpha).powi(2) + sigma * sigma;
            let share = total(to.alpha, to.sigma) / total(from.alpha, from.sigma);
            for sampler in [
                Box::new(Ddpm::default()) as Box<dyn Sampler>,
                Box::new(Ddim::new(1.0).unwrap()),
            ] {
                let run = AffineRun::of(&*sampler, &grid, 0.8, 0.4).unwrap();
                assert_eq!(run.noise.len(), 20);
                let expected = share * from.alpha / to.alpha;
                assert!((run.factor - expected).abs() < 1e-12, "{run:?} {expected}");
                let (mean, _) = run.moments(from.alpha * 0.8 + 0.3, 0.0);
                assert!((mean - (to.alpha * 0.8 + 0.3 * expected)).abs() < 1e-12);
            }
        }
    }

    /// Moves by the noise times the size of the state.
    #[derive(Debug)]
    struct Multiplied;

    impl crate::Solver for Multiplied {
        type History = ();

        fn step(
            &self,
            model: &dyn tallow_denoisers::Denoiser,
            x: &Tensor,
            step: &tallow_schedules::Step<'_>,
            history: &mut (),
            noise: &mut dyn Noise,
        ) -> Result<crate::Point> {
            let z = (noise.fresh(x)? * x)?;
            Ddim::default().step(model, &(x + z)?, step, history, noise)
        }
    }

    #[test]
    fn noise_times_a_state_is_not_affine_and_refused() {
        let grid = TimeGrid::uniform_lambda(Path::VpCosine.schedule(), 0.95, 0.05, 5).unwrap();
        let error = AffineRun::of(&Multiplied, &grid, 0.8, 0.4)
            .unwrap_err()
            .to_string();
        assert!(error.contains("not affine"), "{error}");
    }

    #[test]
    fn a_run_without_noise_has_the_flow_s_factor() {
        let grid = TimeGrid::uniform_lambda(Path::VpCosine.schedule(), 0.95, 0.05, 4000).unwrap();
        let run = AffineRun::of(&Ddim::default(), &grid, 0.8, 0.4).unwrap();
        let total = |level: NoiseLevel| (0.4 * level.alpha).hypot(level.sigma);
        let exact = total(grid.last()) / total(grid.first());
        assert!(run.noise.is_empty());
        assert!((run.factor / exact - 1.0).abs() < 1e-3, "{} {exact}", run.factor);
    }
}
