//! Numbers computed by other programs: paths at a few times, tables at a few entries, and grids.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::sync::Arc;

use serde_json::Value;
use tallow_schedules::*;

fn cases(text: &str) -> Vec<Value> {
    let file: Value = serde_json::from_str(text).unwrap();
    file["cases"].as_array().unwrap().clone()
}

fn number(of: &Value, name: &str) -> f64 {
    of[name].as_f64().unwrap_or_else(|| panic!("{name} in {of}"))
}

fn count(of: &Value, name: &str) -> usize {
    of[name].as_u64().unwrap_or_else(|| panic!("{name} in {of}")) as usize
}

fn numbers(of: &Value, name: &str) -> Vec<f64> {
    let values = of[name].as_array().unwrap_or_else(|| panic!("{name} in {of}"));
    values.iter().map(|value| value.as_f64().unwrap()).collect()
}

/// Within the tolerance that the case states.
fn near(case: &Value, what: &str, got: &[f64], want: &[f64]) {
    assert_eq!(got.len(), want.len(), "{}: {what}", case["id"]);
    let (abs, rel) = (
        number(&case["tolerance"], "abs"),
        number(&case["tolerance"], "rel"),
    );
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        assert!(
            (got - want).abs() <= abs + rel * want.abs(),
            "{}: {what}[{i}] is {got}, not {want}",
            case["id"]
        );
    }
}

fn table(of: &Value, name: &str) -> Table {
    let (steps, p) = (count(of, "T"), |name| number(of, name));
    match name {
        "linear_beta" => Table::linear_beta(steps, p("beta_start"), p("beta_end")),
        "scaled_linear_beta" => Table::scaled_linear_beta(steps, p("beta_start"), p("beta_end")),
        "geodiff_sigmoid_beta" => Table::geodiff_sigmoid_beta(steps, p("beta_start"), p("beta_end")),
        "cosine_alpha_bar" => Table::cosine(steps, p("s"), p("max_beta")),
        "sigmoid_alpha_bar" => Table::sigmoid_alpha_bar(steps, p("start"), p("end"), p("tau"), p("max_beta")),
        "zero_terminal_snr" => table(of, of["base"].as_str().unwrap()).zero_terminal_snr(),
        other => panic!("no table is named {other}"),
    }
    .unwrap()
}

fn path(of: &Value) -> Arc<dyn Schedule> {
    let p = |name| number(of, name);
    let named = match of["name"].as_str().unwrap() {
        "vp_linear" => NamedSchedule::VpLinear {
            beta_0: p("beta_0"),
            beta_1: p("beta_1"),
        },
        "sub_vp" => NamedSchedule::SubVp {
            beta_0: p("beta_0"),
            beta_1: p("beta_1"),
        },
        "vp_cosine" => NamedSchedule::VpCosine { s: p("s") },
        "ve_geometric" => NamedSchedule::VeGeometric {
            sigma_min: p("sigma_min"),
            sigma_max: p("sigma_max"),
        },
        "linear_flow_sigma_min" => NamedSchedule::LinearFlowSigmaMin {
            sigma_min: p("sigma_min"),
        },
        "polynomial" => NamedSchedule::Polynomial { n: p("n") },
        plain => NamedSchedule::from_name(plain).unwrap(),
    };
    named.build().unwrap()
}

#[test]
fn tables_agree_entry_by_entry() {
    let cases = cases(include_str!("data/schedules.json"));
    let tables: Vec<_> = cases.iter().filter(|case| case["kind"] == "discrete").collect();
    assert_eq!(tables.len(), 7);
    for case in tables {
        let table = table(&case["schedule"], case["schedule"]["name"].as_str().unwrap());
        let all: Vec<usize> = numbers(case, "index").iter().map(|&n| n as usize).collect();
        let (betas, alpha_bars) = (table.betas(), table.alpha_bars());
        near(
            case,
            "beta",
            &all.iter().map(|&n| betas[n]).collect::<Vec<_>>(),
            &numbers(case, "beta"),
        );
        near(
            case,
            "alpha_bar",
            &all.iter().map(|&n| alpha_bars[n]).collect::<Vec<_>>(),
            &numbers(case, "alpha_bar"),
        );
        near(
            case,
            "beta_sum",
            &[betas.iter().sum()],
            &[number(case, "beta_sum")],
        );

        let finite: Vec<usize> = numbers(case, "index_finite")
            .iter()
            .map(|&n| n as usize)
            .collect();
        let at = |f: &dyn Fn(usize) -> f64| finite.iter().map(|&n| f(n)).collect::<Vec<_>>();
        near(
            case,
            "alpha",
            &at(&|n| table.alpha(table.time_of_index(n))),
            &numbers(case, "alpha"),
        );
        near(
            case,
            "sigma",
            &at(&|n| table.sigma(table.time_of_index(n))),
            &numbers(case, "sigma"),
        );
        near(
            case,
            "lambda",
            &at(&|n| table.lambda(table.time_of_index(n))),
            &numbers(case, "lambda"),
        );
        let posterior = at(&|n| table.posterior_variance(n).unwrap());
        near(
            case,
            "posterior_variance",
            &posterior,
            &numbers(case, "posterior_variance"),
        );
    }
}

