//! The family "grids": which steps, levels, times and orders a sampler takes.

use std::sync::Arc;

use tallow::schedules::{
    Schedule, TimeGrid, VpLinear, exponential_sigmas, flow_base_times, flow_shift_of_pixels,
    flow_shift_of_sequence, iddpm_u_table, karras_sigmas, karras_to_linear_flow, leading_steps,
    linspace_n_plus_1_steps, linspace_steps, polyexponential_sigmas, quadratic_steps, shift_time,
    shifted_flow_times, singlestep_order_plan, trailing_steps, uniform_times,
};

use super::{Comparison, Fields, File, Obstacle, path};

/// Checks the sequence that a case expects: `timesteps`, `sigmas`, `times` or `orders`.
pub(super) fn check(case: &Fields<'_>, file: &File) -> Result<Comparison, Obstacle> {
    let grid = case.object("grid")?;
    let mut comparison = Comparison::of(case)?;
    let expected = ["timesteps", "sigmas", "times", "orders"]
        .into_iter()
        .find(|name| case.has(name));
    let expected = expected.ok_or_else(|| {
        Obstacle::Wrong(
            "a grid expects one of \"timesteps\", \"sigmas\", \"times\" and \"orders\"".to_owned(),
        )
    })?;
    let got = match grid.text("name")? {
        "leading" | "linspace" | "trailing" | "linspace_n_plus_1" | "quadratic" => {
            whole(&table_steps(&grid)?)
        }
        "singlestep_order_plan" => whole(&singlestep_order_plan(grid.count("order")?, grid.count("nfe")?)?),
        "karras" | "exponential" | "polyexponential" | "karras_to_linear_flow" => sigmas(&grid)?,
        "uniform_lambda" | "time_uniform" | "time_quadratic" | "vp_time_uniform_sigma" => times(&grid, file)?,
        "flow_shift_static" | "flow_shift_resolution" => flow_shift(&grid, &mut comparison)?,
        "flow_shift_ratio" => pixel_ratio(&grid, case.numbers(expected)?.len(), &mut comparison)?,
        "iddpm_u_table" => u_table(&grid)?,
        other => return Err(Obstacle::Unsupported(format!("no grid is named {other:?}"))),
    };
    comparison.field(case, expected, &got)?;
    Ok(comparison)
}

fn whole(numbers: &[usize]) -> Vec<f64> {
    numbers.iter().map(|&number| number as f64).collect()
}

fn table_steps(grid: &Fields<'_>) -> Result<Vec<usize>, Obstacle> {
    let (len, count) = (grid.count("T")?, grid.count("N")?);
    Ok(match grid.text("name")? {
        "leading" => leading_steps(
            len,
            count,
            if grid.has("offset") {
                grid.count("offset")?
            } else {
                0
            },
        )?,
        "linspace" => linspace_steps(len, count)?,
        "trailing" => trailing_steps(len, count)?,
        "linspace_n_plus_1" => linspace_n_plus_1_steps(len, count)?,
        _ => quadratic_steps(len, count, grid.number_or("fraction", 0.8)?)?,
    })
}

fn sigmas(grid: &Fields<'_>) -> Result<Vec<f64>, Obstacle> {
    let (low, high, count) = (
        grid.number("sigma_min")?,
        grid.number("sigma_max")?,
        grid.count("N")?,
    );
    Ok(match grid.text("name")? {
        "karras" => karras_sigmas(low, high, grid.number("rho")?, count)?,
        "exponential" => exponential_sigmas(low, high, count)?,
        "polyexponential" => polyexponential_sigmas(low, high, grid.number("rho")?, count)?,
        _ => karras_to_linear_flow(low, high, grid.number("rho")?, count)?,
    })
}

