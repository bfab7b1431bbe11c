//! Steps from past predictions: the history, and the order that a step may have.

use std::collections::VecDeque;

use candle_core::Tensor;
use tallow_denoisers::{Denoiser, Estimate};
use tallow_schedules::{NoiseLevel, Step};

use crate::clean::{estimate, exponential};
use crate::exponential::{Interpolated, Kernel, is_inner};
use crate::phi::MAX_NODES;
use crate::singlestep::SingleStep;
use crate::{Error, Point, Result};

/// How a multistep method starts, while it has fewer past predictions than its order needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// By its own steps of order 1, 2, 3, …, as most programs do: no further evaluations, but the first-order step leaves an
    /// error of second order behind, however many steps follow.
    Ramp,
    /// By singlestep methods, so far as the order of the whole needs them: one to four further evaluations in all.
    #[default]
    SingleStep,
}

/// Which order the last steps of a multistep method have. The step into σ = 0 of a method in λ is of order 1 in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastSteps {
    /// Full order to the end.
    FullOrder,
    /// Orders …, 3, 2, 1.
    Lowered,
    /// [`Lowered`](Self::Lowered) in runs of fewer steps than this, where high orders overshoot at the end.
    LoweredBelow(usize),
}

/// Lowered below 8 steps: on mixtures with known flows it pays at 5, and costs third-order methods more than it gains at 8.
/// Other programs lower below 10 or 15.
impl Default for LastSteps {
    fn default() -> Self {
        Self::LoweredBelow(8)
    }
}

impl LastSteps {
    /// The highest order that a step may have.
    pub(crate) fn cap(self, step: &Step<'_>) -> usize {
        let lowered = match self {
            Self::FullOrder => false,
            Self::Lowered => true,
            Self::LoweredBelow(count) => step.count < count,
        };
        if lowered {
            step.count - step.index
        } else {
            usize::MAX
        }
    }
}

/// Past predictions, the newest first.
#[derive(Debug, Default)]
pub struct Past {
    entries: VecDeque<(NoiseLevel, Tensor)>,
}

impl Past {
    /// The newest predictions that a step from `from` can use, at most `count`.
    pub(crate) fn usable(
        &self,
        way: Interpolated,
        from: NoiseLevel,
        count: usize,
    ) -> Vec<(NoiseLevel, &Tensor)> {
        let here = way.coordinate(from);
        self.entries
            .iter()
            .take(count)
            .take_while(|(level, _)| is_inner(*level) && way.coordinate(*level) != here)
            .map(|(level, prediction)| (*level, prediction))
            .collect()
    }

    /// Adds a prediction and forgets all but the newest `keep`.
    pub(crate) fn push(&mut self, at: NoiseLevel, prediction: Tensor, keep: usize) {
        self.entries.push_front((at, prediction));
        self.entries.truncate(keep);
    }
}

/// What multistep methods without a corrector share.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Multistep {
    pub(crate) way: Interpolated,
    pub(crate) order: usize,
    pub(crate) start: Start,
    pub(crate) last_steps: LastSteps,
}

impl Multistep {
    /// A step whose weights come from a rule: given the kernel and the nodes of the predictions, the step's start (0) first
    /// and then the past ones (negative), the newest first.
    pub(crate) fn step(
        &self,
        model: &dyn Denoiser,
        x: &Tensor,
        step: &Step<'_>,
        past: &mut Past,
        rule: impl Fn(&Kernel, &[f64]) -> [f64; MAX_NODES],
    ) -> Result<Point> {
        let estimate = estimate(model, x, step.from)?;
        let x = self.next(model, &estimate, step, past, rule)?;
        if self.order > 1 {
            past.push(step.from, self.way.of(&estimate)?, self.order - 1);
        }
        Ok(Point { x, estimate })
    }

