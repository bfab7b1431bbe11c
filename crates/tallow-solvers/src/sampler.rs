//! Samplers without their types: what examples, command lines and comparisons hold.

use std::ops::ControlFlow;

use candle_core::{DType, Device, Shape, Tensor};
use tallow_denoisers::{Denoiser, Noise};
use tallow_schedules::TimeGrid;

use crate::{Progress, Result, Run, Solver};

/// Sees each step, and may stop the run: plots, progress bars, cancel buttons.
pub type Observer<'o> = &'o mut dyn FnMut(&Progress<'_>) -> ControlFlow<()>;

/// What a run led to.
#[derive(Clone, Debug)]
pub struct Sampled {
    /// The state at the end, or where the observer stopped.
    pub x: Tensor,
    /// Steps taken.
    pub steps: usize,
    /// Network evaluations.
    pub evaluations: usize,
    /// Whether the observer stopped the run before its end.
    pub stopped: bool,
}

/// Anything that goes from noise to data: every [`Solver`], and the adaptive methods, which choose their own steps.
///
/// ```
/// use std::sync::Arc;
/// use candle_core::{DType, Device};
/// use tallow_denoisers::{ExactGaussian, Seeded};
/// use tallow_schedules::{RectifiedFlow, TimeGrid};
/// use tallow_solvers::{Sampler, by_name, start};
///
/// let model = ExactGaussian::new(vec![1.0, -1.0], vec![0.5, 0.2])?;
/// let grid = TimeGrid::new(Arc::new(RectifiedFlow::default()), vec![1.0, 0.75, 0.5, 0.25, 0.0])?;
/// let mut noise = Seeded::new(0);
/// let x = start(&grid, (1000, 2), DType::F32, &Device::Cpu, &mut noise)?;
/// let samples = by_name("heun")?.sample(&model, &grid, &x, &mut noise)?;
/// # assert_eq!(samples.dims(), [1000, 2]);
/// # Ok::<(), tallow_solvers::Error>(())
/// ```
pub trait Sampler: std::fmt::Debug + Send + Sync {
    /// Goes from `x`, (B, …), at the grid's first level to its last; `observe` sees each step.
    ///
    /// # Errors
    ///
    /// When the model, the noise or a tensor operation fails, or a value is not finite; names the step.
    fn run(
        &self,
        model: &dyn Denoiser,
        grid: &TimeGrid,
        x: &Tensor,
        noise: &mut dyn Noise,
        observe: Observer<'_>,
    ) -> Result<Sampled>;

    /// Goes from `x`, (B, …), at the grid's first level to its last.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    fn sample(
        &self,
        model: &dyn Denoiser,
        grid: &TimeGrid,
        x: &Tensor,
        noise: &mut dyn Noise,
    ) -> Result<Tensor> {
        Ok(self
            .run(model, grid, x, noise, &mut |_| ControlFlow::Continue(()))?
            .x)
    }
}

impl<S: Solver> Sampler for S {
    fn run(
        &self,
        model: &dyn Denoiser,
        grid: &TimeGrid,
        x: &Tensor,
        noise: &mut dyn Noise,
        observe: Observer<'_>,
    ) -> Result<Sampled> {
        let mut run = Run::new(self, model, grid, x, noise)?;
        let mut stopped = false;
        while let Some(progress) = run.next() {
            if observe(&progress?).is_break() {
                stopped = run.steps() < grid.step_count();
                break;
            }
        }
        Ok(Sampled {
            x: run.x().clone(),
            steps: run.steps(),
            evaluations: run.evaluations(),
            stopped,
        })
    }
}

/// Where a run starts: Gaussian noise with the σ of the grid's first level (1 on VP and flow paths, σ_max on VE).
///
/// # Errors
///
/// When the noise does not fit the shape, or the device refuses it.
pub fn start(
    grid: &TimeGrid,
    shape: impl Into<Shape>,
    dtype: DType,
    device: &Device,
    noise: &mut dyn Noise,
) -> Result<Tensor> {
    let like = Tensor::zeros(shape, dtype, device)?;
    Ok((noise.fresh(&like)? * grid.first().sigma)?)
}
