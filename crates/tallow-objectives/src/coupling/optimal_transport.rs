//! Minibatch optimal transport: the pairing of a batch that moves the least.
//!
//! ```text
//! π = argmin Σ_i C(i, π(i)),  π a permutation of the batch
//! ```
//!
//! Paths then hardly cross, so the flow that is learned is straighter and takes fewer steps to follow. The price: noise is
//! no longer independent of the data, so −ε̂/σ is not the score. Follow the velocity; do not use samplers that add noise.
//! "OT" in "OT path" (α = 1 − t, σ = t) is another thing: that is the path between a pair, this is who is paired.
//!
//! Source: Tong et al. 2024, arXiv:2302.00482 (OT-CFM); Pooladian et al. 2023, arXiv:2304.14772.

use candle_core::Tensor;
use rand::RngCore;
use tallow_denoisers::{Batch, Condition};
use tallow_kernels::assign;

use super::cost::{ConditionCost, problems, with_source};
use super::{Coupling, reordered};
use crate::Result;

/// Pairs each datum with a source of the batch, at the smallest total of squared distances; exact.
///
/// Time O(B³) at worst: 512 points take some 10 ms. Each source is used once, so both marginals stay as they are.
///
/// Source: Tong et al. 2024, arXiv:2302.00482 (OT-CFM); Pooladian et al. 2023, arXiv:2304.14772.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OptimalTransport {
    condition: Option<ConditionCost>,
}

impl OptimalTransport {
    /// Looks at the data alone: for models without a condition.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Looks at the condition, too: for conditional models (C²OT).
    ///
    /// # Errors
    ///
    /// When a weight is negative or not finite.
    pub fn with_condition(condition: ConditionCost) -> Result<Self> {
        condition.check()?;
        Ok(Self {
            condition: Some(condition),
        })
    }

    /// The row of `x1` that each row of `x0` is paired with: a permutation.
    ///
    /// # Errors
    ///
    /// When the shapes differ, a value is not finite, or the condition lacks the tensor that the cost asks for.
    pub fn assign(&self, x0: &Tensor, x1: &Tensor, condition: &Condition) -> Result<Vec<usize>> {
        // The shapes are checked where a batch gets its source.
        Batch::new(x0.clone())
            .with_source(x1.clone())?
            .with_condition(condition.clone())?;
        let mut partners = vec![0; x0.dims().first().copied().unwrap_or(0)];
        for problem in problems(self.condition.as_ref(), x0, x1, condition)? {
            let count = problem.rows.len();
            let found = assign(&problem.costs, count, count)?;
            for (&row, column) in problem.rows.iter().zip(found.columns) {
                partners[row] = problem.rows[column];
            }
        }
        Ok(partners)
    }
}

impl Coupling for OptimalTransport {
    fn pair(&self, batch: Batch, rng: &mut dyn RngCore) -> Result<Batch> {
        let (batch, x1) = with_source(batch, rng)?;
        let partners = self.assign(&batch.x0, &x1, &batch.condition)?;
        Ok(batch.with_source(reordered(&x1, &partners)?)?)
    }
}

#[cfg(test)]
#[path = "optimal_transport_tests.rs"]
mod tests;
