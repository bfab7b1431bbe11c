//! The loop of an adaptive method: attempt, judge row by row, go on.

use candle_core::Tensor;
use tallow_denoisers::choose_rows;

use super::Control;
use crate::watched::check_finite;
use crate::{Error, Result};

/// A method that attempts a step of its own length with every row. A position is a place on its clock, t or λ.
pub(crate) trait Method {
    /// Its name in errors.
    const NAME: &'static str;

    /// The power of the step's length with which E falls.
    fn exponent(&self) -> f64;

    /// The factor on the step that should just be accepted.
    fn safety(&self) -> f64;

    /// The time of a position.
    fn time(&self, position: f64) -> f64;

    /// Gets ready at `x`; the lengths of the first steps, and what is believed there.
    fn start(&mut self, x: &Tensor, from: f64, to: f64) -> Result<(Vec<f64>, Tensor)>;

    /// Tries to take each row from its position to another (or to stay, where it has arrived).
    fn attempt(&mut self, x: &Tensor, from: &[f64], to: &[f64]) -> Result<Attempt>;

    /// Learns which rows went on, before the next attempt.
    fn accept(&mut self, rows: &[bool]) -> Result<()>;

    /// State and belief at shares of the last attempt's steps, whether accepted or not.
    fn within(&self, shares: &[f64]) -> Result<(Tensor, Tensor)>;
}

/// What an attempt came to.
pub(crate) struct Attempt {
    /// Where it leads.
    pub(crate) next: Tensor,
    /// E of each row.
    pub(crate) errors: Vec<f64>,
}

/// An error with the attempt and the time at which it arose.
pub(crate) struct Failure {
    pub(crate) attempt: usize,
    pub(crate) time: f64,
    pub(crate) error: Error,
}

/// The factors between one step and the next.
const SHORTEST: f64 = 0.2;
const LONGEST: f64 = 5.0;

/// What sees the nodes on the way: attempt, node, state and belief, in order. An answer of false stops the run.
pub(crate) type Visit<'v> = &'v mut dyn FnMut(usize, usize, Tensor, Tensor) -> Result<bool>;

/// Takes `x` from a position, with steps that have the lengths given at first, through `nodes`, of which the last is the
/// end. Answers with the state there, the number of attempts, and the state at the node where `visit` stopped.
pub(crate) fn travel<M: Method>(
    method: &mut M,
    control: &Control,
    x: Tensor,
    (from, lengths): (f64, Vec<f64>),
    nodes: &[f64],
    visit: Visit<'_>,
) -> std::result::Result<(Tensor, usize, Option<Tensor>), Failure> {
    let Some((&end, between)) = nodes.split_last() else {
        return Ok((x, 0, None));
    };
    let failed = |attempt: usize, time: f64| move |error: Error| Failure { attempt, time, error };
    let mut rows = Rows::new(from, end, lengths);
    let mut visits = Visits::new(between, x.dims().first().copied().unwrap_or(0));
    let mut x = x;
    for attempt in 0..control.max_steps {
        if rows.arrived() {
            return Ok((x, attempt, None));
        }
        let time = method.time(rows.slowest());
        let mut round = || -> Result<Option<Tensor>> {
            let to = rows.targets();
            let Attempt { next, errors } = method.attempt(&x, &rows.position, &to)?;
            let accepted = rows.judge::<M>(method, control, &errors, &to)?;
            let stopped = visits.pass(method, [&rows.position, &to], &accepted, attempt, visit)?;
            method.accept(&accepted)?;
            rows.go_on(&accepted, &to);
            x = choose_rows(&accepted, &next, &x)?.detach();
            check_finite("the state after the step", &x)?;
            Ok(stopped)
        };
        if let Some(stopped) = round().map_err(failed(attempt, time))? {
            return Ok((x, attempt + 1, Some(stopped)));
        }
    }
    if rows.arrived() {
        return Ok((x, control.max_steps, None));
    }
    let (t, row) = (method.time(rows.slowest()), rows.slowest_row());
    let why = format!(
        "{} steps are not enough: raise max_steps or the tolerances (rtol {}, atol {})",
        control.max_steps, control.rtol, control.atol
    );
    let solver = M::NAME;
    Err(failed(control.max_steps, t)(Error::Stuck { solver, row, t, why }))
}

/// Where each row is, and how far it means to go next.
struct Rows {
    position: Vec<f64>,
    length: Vec<f64>,
    rejections: Vec<usize>,
    from: f64,
    end: f64,
}

impl Rows {
    fn new(from: f64, end: f64, lengths: Vec<f64>) -> Self {
        Self {
            position: vec![from; lengths.len()],
            rejections: vec![0; lengths.len()],
            length: lengths,
            from,
            end,
        }
    }

    fn arrived(&self) -> bool {
        self.position.iter().all(|position| *position == self.end)
    }

    fn slowest_row(&self) -> usize {
        let left = |row: &usize| (self.end - self.position[*row]).abs();
        (0..self.position.len())
            .max_by(|a, b| left(a).total_cmp(&left(b)))
            .unwrap_or(0)
    }

