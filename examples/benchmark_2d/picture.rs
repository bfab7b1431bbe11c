//! W2 over evaluations: a row of panels for each data set, a panel for each solver, a curve for each method.

use tallow::plots::{Curves, Style};

use crate::table::{Measured, Row};

/// The range of W2 that is shown: runs of too few steps for their method lie above.
const SHOWN: std::ops::Range<f64> = 0.06..4.0;

/// The picture.
pub(crate) fn picture(rows: &[Row], floors: &[(&str, Measured)], budgets: &[usize]) -> Curves {
    let mut solvers: Vec<&str> = Vec::new();
    for row in rows {
        if !solvers.contains(&row.solver) {
            solvers.push(row.solver);
        }
    }
    let mut curves =
        Curves::new("W2 between samples and data, over network evaluations: five methods, one network")
            .x_log("network evaluations")
            .y_log("W2")
            .y_bounds(SHOWN)
            .style(Style::light().columns(solvers.len()).panel_size(200, 150));
    let (first, last) = (
        budgets.first().copied().unwrap_or(1),
        budgets.last().copied().unwrap_or(1),
    );
    for (set, floor) in floors {
        for solver in &solvers {
            curves = curves.panel(format!("{set}, {solver}"));
            for row in rows.iter().filter(|row| row.set == *set && row.solver == *solver) {
                let points: Vec<[f64; 2]> = budgets
                    .iter()
                    .zip(&row.cells)
                    .map(|(budget, cell)| [*budget as f64, cell.w2])
                    .collect();
                curves = curves.marked(row.method, &points);
            }
            let level = [[first as f64, floor.w2], [last as f64, floor.w2]];
            curves = curves.line("two draws of the data", &level);
        }
    }
    curves
}
