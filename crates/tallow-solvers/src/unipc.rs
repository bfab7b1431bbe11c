//! UniPC: a multistep predictor, and a corrector that uses the prediction at the step's end before it is left.
//!
//! ```text
//! UniP-p   x_s from m at the last p nodes                   UniC-p   x_s again, from these and m_s at the predicted x_s
//! both     x_s = (σ_s/σ_t) x_t + α_s h (φ_1 m_t + Σ_k B a_k (m_k − m_t)/r_k)      (data form, z = −h; noise form alike)
//! ```
//!
//! with a such that polynomials through the nodes are integrated exactly. That determines `B a`, except where the paper and
//! its programs round: with one difference, in UniP-2 and UniC-1, a is ½, and B is 1 (bh1) or φ_1(z) (bh2).
//!
//! The corrector costs no evaluation: m_s is needed anyway. It adds one to the order.
//!
//! Source: Zhao et al. 2023, arXiv:2302.04867, Eq. 3-9, Algorithms 1 and 2.

use candle_core::Tensor;
use tallow_denoisers::{Denoiser, Estimate, Noise};
use tallow_schedules::{NoiseLevel, Step};

use crate::clean::{estimate, exponential};
use crate::exponential::{Form, Interpolated, Kernel};
use crate::multistep::{LastSteps, Past, Start, check_order};
use crate::phi::MAX_NODES;
use crate::singlestep::SingleStep;
use crate::{Point, Result, Solver};

/// UniPC: a multistep predictor, and a corrector that uses the prediction at the step's end before it is left.
///
/// One evaluation a step, of one order more than the predictor's 1 to 3 if corrected; right for any path, prediction and
/// coupling. Choose it where the flow is smooth for the step, from about 15 steps on.
///
/// Source: Zhao et al. 2023, arXiv:2302.04867, Eq. 3-9, Algorithms 1 and 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UniPc {
    order: usize,
    /// Which estimate is interpolated.
    pub form: Form,
    /// B(h).
    pub scale: UniScale,
    /// Whether states are corrected.
    pub corrector: Corrector,
    /// How a run starts; orders above 3 are those of [`Start::SingleStep`].
    pub start: Start,
    /// The order of the last steps.
    pub last_steps: LastSteps,
}

/// B(h) of UniPC, the factor on a single difference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UniScale {
    /// B = 1 in the module's formula; h in the paper.
    Bh1,
    /// B = φ_1(z) = (e^z − 1)/z in the module's formula, with z = −h (data form) or h (noise form); e^z − 1 in the paper.
    #[default]
    Bh2,
}

/// Whether UniPC corrects a state once the model has been asked there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Corrector {
    /// UniC: the order is one higher.
    #[default]
    UniC,
    /// None: UniP alone.
    Off,
}

/// What UniPC remembers of a run.
#[derive(Debug, Default)]
pub struct UniPcHistory {
    past: Past,
    last: Option<Last>,
}

/// The step that led to where the run is, if it can be corrected.
#[derive(Debug)]
struct Last {
    x: Tensor,
    from: NoiseLevel,
    order: usize,
}

impl UniPc {
    /// With a predictor of order 1, 2 or 3; data form, bh2, corrected.
    ///
    /// # Errors
    ///
    /// When the order is another.
    pub fn new(order: usize) -> Result<Self> {
        check_order("UniPc", order, 3, "(of the predictor) 1, 2 or 3")?;
        Ok(Self::of(order))
    }

    /// The same for a number that is known to be allowed.
    pub(crate) fn of(order: usize) -> Self {
        Self {
            order,
            form: Form::default(),
            scale: UniScale::default(),
            corrector: Corrector::default(),
            start: Start::default(),
            last_steps: LastSteps::default(),
        }
    }

    /// Without the corrector: UniP.
    #[must_use]
    pub fn uncorrected(self) -> Self {
        Self {
            corrector: Corrector::Off,
            ..self
        }
    }

    fn way(&self) -> Interpolated {
        self.form.into()
    }

    /// UniC: the state at `at` again, now that the prediction `m` there is known.
    fn correct(&self, x: &Tensor, at: NoiseLevel, m: &Tensor, history: &UniPcHistory) -> Result<Tensor> {
        let Some(last) = &history.last else {
            return Ok(x.clone());
        };
        let way = self.way();
        let kernel = way.kernel(last.from, at);
        // The newest past prediction is the one at the last step's start.
        let past = history.past.usable(way, at, last.order);
        let (mut nodes, mut predictions) = (vec![1.0], vec![m]);
        for (level, prediction) in past {
            nodes.push(way.fraction(level, last.from, at));
            predictions.push(prediction);
        }
        let weights = match nodes.as_slice() {
            [end, _] => {
                let [start, end, ..] = self.one_difference(&kernel, *end);
                [end, start, 0.0, 0.0]
            }
            nodes => kernel.lagrange(nodes),
        };
        let terms: Vec<_> = weights.into_iter().zip(predictions).collect();
        kernel.apply(&last.x, &terms)
    }

