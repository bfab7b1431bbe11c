//! The solvers: one of each row of `docs/which-solver.md`, and how many steps a number of evaluations pays for.
//!
//! A solver of your own is one more line of [`solvers`]: anything that is a [`Sampler`].

use std::ops::ControlFlow;

use candle_core::{DType, Device};
use tallow::denoisers::{ExactGaussian, Seeded};
use tallow::solvers::{Sampler, by_name, start};
use tallow_examples::Failure;

use crate::methods::Method;

/// A solver under its name.
pub(crate) struct Solver {
    /// In tables and pictures.
    pub(crate) name: &'static str,
    /// The method itself.
    pub(crate) sampler: Box<dyn Sampler>,
    budgets: Vec<usize>,
}

/// All solvers, in the order of the table, to be run within `budgets` evaluations.
///
/// # Errors
///
/// None: the catalogue has these names.
pub(crate) fn solvers(budgets: &[usize]) -> Result<Vec<Solver>, Failure> {
    let recommended = [
        "ipndm",
        "dpmpp_3m",
        "unipc_2",
        "unipc_3",
        "rk4_38",
        "sde_dpmpp_2m",
    ];
    let solver = |name| {
        Ok(Solver {
            name,
            sampler: by_name(name)?,
            budgets: budgets.to_vec(),
        })
    };
    recommended.into_iter().map(solver).collect()
}

impl Solver {
    /// The most steps that each budget pays for on a method's grid: counted on a model that costs nothing, since a method
    /// with a start of its own, or a last step that asks nothing, has no fixed number of evaluations a step.
    ///
    /// # Errors
    ///
    /// When a budget does not pay for one step.
    pub(crate) fn steps(&self, method: &Method) -> Result<Vec<usize>, Failure> {
        let of = |budget: &usize| {
            for steps in (1..=*budget + 1).rev() {
                if self.evaluations(method, steps)? <= *budget {
                    return Ok(steps);
                }
            }
            Err(format!("{} takes more than {budget} evaluations for one step", self.name).into())
        };
        self.budgets.iter().map(of).collect()
    }

    fn evaluations(&self, method: &Method, steps: usize) -> Result<usize, Failure> {
        let model = ExactGaussian::new(vec![0.0; 2], vec![1.0; 2])?;
        let grid = method.grid(steps)?;
        let mut noise = Seeded::new(0);
        let x = start(&grid, (1, 2), DType::F64, &Device::Cpu, &mut noise)?;
        let run = self
            .sampler
            .run(&model, &grid, &x, &mut noise, &mut |_| ControlFlow::Continue(()))?;
        Ok(run.evaluations)
    }
}
