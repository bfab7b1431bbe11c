//! All checks of one sampler, in one call.

use std::fmt;

use tallow_schedules::TimeGrid;

use super::laws::{EVERYWHERE, ON_A_GRID};
use super::{Path, Problem, Setting, WEAK_STEPS, order, steps_for, weak_order};
use crate::{Claim, Result, Sampler};

/// What one check of a sampler found.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// What was checked.
    pub what: String,
    /// What was measured where it holds; what is wrong where it does not.
    pub outcome: std::result::Result<String, String>,
}

/// What all checks of a sampler found. Its [`Display`](fmt::Display) is a line for each.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// One entry for each check.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Whether everything holds.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.findings.iter().all(|finding| finding.outcome.is_ok())
    }

    fn add(&mut self, what: String, outcome: Result<std::result::Result<String, String>>) {
        let outcome = outcome.unwrap_or_else(|error| Err(error.to_string()));
        self.findings.push(Finding { what, outcome });
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Finding { what, outcome } in &self.findings {
            match outcome {
                Ok(measured) if measured.is_empty() => writeln!(f, "passed  {what}")?,
                Ok(measured) => writeln!(f, "passed  {what}: {measured}")?,
                Err(why) => writeln!(f, "FAILED  {what}: {why}")?,
            }
        }
        Ok(())
    }
}

/// Checks a sampler: the order that is claimed, on two mixtures and three paths, or the weak order on three paths; and the
/// [`laws`](super::laws).
///
/// Orders must be met within 0.15 (orders from 5 on: at least 0.15 below, since rounding comes first), weak orders within
/// 0.1. Takes about a second.
#[must_use]
pub fn check(sampler: &dyn Sampler, claim: Claim) -> Report {
    let mut report = Report::default();
    match claim {
        Claim::Order(claimed) => orders(&mut report, sampler, claimed),
        Claim::WeakOrder(claimed) => weak_orders(&mut report, sampler, claimed),
        Claim::Tolerance | Claim::None => {}
    }
    laws(&mut report, sampler);
    report
}

fn orders(report: &mut Report, sampler: &dyn Sampler, claimed: f64) {
    let problems = match Problem::nonlinear() {
        Ok(problems) => problems,
        Err(error) => return report.add("exact problems".to_owned(), Err(error)),
    };
    for problem in problems {
        let outcome = order(sampler, &problem, steps_for(claimed)).map(|order| {
            if order.supports(claimed, 0.15) {
                Ok(order.to_string())
            } else {
                Err(order.to_string())
            }
        });
        report.add(format!("order {claimed} on {problem:?}"), outcome);
    }
}

fn weak_orders(report: &mut Report, sampler: &dyn Sampler, claimed: f64) {
    for path in Path::ALL {
        let outcome = weak_order(sampler, path, &WEAK_STEPS).map(|order| {
            if order.agrees(claimed, 0.1) {
                Ok(order.to_string())
            } else {
                Err(order.to_string())
            }
        });
        report.add(format!("weak order {claimed} on {}", path.name()), outcome);
    }
}

fn laws(report: &mut Report, sampler: &dyn Sampler) {
    for (name, law) in EVERYWHERE {
        let outcome = [1, 2, 7].into_iter().try_for_each(|steps| {
            Setting::all(steps)?
                .iter()
                .try_for_each(|setting| law(sampler, setting))
        });
        report.add((*name).to_owned(), outcome.map(|()| Ok(String::new())));
    }
    for (name, law) in ON_A_GRID {
        let outcome = TimeGrid::uniform(Path::VpLinear.schedule(), 6)
            .map_err(Into::into)
            .and_then(|grid| law(sampler, &grid));
        report.add((*name).to_owned(), outcome.map(|()| Ok(String::new())));
    }
}