    /// φ_1 m_t + ½ B (m − m_t)/r.
    fn one_difference(&self, kernel: &Kernel, r: f64) -> [f64; MAX_NODES] {
        let b = match self.scale {
            UniScale::Bh1 => kernel.unit,
            UniScale::Bh2 => kernel.moments[0],
        };
        let other = 0.5 * b / r;
        [kernel.moments[0] - other, other, 0.0, 0.0]
    }

    /// UniP, or a starter; and the order of the former.
    fn predict(
        &self,
        model: &dyn Denoiser,
        here: &Estimate,
        step: &Step<'_>,
        past: &Past,
    ) -> Result<(Tensor, Option<usize>)> {
        let way = self.way();
        if !way.is_regular(step.from, step.to) {
            return Ok((exponential(here, step)?, None));
        }
        let wanted = self.order.min(self.last_steps.cap(step));
        let past = past.usable(way, step.from, wanted - 1);
        // A step of the predictor's order p leaves an error of order p + 1, or p + 2 if corrected.
        let total = if self.corrector == Corrector::UniC {
            wanted
        } else {
            wanted.saturating_sub(1)
        };
        if self.start == Start::SingleStep && past.len() + 2 < wanted {
            return Ok((
                SingleStep::starter(self.form, total).take(model, here, step)?,
                None,
            ));
        }
        let kernel = way.kernel(step.from, step.to);
        let newest = way.of(here)?;
        let mut nodes = vec![0.0];
        nodes.extend(
            past.iter()
                .map(|(level, _)| way.fraction(*level, step.from, step.to)),
        );
        let weights = match nodes.as_slice() {
            [_, before] => self.one_difference(&kernel, *before),
            nodes => kernel.lagrange(nodes),
        };
        let predictions = std::iter::once(&newest).chain(past.iter().map(|(_, m)| *m));
        let terms: Vec<_> = weights.into_iter().zip(predictions).collect();
        Ok((kernel.apply(here.x(), &terms)?, Some(nodes.len())))
    }
}

impl Solver for UniPc {
    type History = UniPcHistory;

    fn step(
        &self,
        model: &dyn Denoiser,
        x: &Tensor,
        step: &Step<'_>,
        history: &mut UniPcHistory,
        _noise: &mut dyn Noise,
    ) -> Result<Point> {
        let estimate = estimate(model, x, step.from)?;
        let m = self.way().of(&estimate)?;
        let x = self.correct(x, step.from, &m, history)?;
        // The model is not asked again at the corrected state.
        let here = if history.last.is_some() {
            self.way().estimate(&x, &m, step.from)?
        } else {
            estimate.clone()
        };
        let (next, order) = self.predict(model, &here, step, &history.past)?;
        history.past.push(step.from, m, self.order.max(1));
        let corrects = |_: &usize| self.corrector == Corrector::UniC;
        history.last = order.filter(corrects).map(|order| Last {
            x,
            from: step.from,
            order,
        });
        Ok(Point { x: next, estimate })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tallow_schedules::{RectifiedFlow, Schedule};

    #[test]
    fn the_factor_on_a_single_difference_is_b_over_two_r() {
        let path = RectifiedFlow::default();
        for form in [Form::Data, Form::Noise] {
            let (from, to) = (path.level(0.6), path.level(0.1));
            let kernel = Interpolated::from(form).kernel(from, to);
            let h = to.lambda() - from.lambda();
            let z = if form == Form::Data { -h } else { h };
            for (scale, b) in [(UniScale::Bh1, 1.0), (UniScale::Bh2, z.exp_m1() / z)] {
                let unipc = UniPc {
                    form,
                    scale,
                    ..UniPc::of(2)
                };
                let [newest, other, ..] = unipc.one_difference(&kernel, -0.8);
                // The kernel may have e^z taken out of its moments.
                let out = kernel.unit;
                assert!((other / out + 0.5 * b / 0.8).abs() < 1e-12, "{form:?} {scale:?}");
                assert!((newest + other - kernel.moments[0]).abs() < 1e-14);
            }
        }
    }
}
