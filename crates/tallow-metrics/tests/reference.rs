//! Numbers of independent programs: an exact assignment and dense sums in NumPy and SciPy, in double precision.

#![allow(clippy::unwrap_used, clippy::panic)]

use serde_json::Value;
use tallow_metrics::{
    Points, Projections, Statistic, chamfer_mean, chamfer_sum, energy_distance, mmd_squared,
    sliced_wasserstein2, wasserstein1, wasserstein2,
};

fn rows(value: &Value) -> (Vec<f64>, usize) {
    let rows = value.as_array().unwrap();
    let numbers = |row: &Value| {
        row.as_array()
            .unwrap()
            .iter()
            .map(|x| x.as_f64().unwrap())
            .collect::<Vec<_>>()
    };
    (
        rows.iter().flat_map(numbers).collect(),
        rows[0].as_array().unwrap().len(),
    )
}

/// A quantity of a case, by the name that the file has for it.
fn quantity(case: &Value, name: &str, x: &Points<'_>, y: &Points<'_>) -> f64 {
    let sliced = || {
        let (directions, dimension) = rows(&case["projections"]);
        sliced_wasserstein2(x, y, &Projections::new(&directions, dimension).unwrap()).unwrap()
    };
    let mmd = |statistic| {
        let bandwidths: Vec<f64> = case["bandwidths"]
            .as_array()
            .unwrap()
            .iter()
            .map(|h| h.as_f64().unwrap())
            .collect();
        mmd_squared(x, y, &bandwidths, statistic).unwrap()
    };
    match name {
        "w1" => wasserstein1(x, y).unwrap().distance,
        "w2" => wasserstein2(x, y).unwrap().distance,
        "w2_squared" => wasserstein2(x, y).unwrap().distance.powi(2),
        "sliced_w2" => sliced().distance,
        "sliced_w2_squared" => sliced().distance.powi(2),
        "mmd2_biased" => mmd(Statistic::V),
        "mmd2_unbiased" => mmd(Statistic::U),
        "energy_biased" => energy_distance(x, y, Statistic::V).unwrap(),
        "energy_unbiased" => energy_distance(x, y, Statistic::U).unwrap(),
        "energy_first_coordinate" => {
            let first = |points: &Points<'_>| points.iter().map(|point| point[0]).collect::<Vec<_>>();
            let (x, y) = (first(x), first(y));
            energy_distance(
                &Points::new(&x, 1).unwrap(),
                &Points::new(&y, 1).unwrap(),
                Statistic::V,
            )
            .unwrap()
        }
        "sum_form" => chamfer_sum(x, y).unwrap(),
        "mean_form" => chamfer_mean(x, y).unwrap(),
        other => panic!("the file has an unknown quantity {other}"),
    }
}

#[test]
fn every_reference_number_is_reproduced() {
    let file: Value = serde_json::from_str(include_str!("data/metrics.json")).unwrap();
    let cloud = |case: &Value, side: &str| rows(&file["clouds"][case[side].as_u64().unwrap() as usize]);
    let mut checked = 0;
    for case in file["cases"].as_array().unwrap() {
        let ((x, d), (y, _)) = (cloud(case, "x"), cloud(case, "y"));
        let (x, y) = (Points::new(&x, d).unwrap(), Points::new(&y, d).unwrap());
        for (name, expected) in case["expected"].as_object().unwrap() {
            let pairs: Vec<(f64, f64)> = if name == "per_projection_w2_squared" {
                let (directions, dimension) = rows(&case["projections"]);
                let found =
                    sliced_wasserstein2(&x, &y, &Projections::new(&directions, dimension).unwrap()).unwrap();
                let expected = expected
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|value| value.as_f64().unwrap());
                found.per_projection.into_iter().zip(expected).collect()
            } else {
                vec![(quantity(case, name, &x, &y), expected.as_f64().unwrap())]
            };
            for (ours, expected) in pairs {
                assert!(
                    (ours - expected).abs() <= 1e-10 + 1e-9 * expected.abs(),
                    "{}: {name} is {ours}",
                    case["id"]
                );
                checked += 1;
            }
        }
    }
    assert_eq!(checked, 46);
}
