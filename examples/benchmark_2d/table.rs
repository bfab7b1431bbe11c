//! What was measured, as Markdown and CSV; what it took, apart.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::solvers::Solver;

/// Distances of samples to data.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured {
    /// Exact W2.
    pub(crate) w2: f64,
    /// Energy distance.
    pub(crate) energy: f64,
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3} · {:.4}", self.w2, self.energy)
    }
}

/// One solver on one network.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// The data set.
    pub(crate) set: &'static str,
    /// The method.
    pub(crate) method: &'static str,
    /// The solver.
    pub(crate) solver: &'static str,
    /// One for each budget.
    pub(crate) cells: Vec<Measured>,
}

/// The rows of a network: `measured` has the budgets of the first solver first.
pub(crate) fn rows(
    (set, method): (&'static str, &'static str),
    solvers: &[Solver],
    measured: &[Measured],
) -> Vec<Row> {
    let each = measured.len() / solvers.len().max(1);
    let cells = measured.chunks(each.max(1));
    let row = |(solver, cells): (&Solver, &[Measured])| Row {
        set,
        method,
        solver: solver.name,
        cells: cells.to_vec(),
    };
    solvers.iter().zip(cells).map(row).collect()
}

/// A table for each data set, as it stands in `docs/results.md`.
pub(crate) fn markdown(rows: &[Row], floors: &[(&str, Measured)], budgets: &[usize]) -> String {
    let mut text = String::from("Each cell is W2 · energy distance; the least W2 of a column is bold.\n");
    for (set, floor) in floors {
        text += &format!("\n**{set}** (two draws of the data: {floor})\n\n| method | solver |");
        budgets.iter().for_each(|budget| text += &format!(" {budget} |"));
        text += &format!("\n|---|---|{}\n", "---|".repeat(budgets.len()));
        let of_set: Vec<&Row> = rows.iter().filter(|row| row.set == *set).collect();
        let shown = |w2: f64| format!("{w2:.3}");
        let least: Vec<String> = (0..budgets.len())
            .map(|column| {
                shown(
                    of_set
                        .iter()
                        .map(|row| row.cells[column].w2)
                        .fold(f64::INFINITY, f64::min),
                )
            })
            .collect();
        for row in of_set {
            text += &format!("| {} | `{}` |", row.method, row.solver);
            for (cell, least) in row.cells.iter().zip(&least) {
                let bold = if shown(cell.w2) == *least { "**" } else { "" };
                text += &format!(" {bold}{:.3}{bold} · {:.4} |", cell.w2, cell.energy);
            }
            text.push('\n');
        }
    }
    text
}

/// One line for each set, method, solver and budget.
pub(crate) fn csv(rows: &[Row], floors: &[(&str, Measured)], budgets: &[usize]) -> String {
    let mut text = String::from("data,method,solver,evaluations,w2,energy_distance\n");
    for (set, floor) in floors {
        text += &format!(
            "{set},two draws of the data,,,{:.6},{:.6}\n",
            floor.w2, floor.energy
        );
    }
    for row in rows {
        for (budget, cell) in budgets.iter().zip(&row.cells) {
            let (set, method, solver) = (row.set, row.method, row.solver);
            text += &format!(
                "{set},{method},{solver},{budget},{:.6},{:.6}\n",
                cell.w2, cell.energy
            );
        }
    }
    text
}

/// Seconds, which differ from run to run.
#[derive(Debug, Default)]
pub(crate) struct Times {
    training: BTreeMap<&'static str, (f64, u32)>,
    sampling: BTreeMap<&'static str, BTreeMap<usize, Sampling>>,
}

/// Of all runs of a solver within a budget.
#[derive(Clone, Copy, Debug, Default)]
struct Sampling {
    seconds: f64,
    evaluations: usize,
    runs: u32,
}

impl Times {
    /// Counts a training.
    pub(crate) fn training(&mut self, method: &'static str, took: Duration) {
        let (seconds, runs) = self.training.entry(method).or_default();
        (*seconds, *runs) = (*seconds + took.as_secs_f64(), *runs + 1);
    }

    /// Counts a run of a solver.
    pub(crate) fn sampling(
        &mut self,
        solver: &'static str,
        budget: usize,
        took: Duration,
        evaluations: usize,
    ) {
        let entry = self
            .sampling
            .entry(solver)
            .or_default()
            .entry(budget)
            .or_default();
        entry.seconds += took.as_secs_f64();
        entry.evaluations += evaluations;
        entry.runs += 1;
    }

    /// Means over all networks: seconds of a training, milliseconds of a run and the evaluations it took.
    pub(crate) fn markdown(&self) -> String {
        let mut text = String::from("| method | seconds of a training |\n|---|---|\n");
        for (method, (seconds, runs)) in &self.training {
            text += &format!("| {method} | {:.1} |\n", seconds / f64::from(*runs));
        }
        text += "\n| solver | budget | evaluations | milliseconds of a run |\n|---|---|---|---|\n";
        for (solver, budgets) in &self.sampling {
            for (budget, sampling) in budgets {
                let mean = |total: f64| total / f64::from(sampling.runs);
                text += &format!(
                    "| `{solver}` | {budget} | {:.0} | {:.0} |\n",
                    mean(sampling.evaluations as f64),
                    mean(1e3 * sampling.seconds)
                );
            }
        }
        text
    }
}
