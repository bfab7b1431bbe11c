//! A whole run of an adaptive method over a grid: its ends, its nodes, its observer.

use candle_core::Tensor;
use tallow_denoisers::{Denoiser, Estimate};
use tallow_schedules::{NoiseLevel, Schedule, Step, TimeGrid};

use super::{Control, Failure, Method, travel};
use crate::clean::exponential;
use crate::watched::{Watched, check_finite};
use crate::{Error, Observer, Point, Progress, Result, Sampled, estimate};

/// A model in a run.
pub(crate) type Running<'m> = Watched<Box<dyn Denoiser + 'm>>;

/// What a method on a grid says besides: how levels lie on its clock, and where it cannot go.
pub(crate) trait Ends: Method {
    /// The place of a level on the clock.
    fn position(&self, at: NoiseLevel) -> f64;

    /// Whether the method cannot stand at a level: one exponential step takes its place there.
    fn is_singular(&self, at: NoiseLevel) -> bool;

    /// The estimate that a belief is.
    fn estimate(x: &Tensor, belief: Tensor, at: NoiseLevel) -> Result<Estimate>;
}

/// Takes `x` from the first level of a grid to its last. Nodes in between are only looked at, through the continuous
/// extension of the method: they cost no evaluation and change no step.
pub(crate) fn journey<M: Ends>(
    mut method: M,
    model: &Running<'_>,
    grid: &TimeGrid,
    control: &Control,
    x: &Tensor,
    observe: Observer<'_>,
) -> Result<Sampled> {
    control.check()?;
    if x.rank() == 0 {
        let what = "the start of a run".to_owned();
        return Err(tallow_denoisers::Error::NoRows { what }.into());
    }
    check_finite("the start of a run", x)?;
    let mut log = Log {
        grid,
        model,
        observe,
        reported: 0,
        estimate: None,
        attempts: 0,
        stopped: false,
    };
    if x.elem_count() == 0 {
        return Ok(log.sampled(x.clone()));
    }
    let (first, last) = (grid.first(), grid.last());
    let (enter, leave) = (
        inwards(&method, first, last, grid, control),
        inwards(&method, last, first, grid, control),
    );
    let failed = |Failure { attempt, time, error }: Failure| Error::Step {
        index: attempt,
        count: control.max_steps,
        t: time,
        evaluations: model.evaluations(),
        source: Box::new(model.take_failure().unwrap_or(error)),
    };
    let x = x.detach();
    if !ahead(first, last, enter, leave) {
        let x = log.jump(&x, first, last).map_err(failed)?;
        return Ok(log.sampled(x));
    }
    let mut x = if enter == first {
        x
    } else {
        log.jump(&x, first, enter).map_err(failed)?
    };
    if !log.stopped {
        x = log
            .travel(&mut method, control, x, enter, leave)
            .map_err(failed)?;
    }
    if !log.stopped && leave != last {
        x = log.jump(&x, leave, last).map_err(failed)?;
    }
    Ok(log.sampled(x))
}

/// The level nearest to `at` at which the method can stand: where it is singular, one so near the end of the path that a
/// first-order step from there is as exact as the tolerance asks (its error is of the order of (σ/α)², or (α/σ)²).
fn inwards<M: Ends>(
    method: &M,
    at: NoiseLevel,
    other: NoiseLevel,
    grid: &TimeGrid,
    control: &Control,
) -> NoiseLevel {
    if !method.is_singular(at) {
        return at;
    }
    let far = 0.5 * (10.0 / control.atol.min(1.0)).ln();
    let lambda = if at.t < other.t { far } else { -far };
    let schedule = grid.schedule();
    schedule.level(schedule.inverse_lambda(lambda))
}

/// Whether a run from `first` to `last` comes to `a` before it comes to `b`.
fn ahead(first: NoiseLevel, last: NoiseLevel, a: NoiseLevel, b: NoiseLevel) -> bool {
    if last.t < first.t { b.t < a.t } else { b.t > a.t }
}

/// What has been reported to the observer, and what will be with the next node.
struct Log<'a, 'm> {
    grid: &'a TimeGrid,
    model: &'a Running<'m>,
    observe: Observer<'a>,
    reported: usize,
    estimate: Option<Estimate>,
    attempts: usize,
    stopped: bool,
}

