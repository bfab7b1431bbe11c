//! PNDM and PLMS: iPNDM's steps after a start that knows more.
//!
//! ```text
//! transfer     φ(x, ε', t, s) = (α_s/α_t) x + (σ_s − (α_s/α_t) σ_t) ε'
//! PNDM         first three steps, m in the middle of t and s:
//!              e_1 = ε̂(x_t, t)                       e_2 = ε̂(φ(x_t, e_1, t, m), m)
//!              e_3 = ε̂(φ(x_t, e_2, t, m), m)         e_4 = ε̂(φ(x_t, e_3, t, s), s)
//!              ε' = (e_1 + 2 e_2 + 2 e_3 + e_4)/6        e_1 goes into the history
//! PLMS         first step: ε' = (ε̂(x_t, t) + ε̂(φ(x_t, ε̂, t, s), s))/2, then two and three predictions
//! afterwards   ε' = (55 ε̂_t − 59 ε̂_{t−1} + 37 ε̂_{t−2} − 9 ε̂_{t−3})/24
//! ```
//!
//! The history is of noise predictions, whatever the network predicts. As in iPNDM the coefficients are those of equal steps
//! in ρ = σ/α, which grids do not have: the order is 2, whatever the start.
//!
//! Source: Liu et al. 2022, arXiv:2202.09778, Eq. 9, 11-13, Algorithm 2; PLMS: the start of Stable Diffusion's sampler.

use candle_core::Tensor;
use tallow_denoisers::{Denoiser, Estimate, Noise, lincomb};
use tallow_schedules::{NoiseLevel, Step};

use crate::clean::{estimate, exponential};
use crate::exponential::Interpolated;
use crate::ipndm::equal_steps;
use crate::multistep::Past;
use crate::phi::MAX_NODES;
use crate::{Point, Result, Solver};

/// PNDM and PLMS: iPNDM's steps after a start that knows more.
///
/// One evaluation a step after the start, order 2; right for any path, prediction and coupling.
///
/// Source: Liu et al. 2022, arXiv:2202.09778, Eq. 9, 11-13, Algorithm 2; PLMS: the start of Stable Diffusion's
/// sampler.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pndm {
    /// How the history comes about.
    pub start: PndmStart,
}

/// How the history of [`Pndm`] comes about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PndmStart {
    /// Three steps of a Runge-Kutta method with four evaluations each: PNDM.
    #[default]
    RungeKutta,
    /// One step with two evaluations, then two and three predictions: PLMS.
    Mean,
}

const WAY: Interpolated = Interpolated::NoiseInRatio;

impl Solver for Pndm {
    type History = Past;

    fn step(
        &self,
        model: &dyn Denoiser,
        x: &Tensor,
        step: &Step<'_>,
        past: &mut Past,
        _noise: &mut dyn Noise,
    ) -> Result<Point> {
        let estimate = estimate(model, x, step.from)?;
        if !WAY.is_regular(step.from, step.to) {
            let x = exponential(&estimate, step)?;
            return Ok(Point { x, estimate });
        }
        let here = WAY.of(&estimate)?;
        let known = past.usable(WAY, step.from, MAX_NODES - 1);
        let slope = match (self.start, known.len()) {
            (PndmStart::Mean, 0) => mean(model, &estimate, &here, step)?,
            (PndmStart::RungeKutta, 0..=2) => runge_kutta(model, &estimate, &here, step)?,
            (_, count) => {
                let predictions = std::iter::once(&here).chain(known.iter().map(|(_, m)| *m));
                let terms: Vec<_> = equal_steps(count + 1).into_iter().zip(predictions).collect();
                tallow_denoisers::combine(&terms)?
            }
        };
        let x = transfer(x, &slope, step.from, step.to)?;
        past.push(step.from, here, MAX_NODES - 1);
        Ok(Point { x, estimate })
    }
}

/// DDIM's update with a noise that need not be the model's at x.
fn transfer(x: &Tensor, noise: &Tensor, from: NoiseLevel, to: NoiseLevel) -> Result<Tensor> {
    WAY.kernel(from, to).apply(x, &[(1.0, noise)])
}

/// ε̂ at the end of a step; at σ = 0, where no model is asked, the one at its start.
fn at_end(model: &dyn Denoiser, x: &Tensor, here: &Tensor, step: &Step<'_>) -> Result<Tensor> {
    if step.to.sigma == 0.0 {
        return Ok(here.clone());
    }
    WAY.of(&model.estimate(x, step.to.into())?)
}

fn mean(model: &dyn Denoiser, estimate: &Estimate, here: &Tensor, step: &Step<'_>) -> Result<Tensor> {
    let euler = transfer(estimate.x(), here, step.from, step.to)?;
    let there = at_end(model, &euler, here, step)?;
    Ok(lincomb([(0.5, here), (0.5, &there)])?)
}

fn runge_kutta(model: &dyn Denoiser, estimate: &Estimate, e1: &Tensor, step: &Step<'_>) -> Result<Tensor> {
    let (x, from, to) = (estimate.x(), step.from, step.to);
    if to.sigma == 0.0 {
        return Ok(e1.clone());
    }
    let middle = step.schedule.level(0.5 * (from.t + to.t));
    let ask = |x: &Tensor, at: NoiseLevel| WAY.of(&model.estimate(x, at.into())?);
    let e2 = ask(&transfer(x, e1, from, middle)?, middle)?;
    let e3 = ask(&transfer(x, &e2, from, middle)?, middle)?;
    let e4 = ask(&transfer(x, &e3, from, to)?, to)?;
    let sixth = 1.0 / 6.0;
    Ok(lincomb([
        (sixth, e1),
        (2.0 * sixth, &e2),
        (2.0 * sixth, &e3),
        (sixth, &e4),
    ])?)
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;
    use std::sync::Arc;

    use super::*;
    use crate::{Sampler, start};
    use candle_core::{DType, Device};
    use tallow_denoisers::{ExactMixture, Seeded};
    use tallow_schedules::{RectifiedFlow, TimeGrid};

    #[test]
    fn starts_cost_what_they_say() {
        let path = Arc::new(RectifiedFlow::default());
        let grid = TimeGrid::uniform_between(path, 0.9, 0.1, 10).unwrap();
        for (how, further) in [(PndmStart::RungeKutta, 9), (PndmStart::Mean, 1)] {
            let mut noise = Seeded::new(2);
            let x = start(&grid, (3, 1), DType::F64, &Device::Cpu, &mut noise).unwrap();
            let solver = Pndm { start: how };
            let model = ExactMixture::lopsided(1);
            let run = solver.run(&model, &grid, &x, &mut noise, &mut |_| ControlFlow::Continue(()));
            assert_eq!(run.unwrap().evaluations, 10 + further, "{how:?}");
        }
    }
}
