//! DPM-Solver and DPM-Solver++, singlestep: each step asks the model at its start and inside of it.
//!
//! ```text
//! h = λ_s − λ_t        φ_1(z) = (e^z − 1)/z        φ_2 = (φ_1 − 1)/z        φ_3 = (φ_2 − ½)/z
//! noise form    x_s = (α_s/α_t) x_t − σ_s h (φ_1 ε̂ + φ_2 D_1 + φ_3 D_2)      at z = h      (DPM-Solver)
//! data form     x_s = (σ_s/σ_t) x_t + α_s h (φ_1 x̂₀ + φ_2 D_1 + φ_3 D_2)     at z = −h     (DPM-Solver++)
//! ```
//!
//! `D_1`, `D_2` are the slope and curvature of the prediction along the step, from differences of its stages. Order 1 is DDIM.
//!
//! A run of a given number of evaluations that takes as many third-order steps as fit, and then lower ones, is
//! [`DpmSolver::fast`].
//!
//! Source: Lu et al. 2022, arXiv:2206.00927, Algorithms 1-2 and section 3.4; Lu et al. 2022, arXiv:2211.01095, Algorithm 1.

use candle_core::Tensor;
use tallow_denoisers::{Denoiser, Noise};
use tallow_schedules::{Step, TimeGrid, singlestep_order_plan};

use crate::exponential::{Form, Variant};
use crate::multistep::check_order;
use crate::singlestep::{SingleStep, Stages};
use crate::{Error, Point, Result, Solver, estimate};

/// DPM-Solver and DPM-Solver++, singlestep: each step asks the model at its start and inside of it.
///
/// As many evaluations a step as its order, 1 to 3; right for any path, prediction and coupling.
///
/// Choose it where steps cannot look back: each stands alone. The multistep methods need fewer evaluations.
///
/// Source: Lu et al. 2022, arXiv:2206.00927, Algorithms 1-2 and section 3.4; Lu et al. 2022, arXiv:2211.01095,
/// Algorithm 1.
///
/// ```
/// use tallow_solvers::DpmSolver;
/// use tallow_solvers::exponential::Form;
///
/// let dpmpp_2s = DpmSolver::new(Form::Data, 2)?;
/// assert!(DpmSolver::new(Form::Data, 4).is_err());
/// # Ok::<(), tallow_solvers::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DpmSolver {
    form: Form,
    order: usize,
    variant: Variant,
    stages: Stages,
    evaluations: Option<usize>,
}

impl DpmSolver {
    /// Steps that are all of one order, 1, 2 or 3.
    ///
    /// # Errors
    ///
    /// When the order is another.
    pub fn new(form: Form, order: usize) -> Result<Self> {
        check_order("DpmSolver", order, 3, "1, 2 or 3")?;
        Ok(Self::of(form, order))
    }

    /// The same for an order that is known to be allowed.
    pub(crate) fn of(form: Form, order: usize) -> Self {
        Self {
            form,
            order,
            variant: Variant::default(),
            stages: Stages::default(),
            evaluations: None,
        }
    }

    /// DPM-Solver-fast: steps of `order` as many as fit and lower ones at the end, `evaluations` in all (one fewer for each
    /// stage that a step into σ = 0 does not take).
    ///
    /// It runs on a grid with one step for each entry of [`singlestep_order_plan`]; [`grid`](Self::grid) makes one.
    ///
    /// # Errors
    ///
    /// When the order is not 1, 2 or 3, or there are no or too many evaluations.
    pub fn fast(form: Form, order: usize, evaluations: usize) -> Result<Self> {
        let solver = Self::new(form, order)?;
        singlestep_order_plan(order, evaluations)?;
        Ok(Self {
            evaluations: Some(evaluations),
            ..solver
        })
    }

    /// The same with another rule for slopes.
    #[must_use]
    pub fn with_variant(mut self, variant: Variant) -> Self {
        self.variant = variant;
        self
    }

    /// The same with the stages of its steps elsewhere.
    #[must_use]
    pub fn with_stages(mut self, stages: Stages) -> Self {
        self.stages = stages;
        self
    }

    /// The whole steps of a grid that has one step for each evaluation.
    ///
    /// Stages lie between them by [`Stages`], which should be even in what the grid is even in.
    ///
    /// # Errors
    ///
    /// When the grid has another number of steps than there are evaluations, or, where all steps are of one order, a number
    /// that the order does not divide.
    pub fn grid(&self, evaluations: &TimeGrid) -> Result<TimeGrid> {
        let count = evaluations.step_count();
        let orders = match self.evaluations {
            Some(expected) if expected == count => singlestep_order_plan(self.order, expected)?,
            None if count.is_multiple_of(self.order) => vec![self.order; count / self.order],
            expected => {
                return Err(Error::StepCount {
                    solver: "DpmSolver",
                    expected: expected.unwrap_or(count.next_multiple_of(self.order)),
                    got: count,
                    way_out: "make the grid of that many steps, one for each evaluation",
                });
            }
        };
        let times = evaluations.times();
        let mut node = 0;
        let mut kept = vec![times[0]];
        for order in orders {
            node += order;
            kept.push(times[node]);
        }
        Ok(TimeGrid::new(evaluations.schedule().clone(), kept)?)
    }

