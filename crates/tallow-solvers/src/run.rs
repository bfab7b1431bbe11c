//! A run as an iterator of steps: the only sampling loop.

use candle_core::Tensor;
use tallow_denoisers::{Denoiser, Noise};
use tallow_schedules::{Step, TimeGrid};

use crate::watched::{Watched, check_finite};
use crate::{Error, Point, Result, Solver};

/// A step that was taken.
#[derive(Debug)]
pub struct Progress<'a> {
    /// The step.
    pub step: Step<'a>,
    /// Where it ended, and what the model believed at its start.
    pub point: Point,
    /// Network evaluations of the run so far.
    pub evaluations: usize,
}

/// A run of a solver over a grid, one step at a time.
///
/// ```
/// use std::sync::Arc;
/// use candle_core::{DType, Device};
/// use tallow_denoisers::{ExactGaussian, Seeded};
/// use tallow_schedules::{RectifiedFlow, TimeGrid};
/// use tallow_solvers::{Heun, Run, start};
///
/// let model = ExactGaussian::new(vec![1.0, -1.0], vec![0.5, 0.2])?;
/// let grid = TimeGrid::new(Arc::new(RectifiedFlow::default()), vec![1.0, 0.5, 0.0])?;
/// let mut noise = Seeded::new(0);
/// let x = start(&grid, (4, 2), DType::F64, &Device::Cpu, &mut noise)?;
/// for progress in Run::new(&Heun::default(), &model, &grid, &x, &mut noise)? {
///     let progress = progress?;
///     println!("t = {}: {}", progress.step.to.t, progress.point.x);
/// }
/// # Ok::<(), tallow_solvers::Error>(())
/// ```
pub struct Run<'a, S: Solver> {
    solver: &'a S,
    model: Watched<Box<dyn Denoiser + 'a>>,
    grid: &'a TimeGrid,
    noise: &'a mut dyn Noise,
    history: S::History,
    x: Tensor,
    next: usize,
}

impl<S: Solver> std::fmt::Debug for Run<'_, S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Run")
            .field("solver", &self.solver)
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}

impl<'a, S: Solver> Run<'a, S> {
    /// Gets ready to go from `x`, (B, …), at the grid's first level to its last.
    ///
    /// # Errors
    ///
    /// When `x` has no rows' dimension, or a value that is not finite.
    pub fn new(
        solver: &'a S,
        model: &'a dyn Denoiser,
        grid: &'a TimeGrid,
        x: &Tensor,
        noise: &'a mut dyn Noise,
    ) -> Result<Self> {
        if x.rank() == 0 {
            return Err(tallow_denoisers::Error::NoRows {
                what: "the start of a run".to_owned(),
            }
            .into());
        }
        check_finite("the start of a run", x)?;
        let model = Watched::begin(model);
        Ok(Self {
            solver,
            model,
            grid,
            noise,
            history: S::History::default(),
            x: x.detach(),
            next: 0,
        })
    }

    /// The state that the steps taken so far have led to.
    #[must_use]
    pub fn x(&self) -> &Tensor {
        &self.x
    }

    /// Network evaluations so far.
    #[must_use]
    pub fn evaluations(&self) -> usize {
        self.model.evaluations()
    }

    /// Steps taken so far.
    #[must_use]
    pub fn steps(&self) -> usize {
        self.next
    }

    fn take(&mut self, step: &Step<'a>) -> Result<Point> {
        let mut point = self
            .solver
            .step(&self.model, &self.x, step, &mut self.history, self.noise)?;
        point.x = point.x.detach();
        tallow_denoisers::check_like("the state after the step", &point.x, &self.x)?;
        check_finite("the state after the step", &point.x)?;
        Ok(point)
    }
}

impl<'a, S: Solver> Iterator for Run<'a, S> {
    type Item = Result<Progress<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        // An empty batch is where it ends up, without asking the model.
        let step = self.grid.step(self.next).filter(|_| self.x.elem_count() > 0)?;
        match self.take(&step) {
            Ok(point) => {
                self.next += 1;
                self.x = point.x.clone();
                Some(Ok(Progress {
                    step,
                    point,
                    evaluations: self.evaluations(),
                }))
            }
            Err(error) => {
                self.next = usize::MAX;
                let source = Box::new(self.model.take_failure().unwrap_or(error));
                let (index, count, t) = (step.index, step.count, step.from.t);
                Some(Err(Error::Step {
                    index,
                    count,
                    t,
                    evaluations: self.evaluations(),
                    source,
                }))
            }
        }
    }
}