    fn slowest(&self) -> f64 {
        self.position.get(self.slowest_row()).copied().unwrap_or(self.end)
    }

    /// Where each row means to be after the attempt: at the end rather than just before it.
    fn targets(&self) -> Vec<f64> {
        let direction = (self.end - self.from).signum();
        let target = |(position, length): (&f64, &f64)| {
            let left = (self.end - position).abs();
            if *length * 1.01 >= left {
                self.end
            } else {
                position + direction * length
            }
        };
        self.position.iter().zip(&self.length).map(target).collect()
    }

    /// Which rows may go on; sets the lengths of the next steps.
    fn judge<M: Method>(
        &mut self,
        method: &M,
        control: &Control,
        errors: &[f64],
        to: &[f64],
    ) -> Result<Vec<bool>> {
        let mut accepted = vec![false; errors.len()];
        for (row, &error) in errors.iter().enumerate() {
            let tried = (to[row] - self.position[row]).abs();
            if self.position[row] == self.end {
                continue;
            }
            let ideal = method.safety() * error.powf(-1.0 / method.exponent());
            if error <= 1.0 {
                accepted[row] = true;
                // After a rejection the step does not grow at once.
                let longest = if self.rejections[row] > 0 { 1.0 } else { LONGEST };
                self.length[row] = tried * ideal.clamp(SHORTEST, longest);
                self.rejections[row] = 0;
                continue;
            }
            // A NaN, of an overflow, is the largest error.
            self.length[row] = tried
                * if ideal.is_nan() {
                    SHORTEST
                } else {
                    ideal.clamp(SHORTEST, 0.9)
                };
            self.rejections[row] += 1;
            let way = (self.end - self.from).abs();
            let why = if self.length[row] < control.min_step * way
                || self.position[row] + self.length[row] == self.position[row]
            {
                format!(
                    "a step of {} is not short enough (E = {error}): the model may jump there",
                    tried
                )
            } else if self.rejections[row] > control.max_rejections {
                format!(
                    "{} attempts at one step were rejected (E = {error}): raise the tolerances",
                    self.rejections[row]
                )
            } else {
                continue;
            };
            let (solver, t) = (M::NAME, method.time(self.position[row]));
            return Err(Error::Stuck { solver, row, t, why });
        }
        Ok(accepted)
    }

    fn go_on(&mut self, accepted: &[bool], to: &[f64]) {
        for (row, _) in accepted.iter().enumerate().filter(|(_, accepted)| **accepted) {
            self.position[row] = to[row];
        }
    }
}

/// The nodes on the way, each of which rows pass at their own time.
struct Visits<'a> {
    nodes: &'a [f64],
    next: usize,
    waiting: Vec<Waiting>,
    rows: usize,
}

/// What rows left at a node that others have yet to pass.
struct Waiting {
    passed: Vec<bool>,
    state: Option<(Tensor, Tensor)>,
}

impl<'a> Visits<'a> {
    fn new(nodes: &'a [f64], rows: usize) -> Self {
        Self {
            nodes,
            next: 0,
            waiting: Vec::new(),
            rows,
        }
    }

    /// Notes the nodes that the accepted steps pass, and shows those that all rows have passed; the state at which the
    /// run shall stop, if it shall.
    fn pass<M: Method>(
        &mut self,
        method: &M,
        [from, to]: [&[f64]; 2],
        accepted: &[bool],
        attempt: usize,
        visit: Visit<'_>,
    ) -> Result<Option<Tensor>> {
        for index in self.next..self.nodes.len() {
            let node = self.nodes[index];
            let passes: Vec<bool> = (0..self.rows)
                .map(|row| accepted[row] && (node - from[row]) * (to[row] - node) >= 0.0 && node != from[row])
                .collect();
            if !passes.contains(&true) {
                // Nodes lie in order: what no row passes here, none passes beyond, unless it had passed this one before.
                if self.waiting.len() <= index - self.next {
                    break;
                }
                continue;
            }
            while self.waiting.len() <= index - self.next {
                let passed = vec![false; self.rows];
                self.waiting.push(Waiting { passed, state: None });
            }
            let share = |row: usize| {
                if passes[row] {
                    (node - from[row]) / (to[row] - from[row])
                } else {
                    0.0
                }
            };
            let (x, belief) = method.within(&(0..self.rows).map(share).collect::<Vec<_>>())?;
            let waiting = &mut self.waiting[index - self.next];
            waiting.state = Some(match waiting.state.take() {
                None => (x, belief),
                Some((old, old_belief)) => (
                    choose_rows(&passes, &x, &old)?,
                    choose_rows(&passes, &belief, &old_belief)?,
                ),
            });
            waiting
                .passed
                .iter_mut()
                .zip(&passes)
                .for_each(|(passed, now)| *passed |= now);
        }
        while self
            .waiting
            .first()
            .is_some_and(|waiting| !waiting.passed.contains(&false))
        {
            let Waiting { state, .. } = self.waiting.remove(0);
            let index = self.next;
            self.next += 1;
            if let Some((x, belief)) = state
                && !visit(attempt, index, x.clone(), belief)?
            {
                return Ok(Some(x));
            }
        }
        Ok(None)
    }
}
