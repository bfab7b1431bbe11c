//! Family "orders": where flows lead, and how fast solvers converge to it.

use candle_core::{DType, Tensor};
use serde_json::{Value, json};
use tallow::denoisers::{ExactGaussian, Seeded};
use tallow::schedules::TimeGrid;
use tallow::solvers::Sampler;

use super::solvers::{Case, Verdict, Worst, numbers, sampler_of};

/// Errors below this are rounding; ours need only be [small](SMALL).
const ROUNDING: f64 = 1e-11;
/// What an error must be below where the case's own is rounding.
const SMALL: f64 = 1e-10;

/// Checks one case of the family; `tables` is the file's object of that name.
#[must_use]
pub fn check(case: &Value, tables: &Value) -> Verdict {
    let verdict = match case["kind"].as_str() {
        Some("flow_map") => flow_map(&Case::new(case, tables)),
        Some("convergence") => {
            let completed = completed(case);
            convergence(&Case::new(&completed, tables))
        }
        other => Ok(Verdict::Unsupported(format!("no kind is called {other:?}"))),
    };
    verdict.unwrap_or_else(Verdict::Failed)
}

/// Where the flow of normal data leads.
fn flow_map(case: &Case<'_>) -> Result<Verdict, String> {
    let schedule = case.schedule()?;
    let mixture = case.field("mixture");
    let (mean, std) = (numbers(&mixture["means"])?, numbers(&mixture["stds"])?);
    let [std] = std[..] else {
        return Ok(Verdict::Unsupported(
            "the flow of a mixture has no formula".to_owned(),
        ));
    };
    let level = |end: &str| -> Result<_, String> {
        let t = case.field(end)["t"]
            .as_f64()
            .ok_or(format!("{end}.t is missing"))?;
        schedule.checked_level(t).map_err(|error| error.to_string())
    };
    let mut worst = Worst::new(case);
    let (from, to) = (level("start")?, level("end")?);
    let stds = vec![std; mean.len()];
    let model = ExactGaussian::new(mean, stds).map_err(|error| error.to_string())?;
    let x_end = model
        .flow(&case.tensor("x_start")?, from, to)
        .map_err(|error| error.to_string())?;
    worst.compare("x_end", &x_end, &numbers(case.field("x_end"))?);
    Ok(worst.verdict())
}

/// Errors of a solver for several numbers of steps.
fn convergence(case: &Case<'_>) -> Result<Verdict, String> {
    let Some(sampler) = sampler_of(case)? else {
        let name = &case.field("solver")["name"];
        return Ok(Verdict::Unsupported(format!("no solver answers to {name}")));
    };
    let exact = case.tensor("x_exact")?;
    let steps = numbers(case.field("N"))?;
    let expected = numbers(case.field("rms_error"))?;
    let tolerance = case.field("tolerance")["rel"].as_f64().unwrap_or(1e-3);
    let mut worst = Worst::new(case);
    for (index, (steps, expected)) in steps.iter().zip(&expected).enumerate() {
        let x = end(case, &*sampler, *steps as usize)?;
        if index == 0 {
            worst.compare(
                "x_final_smallest_N",
                &x,
                &numbers(case.field("x_final_smallest_N"))?,
            );
        }
        let error = root_mean_square(&(x - &exact).map_err(|error| error.to_string())?)?;
        let right = if *expected < ROUNDING {
            error < SMALL
        } else {
            (error / expected - 1.0).abs() <= tolerance
        };
        if !right {
            worst.fail(format!(
                "{steps} steps leave an error of {error:e}, not {expected:e}"
            ));
        }
    }
    Ok(worst.verdict())
}

fn end(case: &Case<'_>, sampler: &dyn Sampler, steps: usize) -> Result<Tensor, String> {
    let grid = case.field("grid");
    let time = |end: &str| grid[end].as_f64().ok_or(format!("grid.{end} is missing"));
    let (from, to, schedule) = (time("t_start")?, time("t_end")?, case.schedule()?);
    let grid = match grid["name"].as_str() {
        Some("uniform_lambda") => TimeGrid::uniform_lambda(schedule, from, to, steps),
        Some("time_uniform") => TimeGrid::uniform_between(schedule, from, to, steps),
        other => return Err(format!("no grid is called {other:?}")),
    };
    let grid = grid.map_err(|error| error.to_string())?;
    let (model, x) = (case.model()?, case.tensor("x_init")?);
    sampler
        .sample(&model, &grid, &x, &mut Seeded::new(0))
        .map_err(|error| error.to_string())
}

fn root_mean_square(x: &Tensor) -> Result<f64, String> {
    let square = x
        .to_dtype(DType::F64)
        .and_then(|x| x.sqr()?.mean_all()?.to_scalar::<f64>());
    Ok(square.map_err(|error| error.to_string())?.sqrt())
}

/// The case with the options that the format leaves to its text: inner stages lie at equal fractions of λ.
fn completed(case: &Value) -> Value {
    let mut case = case.clone();
    if let Some(solver) = case["solver"].as_object_mut() {
        solver.entry("grid").or_insert(json!("logSNR"));
        solver.entry("plan").or_insert(json!("fixed"));
    }
    case
}
