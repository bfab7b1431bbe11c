//! `tallow schedules`: the paths from data to noise that a configuration can name.

use serde_json::json;
use tallow::plots::Curves;
use tallow::schedules::{NamedSchedule, Schedule};

use crate::arguments::Schedules;
use crate::artwork::Format;
use crate::error::{Blame, Error, Result};
use crate::files::{make_folder_of, unwritten};
use crate::objective::parameters;
use crate::output::{say, say_json, table, write};

/// Points of a curve.
const POINTS: usize = 200;

pub(crate) fn run(arguments: &Schedules) -> Result<()> {
    let names: Vec<&str> = match arguments.names.is_empty() {
        true => NamedSchedule::NAMES.to_vec(),
        false => arguments.names.iter().map(String::as_str).collect(),
    };
    if let Some(file) = &arguments.plot
        && !matches!(Format::of(file, false), Ok(Format::Picture))
    {
        return Err(Error::input(format!(
            "--plot {}: the ending must be .png or .svg",
            file.display()
        )));
    }
    let mut rows = Vec::new();
    let mut plot = Curves::new("How fast each path turns data to noise")
        .x("t / t_max")
        .y("λ = ln(α/σ)");
    for name in names {
        let named = NamedSchedule::from_name(name).input()?;
        let path = named.build().input()?;
        let curve = curve(path.as_ref());
        plot = plot.line(name, &curve);
        let value = serde_json::to_value(&named).run()?;
        if arguments.json {
            let levels: Vec<_> = [0.25, 0.5, 0.75, 1.0]
                .map(|part| level(path.as_ref(), part))
                .to_vec();
            say_json(&json!({ "schedule": value, "t_max": path.t_max(), "levels": levels }))?;
            continue;
        }
        let mut row = vec![parameters(&value)];
        row.extend([0.25, 0.5, 0.75].map(|part| format!("{:.2}", path.level(part * path.t_max()).lambda())));
        let end = path.level(path.t_max());
        row.extend([format!("{:.4}", end.alpha), format!("{:.4}", end.sigma)]);
        rows.push(row);
    }
    if !arguments.json {
        write(&table(
            &["schedule", "λ(¼)", "λ(½)", "λ(¾)", "α at the end", "σ at the end"],
            &rows,
        ))?;
    }
    match &arguments.plot {
        None => Ok(()),
        Some(file) => {
            make_folder_of(file)?;
            plot.save(file).map_err(|error| unwritten(file, &error))?;
            match arguments.json {
                true => say_json(&json!({ "plot": file.display().to_string() })),
                false => say(&format!("\ndrawn to {}", file.display())),
            }
        }
    }
}

/// λ between the ends of the path, where it is finite.
fn curve(path: &dyn Schedule) -> Vec<[f64; 2]> {
    (1..POINTS)
        .map(|point| {
            let part = point as f64 / POINTS as f64;
            [part, path.level(part * path.t_max()).lambda()]
        })
        .collect()
}

fn level(path: &dyn Schedule, part: f64) -> serde_json::Value {
    let level = path.level(part * path.t_max());
    json!({ "t": level.t, "alpha": level.alpha, "sigma": level.sigma, "lambda": level.lambda() })
}
