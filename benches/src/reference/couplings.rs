//! The family "couplings": assignments and transport plans of small point sets.

use candle_core::{Device, Tensor};
use tallow::denoisers::{Condition, LABELS};
use tallow::objectives::coupling::{ConditionCost, ConditionDistance, OptimalTransport};
use tallow_kernels::{Marginals, Plan, Sinkhorn, assign, squared_distances, transport};

use super::{Comparison, Fields, Obstacle};

/// Checks a case by its rule.
pub(super) fn check(case: &Fields<'_>) -> Result<Comparison, Obstacle> {
    let rule = case.object("rule")?;
    match rule.text("name")? {
        "exact_assignment" => {
            cost_is(&rule, &["squared euclidean"])?;
            let mut comparison = Comparison::of(case)?;
            paired(
                case,
                &OptimalTransport::new(),
                &Condition::none(),
                &mut comparison,
            )?;
            Ok(comparison)
        }
        "class_aware_assignment" => class_aware(case, &rule),
        "condition_penalised_assignment" => penalised(case, &rule),
        "assignment_matrix" => matrix(case),
        "exact_weighted" => weighted(case, &rule),
        "sinkhorn" => entropic(case, &rule, Marginals::Fixed),
        "sinkhorn_unbalanced" => entropic(case, &rule, Marginals::Relaxed(rule.number("reg_marginal")?)),
        other => Err(Obstacle::Unsupported(format!("no coupling is called {other:?}"))),
    }
}

fn cost_is(rule: &Fields<'_>, known: &[&str]) -> Result<(), Obstacle> {
    let cost = rule.text("cost")?;
    if known.contains(&cost) {
        return Ok(());
    }
    Err(Obstacle::Unsupported(format!("the cost {cost:?} is not known")))
}

fn told(error: impl std::fmt::Display) -> Obstacle {
    Obstacle::Wrong(format!("refused: {error}"))
}

fn tensor(case: &Fields<'_>, name: &str) -> Result<Tensor, Obstacle> {
    let rows = case.rows(name)?;
    Tensor::new(rows, &Device::Cpu).map_err(told)
}

/// The pairing, and what it costs with everything in the cost.
fn paired(
    case: &Fields<'_>,
    coupling: &OptimalTransport,
    condition: &Condition,
    comparison: &mut Comparison,
) -> Result<Vec<usize>, Obstacle> {
    let partners = coupling
        .assign(&tensor(case, "x")?, &tensor(case, "y")?, condition)
        .map_err(told)?;
    let got: Vec<f64> = partners.iter().map(|&j| j as f64).collect();
    comparison.field(case, "assignment", &got)?;
    Ok(partners)
}

struct Costs {
    costs: Vec<f64>,
    columns: usize,
}

fn costs(case: &Fields<'_>) -> Result<Costs, Obstacle> {
    let (x, y) = (case.rows("x")?, case.rows("y")?);
    let features = x.first().map_or(0, Vec::len);
    let (rows, columns) = (x.len(), y.len());
    let costs = squared_distances(&x.concat(), &y.concat(), rows, columns, features).map_err(told)?;
    Ok(Costs { costs, columns })
}

impl Costs {
    fn of(&self, partners: &[usize]) -> f64 {
        let pairs = partners
            .iter()
            .enumerate()
            .map(|(i, &j)| self.costs[i * self.columns + j]);
        pairs.sum()
    }
}

/// Totals of a pairing, where the case states them.
fn totals(case: &Fields<'_>, total: f64, count: usize, comparison: &mut Comparison) -> Result<(), Obstacle> {
    for (name, value) in [("total_cost", total), ("mean_cost", total / count as f64)] {
        if case.has(name) {
            comparison.field(case, name, &[value])?;
        }
    }
    Ok(())
}

fn class_aware(case: &Fields<'_>, rule: &Fields<'_>) -> Result<Comparison, Obstacle> {
    cost_is(
        rule,
        &["squared euclidean, pairs with different labels forbidden"],
    )?;
    let (labels, others) = (case.counts("labels_x")?, case.counts("labels_y")?);
    if labels != others {
        let why = "a batch has one list of labels, for data and sources alike";
        return Err(Obstacle::Unsupported(why.to_owned()));
    }
    let raw: Vec<i64> = labels.iter().map(|&label| label as i64).collect();
    let condition = Condition::labels(Tensor::new(raw, &Device::Cpu).map_err(told)?);
    let mut comparison = Comparison::of(case)?;
    let aware = OptimalTransport::with_condition(ConditionCost::Same {
        name: LABELS.to_owned(),
    })
    .map_err(told)?;
    let partners = paired(case, &aware, &condition, &mut comparison)?;
    let costs = costs(case)?;
    totals(case, costs.of(&partners), partners.len(), &mut comparison)?;
    if case.has("plain_assignment") {
        let plain = OptimalTransport::new()
            .assign(&tensor(case, "x")?, &tensor(case, "y")?, &condition)
            .map_err(told)?;
        let got: Vec<f64> = plain.iter().map(|&j| j as f64).collect();
        comparison.field(case, "plain_assignment", &got)?;
        comparison.field(case, "plain_total_cost", &[costs.of(&plain)])?;
        let mismatches = plain
            .iter()
            .zip(&labels)
            .filter(|&(&j, label)| labels[j] != *label)
            .count();
        comparison.field(case, "plain_label_mismatches", &[mismatches as f64])?;
    }
    Ok(comparison)
}

