//! DPM-Solver++(3M): slope and curvature of x̂₀ from the two steps before.
//!
//! ```text
//! h = λ_s − λ_t        r_0 = h_{−1}/h        r_1 = h_{−2}/h        φ_k at z = −h
//! d_0 = (x̂₀_t − x̂₀_{t−1})/r_0        d_1 = (x̂₀_{t−1} − x̂₀_{t−2})/r_1
//! D_1 = d_0 + r_0/(r_0 + r_1) (d_0 − d_1)        D_2 = c (d_0 − d_1)/(r_0 + r_1)
//! x_s = (σ_s/σ_t) x_t + α_s h (φ_1 x̂₀_t + φ_2 D_1 + φ_3 D_2)
//! ```
//!
//! The parabola through the three has the curvature c = 2; with it the method converges with order 3. As published, and as
//! other programs have it, c = 1, and it converges with order 2. At few steps that half curvature damps, and can be the
//! better one.
//!
//! Source: Lu et al. 2022, arXiv:2211.01095, Appendix A (its code); c = 2: the exact integral, Hochbruck & Ostermann 2010.

use candle_core::Tensor;
use tallow_denoisers::{Denoiser, Noise};
use tallow_schedules::Step;

use crate::exponential::{Interpolated, Kernel, Variant};
use crate::multistep::{LastSteps, Multistep, Past, Start};
use crate::phi::MAX_NODES;
use crate::{Point, Result, Solver};

/// DPM-Solver++(3M): slope and curvature of x̂₀ from the two steps before.
///
/// One evaluation a step, order 3 with the curvature in full (the default), 2 as published; right for any path, prediction
/// and coupling. Wins over (2M) from about 20 steps on.
///
/// Source: Lu et al. 2022, arXiv:2211.01095, Appendix A (its code); c = 2: the exact integral, Hochbruck & Ostermann
/// 2010.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dpmpp3m {
    /// How much of the curvature is used.
    pub curvature: Curvature,
    /// How the slope enters a step with only one step before it.
    pub variant: Variant,
    /// How a run starts; the order 3 is that of [`Start::SingleStep`].
    pub start: Start,
    /// The order of the last steps.
    pub last_steps: LastSteps,
}

/// How much of the curvature a step from three predictions uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Curvature {
    /// c = 2: the parabola through the predictions, order 3.
    #[default]
    Full,
    /// c = 1: half of it, as published; order 2.
    Published,
}

impl Dpmpp3m {
    /// As published, with the start that goes with it.
    #[must_use]
    pub fn published() -> Self {
        Self {
            curvature: Curvature::Published,
            start: Start::Ramp,
            ..Self::default()
        }
    }
}

impl Solver for Dpmpp3m {
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
            way: Interpolated::DataInLambda,
            order: 3,
            start: self.start,
            last_steps: self.last_steps,
        };
        method.step(model, x, step, past, |kernel, nodes| match nodes {
            [_, before] => kernel.second_order(self.variant, *before),
            nodes => third_order(kernel, nodes, self.curvature),
        })
    }
}

/// The weights of predictions at the step's start and at two nodes before it.
pub(crate) fn third_order(kernel: &Kernel, nodes: &[f64], curvature: Curvature) -> [f64; MAX_NODES] {
    let mut weights = kernel.lagrange(nodes);
    if curvature == Curvature::Published {
        // Half of φ_3 times the second derivative: s² has the second divided difference 1.
        let half = 0.5 * kernel.moments[2];
        for (k, weight) in weights.iter_mut().enumerate().take(nodes.len()) {
            let spans: f64 = (0..nodes.len())
                .filter(|j| *j != k)
                .map(|j| nodes[k] - nodes[j])
                .product();
            *weight -= half / spans;
        }
    }
    weights
}

#[cfg(test)]
mod tests {
    use super::*;
    use tallow_schedules::{RectifiedFlow, Schedule};

    /// x̂_0 that is a parabola in λ is integrated exactly by the full curvature; the published one errs by half of φ_3 D_2.
    #[test]
    fn the_published_curvature_is_half_of_a_parabola_s() {
        let path = RectifiedFlow::default();
        let kernel = Interpolated::DataInLambda.kernel(path.level(0.5), path.level(0.3));
        let nodes = [0.0, -0.7, -1.6];
        let sum = |weights: [f64; MAX_NODES], f: &dyn Fn(f64) -> f64| -> f64 {
            nodes
                .iter()
                .zip(weights)
                .map(|(node, weight)| weight * f(*node))
                .sum()
        };
        let [full, published] =
            [Curvature::Full, Curvature::Published].map(|curvature| third_order(&kernel, &nodes, curvature));
        for line in [&(|_| 1.0) as &dyn Fn(f64) -> f64, &|s| s] {
            assert!((sum(full, line) - sum(published, line)).abs() < 1e-15);
        }
        let square = |s: f64| s * s;
        assert!((sum(full, &square) - kernel.moments[2]).abs() < 1e-15);
        assert!((sum(published, &square) - 0.5 * kernel.moments[2]).abs() < 1e-15);
    }
}
