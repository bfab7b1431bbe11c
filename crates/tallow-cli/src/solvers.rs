//! `tallow solvers`: the catalogue, with the orders and errors that the example `solver_orders` measures.

use serde_json::json;
use tallow::solvers::Claim;
use tallow::solvers::catalogue::{self, Entry, Needs, SOLVERS};

use crate::arguments::Solvers;
use crate::error::{Blame, Result};
use crate::output::{say, say_json, table, write};

/// What was measured on the cosine path: `name,order,error at 10 evaluations,error at 20`, empty where nothing can be.
const MEASURED: &str = include_str!("../data/measured.csv");

pub(crate) fn run(arguments: &Solvers) -> Result<()> {
    let entries: Vec<&Entry> = match arguments.names.is_empty() {
        true => SOLVERS.iter().collect(),
        false => {
            let found = arguments.names.iter().map(|name| catalogue::find(name));
            found.collect::<std::result::Result<_, _>>().input()?
        }
    };
    let mut rows = Vec::new();
    for entry in entries {
        let [order, at_10, at_20] = measured(entry.name);
        if arguments.json {
            let number = |text: &str| text.parse::<f64>().ok();
            let (kind, claimed) = match entry.claim {
                Claim::Order(order) => ("order", Some(order)),
                Claim::WeakOrder(order) => ("weak order", Some(order)),
                Claim::Tolerance => ("tolerance", None),
                Claim::None => ("none", None),
            };
            say_json(&json!({
                "name": entry.name, "evaluations": entry.evaluations, "claim": kind, "claimed": claimed,
                "measured": number(order), "error_at_10": number(at_10), "error_at_20": number(at_20),
                "deterministic": deterministic(entry),
            }))?;
            continue;
        }
        let claim = match entry.claim {
            Claim::Order(order) => format!("{order}"),
            Claim::WeakOrder(order) => format!("weak {order}"),
            Claim::Tolerance => "by tolerance".to_owned(),
            Claim::None => String::new(),
        };
        let yes = if deterministic(entry) { "yes" } else { "no" };
        let evaluations = entry.evaluations.to_string();
        rows.push(
            [entry.name, &evaluations, &claim, order, at_10, at_20, yes]
                .map(str::to_owned)
                .to_vec(),
        );
    }
    if arguments.json {
        return Ok(());
    }
    let header = [
        "solver",
        "evaluations a step",
        "order",
        "measured",
        "error at 10",
        "at 20",
        "deterministic",
    ];
    write(&table(&header, &rows))?;
    say(
        "\nErrors within 10 and 20 network evaluations, on exact models and the cosine path. Solvers that are not\n\
         deterministic need models whose noise was drawn independently of the data.",
    )
}

/// Whether it draws no noise, and so is right for any coupling.
fn deterministic(entry: &Entry) -> bool {
    entry.needs == Needs::AnyCoupling
}

fn measured(name: &str) -> [&'static str; 3] {
    let lines = MEASURED.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let found = lines.into_iter().find(|cells| cells.first() == Some(&name));
    match found.as_deref() {
        Some([_, order, at_10, at_20]) => [order, at_10, at_20],
        _ => [""; 3],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measurements_are_of_solvers_of_the_catalogue_and_each_has_one_line_at_most() {
        // A solver that joins the catalogue has empty cells until `solver_orders` has measured it.
        let names: Vec<&str> = MEASURED
            .lines()
            .skip(1)
            .filter_map(|line| line.split(',').next())
            .collect();
        let known: Vec<&str> = SOLVERS.iter().map(|entry| entry.name).collect();
        assert!(names.len() >= 53);
        assert!(names.iter().all(|name| known.contains(name)), "{names:?}");
        assert_eq!(
            names.iter().collect::<std::collections::BTreeSet<_>>().len(),
            names.len()
        );
    }

    #[test]
    fn measured_orders_are_those_claimed_to_a_tenth() {
        for entry in SOLVERS {
            let [order, ..] = measured(entry.name);
            if !MEASURED.contains(&format!("\n{},", entry.name)) {
                continue;
            }
            match entry.claim {
                Claim::Order(claimed) | Claim::WeakOrder(claimed) => {
                    let measured: f64 = order.parse().unwrap();
                    // Dormand and Prince's method is above its order on this problem.
                    let above = if entry.name == "dopri5" { 0.3 } else { 0.1 };
                    assert!(
                        measured > claimed - 0.1 && measured < claimed + above,
                        "{} {measured}",
                        entry.name
                    );
                }
                Claim::Tolerance | Claim::None => assert_eq!(order, "", "{}", entry.name),
            }
        }
    }
}
