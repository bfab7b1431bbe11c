//! CFG++: the data are guided, the noise that is put back is the unconditional model's.
//!
//! ```text
//! x̂_0 = x̂_0 of u + λ (c − u)        ε̂ = ε̂ of u        λ in [0, 1]
//! ```
//!
//! The two no longer add up to x: the rule is defined by the step x_s = α_s x̂_0 + σ_s ε̂, which DDIM (also with noise) takes.
//! Solvers that carry x itself along see only the guided data.
//!
//! Source: Chung et al. 2024, arXiv:2406.08070, Algorithm 2.

use super::{Rule, Scale};
use crate::{Error, Estimate, Result};

/// Guidance that interpolates the data and keeps the unconditional noise; for DDIM.
///
/// Source: Chung et al. 2024, arXiv:2406.08070, Algorithm 2.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PlusPlus {
    /// λ in [0, 1]: 1 takes the conditional data.
    pub lambda: f64,
}

impl Rule for PlusPlus {
    type Memory = ();

    fn guide(&self, main: &Estimate, other: &Estimate, _memory: &mut ()) -> Result<Estimate> {
        let x0 = Scale::Imagen(self.lambda).apply(main, other)?.x0()?;
        let estimate = Estimate::from_pair(main.x(), x0, other.noise()?, main.levels())?;
        Ok(estimate.with_range(main.range().cloned()))
    }

    fn check(&self) -> Result<()> {
        if (0.0..=1.0).contains(&self.lambda) {
            return Ok(());
        }
        Err(Error::Parameter {
            owner: "PlusPlus",
            name: "lambda",
            value: self.lambda,
            allowed: "in [0, 1]",
        })
    }
}
