//! Every solver of the catalogue on problems with exact solutions: claimed and measured order, and the error within a budget
//! of network evaluations.
//!
//! cargo run --release --example solver_orders
//!
//! Solvers of ODEs run on a mixture of four normal distributions in the plane; their error is the root mean square of the
//! distance to where the flow exactly leads. Stochastic solvers run on normal data in one dimension, where the distribution
//! of their samples is known without drawing one; their error is its Wasserstein-2 distance to the right one.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;

use clap::Parser;
use serde_json::{Value, json};
use tallow::plots::Curves;
use tallow::solvers::catalogue::{Entry, SOLVERS};
use tallow::solvers::testing::{
    Measured, Path, Problem, WEAK_STEPS, error, order, steps_for, weak_error, weak_order,
};
use tallow::solvers::{Claim, Result};
use tallow_examples::Outcome;
use tallow_examples::output::OutputFolder;

/// Measures the order of every solver, and its error within 5, 10, 20 and 50 network evaluations.
///
/// Prints a table and writes it to the output folder, with a short one of a single path and a picture. Deterministic solvers
/// run on a mixture in the plane, stochastic ones on normal data, where their law is known without drawing a number. A cell
/// is empty where nothing is claimed, a run does not fit into the evaluations, or the law is not known exactly.
#[derive(Debug, Parser)]
#[command(name = "solver_orders")]
struct Options {
    /// One JSON object a line instead of a table.
    #[arg(long)]
    json: bool,
    /// Folder for the table and the picture.
    #[arg(long, value_name = "DIR", default_value = "target/solver_orders")]
    out: PathBuf,
    /// One path instead of three, and fewer steps.
    #[arg(long)]
    quick: bool,
}

/// Budgets of network evaluations in the table.
const BUDGETS: [usize; 4] = [5, 10, 20, 50];
/// Budgets in the picture.
const SHOWN: [usize; 11] = [4, 6, 8, 10, 14, 20, 28, 40, 56, 80, 112];
/// Solvers in the picture: one or two of each family, as many as there are colours.
const PICTURED: [&str; 8] = [
    "ddim", "heun", "dpmpp_2m", "ipndm", "dpmpp_3m", "unipc_2", "unipc_3", "rk4_38",
];
/// The first solver of each family in the catalogue, and the heading above it in the short table.
const FAMILIES: [(&str, &str); 10] = [
    ("euler", "Runge-Kutta in time"),
    ("adaptive_dopri5", "adaptive"),
    ("ddim", "exponential in λ, from inside the step"),
    ("dpm_solver_2m", "exponential in λ, from past steps"),
    ("adams_bashforth_2", "Adams in σ/α, from past steps"),
    ("ddpm", "DDPM"),
    ("dpm2", "DPM2, and ancestral noise"),
    ("sde_dpmpp_1", "reverse SDE"),
    ("euler_churned", "churned"),
    ("ddim_langevin", "corrected and restarted"),
];

/// A solver on a path.
struct Row {
    entry: &'static Entry,
    path: Path,
    problem: &'static str,
    measured: Option<f64>,
    errors: Vec<Option<f64>>,
}

fn main() -> Outcome {
    let options = Options::parse();
    OutputFolder::create(&options.out)?;
    let mut out = std::io::stdout().lock();
    let paths = if options.quick {
        &Path::ALL[..1]
    } else {
        &Path::ALL
    };
    let mut rows = Vec::new();
    for path in paths {
        let problem = Problem::mixture_2d(*path)?;
        for entry in SOLVERS {
            let row = measure(entry, &problem, options.quick)?;
            if options.json {
                writeln!(out, "{}", row.json())?;
            }
            rows.push(row);
        }
    }
    let table = markdown(&rows);
    if !options.json {
        write!(out, "{table}")?;
    }
    let file = |name: &str| options.out.join(name);
    fs::write(file("solver_orders.md"), &table)?;
    fs::write(file("short.md"), short(&rows))?;
    fs::write(file("solver_orders.csv"), csv(&rows))?;
    picture(&rows).save(file("solver_orders.svg"))?;
    if !options.json {
        writeln!(
            out,
            "\nwrote solver_orders.md, .csv, .svg and short.md to {}",
            options.out.display()
        )?;
    }
    Ok(())
}

fn measure(entry: &'static Entry, problem: &Problem, quick: bool) -> Result<Row> {
    let (sampler, path) = (entry.sampler(), problem.path);
    let stochastic = matches!(entry.claim, Claim::WeakOrder(_) | Claim::None);
    let few = |steps: &'static [usize]| if quick { &steps[..3] } else { steps };
    let measured = match entry.claim {
        Claim::Order(claimed) => order(&*sampler, problem, few(steps_for(claimed)))?.measured,
        Claim::WeakOrder(_) => weak_order(&*sampler, path, few(&WEAK_STEPS))?.measured,
        Claim::Tolerance | Claim::None => None,
    };
    let run = |steps: usize| {
        if stochastic {
            weak_error(&*sampler, path, steps)
        } else {
            error(&*sampler, problem, steps)
        }
    };
    let budgets = BUDGETS.iter().chain(&SHOWN);
    Ok(Row {
        entry,
        path,
        problem: if stochastic { "gaussian" } else { problem.name },
        measured,
        errors: budgets
            .map(|budget| within(*budget, entry.evaluations, &run))
            .collect(),
    })
}

