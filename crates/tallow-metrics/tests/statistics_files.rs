//! Statistics that NumPy saved, and their Fréchet distance by SciPy: `scripts/fixtures/statistics.py`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::path::Path;

use serde_json::Value;
use tallow_metrics::{Error, Moments, frechet_distance};

fn saved(name: &str) -> Moments {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    Moments::read_npz(folder.join(name)).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|x| x.as_f64().unwrap())
        .collect()
}

#[test]
fn what_numpy_saved_is_read_and_has_scipys_distance() {
    let expected: Value = serde_json::from_str(include_str!("data/statistics.json")).unwrap();
    let (deflated, single) = (
        saved("statistics_deflated.npz"),
        saved("statistics_stored_single.npz"),
    );
    assert_eq!(deflated.mean(), numbers(&expected["mu"]));
    assert_eq!(
        single.covariance().unwrap()[6..12],
        numbers(&expected["sigma_row_1_single"])
    );
    assert_eq!((deflated.count(), deflated.dimension()), (None, 6));
    let found = frechet_distance(&deflated, &single).unwrap().distance_squared;
    let exact = expected["frechet"].as_f64().unwrap();
    assert!((found - exact).abs() < 1e-9 * exact, "{found} for {exact}");
}

#[test]
fn what_is_written_is_read_again_and_what_is_no_statistics_names_its_file() {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("statistics.npz");
    let moments = saved("statistics_deflated.npz");
    moments.write_npz(&path).unwrap();
    assert_eq!(Moments::read_npz(&path).unwrap(), moments);
    std::fs::write(&path, b"no archive").unwrap();
    let error = Moments::read_npz(&path).unwrap_err();
    assert!(matches!(error, Error::Statistics { .. }), "{error:?}");
    let words = error.to_string();
    assert!(
        words.contains("statistics.npz") && words.contains("numpy.savez"),
        "{words}"
    );
    std::fs::remove_file(&path).unwrap();
}
