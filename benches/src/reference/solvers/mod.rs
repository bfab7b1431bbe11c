//! Family "solvers": trajectories, step by step.
//!
//! A family of solvers is one file here with a function `sampler`, and one line of `FAMILIES`.

mod adaptive;
mod ancestral;
mod exponential;
pub mod path;
mod replay;
mod stochastic;
mod velocity;

use std::cell::Cell;
use std::ops::ControlFlow;
use std::rc::Rc;
use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
pub use replay::Replay;
use serde_json::Value;
use tallow::denoisers::ExactMixture;
use tallow::schedules::{NoiseLevel, Schedule, TimeGrid};
use tallow::solvers::Sampler;

/// What a check came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Every number is within its tolerance.
    Passed,
    /// Something is not, with the largest deviation and where it is.
    Failed(String),
    /// Nobody here knows the case's solver or schedule.
    Unsupported(String),
}

/// A solver of a case's name and options: `None` where the family does not know the name.
type Maker = fn(&str, &Case<'_>) -> Option<Result<Box<dyn Sampler>, String>>;

/// Every family of solvers: one line each.
const FAMILIES: &[Maker] = &[
    velocity::sampler,
    ancestral::sampler,
    exponential::sampler,
    stochastic::sampler,
    adaptive::sampler,
];

/// Cases that are no plain trajectory of a sampler: a name's own check.
type Check = fn(&str, &Case<'_>) -> Option<Result<Verdict, String>>;
const SPECIAL: &[Check] = &[stochastic::special];

/// One case with the tables of its file.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    value: &'a Value,
    tables: &'a Value,
}

/// The sampler that a case names, with its options; `None` where no family knows the name.
///
/// # Errors
///
/// When the case names none, or an option is missing or refused.
pub fn sampler_of(case: &Case<'_>) -> Result<Option<Box<dyn Sampler>>, String> {
    let name = case.value["solver"]["name"]
        .as_str()
        .ok_or("the case names no solver")?;
    FAMILIES.iter().find_map(|family| family(name, case)).transpose()
}

/// Checks one case of the family; `tables` is the file's object of that name.
#[must_use]
pub fn check(case: &Value, tables: &Value) -> Verdict {
    let case = Case { value: case, tables };
    match case.check() {
        Ok(verdict) => verdict,
        Err(why) => Verdict::Failed(why),
    }
}

impl<'a> Case<'a> {
    /// A case with the tables of its file.
    #[must_use]
    pub fn new(value: &'a Value, tables: &'a Value) -> Self {
        Self { value, tables }
    }

    fn check(&self) -> Result<Verdict, String> {
        let name = self.value["solver"]["name"]
            .as_str()
            .ok_or("the case names no solver")?;
        if let Some(verdict) = SPECIAL.iter().find_map(|special| special(name, self)) {
            return verdict;
        }
        let Some(sampler) = sampler_of(self)? else {
            return Ok(Verdict::Unsupported(format!("no solver answers to {name}")));
        };
        let (grid, kept) = self.grid()?;
        let expected = self.steps("x_steps")?;
        let mut worst = Worst::new(self);
        let mut taken = 0;
        let step = Rc::new(Cell::new(kept.first().copied().unwrap_or(0)));
        let mut noise = self.replay(step.clone())?;
        let x = self.tensor("x_init")?;
        let result = sampler.run(&self.model()?, &grid, &x, &mut noise, &mut |progress| {
            let index = kept.get(taken).copied().unwrap_or(0);
            // Some cases keep the final state alone.
            if let Some(expected) = expected.get(index).filter(|_| expected.len() > 1) {
                worst.compare(&format!("x_steps[{index}]"), &progress.point.x, expected);
            }
            taken += 1;
            step.set(kept.get(taken).copied().unwrap_or(usize::MAX));
            ControlFlow::Continue(())
        });
        let sampled = result.map_err(|error| error.to_string())?;
        worst.compare("x_final", &sampled.x, &numbers(&self.value["x_final"])?);
        Ok(worst.verdict())
    }

    /// A number among the solver's options.
    pub fn number(&self, option: &str) -> Option<f64> {
        self.value["solver"][option].as_f64()
    }

    /// A word among the solver's options.
    pub fn word(&self, option: &str) -> Option<&str> {
        self.value["solver"][option].as_str()
    }

    /// A yes or no among the solver's options.
    pub fn flag(&self, option: &str) -> Option<bool> {
        self.value["solver"][option].as_bool()
    }

    /// Any field of the case.
    #[must_use]
    pub fn field(&self, name: &str) -> &Value {
        &self.value[name]
    }

    /// The exact posterior of the case's mixture.
    ///
    /// # Errors
    ///
    /// When the mixture is missing or impossible.
    pub fn model(&self) -> Result<ExactMixture, String> {
        let mixture = &self.value["mixture"];
        let means = mixture["means"].as_array().ok_or("mixture.means is missing")?;
        let means = means.iter().map(numbers).collect::<Result<Vec<_>, _>>()?;
        ExactMixture::new(&numbers(&mixture["weights"])?, means, numbers(&mixture["stds"])?)
            .map_err(|error| error.to_string())
    }

    /// The path of the case.
    ///
    /// # Errors
    ///
    /// When the path is missing, unknown or impossible.
    pub fn schedule(&self) -> Result<Arc<dyn Schedule>, String> {
        path::schedule_of(&self.value["schedule"], self.tables)
    }

    /// The grid of the case's nodes, and the number of the case's step behind each of its steps. Steps of length zero (a
    /// table whose first entry is visited twice) are left out.
    ///
    /// # Errors
    ///
    /// When nodes are missing, off the path or not monotone.
    pub fn grid(&self) -> Result<(TimeGrid, Vec<usize>), String> {
        let schedule = self.schedule()?;
        let nodes = self.levels(schedule.as_ref())?;
        let mut times = vec![nodes.first().ok_or("the case has no nodes")?.t];
        let mut kept = Vec::new();
        for (index, pair) in nodes.windows(2).enumerate() {
            if pair[1].t != pair[0].t {
                times.push(pair[1].t);
                kept.push(index);
            }
        }
        Ok((
            TimeGrid::new(schedule, times).map_err(|error| error.to_string())?,
            kept,
        ))
    }

    /// The levels of the nodes on a path. Table indices and times are told apart by the α and σ that stand beside them.
    ///
    /// # Errors
    ///
    /// When a node is not on the path.
    pub fn levels(&self, schedule: &dyn Schedule) -> Result<Vec<NoiseLevel>, String> {
        let nodes = &self.value["nodes"];
        let (t, alpha, sigma) = (
            numbers(&nodes["t"])?,
            numbers(&nodes["alpha"])?,
            numbers(&nodes["sigma"])?,
        );
        let count = self.tables[self.value["schedule"]["table"].as_str().unwrap_or("")]
            .as_array()
            .map_or(1, Vec::len);
        (0..t.len())
            .map(|index| {
                let (alpha, sigma) = (alpha[index], sigma[index]);
                let close = |level: &NoiseLevel| {
                    (level.alpha - alpha).abs() <= 1e-6 * alpha.abs().max(1e-3)
                        && (level.sigma - sigma).abs() <= 1e-6 * sigma.abs().max(1e-3)
                };
                let by_index = (t[index] + 1.0) / count as f64;
                // The clean end may be the table's first entry, with t = −1 beside it.
                [t[index], by_index, 1.0 / count as f64]
                    .into_iter()
                    .filter(|t| (0.0..=schedule.t_max()).contains(t))
                    .map(|t| schedule.level(t))
                    .find(close)
                    .ok_or_else(|| format!("node {index} (t = {}) is not on the path", t[index]))
            })
            .collect()
    }

    /// A tensor `[rows][d]` of the case.
    ///
    /// # Errors
    ///
    /// When the field is missing or no array of rows.
    pub fn tensor(&self, field: &str) -> Result<Tensor, String> {
        rows(&self.value[field]).map_err(|why| format!("{field}: {why}"))
    }

    /// An array of `[rows][d]` for each step, flattened.
    ///
    /// # Errors
    ///
    /// When the field is missing or no list of arrays.
    pub fn steps(&self, field: &str) -> Result<Vec<Vec<f64>>, String> {
        self.value[field]
            .as_array()
            .ok_or(format!("{field} is missing"))?
            .iter()
            .map(numbers)
            .collect()
    }

    /// The noise of the case, told the step by a cell.
    ///
    /// # Errors
    ///
    /// When a draw is no array of rows.
    pub fn replay(&self, step: Rc<Cell<usize>>) -> Result<Replay, String> {
        let draws = match self.value["noise"].as_array() {
            None => Vec::new(),
            Some(steps) => steps.iter().map(draws_of_a_step).collect::<Result<_, _>>()?,
        };
        Ok(Replay {
            draws,
            step,
            last: None,
            used: 0,
        })
    }
}

/// The absolute and relative tolerance of a case.
fn tolerance(case: &Value) -> (f64, f64) {
    let part = |name: &str| case["tolerance"][name].as_f64();
    match (part("abs"), part("rel")) {
        (None, None) => (0.0, 1e-10),
        (abs, rel) => (abs.unwrap_or(0.0), rel.unwrap_or(0.0)),
    }
}

/// The largest deviation seen, as a multiple of its tolerance.
#[derive(Debug)]
pub struct Worst {
    tolerance: (f64, f64),
    excess: f64,
    report: String,
}

impl Worst {
    /// Nothing seen yet.
    #[must_use]
    pub fn new(case: &Case<'_>) -> Self {
        Self::of(case.value)
    }

    /// The same, for a case of any family.
    #[must_use]
    pub fn of(case: &Value) -> Self {
        Self {
            tolerance: tolerance(case),
            excess: 0.0,
            report: String::new(),
        }
    }

    /// Compares a tensor with the numbers expected, in row-major order.
    pub fn compare(&mut self, what: &str, got: &Tensor, expected: &[f64]) {
        let flat = got
            .to_dtype(DType::F64)
            .and_then(|got| got.flatten_all()?.to_vec1::<f64>());
        match flat {
            Ok(got) if got.len() == expected.len() => {
                for (index, (got, expected)) in got.iter().zip(expected).enumerate() {
                    let deviation = (got - expected).abs();
                    let excess = deviation
                        / (self.tolerance.0 + self.tolerance.1 * expected.abs()).max(f64::MIN_POSITIVE);
                    // A NaN exceeds everything.
                    if !(excess <= self.excess) {
                        self.excess = if excess.is_nan() { f64::INFINITY } else { excess };
                        self.report = format!(
                            "{what}[{index}]: {got} where {expected} is expected, off by {deviation:.3e}"
                        );
                    }
                }
            }
            Ok(got) => self.fail(format!(
                "{what} has {} numbers where {} are expected",
                got.len(),
                expected.len()
            )),
            Err(error) => self.fail(format!("{what}: {error}")),
        }
    }

    /// Fails, whatever else is right.
    pub fn fail(&mut self, why: String) {
        (self.excess, self.report) = (f64::INFINITY, why);
    }

    /// What it all came to.
    #[must_use]
    pub fn verdict(self) -> Verdict {
        if self.excess <= 1.0 {
            Verdict::Passed
        } else {
            Verdict::Failed(self.report)
        }
    }
}

/// All numbers of a nested list, in row-major order.
///
/// # Errors
///
/// When something in it is no number.
pub fn numbers(value: &Value) -> Result<Vec<f64>, String> {
    match value {
        Value::Array(items) => {
            let parts = items.iter().map(numbers).collect::<Result<Vec<_>, _>>()?;
            Ok(parts.concat())
        }
        Value::Null => Err("a list of numbers is missing".to_owned()),
        other => other
            .as_f64()
            .map(|number| vec![number])
            .ok_or_else(|| format!("{other} is no number")),
    }
}

/// A nested list `[rows][d]` as a tensor of f64.
fn rows(value: &Value) -> Result<Tensor, String> {
    let count = value
        .as_array()
        .map(Vec::len)
        .ok_or("a list of rows is missing")?;
    let flat = numbers(value)?;
    let d = flat.len() / count.max(1);
    Tensor::from_vec(flat, (count, d), &Device::Cpu).map_err(|error| error.to_string())
}

/// One draw `[rows][d]`, or several [draws][rows][d].
fn draws_of_a_step(value: &Value) -> Result<Vec<Tensor>, String> {
    if value[0][0].is_array() {
        value.as_array().into_iter().flatten().map(rows).collect()
    } else {
        Ok(vec![rows(value)?])
    }
}
