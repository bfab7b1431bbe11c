//! All flow maps and convergence tables of the shared reference, where it is there.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::path::Path;

use serde_json::{Value, json};
use tallow_benches::reference::orders::check;
use tallow_benches::reference::solvers::Verdict;

fn cases() -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/reference/orders.json");
    let Ok(bytes) = std::fs::read(path) else {
        return Vec::new();
    };
    let mut file: Value = serde_json::from_slice(&bytes).unwrap();
    file["cases"].as_array_mut().map(std::mem::take).unwrap()
}

#[test]
fn errors_and_their_orders_are_the_reference_s() {
    let (mut passed, mut failures, mut unsupported) = (0, Vec::new(), Vec::new());
    for case in cases() {
        match check(&case, &Value::Null) {
            Verdict::Passed => passed += 1,
            Verdict::Failed(why) => failures.push(format!("{}: {why}", case["id"])),
            Verdict::Unsupported(why) => unsupported.push(format!("{}: {why}", case["id"])),
        }
    }
    println!("{passed} passed, unsupported:\n{}", unsupported.join("\n"));
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn a_wrong_error_and_a_wrong_end_are_seen() {
    for mut case in cases() {
        if check(&case, &Value::Null) != Verdict::Passed {
            continue;
        }
        let number = |value: &Value| value.as_f64().unwrap();
        if case["kind"] == "flow_map" {
            case["x_end"][3][1] = json!(number(&case["x_end"][3][1]) + 1e-11);
        } else if let Some(index) = case["rms_error"]
            .as_array()
            .unwrap()
            .iter()
            .position(|e| number(e) > 1e-11)
        {
            case["rms_error"][index] = json!(1.01 * number(&case["rms_error"][index]));
        }
        assert!(
            matches!(check(&case, &Value::Null), Verdict::Failed(_)),
            "{}",
            case["id"]
        );
    }
}
