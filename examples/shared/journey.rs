//! A run with all that it passed: states, and what the model took them for.

use std::ops::ControlFlow;

use candle_core::Tensor;
use tallow::denoisers::{Denoiser, Noise};
use tallow::schedules::TimeGrid;
use tallow::solvers::Sampler;

use crate::Failure;
use crate::points::points;

/// The way of a batch of points in the plane.
#[derive(Clone, Debug)]
pub struct Journey {
    /// The times at which it was seen: the grid's.
    pub times: Vec<f64>,
    /// The points at each of them.
    pub states: Vec<Vec<[f32; 2]>>,
    /// x̂₀ at each but the last, made by the step that starts there.
    pub estimates: Vec<Vec<[f32; 2]>>,
    /// Where it ended.
    pub end: Tensor,
    /// Network evaluations.
    pub evaluations: usize,
}

impl Journey {
    /// Follows `x` along `grid`.
    ///
    /// # Errors
    ///
    /// When the model or the sampler fails.
    pub fn follow(
        sampler: &dyn Sampler,
        model: &dyn Denoiser,
        grid: &TimeGrid,
        x: &Tensor,
        noise: &mut dyn Noise,
    ) -> Result<Self, Failure> {
        let (mut times, mut states) = (vec![grid.first().t], vec![points(x)?]);
        let mut estimates = Vec::new();
        let mut failure: Option<Failure> = None;
        let run = sampler.run(model, grid, x, noise, &mut |progress| {
            let seen = points(&progress.point.x)
                .map_err(Failure::from)
                .and_then(|state| {
                    let estimate = points(&progress.point.estimate.x0()?)?;
                    Ok((state, estimate))
                });
            match seen {
                Ok((state, estimate)) => {
                    times.push(progress.step.to.t);
                    states.push(state);
                    estimates.push(estimate);
                    ControlFlow::Continue(())
                }
                Err(error) => {
                    failure = Some(error);
                    ControlFlow::Break(())
                }
            }
        })?;
        match failure {
            Some(failure) => Err(failure),
            None => Ok(Self {
                times,
                states,
                estimates,
                end: run.x,
                evaluations: run.evaluations,
            }),
        }
    }
}

/// The root mean square distance between points and points.
#[must_use]
pub fn rms(a: &[[f32; 2]], b: &[[f32; 2]]) -> f64 {
    let squares = a.iter().zip(b).map(|(a, b)| {
        let [x, y] = [0, 1].map(|axis| f64::from(a[axis]) - f64::from(b[axis]));
        x * x + y * y
    });
    (squares.sum::<f64>() / a.len().max(1) as f64).sqrt()
}
