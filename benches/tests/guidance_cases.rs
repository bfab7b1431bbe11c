//! All guidance cases of the shared reference, where it is there.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::path::Path;

use tallow_benches::reference::guidance::check;
use tallow_benches::reference::solvers::Verdict;

#[test]
fn guidance_is_the_reference_s() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/reference/guidance.json");
    let Ok(bytes) = std::fs::read(&path) else {
        return;
    };
    let file: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    let (mut passed, mut failures) = (0, Vec::new());
    for case in file["cases"].as_array().unwrap() {
        let average = case["rule"]["name"] == "mean_flow_cfg";
        match check(case, &file["tables"]) {
            Verdict::Passed => passed += 1,
            // Guidance of average velocities belongs to training.
            Verdict::Unsupported(_) if average => {}
            Verdict::Failed(why) | Verdict::Unsupported(why) => {
                failures.push(format!("{}: {why}", case["id"]));
            }
        }
    }
    println!("{passed} passed");
    assert!(passed > 0 && failures.is_empty(), "{}", failures.join("\n"));
}
