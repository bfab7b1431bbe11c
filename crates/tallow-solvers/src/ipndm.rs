//! iPNDM: Adams-Bashforth's coefficients for equal steps, whatever the steps are, put into DDIM's update.
//!
//! ```text
//! ε' = ε̂_t                                              first step
//!      (3 ε̂_t − ε̂_{t−1})/2                              second
//!      (23 ε̂_t − 16 ε̂_{t−1} + 5 ε̂_{t−2})/12             third
//!      (55 ε̂_t − 59 ε̂_{t−1} + 37 ε̂_{t−2} − 9 ε̂_{t−3})/24    all others
//! x_s = (α_s/α_t) x_t + (σ_s − (α_s/α_t) σ_t) ε'
//! ```
//!
//! DDIM's update integrates ε' over ρ = σ/α. Grids are hardly ever equal in ρ, and the error of the coefficients is then
//! that of a second-order method, with any number of predictions: [`AdamsBashforth`](crate::AdamsBashforth) is the method
//! with the right ones.
//!
//! Source: Zhang & Chen 2022, arXiv:2204.13902, Appendix B; the coefficients Liu et al. 2022, arXiv:2202.09778, Eq. 9.

use candle_core::Tensor;
use tallow_denoisers::{Denoiser, Noise};
use tallow_schedules::Step;

use crate::exponential::Interpolated;
use crate::multistep::{LastSteps, Multistep, Past, Start, check_order};
use crate::phi::MAX_NODES;
use crate::{Point, Result, Solver};

/// iPNDM: Adams-Bashforth's coefficients for equal steps, whatever the steps are, put into DDIM's update.
///
/// One evaluation a step, order 2 with two predictions or more; right for any path, prediction and coupling.
///
/// Source: Zhang & Chen 2022, arXiv:2204.13902, Appendix B; the coefficients Liu et al. 2022, arXiv:2202.09778, Eq.
/// 9.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipndm {
    count: usize,
}

/// From four predictions.
impl Default for Ipndm {
    fn default() -> Self {
        Self { count: 4 }
    }
}

impl Ipndm {
    /// From up to `count` predictions a step, 1 to 4.
    ///
    /// # Errors
    ///
    /// When `count` is another number.
    pub fn new(count: usize) -> Result<Self> {
        check_order("Ipndm", count, MAX_NODES, "(predictions a step) 1, 2, 3 or 4")?;
        Ok(Self { count })
    }
}

impl Solver for Ipndm {
    type History = Past;

    fn step(
        &self,
        model: &dyn Denoiser,
        x: &Tensor,
        step: &Step<'_>,
        past: &mut Past,
        _noise: &mut dyn Noise,
    ) -> Result<Point> {
        let method = Multistep {
            way: Interpolated::NoiseInRatio,
            order: self.count,
            start: Start::Ramp,
            last_steps: LastSteps::FullOrder,
        };
        method.step(model, x, step, past, |_, nodes| equal_steps(nodes.len()))
    }
}

/// Adams-Bashforth's coefficients for a number of predictions, the newest first.
pub(crate) fn equal_steps(count: usize) -> [f64; MAX_NODES] {
    match count {
        0 | 1 => [1.0, 0.0, 0.0, 0.0],
        2 => [3.0, -1.0, 0.0, 0.0].map(|c| c / 2.0),
        3 => [23.0, -16.0, 5.0, 0.0].map(|c| c / 12.0),
        _ => [55.0, -59.0, 37.0, -9.0].map(|c| c / 24.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::phi::{UNIFORM, lagrange};

    #[test]
    fn the_coefficients_are_those_of_equal_steps() {
        let nodes = [0.0, -1.0, -2.0, -3.0];
        for count in 1..=MAX_NODES {
            let exact = lagrange(&nodes[..count], &UNIFORM);
            for (coefficient, exact) in equal_steps(count).iter().zip(exact) {
                assert!(
                    (coefficient - exact).abs() < 1e-13,
                    "{count}: {coefficient} {exact}"
                );
            }
        }
    }
}