/// The error of the most steps that a budget pays for; none where it does not pay for one, or the error is not known.
fn within(budget: usize, evaluations: usize, run: &dyn Fn(usize) -> Result<Measured>) -> Option<f64> {
    (1..=budget / evaluations.max(1))
        .rev()
        .take(20)
        .filter_map(|steps| run(steps).ok())
        .find(|measured| measured.evaluations <= budget)
        .map(|measured| measured.error)
}

impl Row {
    fn claimed(&self) -> Option<f64> {
        match self.entry.claim {
            Claim::Order(order) | Claim::WeakOrder(order) => Some(order),
            Claim::Tolerance | Claim::None => None,
        }
    }

    /// One line, keys in the order in which one reads them, numbers with four digits.
    fn json(&self) -> String {
        let number = |number: Option<f64>| json!(number.and_then(|x| format!("{x:.3e}").parse::<f64>().ok()));
        let mut pairs: Vec<(String, Value)> = vec![
            ("solver".into(), json!(self.entry.name)),
            ("path".into(), json!(self.path.name())),
            ("problem".into(), json!(self.problem)),
            ("evaluations_per_step".into(), json!(self.entry.evaluations)),
            ("claimed".into(), number(self.claimed())),
            ("measured".into(), number(self.measured)),
        ];
        let errors = BUDGETS.iter().zip(&self.errors);
        pairs.extend(errors.map(|(budget, error)| (format!("error_nfe{budget}"), number(*error))));
        let pairs = pairs.iter().map(|(key, value)| format!("\"{key}\": {value}"));
        format!("{{{}}}", pairs.collect::<Vec<_>>().join(", "))
    }

    /// The columns of the tables, as words.
    fn cells(&self) -> Vec<String> {
        let order = |order: Option<f64>| order.map_or(String::new(), |order| format!("{order:.2}"));
        let mut cells = vec![
            self.entry.name.to_owned(),
            self.path.name().to_owned(),
            self.problem.to_owned(),
            self.entry.evaluations.to_string(),
            order(self.claimed()),
            order(self.measured),
        ];
        let errors = self.errors.iter().take(BUDGETS.len());
        cells.extend(errors.map(|error| error.map_or(String::new(), |error| format!("{error:.1e}"))));
        cells
    }
}

fn heads() -> Vec<String> {
    let words = ["solver", "path", "problem", "NFE/step", "claimed", "measured"];
    let errors = BUDGETS.iter().map(|budget| format!("error at {budget}"));
    words.into_iter().map(str::to_owned).chain(errors).collect()
}

fn csv(rows: &[Row]) -> String {
    let lines = std::iter::once(heads()).chain(rows.iter().map(Row::cells));
    lines.fold(String::new(), |text, cells| text + &cells.join(",") + "\n")
}

fn markdown(rows: &[Row]) -> String {
    let lines: Vec<_> = std::iter::once(heads())
        .chain(rows.iter().map(Row::cells))
        .collect();
    let width = |column: usize| lines.iter().map(|cells| cells[column].len()).max().unwrap_or(0);
    let mut text = String::new();
    for (index, cells) in lines.iter().enumerate() {
        for (column, cell) in cells.iter().enumerate() {
            text += &format!("| {cell:<width$} ", width = width(column));
        }
        text.push_str("|\n");
        if index == 0 {
            for column in 0..cells.len() {
                text += &format!("|{}", "-".repeat(width(column) + 2));
            }
            text.push_str("|\n");
        }
    }
    text
}

/// The first path alone, under headings, with the columns that fit a page.
fn short(rows: &[Row]) -> String {
    let mut text =
        String::from("| solver | evaluations a step | order claimed | measured | error at 10 | at 20 |\n");
    text += "|---|---|---|---|---|---|\n";
    for row in rows.iter().filter(|row| row.path == rows[0].path) {
        if let Some((_, family)) = FAMILIES.iter().find(|(first, _)| *first == row.entry.name) {
            text += &format!("| **{family}** | | | | | |\n");
        }
        let cells = row.cells();
        let weak = if matches!(row.entry.claim, Claim::WeakOrder(_)) {
            "weak "
        } else {
            ""
        };
        let claimed = row
            .claimed()
            .map_or(String::new(), |order| format!("{weak}{order}"));
        text += &format!(
            "| `{}` | {} | {claimed} | {} | {} | {} |\n",
            cells[0], cells[3], cells[5], cells[7], cells[8]
        );
    }
    text
}

/// Errors over evaluations on the first path.
fn picture(rows: &[Row]) -> Curves {
    let first = rows[0].path;
    let title = format!("four clouds, {}: error against evaluations", first.name());
    let curves = Curves::new(title)
        .x_log("network evaluations")
        .y_log("distance to the exact flow");
    let named = |name: &&str| {
        rows.iter()
            .find(|row| row.path == first && row.entry.name == *name)
    };
    PICTURED.iter().filter_map(named).fold(curves, |curves, row| {
        let errors = SHOWN.iter().zip(&row.errors[BUDGETS.len()..]);
        let points: Vec<[f64; 2]> = errors
            .filter_map(|(budget, error)| error.map(|error| [*budget as f64, error]))
            .collect();
        curves.marked(row.entry.name, &points)
    })
}