fn penalised(case: &Fields<'_>, rule: &Fields<'_>) -> Result<Comparison, Obstacle> {
    cost_is(rule, &["squared euclidean + weight * condition distance"])?;
    let distance = match rule.text("condition_distance")? {
        "squared_euclidean" => ConditionDistance::SquaredEuclidean,
        "cosine" => ConditionDistance::Cosine,
        other => {
            return Err(Obstacle::Unsupported(format!(
                "the distance {other:?} of conditions is not known"
            )));
        }
    };
    let (name, weight) = ("condition".to_owned(), rule.number("weight")?);
    let condition = Condition::none().with("condition", tensor(case, "condition")?);
    let coupling = OptimalTransport::with_condition(ConditionCost::Distance {
        name,
        weight,
        distance,
    })
    .map_err(told)?;
    let mut comparison = Comparison::of(case)?;
    let partners = paired(case, &coupling, &condition, &mut comparison)?;
    let conditions = case.rows("condition")?;
    let total = costs(case)?.of(&partners)
        + weight
            * partners
                .iter()
                .enumerate()
                .map(|(i, &j)| apart(distance, &conditions[i], &conditions[j]))
                .sum::<f64>();
    totals(case, total, partners.len(), &mut comparison)?;
    Ok(comparison)
}

/// d(a, b), written out for the total alone.
fn apart(distance: ConditionDistance, a: &[f64], b: &[f64]) -> f64 {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    match distance {
        ConditionDistance::SquaredEuclidean => a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum(),
        ConditionDistance::Cosine => 1.0 - dot(a, b) / (dot(a, a) * dot(b, b)).sqrt(),
    }
}

fn matrix(case: &Fields<'_>) -> Result<Comparison, Obstacle> {
    let rows = case.rows("cost")?;
    let columns = rows.first().map_or(0, Vec::len);
    let found = assign(&rows.concat(), rows.len(), columns).map_err(told)?;
    let mut comparison = Comparison::of(case)?;
    let got: Vec<f64> = found.columns.iter().map(|&j| j as f64).collect();
    comparison.field(case, "assignment", &got)?;
    totals(case, found.cost, rows.len(), &mut comparison)?;
    Ok(comparison)
}

fn weighted(case: &Fields<'_>, rule: &Fields<'_>) -> Result<Comparison, Obstacle> {
    cost_is(rule, &["squared euclidean"])?;
    let found = transport(&costs(case)?.costs, &case.numbers("a")?, &case.numbers("b")?).map_err(told)?;
    let mut comparison = Comparison::of(case)?;
    comparison.field(case, "plan", &found.plan)?;
    comparison.field(case, "transport_cost", &[found.cost])?;
    Ok(comparison)
}

fn entropic(case: &Fields<'_>, rule: &Fields<'_>, marginals: Marginals) -> Result<Comparison, Obstacle> {
    if rule.has("cost") {
        cost_is(rule, &["squared euclidean", "squared euclidean (not normalised)"])?;
    }
    let Costs { costs, columns, .. } = costs(case)?;
    let regularization = rule.number("reg")?;
    let sinkhorn = Sinkhorn {
        marginals,
        iterations: 100_000,
        tolerance: 1e-14,
        ..Sinkhorn::new(regularization)
    };
    let Plan { plan, .. } = sinkhorn
        .plan(&costs, &case.numbers("a")?, &case.numbers("b")?)
        .map_err(told)?;
    let mut comparison = Comparison::of(case)?;
    comparison.field(case, "plan", &plan)?;
    let moved: f64 = plan.iter().zip(&costs).map(|(mass, cost)| mass * cost).sum();
    comparison.field(case, "transport_cost", &[moved])?;
    let rows: Vec<f64> = plan.chunks(columns.max(1)).map(|row| row.iter().sum()).collect();
    let sums: Vec<f64> = (0..columns)
        .map(|j| plan.iter().skip(j).step_by(columns).sum())
        .collect();
    let entropy = |mass: &f64| {
        if *mass > 0.0 {
            mass * (mass.ln() - 1.0)
        } else {
            0.0
        }
    };
    let objective = moved + regularization * plan.iter().map(entropy).sum::<f64>();
    for (name, got) in [
        ("row_marginal", &rows),
        ("column_marginal", &sums),
        ("entropic_objective", &vec![objective]),
    ] {
        if case.has(name) {
            comparison.field(case, name, got)?;
        }
    }
    Ok(comparison)
}