impl Log<'_, '_> {
    /// Reports the state at the next node; `estimate` is what the model believes there.
    fn arrive(&mut self, x: Tensor, estimate: Option<Estimate>) -> bool {
        let before = std::mem::replace(&mut self.estimate, estimate);
        let (Some(step), Some(before)) = (self.grid.step(self.reported), before) else {
            return true;
        };
        self.reported += 1;
        let progress = Progress {
            step,
            point: Point { x, estimate: before },
            evaluations: self.model.evaluations(),
        };
        if (self.observe)(&progress).is_break() {
            self.stopped = self.reported < self.grid.step_count();
            return false;
        }
        true
    }

    /// One exponential step, with the nodes that it passes.
    fn jump(&mut self, x: &Tensor, from: NoiseLevel, to: NoiseLevel) -> std::result::Result<Tensor, Failure> {
        let attempt = self.attempts;
        self.attempts += 1;
        let mut take = || -> Result<Tensor> {
            let estimate = estimate(self.model, x, from)?;
            self.estimate.get_or_insert_with(|| estimate.clone());
            let schedule = self.grid.schedule().clone();
            let at = |to: NoiseLevel| -> Result<Tensor> {
                let schedule: &dyn Schedule = schedule.as_ref();
                let step = Step {
                    schedule,
                    from,
                    to,
                    index: 0,
                    count: 1,
                };
                let x = exponential(&estimate, &step)?;
                check_finite("the state after the step", &x)?;
                Ok(x)
            };
            while let Some(node) = self.grid.step(self.reported).map(|step| step.to) {
                if ahead(from, to, to, node) {
                    break;
                }
                let x = at(node)?;
                if !self.arrive(x.clone(), Some(estimate.clone())) {
                    return Ok(x);
                }
            }
            at(to)
        };
        take().map_err(|error| Failure {
            attempt,
            time: from.t,
            error,
        })
    }

    /// The method's own part of the way.
    fn travel<M: Ends>(
        &mut self,
        method: &mut M,
        control: &Control,
        x: Tensor,
        enter: NoiseLevel,
        leave: NoiseLevel,
    ) -> std::result::Result<Tensor, Failure> {
        let (from, end) = (method.position(enter), method.position(leave));
        let failed = |error: Error| Failure {
            attempt: 0,
            time: enter.t,
            error,
        };
        let (lengths, belief) = method.start(&x, from, end).map_err(failed)?;
        if self.estimate.is_none() {
            self.estimate = Some(M::estimate(&x, belief, enter).map_err(failed)?);
        }
        let schedule = self.grid.schedule().clone();
        let between: Vec<NoiseLevel> = self.grid.times()[1..]
            .iter()
            .map(|t| schedule.level(*t))
            .filter(|at| ahead(enter, leave, enter, *at) && ahead(enter, leave, *at, leave))
            .collect();
        let mut nodes: Vec<f64> = between.iter().map(|at| method.position(*at)).collect();
        nodes.push(end);
        let before = self.attempts;
        let mut visit = |attempt: usize, node: usize, x: Tensor, belief: Tensor| -> Result<bool> {
            let estimate = match between.get(node) {
                Some(at) => Some(M::estimate(&x, belief, *at)?),
                None => None,
            };
            self.attempts = before + attempt + 1;
            Ok(self.arrive(x, estimate))
        };
        let (x, attempts, stopped_at) = travel(method, control, x, (from, lengths), &nodes, &mut visit)?;
        self.attempts = before + attempts;
        if let Some(x) = stopped_at {
            return Ok(x);
        }
        // The last node of the grid, where the run does not end in a jump.
        if self.reported + 1 == self.grid.step_count() && leave == self.grid.last() {
            self.arrive(x.clone(), None);
        }
        Ok(x)
    }

    fn sampled(&self, x: Tensor) -> Sampled {
        Sampled {
            x,
            steps: self.attempts,
            evaluations: self.model.evaluations(),
            stopped: self.stopped,
        }
    }
}