    /// The order of a step.
    fn order_of(&self, step: &Step<'_>) -> Result<usize> {
        let Some(evaluations) = self.evaluations else {
            return Ok(self.order);
        };
        let plan = singlestep_order_plan(self.order, evaluations)?;
        match plan.get(step.index) {
            Some(order) if plan.len() == step.count => Ok(*order),
            _ => Err(Error::StepCount {
                solver: "DpmSolver::fast",
                expected: plan.len(),
                got: step.count,
                way_out: "make the grid with DpmSolver::grid, or with one step for each entry of singlestep_order_plan",
            }),
        }
    }
}

impl Solver for DpmSolver {
    type History = ();

    fn step(
        &self,
        model: &dyn Denoiser,
        x: &Tensor,
        step: &Step<'_>,
        _history: &mut (),
        _noise: &mut dyn Noise,
    ) -> Result<Point> {
        let single = SingleStep {
            form: self.form,
            order: self.order_of(step)?,
            variant: self.variant,
            stages: self.stages,
        };
        let estimate = estimate(model, x, step.from)?;
        let x = single.take(model, &estimate, step)?;
        Ok(Point { x, estimate })
    }
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;
    use std::sync::Arc;

    use super::*;
    use crate::{Sampler, start};
    use candle_core::{DType, Device};
    use tallow_denoisers::{ExactMixture, Seeded};
    use tallow_schedules::{RectifiedFlow, Schedule, VpLinear};

    fn path() -> Arc<dyn Schedule> {
        Arc::new(VpLinear::default())
    }

    #[test]
    fn a_fast_run_spends_its_evaluations_on_the_nodes_of_their_grid() {
        let model = ExactMixture::lopsided(1);
        for evaluations in 1..=14 {
            let fine = TimeGrid::uniform_lambda(path(), 1.0, 0.01, evaluations).unwrap();
            let fast = DpmSolver::fast(Form::Noise, 3, evaluations).unwrap();
            let grid = fast.grid(&fine).unwrap();
            let mut noise = Seeded::new(3);
            let x = start(&grid, (5, 1), DType::F64, &Device::Cpu, &mut noise).unwrap();
            let run = fast.run(&model, &grid, &x, &mut noise, &mut |_| ControlFlow::Continue(()));
            assert_eq!(run.unwrap().evaluations, evaluations);
        }
    }

    #[test]
    fn a_grid_of_another_length_is_refused_with_the_right_one() {
        let fast = DpmSolver::fast(Form::Data, 3, 12).unwrap();
        let grid = TimeGrid::uniform(path(), 12).unwrap();
        let mut noise = Seeded::new(0);
        let x = start(&grid, (1, 1), DType::F64, &Device::Cpu, &mut noise).unwrap();
        let error = fast
            .sample(&ExactMixture::lopsided(1), &grid, &x, &mut noise)
            .unwrap_err();
        assert!(
            error.to_string().contains("takes 5 steps, the grid has 12"),
            "{error}"
        );
        assert!(fast.grid(&TimeGrid::uniform(path(), 11).unwrap()).is_err());
        assert!(DpmSolver::fast(Form::Data, 3, 0).is_err());
    }

    #[test]
    fn stages_that_are_even_in_time_complete_a_grid_that_is() {
        let model = ExactMixture::lopsided(1);
        let fine = TimeGrid::uniform_between(path(), 1.0, 0.1, 6).unwrap();
        let solver = DpmSolver::new(Form::Data, 3)
            .unwrap()
            .with_stages(Stages::EvenTime);
        let grid = solver.grid(&fine).unwrap();
        let seen = std::cell::RefCell::new(Vec::new());
        let spy = Spy { model, seen: &seen };
        let mut noise = Seeded::new(1);
        let x = start(&grid, (2, 1), DType::F64, &Device::Cpu, &mut noise).unwrap();
        solver.sample(&spy, &grid, &x, &mut noise).unwrap();
        let seen = seen.borrow();
        assert_eq!(seen.len(), 6);
        for (seen, expected) in seen.iter().zip(fine.times()) {
            assert!((seen - expected).abs() < 1e-12, "{seen} {expected}");
        }
    }

    /// Writes down where it is asked.
    struct Spy<'a> {
        model: ExactMixture,
        seen: &'a std::cell::RefCell<Vec<f64>>,
    }

    impl Denoiser for Spy<'_> {
        fn estimate(
            &self,
            x: &Tensor,
            at: tallow_denoisers::Levels<'_>,
        ) -> tallow_denoisers::Result<tallow_denoisers::Estimate> {
            self.seen.borrow_mut().extend(at.iter().map(|level| level.t));
            self.model.estimate(x, at)
        }
    }

    #[test]
    fn a_step_from_or_to_an_end_of_the_path_is_of_first_order() {
        let model = ExactMixture::lopsided(1);
        let flow: Arc<dyn Schedule> = Arc::new(RectifiedFlow::default());
        let grid = TimeGrid::new(flow, vec![1.0, 0.6, 0.3, 0.0]).unwrap();
        for form in [Form::Data, Form::Noise] {
            let solver = DpmSolver::new(form, 3).unwrap();
            let mut noise = Seeded::new(0);
            let x = start(&grid, (4, 1), DType::F64, &Device::Cpu, &mut noise).unwrap();
            let run = solver.run(&model, &grid, &x, &mut noise, &mut |_| ControlFlow::Continue(()));
            assert_eq!(run.unwrap().evaluations, 1 + 3 + 1);
        }
    }
}
