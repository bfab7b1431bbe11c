//! Entropic minibatch transport: partners drawn from a plan between the cheapest pairing and an independent one.
//!
//! ```text
//! P = argmin Σ P_ij C_ij + ε Σ P_ij (ln P_ij − 1)        j ~ P_i· / Σ_j P_ij
//! ```
//!
//! With ε = 2σ² and the bridge of that σ this is the coupling of Schrödinger-bridge CFM.
//!
//! Source: Tong et al. 2024, arXiv:2302.00482, section 3.2.5 (SB-CFM); Cuturi 2013, arXiv:1306.0895.

use rand::RngCore;
use tallow_denoisers::{Batch, uniforms};
use tallow_kernels::{Marginals, Sinkhorn};

use super::cost::{ConditionCost, Problem, problems, with_source};
use super::{Coupling, reordered};
use crate::{Error, Result};

/// How much a plan is spread out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Regularization {
    /// ε itself, in units of squared data.
    Absolute(f64),
    /// This part of the mean cost of the batch: the same whatever the data's units.
    OfMeanCost(f64),
}

/// How pairs are drawn from a plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Draw {
    /// Each datum once, with a source drawn from its row of the plan: the data's marginal stays exact.
    #[default]
    EachRow,
    /// As many pairs as rows, each drawn from the whole plan, with replacement: what relaxed marginals leave out is
    /// left out, and a datum may come twice.
    Pairs,
}

/// Draws partners from an entropic transport plan of the batch.
///
/// Sources are drawn, so one may come twice and another not at all; over many batches each comes as often.
#[derive(Clone, Debug, PartialEq)]
pub struct SinkhornCoupling {
    regularization: Regularization,
    condition: Option<ConditionCost>,
    marginals: Marginals,
    draw: Draw,
    iterations: usize,
    tolerance: f64,
}

impl SinkhornCoupling {
    /// At most 50 iterations, fixed marginals, each datum once.
    ///
    /// # Errors
    ///
    /// When the regularisation is not a finite number above 0.
    pub fn new(regularization: Regularization) -> Result<Self> {
        let (Regularization::Absolute(value) | Regularization::OfMeanCost(value)) = regularization;
        positive("regularization", value)?;
        Ok(Self {
            regularization,
            condition: None,
            marginals: Marginals::Fixed,
            draw: Draw::EachRow,
            iterations: 50,
            tolerance: 1e-6,
        })
    }

    /// The coupling of Schrödinger-bridge CFM with noise σ: ε = 2σ².
    ///
    /// # Errors
    ///
    /// When `sigma` is not a finite number above 0.
    pub fn schrodinger_bridge(sigma: f64) -> Result<Self> {
        positive("sigma", sigma)?;
        Self::new(Regularization::Absolute(2.0 * sigma * sigma))
    }

    /// Looks at the condition, too.
    ///
    /// # Errors
    ///
    /// When a weight is negative or not finite.
    pub fn with_condition(self, condition: ConditionCost) -> Result<Self> {
        condition.check()?;
        Ok(Self {
            condition: Some(condition),
            ..self
        })
    }

    /// Lets the plan leave out what is far from everything: unbalanced transport. Pairs are then drawn from the whole
    /// plan.
    ///
    /// # Errors
    ///
    /// When a strength is not a finite number above 0.
    pub fn with_marginals(self, marginals: Marginals) -> Result<Self> {
        if let Marginals::Relaxed(strength) = marginals {
            positive("marginal strength", strength)?;
        }
        let draw = if marginals == Marginals::Fixed {
            self.draw
        } else {
            Draw::Pairs
        };
        Ok(Self {
            marginals,
            draw,
            ..self
        })
    }

    /// The same with pairs drawn in another way.
    #[must_use]
    pub fn with_draw(self, draw: Draw) -> Self {
        Self { draw, ..self }
    }

