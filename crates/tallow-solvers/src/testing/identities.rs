//! Samplers that should be one and the same, and paths and clocks that should not matter.

use std::ops::ControlFlow;
use std::sync::Arc;

use candle_core::Tensor;
use tallow_denoisers::{Denoiser, Noise};
use tallow_schedules::{Schedule, TimeGrid};

use crate::{Error, Result, Sampler};

/// The largest difference between the states of two samplers, over all steps of a run.
///
/// `noise` makes the source for each of the two.
///
/// # Errors
///
/// When a run fails, or the two take different numbers of steps.
pub fn trajectory_gap<N: Noise>(
    (a, b): (&dyn Sampler, &dyn Sampler),
    model: &dyn Denoiser,
    grid: &TimeGrid,
    x: &Tensor,
    noise: impl Fn() -> N,
) -> Result<f64> {
    let states = |sampler: &dyn Sampler| -> Result<Vec<Tensor>> {
        let mut states = Vec::new();
        let mut keep = |progress: &crate::Progress<'_>| {
            states.push(progress.point.x.clone());
            ControlFlow::Continue(())
        };
        let sampled = sampler.run(model, grid, x, &mut noise(), &mut keep)?;
        states.push(sampled.x);
        Ok(states)
    };
    let (a, b) = (states(a)?, states(b)?);
    if a.len() != b.len() {
        let why = format!(
            "one sampler took {} steps, the other {}",
            a.len() - 1,
            b.len() - 1
        );
        return Err(Error::User(why.into()));
    }
    let mut gap = 0.0f64;
    for (a, b) in a.iter().zip(&b) {
        gap = gap.max(distance(a, b)?);
    }
    Ok(gap)
}

/// The largest difference of x/α at the end, when a sampler visits the same λ on two paths from the same x/α.
///
/// Zero up to rounding for every method that knows a path only by λ.
///
/// # Errors
///
/// When a path does not reach a λ of the grid, or a run fails.
pub fn path_gap<N: Noise>(
    sampler: &dyn Sampler,
    model: &dyn Denoiser,
    (grid, other): (&TimeGrid, &Arc<dyn Schedule>),
    x: &Tensor,
    noise: impl Fn() -> N,
) -> Result<f64> {
    let levels: Vec<f64> = grid.times().iter().map(|t| grid.schedule().lambda(*t)).collect();
    let times = levels
        .iter()
        .map(|lambda| other.inverse_lambda(*lambda))
        .collect();
    let elsewhere = TimeGrid::new(other.clone(), times)?;
    let there = (x * (elsewhere.first().alpha / grid.first().alpha))?;
    let here = sampler.sample(model, grid, x, &mut noise())?;
    let there = sampler.sample(model, &elsewhere, &there, &mut noise())?;
    distance(&(here / grid.last().alpha)?, &(there / elsewhere.last().alpha)?)
}

/// A path told by another clock: its time u is √(t/t_max), with the same α and σ.
#[derive(Clone, Debug)]
pub struct Reclocked(pub Arc<dyn Schedule>);

impl Reclocked {
    fn inner(&self, u: f64) -> f64 {
        u * u * self.0.t_max()
    }

    fn pace(&self, u: f64) -> f64 {
        2.0 * u * self.0.t_max()
    }
}

impl Schedule for Reclocked {
    fn alpha(&self, u: f64) -> f64 {
        self.0.alpha(self.inner(u))
    }

    fn sigma(&self, u: f64) -> f64 {
        self.0.sigma(self.inner(u))
    }

    fn alpha_dot(&self, u: f64) -> f64 {
        self.0.alpha_dot(self.inner(u)) * self.pace(u)
    }

    fn sigma_dot(&self, u: f64) -> f64 {
        self.0.sigma_dot(self.inner(u)) * self.pace(u)
    }

    fn inverse_lambda(&self, lambda: f64) -> f64 {
        (self.0.inverse_lambda(lambda) / self.0.t_max()).sqrt()
    }
}

fn distance(a: &Tensor, b: &Tensor) -> Result<f64> {
    Ok((a - b)?.abs()?.max_all()?.to_scalar::<f64>()?)
}