/// Times on a path, or the levels there: on the path named, or the linear VP path of `beta_0` and `beta_1`.
fn times(grid: &Fields<'_>, file: &File) -> Result<Vec<f64>, Obstacle> {
    let path: Arc<dyn Schedule> = match grid.optional("schedule")? {
        Some(named) => path::schedule(&named, file)?,
        None => Arc::new(VpLinear::new(grid.number("beta_0")?, grid.number("beta_1")?)?),
    };
    let (from, to, count) = (
        grid.number_or("t_start", 1.0)?,
        grid.number("t_end")?,
        grid.count("N")?,
    );
    Ok(match grid.text("name")? {
        "uniform_lambda" => TimeGrid::uniform_lambda(path, from, to, count)?.times().to_vec(),
        "time_uniform" => TimeGrid::uniform_between(path, from, to, count)?.times().to_vec(),
        "time_quadratic" => TimeGrid::quadratic_between(path, from, to, count)?
            .times()
            .to_vec(),
        // σ/α at N times, then the clean end.
        _ => {
            let times = if count == 1 {
                vec![from]
            } else {
                uniform_times(from, to, count.saturating_sub(1))?
            };
            let level = |t: f64| path.checked_level(t).map(|level| level.noise_to_signal());
            times
                .into_iter()
                .map(level)
                .chain([Ok(0.0)])
                .collect::<Result<_, _>>()?
        }
    })
}

/// Even flow times, shifted once, then 0.
fn flow_shift(grid: &Fields<'_>, comparison: &mut Comparison) -> Result<Vec<f64>, Obstacle> {
    let count = grid.count("N")?;
    let last = match grid.has("base") {
        true => base_end(grid.text("base")?, count)?,
        false => 1.0 / count as f64,
    };
    let shift = if grid.text("name")? == "flow_shift_static" {
        grid.number("shift")?
    } else {
        let (low, high) = (
            (grid.number("L0")?, grid.number("mu0")?),
            (grid.number("L1")?, grid.number("mu1")?),
        );
        let shift = flow_shift_of_sequence(grid.number("sequence_length")?, low, high)?;
        if grid.has("mu") {
            comparison.number("mu", shift.ln(), grid.number("mu")?);
        }
        shift
    };
    Ok(shifted_flow_times(&flow_base_times(count, last)?, shift)?)
}

/// The last time of a base grid "linspace(1, END, N)", where END is a number or a fraction of N or of a number.
fn base_end(base: &str, count: usize) -> Result<f64, Obstacle> {
    let unknown = || Obstacle::Unsupported(format!("no base grid is written {base:?}"));
    let inner = base
        .trim()
        .strip_prefix("linspace(")
        .and_then(|rest| rest.strip_suffix(')'))
        .ok_or_else(unknown)?;
    let parts: Vec<&str> = inner.split(',').map(str::trim).collect();
    let (["1" | "1.0", end, "N"], steps) = (parts.as_slice(), count as f64) else {
        return Err(unknown());
    };
    let value = |text: &str| {
        if text == "N" {
            Some(steps)
        } else {
            text.parse().ok()
        }
    };
    let (over, under) = end.split_once('/').unwrap_or((end, "1"));
    let (over, under) = (
        value(over.trim()).ok_or_else(unknown)?,
        value(under.trim()).ok_or_else(unknown)?,
    );
    Ok(over / under)
}

/// Even times over [0, 1], as many as expected, shifted by √(m/n).
fn pixel_ratio(grid: &Fields<'_>, count: usize, comparison: &mut Comparison) -> Result<Vec<f64>, Obstacle> {
    let shift = flow_shift_of_pixels(grid.number("m")?, grid.number("n")?)?;
    if grid.has("shift") {
        comparison.number("shift", shift, grid.number("shift")?);
    }
    let last = count.saturating_sub(1).max(1) as f64;
    Ok((0..count)
        .map(|i| shift_time(i as f64 / last, shift))
        .collect::<Result<_, _>>()?)
}

fn u_table(grid: &Fields<'_>) -> Result<Vec<f64>, Obstacle> {
    let levels = iddpm_u_table(grid.count("M")?, grid.number("C1")?, grid.number("C2")?)?;
    if !grid.has("index") {
        return Ok(levels);
    }
    let level = |&j: &usize| levels.get(j).copied().ok_or(j);
    let chosen: Result<Vec<f64>, usize> = grid.counts("index")?.iter().map(level).collect();
    chosen.map_err(|j| Obstacle::Wrong(format!("the table of {} levels has no level {j}", levels.len())))
}