    /// Stops after `iterations`, or when the columns of the plan are right to `tolerance` of the mass.
    ///
    /// # Errors
    ///
    /// When there are no iterations, or the tolerance is not 0 or more.
    pub fn with_stop(self, iterations: usize, tolerance: f64) -> Result<Self> {
        if iterations == 0 {
            let (name, allowed) = ("iterations", "of at least 1");
            return Err(Error::Parameter {
                owner: OWNER,
                name,
                value: 0.0,
                allowed,
            });
        }
        if !(tolerance >= 0.0) {
            let (name, allowed) = ("tolerance", "of 0 or more");
            return Err(Error::Parameter {
                owner: OWNER,
                name,
                value: tolerance,
                allowed,
            });
        }
        Ok(Self {
            iterations,
            tolerance,
            ..self
        })
    }

    fn plan(&self, problem: &Problem) -> Result<Vec<f64>> {
        let count = problem.rows.len();
        let mean = problem.costs.iter().sum::<f64>() / problem.costs.len() as f64;
        let regularization = match self.regularization {
            Regularization::Absolute(value) => value,
            // Where all points are one, any plan is as good.
            Regularization::OfMeanCost(_) if mean == 0.0 => 1.0,
            Regularization::OfMeanCost(part) => part * mean,
        };
        let sinkhorn = Sinkhorn {
            regularization,
            marginals: self.marginals,
            iterations: self.iterations,
            tolerance: self.tolerance,
        };
        let masses = vec![1.0 / count as f64; count];
        Ok(sinkhorn.plan(&problem.costs, &masses, &masses)?.plan)
    }
}

const OWNER: &str = "SinkhornCoupling";

fn positive(name: &'static str, value: f64) -> Result<()> {
    if value > 0.0 && value.is_finite() {
        return Ok(());
    }
    Err(Error::Parameter {
        owner: OWNER,
        name,
        value,
        allowed: "finite and above 0",
    })
}

impl Coupling for SinkhornCoupling {
    fn pair(&self, batch: Batch, rng: &mut dyn RngCore) -> Result<Batch> {
        let (batch, x1) = with_source(batch, rng)?;
        let count = batch.rows()?;
        // One draw a row, whatever the plan: the generator's position does not depend on the data.
        let draws = uniforms(count, rng);
        let (mut data, mut source): (Vec<usize>, Vec<usize>) = ((0..count).collect(), vec![0; count]);
        for problem in problems(self.condition.as_ref(), &batch.x0, &x1, &batch.condition)? {
            let plan = self.plan(&problem)?;
            let width = problem.rows.len();
            match self.draw {
                Draw::EachRow => {
                    for (&row, masses) in problem.rows.iter().zip(plan.chunks_exact(width)) {
                        source[row] = problem.rows[drawn(&cumulative(masses), draws[row])];
                    }
                }
                Draw::Pairs => {
                    let sums = cumulative(&plan);
                    for &row in &problem.rows {
                        let pair = drawn(&sums, draws[row]);
                        (data[row], source[row]) = (problem.rows[pair / width], problem.rows[pair % width]);
                    }
                }
            }
        }
        let batch = if self.draw == Draw::Pairs {
            let rows = super::index(&data, x1.device())?;
            let condition = batch.condition.select(&rows)?;
            Batch::new(reordered(&batch.x0, &data)?).with_condition(condition)?
        } else {
            batch
        };
        Ok(batch.with_source(reordered(&x1, &source)?)?)
    }
}

fn cumulative(masses: &[f64]) -> Vec<f64> {
    let sums = masses.iter().scan(0.0, |sum, mass| {
        *sum += mass;
        Some(*sum)
    });
    sums.collect()
}

/// The entry that a uniform number falls on; entries without mass are never drawn.
fn drawn(cumulative: &[f64], uniform: f64) -> usize {
    let total = cumulative.last().copied().unwrap_or(0.0);
    let at = cumulative.partition_point(|&sum| sum <= uniform * total);
    // Rounding may lead beyond the end: then the last entry with mass.
    let last = cumulative.partition_point(|&sum| sum < total);
    at.min(last)
}

#[cfg(test)]
#[path = "sinkhorn_tests.rs"]
mod tests;
