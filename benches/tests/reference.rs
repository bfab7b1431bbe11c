//! What the reference runner answers to good, wrong, foreign and broken input.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tallow_benches::reference::{Count, Report, run};

fn run_on(paths: &[PathBuf]) -> (Report, String) {
    let mut out = Vec::new();
    let report = run(paths, &mut out).unwrap();
    (report, String::from_utf8(out).unwrap())
}

/// Runs on one file of these cases.
fn run_cases(family: &str, cases: &Value) -> (Report, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cases.json");
    let file =
        json!({"format": "diffusion-reference", "format_version": 1, "family": family, "cases": cases});
    fs::write(&path, file.to_string()).unwrap();
    run_on(&[path])
}

fn karras(first: f64) -> Value {
    json!({
        "id": "karras",
        "grid": {"name": "karras", "sigma_min": 0.1, "sigma_max": 10.0, "rho": 7.0, "N": 2},
        "sigmas": [first, 0.1, 0.0],
        "tolerance": {"abs": 1e-12, "rel": 1e-11},
        "unknown field": null
    })
}

#[test]
fn a_right_case_passes_and_the_last_line_counts() {
    let (report, out) = run_cases("grids", &json!([karras(10.0)]));
    assert_eq!(report.status(), 0);
    assert!(
        out.ends_with("grids: 1 passed, 0 failed, 0 unsupported\n1 passed, 0 failed, 0 unsupported\n"),
        "{out}"
    );
}

#[test]
fn a_wrong_number_fails_and_is_located() {
    let (report, out) = run_cases("grids", &json!([karras(10.001), karras(10.0)]));
    assert_eq!(
        (report.status(), report.total()),
        (
            1,
            Count {
                passed: 1,
                failed: 1,
                unsupported: 0
            }
        )
    );
    assert!(
        out.contains("karras: largest deviation 1.000e-3 at sigmas[0]"),
        "{out}"
    );
}

#[test]
fn what_is_not_known_is_unsupported_and_no_failure() {
    let unknown = json!({"id": "x", "grid": {"name": "spiral"}, "times": [1.0]});
    let (report, out) = run_cases("grids", &json!([unknown]));
    assert_eq!((report.status(), report.total().unsupported), (0, 1));
    assert!(out.contains("no grid is named \"spiral\""), "{out}");
    let (report, out) = run_cases("poems", &json!([{"id": "x"}]));
    assert_eq!((report.status(), report.total().unsupported), (0, 1));
    assert!(out.contains("poems: 0 passed, 0 failed, 1 unsupported"), "{out}");
}

#[test]
fn cases_that_cannot_be_read_or_computed_fail_with_words() {
    let mut missing = karras(10.0);
    missing.as_object_mut().unwrap().remove("sigmas");
    let mut worded = karras(10.0);
    worded["sigmas"][1] = json!("NaN");
    let mut absurd = karras(10.0);
    absurd["grid"]["N"] = json!(1_000_000_000_000_u64);
    let mut short = karras(10.0);
    short["sigmas"] = json!([10.0]);
    let empty = json!({"kind": "endpoints", "rows": []});
    let (report, out) = run_cases("grids", &json!([missing, worded, absurd, short, {}, 7, null, []]));
    assert_eq!((report.status(), report.total().failed), (1, 8), "{out}");
    for words in [
        "a grid expects one of",
        "should be numbers",
        "between 1 and 10000000 steps",
        "case 4 has no field \"grid\"",
    ] {
        assert!(out.contains(words), "{words} not in {out}");
    }
    let (report, out) = run_cases("schedules", &json!([empty]));
    assert_eq!(report.total().failed, 1);
    assert!(out.contains("no number to compare"), "{out}");
}