    fn next(
        &self,
        model: &dyn Denoiser,
        estimate: &Estimate,
        step: &Step<'_>,
        past: &Past,
        rule: impl Fn(&Kernel, &[f64]) -> [f64; MAX_NODES],
    ) -> Result<Tensor> {
        let wanted = self.order.min(self.last_steps.cap(step));
        if wanted == 1 || !self.way.is_regular(step.from, step.to) {
            return exponential(estimate, step);
        }
        let past = past.usable(self.way, step.from, wanted - 1);
        // A step of order q, taken once, leaves an error of order q + 1.
        if self.start == Start::SingleStep && past.len() + 2 < wanted {
            return SingleStep::starter(self.way.form(), wanted - 1).take(model, estimate, step);
        }
        if past.is_empty() {
            return exponential(estimate, step);
        }
        let kernel = self.way.kernel(step.from, step.to);
        let newest = self.way.of(estimate)?;
        let mut nodes = vec![0.0];
        nodes.extend(
            past.iter()
                .map(|(level, _)| self.way.fraction(*level, step.from, step.to)),
        );
        let weights = rule(&kernel, &nodes);
        let predictions: Vec<_> = std::iter::once(&newest)
            .chain(past.iter().map(|(_, m)| *m))
            .collect();
        let terms: Vec<_> = weights.into_iter().zip(predictions).collect();
        kernel.apply(estimate.x(), &terms)
    }
}

/// Refuses an order outside of `1..=max`.
pub(crate) fn check_order(
    owner: &'static str,
    order: usize,
    max: usize,
    allowed: &'static str,
) -> Result<()> {
    if (1..=max).contains(&order) {
        Ok(())
    } else {
        Err(Error::Parameter {
            owner,
            name: "order",
            value: order as f64,
            allowed,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;
    use std::sync::Arc;

    use super::*;
    use crate::{AdamsBashforth, Deis, Dpmpp2m, Dpmpp3m, Sampler, UniPc, start};
    use candle_core::{DType, Device};
    use tallow_denoisers::{ExactMixture, Seeded};
    use tallow_schedules::{RectifiedFlow, TimeGrid};

    fn grid() -> TimeGrid {
        TimeGrid::uniform_between(Arc::new(RectifiedFlow::default()), 0.9, 0.1, 10).unwrap()
    }

    #[test]
    fn a_start_costs_no_more_than_the_order_needs() {
        let ramp = |order| Deis::new(order).unwrap().with_start(Start::Ramp);
        let cases: [(Box<dyn Sampler>, usize); 8] = [
            (Box::new(ramp(4)), 0),
            (Box::new(Deis::new(2).unwrap()), 0),
            (Box::new(Dpmpp2m::default()), 0),
            (Box::new(Dpmpp3m::default()), 1),
            (Box::new(AdamsBashforth::new(4).unwrap()), 4),
            (Box::new(UniPc::new(2).unwrap()), 0),
            (Box::new(UniPc::new(3).unwrap()), 2),
            (Box::new(UniPc::new(3).unwrap().uncorrected()), 1),
        ];
        for (solver, further) in cases {
            let mut noise = Seeded::new(2);
            let x = start(&grid(), (3, 1), DType::F64, &Device::Cpu, &mut noise).unwrap();
            let model = ExactMixture::lopsided(1);
            let run = solver.run(
                &model,
                &grid(),
                &x,
                &mut noise,
                &mut |_| ControlFlow::Continue(()),
            );
            assert_eq!(run.unwrap().evaluations, 10 + further, "{solver:?}");
        }
    }

    #[test]
    fn last_steps_are_lowered_to_one() {
        let caps = |last: LastSteps| grid().steps().map(|step| last.cap(&step)).collect::<Vec<_>>();
        assert_eq!(caps(LastSteps::Lowered)[7..], [3, 2, 1]);
        assert_eq!(caps(LastSteps::LoweredBelow(11)), caps(LastSteps::Lowered));
        assert!(
            caps(LastSteps::LoweredBelow(10))
                .iter()
                .all(|cap| *cap == usize::MAX)
        );
        assert_eq!(caps(LastSteps::FullOrder), caps(LastSteps::default()));
    }

    #[test]
    fn predictions_at_an_end_of_the_path_are_not_looked_back_on() {
        let path: Arc<dyn tallow_schedules::Schedule> = Arc::new(RectifiedFlow::default());
        let m = Tensor::zeros(1, DType::F64, &Device::Cpu).unwrap();
        let mut past = Past::default();
        for t in [1.0, 0.8, 0.6] {
            past.push(path.level(t), m.clone(), 3);
        }
        let usable = past.usable(Interpolated::DataInLambda, path.level(0.4), 3);
        let times: Vec<_> = usable.iter().map(|(level, _)| level.t).collect();
        assert_eq!(times, [0.6, 0.8]);
    }
}
