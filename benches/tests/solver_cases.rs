//! All solver cases of the shared reference, where it is there.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::path::Path;

use tallow_benches::reference::solvers::{Verdict, check};

#[test]
fn trajectories_are_the_reference_s() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/reference/solvers");
    let Ok(entries) = std::fs::read_dir(&folder) else {
        return;
    };
    let mut failures = Vec::new();
    for entry in entries {
        let path = entry.unwrap().path();
        let file: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let mut counts = [0; 3];
        for case in file["cases"].as_array().unwrap() {
            match check(case, &file["tables"]) {
                Verdict::Passed => counts[0] += 1,
                Verdict::Failed(why) => {
                    counts[1] += 1;
                    failures.push(format!("{}: {why}", case["id"]));
                }
                Verdict::Unsupported(why) => {
                    counts[2] += 1;
                    failures.push(format!("{}: {why}", case["id"]));
                }
            }
        }
        println!(
            "{}: {} passed, {} failed, {} unsupported",
            path.display(),
            counts[0],
            counts[1],
            counts[2]
        );
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
