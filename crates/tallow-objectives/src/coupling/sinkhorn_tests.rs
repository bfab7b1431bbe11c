use candle_core::{DType, Device, Tensor};
use tallow_denoisers::{Condition, LABELS, Seeded};

use super::*;

fn column(values: &[f64]) -> Tensor {
    Tensor::from_vec(values.to_vec(), (values.len(), 1), &Device::Cpu).unwrap()
}

fn values(tensor: &Tensor) -> Vec<f64> {
    tensor
        .to_dtype(DType::F64)
        .unwrap()
        .flatten_all()
        .unwrap()
        .to_vec1()
        .unwrap()
}

#[test]
fn partners_are_drawn_as_often_as_the_plan_says() {
    // Two data and two sources: P = [[p, ½ − p], [½ − p, p]] with p/(½ − p) = exp((c01 + c10 − c00 − c11)/2ε).
    let (x0, x1) = (column(&[0.0, 1.0]), column(&[0.2, 0.9]));
    let ratio = f64::exp((0.81 + 0.64 - 0.04 - 0.01) / 2.0 / 0.5);
    let expected = ratio / (1.0 + ratio);
    let coupling = SinkhornCoupling::new(Regularization::Absolute(0.5))
        .unwrap()
        .with_stop(1000, 1e-12)
        .unwrap();
    let mut rng = Seeded::new(3);
    for draw in [Draw::EachRow, Draw::Pairs] {
        let coupling = coupling.clone().with_draw(draw);
        let (mut near, total) = (0.0, 4000.0);
        for _ in 0..2000 {
            let batch = Batch::new(x0.clone()).with_source(x1.clone()).unwrap();
            let paired = coupling.pair(batch, &mut rng).unwrap();
            let pairs = values(&paired.x0).into_iter().zip(values(&paired.x1.unwrap()));
            near += pairs.filter(|(a, b)| (a - b).abs() < 0.5).count() as f64;
        }
        let bound = 4.0 * (expected * (1.0 - expected) / total).sqrt();
        assert!(
            (near / total - expected).abs() < bound,
            "{draw:?}: {} for {expected}",
            near / total
        );
    }
}

#[test]
fn little_regularization_pairs_as_the_assignment_and_much_as_chance() {
    let (x0, x1) = (column(&[0.0, 1.0, 2.0, 3.0]), column(&[3.1, 0.1, 2.1, 1.1]));
    let moved = |part: f64| {
        let coupling = SinkhornCoupling::new(Regularization::OfMeanCost(part))
            .unwrap()
            .with_stop(5000, 1e-9)
            .unwrap();
        let mut rng = Seeded::new(1);
        let mut total = 0.0;
        for _ in 0..500 {
            let batch = Batch::new(x0.clone()).with_source(x1.clone()).unwrap();
            let paired = coupling.pair(batch, &mut rng).unwrap();
            let pairs = values(&paired.x0).into_iter().zip(values(&paired.x1.unwrap()));
            total += pairs.map(|(a, b)| (a - b).powi(2)).sum::<f64>() / 2000.0;
        }
        total
    };
    assert!((moved(0.01) - 0.01).abs() < 1e-9, "{}", moved(0.01));
    // Independent: the mean cost, 2.51.
    assert!((moved(1e6) - 2.51).abs() < 0.25, "{}", moved(1e6));
}

#[test]
fn what_is_far_from_everything_is_left_out_where_marginals_are_relaxed() {
    let (x0, x1) = (column(&[0.0, 0.1, 50.0, 0.2]), column(&[0.0, 0.1, 0.2, 0.3]));
    let coupling = SinkhornCoupling::new(Regularization::Absolute(0.1)).unwrap();
    let relaxed = coupling
        .with_marginals(Marginals::Relaxed(1.0))
        .unwrap()
        .with_stop(1000, 1e-9)
        .unwrap();
    let labels = Condition::labels(Tensor::new(&[0u32, 1, 2, 3], &Device::Cpu).unwrap());
    let mut rng = Seeded::new(1);
    for _ in 0..50 {
        let batch = Batch::new(x0.clone())
            .with_source(x1.clone())
            .unwrap()
            .with_condition(labels.clone())
            .unwrap();
        let paired = relaxed.pair(batch, &mut rng).unwrap();
        let known = paired.condition.tensor(LABELS).unwrap().to_vec1::<u32>().unwrap();
        for (value, label) in values(&paired.x0).into_iter().zip(known) {
            assert!(value < 1.0 && values(&x0)[label as usize] == value);
        }
    }
}

#[test]
fn labels_stay_together() {
    let (x0, x1) = (column(&[0.0, 1.0, 2.0, 3.0]), column(&[3.1, 0.1, 2.1, 1.1]));
    let coupling = SinkhornCoupling::new(Regularization::Absolute(100.0)).unwrap();
    let aware = coupling
        .with_condition(ConditionCost::Same {
            name: LABELS.to_owned(),
        })
        .unwrap();
    let labels = Condition::labels(Tensor::new(&[0u32, 1, 0, 1], &Device::Cpu).unwrap());
    let mut rng = Seeded::new(1);
    for _ in 0..50 {
        let batch = Batch::new(x0.clone())
            .with_source(x1.clone())
            .unwrap()
            .with_condition(labels.clone())
            .unwrap();
        let source = values(&aware.pair(batch, &mut rng).unwrap().x1.unwrap());
        for (row, value) in source.iter().enumerate() {
            let came_from = values(&x1).iter().position(|other| other == value).unwrap();
            assert_eq!(came_from % 2, row % 2);
        }
    }
}

#[test]
fn an_entry_without_mass_is_never_drawn() {
    let sums = cumulative(&[0.0, 0.5, 0.0, 0.5, 0.0]);
    for uniform in [0.0, 0.3, 0.5, 0.99, 1.0 - f64::EPSILON] {
        assert!([1, 3].contains(&drawn(&sums, uniform)), "{uniform}");
    }
}

#[test]
fn settings_out_of_range_are_refused_in_words() {
    let error = SinkhornCoupling::new(Regularization::OfMeanCost(0.0))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("regularization") && error.contains("got 0"),
        "{error}"
    );
    let fine = SinkhornCoupling::schrodinger_bridge(0.5).unwrap();
    assert_eq!(fine.regularization, Regularization::Absolute(0.5));
    assert!(
        fine.clone()
            .with_stop(0, 0.0)
            .unwrap_err()
            .to_string()
            .contains("iterations")
    );
    assert!(fine.clone().with_stop(1, f64::NAN).is_err());
    assert!(fine.with_marginals(Marginals::Relaxed(-1.0)).is_err());
    assert!(SinkhornCoupling::schrodinger_bridge(-1.0).is_err());
}
