//! All likelihood cases of the shared reference, where it is there.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::path::Path;

use tallow_benches::reference::likelihood::check;
use tallow_benches::reference::solvers::Verdict;

#[test]
fn likelihoods_are_the_reference_s() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/reference/likelihood.json");
    let Ok(bytes) = std::fs::read(&path) else {
        return;
    };
    let file: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    let (mut passed, mut failures) = (0, Vec::new());
    for case in file["cases"].as_array().unwrap() {
        match check(case, &file["tables"]) {
            Verdict::Passed => passed += 1,
            Verdict::Failed(why) | Verdict::Unsupported(why) => {
                failures.push(format!("{}: {why}", case["id"]));
            }
        }
    }
    println!("{passed} passed");
    assert!(passed > 0 && failures.is_empty(), "{}", failures.join("\n"));
}
