//! One step of order 1, 2 or 3 from predictions inside of it.
//!
//! ```text
//! m_0 at λ_t        m_1 at λ_t + r_1 h, where a first-order step leads        m_2 at λ_t + r_2 h, from the line through m_0, m_1
//! order 2   midpoint: m_0 + (m_1 − m_0)/(2 r_1)            taylor: the line through m_0, m_1
//! order 3   midpoint: the line through m_0, m_2 (r_2 = ⅔)  taylor: the parabola through all three
//! ```
//!
//! Source: Lu et al. 2022, arXiv:2206.00927, Algorithms 1-2 and Eq. 4.5; arXiv:2211.01095, Algorithm 1.

use candle_core::Tensor;
use tallow_denoisers::{Denoiser, Estimate};
use tallow_schedules::{NoiseLevel, Step};

use crate::Result;
use crate::clean::exponential;
use crate::exponential::{Form, Interpolated, Kernel, Variant, is_regular};

/// Where a step's inner stages lie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stages {
    /// At equal fractions of the step in λ: ½, or ⅓ and ⅔. The papers' choice, of full order at any step length.
    #[default]
    EvenLambda,
    /// At equal fractions in time: whole steps and stages together are a grid that is uniform in time.
    EvenTime,
    /// At equal fractions in the root of time, likewise for a quadratic grid.
    EvenRootTime,
}

impl Stages {
    /// The level of the stage at a fraction of the step.
    fn level(self, step: &Step<'_>, fraction: f64) -> NoiseLevel {
        let between = |from: f64, to: f64| from + fraction * (to - from);
        match self {
            Self::EvenLambda => step.at_fraction(fraction),
            Self::EvenTime => step.schedule.level(between(step.from.t, step.to.t)),
            Self::EvenRootTime => step
                .schedule
                .level(between(step.from.t.sqrt(), step.to.t.sqrt()).powi(2)),
        }
    }
}

/// A way to take a step of some order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SingleStep {
    pub(crate) form: Form,
    pub(crate) order: usize,
    pub(crate) variant: Variant,
    pub(crate) stages: Stages,
}

impl SingleStep {
    /// The starter of a multistep method: any order in its own form.
    pub(crate) fn starter(form: Form, order: usize) -> Self {
        Self {
            form,
            order: order.clamp(1, 3),
            variant: Variant::Midpoint,
            stages: Stages::EvenLambda,
        }
    }

    /// The state at the step's end; of order 1 into σ = 0, and out of α = 0.
    pub(crate) fn take(&self, model: &dyn Denoiser, estimate: &Estimate, step: &Step<'_>) -> Result<Tensor> {
        let count = self.order - 1;
        let inner = [0, 1].map(|i| self.stages.level(step, (i + 1) as f64 / self.order as f64));
        let way = Interpolated::from(self.form);
        let r = inner.map(|level| way.fraction(level, step.from, step.to));
        // Stages that rounding has moved onto each other or onto the ends of a very short step are none.
        let distinct = match count {
            1 => 0.0 < r[0] && r[0] < 1.0,
            2 => 0.0 < r[0] && r[0] < r[1] && r[1] < 1.0,
            _ => false,
        };
        if !(is_regular(step) && distinct) {
            return exponential(estimate, step);
        }
        let x = estimate.x();
        let m0 = way.of(estimate)?;
        let whole = way.kernel(step.from, step.to);
        let first = way.kernel(step.from, inner[0]);
        let x1 = first.apply(x, &[(first.moments[0], &m0)])?;
        let m1 = self.ask(model, &x1, inner[0])?;
        if count == 1 {
            let [w0, w1, ..] = whole.second_order(self.variant, r[0]);
            return whole.apply(x, &[(w0, &m0), (w1, &m1)]);
        }
        let second = way.kernel(step.from, inner[1]);
        let [w0, w1, ..] = second.lagrange(&[0.0, r[0] / r[1]]);
        let x2 = second.apply(x, &[(w0, &m0), (w1, &m1)])?;
        let m2 = self.ask(model, &x2, inner[1])?;
        let [w0, w1, w2] = self.third_order(&whole, r);
        whole.apply(x, &[(w0, &m0), (w1, &m1), (w2, &m2)])
    }

    fn ask(&self, model: &dyn Denoiser, x: &Tensor, at: NoiseLevel) -> Result<Tensor> {
        Interpolated::from(self.form).of(&model.estimate(x, at.into())?)
    }

    fn third_order(&self, kernel: &Kernel, r: [f64; 2]) -> [f64; 3] {
        match self.variant {
            Variant::Midpoint => {
                let [w0, w2, ..] = kernel.lagrange(&[0.0, r[1]]);
                [w0, 0.0, w2]
            }
            Variant::Taylor => {
                let [w0, w1, w2, _] = kernel.lagrange(&[0.0, r[0], r[1]]);
                [w0, w1, w2]
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tallow_schedules::{Schedule, VpLinear};

    #[test]
    fn both_variants_of_third_order_agree_on_parabolas_where_the_papers_put_the_stages() {
        let path = VpLinear::default();
        // ∫ (1 − s²) over the step: the midpoint variant is exact to leading order in h, if r_2 = ⅔.
        let parabola = |s: f64| 1.0 - s * s;
        let difference = |to: f64| {
            let kernel = Interpolated::DataInLambda.kernel(path.level(0.5), path.level(to));
            let r = [1.0 / 3.0, 2.0 / 3.0];
            let [midpoint, taylor] = [Variant::Midpoint, Variant::Taylor].map(|variant| {
                let [w0, w1, w2] = SingleStep {
                    variant,
                    ..SingleStep::starter(Form::Data, 3)
                }
                .third_order(&kernel, r);
                w0 * parabola(0.0) + w1 * parabola(r[0]) + w2 * parabola(r[1])
            });
            (midpoint - taylor).abs()
        };
        let ratio = difference(0.48) / difference(0.49);
        assert!((1.8..2.2).contains(&ratio), "{ratio}");
    }
}