#[test]
fn other_parameters_and_reversed_time_are_computed_not_looked_up() {
    // α = 1 − t = 0.25 at the reversed time 0.25; slopes change sign.
    let reversed = json!({
        "id": "flow/reversed_time", "kind": "continuous", "schedule": {"name": "linear_flow"},
        "time_convention": "t=0 noise, t=1 data (t_rev = 1 - t)",
        "t": [0.25], "alpha": [0.25], "sigma": [0.75], "lambda": [-(3.0f64.ln())],
        "dalpha_dt": [1.0], "dsigma_dt": [-1.0], "dlambda_dt": [16.0 / 3.0],
        "inverse": {"lambda": [0.0], "t": [0.5]}
    });
    let table = json!({
        "id": "table", "kind": "discrete", "schedule": {"name": "linear_beta", "T": 2, "beta_start": 0.1, "beta_end": 0.2},
        "index": [0, 1], "beta": [0.1, 0.2], "alpha_bar": [0.9, 0.72], "beta_sum": 0.3,
        "index_finite": [1], "alpha": [0.72f64.sqrt()], "sigma": [0.28f64.sqrt()], "lambda": [0.5 * (0.72f64 / 0.28).ln()],
        "posterior_variance": [0.2 * 0.1 / 0.28]
    });
    let mut beyond = table.clone();
    beyond["index"] = json!([0, 2]);
    let (report, out) = run_cases("schedules", &json!([reversed, table, beyond]));
    assert_eq!(
        report.total(),
        Count {
            passed: 2,
            failed: 1,
            unsupported: 0
        },
        "{out}"
    );
    assert!(out.contains("has no entry 2"), "{out}");
}

#[test]
fn folders_are_searched_and_foreign_files_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let deep = folder.path().join("a/b");
    fs::create_dir_all(&deep).unwrap();
    let file = json!({"format": "diffusion-reference", "format_version": 1, "family": "grids", "cases": [karras(10.0)]});
    fs::write(deep.join("grids.json"), file.to_string()).unwrap();
    for (name, text) in [
        ("MANIFEST.json", "not json"),
        ("config.json", "{"),
        ("notes.txt", "hello"),
        ("other.json", "[1]"),
    ] {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let (report, out) = run_on(&[folder.path().to_owned()]);
    assert_eq!((report.status(), report.total().passed), (0, 1), "{out}");
    assert!(out.contains("other.json: not a reference file"), "{out}");
}

#[test]
fn unreadable_input_is_status_two_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let head = r#"{"format": "diffusion-reference", "format_version": 1, "#;
    let deep = "[".repeat(100_000);
    for (name, text, words) in [
        ("broken", "{\"format\":", "is not JSON"),
        ("deep", &*deep, "is not JSON"),
        ("huge number", "[1e999]", "is not JSON"),
        ("foreign", "{}", "is not a reference file"),
        (
            "later",
            r#"{"format": "diffusion-reference", "format_version": 2}"#,
            "format version 2",
        ),
        (
            "caseless",
            &format!("{head}\"family\": \"grids\"}}"),
            "has no list \"cases\"",
        ),
        (
            "nameless",
            &format!("{head}\"cases\": []}}"),
            "names no \"family\"",
        ),
        (
            "tables",
            &format!("{head}\"family\": \"grids\", \"cases\": [], \"tables\": {{\"a\": \"b\"}}}}"),
            "should be numbers",
        ),
    ] {
        let (report, out) = run_on(&[write(name, text)]);
        assert_eq!(report.status(), 2, "{name}: {out}");
        assert!(out.contains(words), "{name}: {words} not in {out}");
    }
    let (report, _) = run_on(&[folder.path().join("nothing here")]);
    assert_eq!(report.status(), 2);
    let empty = tempfile::tempdir().unwrap();
    let (report, out) = run_on(&[empty.path().to_owned()]);
    assert_eq!(report.status(), 2, "{out}");
}

/// The full files, where they lie beside the workspace.
#[test]
fn every_stored_schedule_and_grid_agrees() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/reference");
    let files = ["schedules.json", "grids.json"].map(|name| folder.join(name));
    if !files.iter().all(|file| file.exists()) {
        return;
    }
    let (report, out) = run_on(&files);
    assert_eq!(report.status(), 0, "{out}");
    assert_eq!(
        report.total(),
        Count {
            passed: 151,
            failed: 0,
            unsupported: 0
        },
        "{out}"
    );
}