#[test]
fn continuous_paths_agree_in_value_slope_and_inverse() {
    let cases = cases(include_str!("data/schedules.json"));
    let paths: Vec<_> = cases.iter().filter(|case| case["kind"] == "continuous").collect();
    assert_eq!(paths.len(), 10);
    for case in paths {
        let path = path(&case["schedule"]);
        let t = numbers(case, "t");
        let at = |f: &dyn Fn(f64) -> f64| t.iter().map(|&t| f(t)).collect::<Vec<_>>();
        near(case, "alpha", &at(&|t| path.alpha(t)), &numbers(case, "alpha"));
        near(case, "sigma", &at(&|t| path.sigma(t)), &numbers(case, "sigma"));
        near(case, "lambda", &at(&|t| path.lambda(t)), &numbers(case, "lambda"));
        near(
            case,
            "dalpha_dt",
            &at(&|t| path.alpha_dot(t)),
            &numbers(case, "dalpha_dt"),
        );
        near(
            case,
            "dsigma_dt",
            &at(&|t| path.sigma_dot(t)),
            &numbers(case, "dsigma_dt"),
        );
        near(
            case,
            "dlambda_dt",
            &at(&|t| path.level(t).lambda_dot()),
            &numbers(case, "dlambda_dt"),
        );
        if let Some(inverse) = case.get("inverse") {
            let times: Vec<f64> = numbers(inverse, "lambda")
                .iter()
                .map(|&l| path.inverse_lambda(l))
                .collect();
            near(case, "inverse", &times, &numbers(inverse, "t"));
        }
    }
}

#[test]
fn ends_agree_where_lambda_is_infinite() {
    let cases = cases(include_str!("data/schedules.json"));
    let ends: Vec<_> = cases.iter().filter(|case| case["kind"] == "endpoints").collect();
    assert_eq!(ends.len(), 1);
    for row in ends[0]["rows"].as_array().unwrap() {
        let level = path(&row["schedule"]).level(number(row, "t"));
        let want = [number(row, "alpha"), number(row, "sigma")];
        near(ends[0], "alpha and sigma", &[level.alpha, level.sigma], &want);
        assert!(level.lambda().is_infinite());
    }
}

#[test]
fn integer_grids_agree_exactly() {
    let mut checked = 0;
    for case in cases(include_str!("data/grids.json")) {
        let grid = &case["grid"];
        let Some(want) = case.get("timesteps") else {
            continue;
        };
        let (len, steps) = (count(grid, "T"), count(grid, "N"));
        let got = match grid["name"].as_str().unwrap() {
            "leading" => leading_steps(len, steps, count(grid, "offset")),
            "linspace" => linspace_steps(len, steps),
            "trailing" => trailing_steps(len, steps),
            "linspace_n_plus_1" => linspace_n_plus_1_steps(len, steps),
            "quadratic" => quadratic_steps(len, steps, number(grid, "fraction")),
            other => panic!("no grid is named {other}"),
        };
        assert_eq!(serde_json::json!(got.unwrap()), *want, "{}", case["id"]);
        checked += 1;
    }
    assert_eq!(checked, 40);
}

#[test]
fn grids_of_noise_levels_agree() {
    let mut checked = 0;
    for case in cases(include_str!("data/grids.json")) {
        let grid = &case["grid"];
        let p = |name| number(grid, name);
        let got = match grid["name"].as_str().unwrap() {
            "karras" => karras_sigmas(p("sigma_min"), p("sigma_max"), p("rho"), count(grid, "N")),
            "exponential" => exponential_sigmas(p("sigma_min"), p("sigma_max"), count(grid, "N")),
            "polyexponential" => {
                polyexponential_sigmas(p("sigma_min"), p("sigma_max"), p("rho"), count(grid, "N"))
            }
            "iddpm_u_table" => iddpm_u_table(count(grid, "M"), p("C1"), p("C2"))
                .map(|all| numbers(grid, "index").iter().map(|&j| all[j as usize]).collect()),
            _ => continue,
        };
        near(&case, "sigmas", &got.unwrap(), &numbers(&case, "sigmas"));
        checked += 1;
    }
    assert_eq!(checked, 16);
}

#[test]
fn order_plans_agree_exactly() {
    for case in cases(include_str!("data/grids.json")) {
        let Some(want) = case.get("orders") else { continue };
        let got = singlestep_order_plan(count(&case["grid"], "order"), count(&case["grid"], "nfe"));
        assert_eq!(serde_json::json!(got.unwrap()), *want, "{}", case["id"]);
    }
}
