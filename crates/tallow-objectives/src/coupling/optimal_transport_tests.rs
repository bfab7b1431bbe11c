use candle_core::{DType, Device};
use tallow_denoisers::{LABELS, Seeded, normal_like};

use super::*;
use crate::coupling::ConditionDistance;

fn points(count: usize, seed: u64) -> Tensor {
    normal_like(
        &Tensor::zeros((count, 2), DType::F64, &Device::Cpu).unwrap(),
        &mut Seeded::new(seed),
    )
    .unwrap()
}

fn cost(x0: &[Vec<f64>], x1: &[Vec<f64>], partners: &[usize]) -> f64 {
    let pairs = x0
        .iter()
        .zip(partners)
        .map(|(x, &j)| x.iter().zip(&x1[j]).map(|(a, b)| (a - b).powi(2)).sum::<f64>());
    pairs.sum()
}

/// All permutations of `0..n`, by inserting n − 1 everywhere into those of n − 1.
fn permutations(n: usize) -> Vec<Vec<usize>> {
    if n == 0 {
        return vec![vec![]];
    }
    let insert = |shorter: Vec<usize>| {
        (0..n).map(move |at| {
            let mut longer = shorter.clone();
            longer.insert(at, n - 1);
            longer
        })
    };
    permutations(n - 1).into_iter().flat_map(insert).collect()
}

#[test]
fn a_pairing_is_a_permutation_and_no_other_is_cheaper() {
    for n in 1..=6 {
        for seed in 0..20 {
            let (x0, x1) = (points(n, seed), points(n, seed + 100));
            let partners = OptimalTransport::new()
                .assign(&x0, &x1, &Condition::none())
                .unwrap();
            let (rows, others) = (x0.to_vec2::<f64>().unwrap(), x1.to_vec2::<f64>().unwrap());
            let all = permutations(n);
            assert!(all.contains(&partners), "{partners:?}");
            let least = all
                .iter()
                .map(|p| cost(&rows, &others, p))
                .fold(f64::INFINITY, f64::min);
            assert!(cost(&rows, &others, &partners) <= least + 1e-12);
        }
    }
}

#[test]
fn labels_stay_together_and_within_a_label_no_pairing_is_cheaper() {
    let (x0, x1) = (points(6, 3), points(6, 4));
    let labels = [1u32, 0, 1, 0, 0, 1];
    let condition = Condition::labels(Tensor::new(&labels, &Device::Cpu).unwrap());
    let same = ConditionCost::Same {
        name: LABELS.to_owned(),
    };
    let aware = OptimalTransport::with_condition(same).unwrap();
    let partners = aware.assign(&x0, &x1, &condition).unwrap();
    let allowed = |p: &[usize]| p.iter().enumerate().all(|(i, &j)| labels[i] == labels[j]);
    assert!(allowed(&partners));
    let (rows, others) = (x0.to_vec2::<f64>().unwrap(), x1.to_vec2::<f64>().unwrap());
    let least = permutations(6)
        .iter()
        .filter(|p| allowed(p))
        .map(|p| cost(&rows, &others, p))
        .fold(f64::INFINITY, f64::min);
    assert!((cost(&rows, &others, &partners) - least).abs() < 1e-12);
}

#[test]
fn a_heavy_weight_on_the_condition_keeps_each_source_with_its_own_condition() {
    let (x0, x1) = (points(8, 3), points(8, 4));
    let condition = Condition::none().with("angle", points(8, 5));
    for distance in [ConditionDistance::SquaredEuclidean, ConditionDistance::Cosine] {
        let weighted = |weight| {
            let name = "angle".to_owned();
            let cost = ConditionCost::Distance {
                name,
                weight,
                distance,
            };
            OptimalTransport::with_condition(cost)
                .unwrap()
                .assign(&x0, &x1, &condition)
                .unwrap()
        };
        assert_eq!(weighted(1e9), (0..8).collect::<Vec<_>>());
        let plain = OptimalTransport::new().assign(&x0, &x1, &condition).unwrap();
        assert_eq!(weighted(0.0), plain);
        assert_ne!(plain, (0..8).collect::<Vec<_>>());
    }
}

#[test]
fn pairing_reorders_the_source_and_leaves_data_and_condition() {
    let images = normal_like(
        &Tensor::zeros((5, 1, 3, 3), DType::F32, &Device::Cpu).unwrap(),
        &mut Seeded::new(1),
    )
    .unwrap();
    let labels = Condition::labels(Tensor::new(&[4u32, 3, 2, 1, 0], &Device::Cpu).unwrap());
    let batch = Batch::new(images.clone()).with_condition(labels).unwrap();
    let paired = OptimalTransport::new().pair(batch, &mut Seeded::new(2)).unwrap();
    let flat = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    assert_eq!(flat(&paired.x0), flat(&images));
    assert_eq!(
        paired.condition.tensor(LABELS).unwrap().to_vec1::<u32>().unwrap(),
        [4, 3, 2, 1, 0]
    );
    let mut noise = flat(&normal_like(&images, &mut Seeded::new(2)).unwrap());
    let mut kept = flat(&paired.x1.unwrap());
    noise.sort_by(f32::total_cmp);
    kept.sort_by(f32::total_cmp);
    assert_eq!(noise, kept);
}

#[test]
fn what_cannot_be_paired_is_refused_in_words() {
    let refused = |x0: &Tensor, x1: &Tensor| {
        OptimalTransport::new()
            .assign(x0, x1, &Condition::none())
            .unwrap_err()
            .to_string()
    };
    assert!(refused(&points(3, 1), &points(4, 1)).contains("[4, 2]"));
    let bad = Tensor::new(&[[0.0, f64::NAN]], &Device::Cpu).unwrap();
    assert!(refused(&points(1, 1), &bad).contains("x1 holds NaN"));
    let same = OptimalTransport::with_condition(ConditionCost::Same {
        name: "class".to_owned(),
    })
    .unwrap();
    let error = same
        .assign(&points(2, 1), &points(2, 2), &Condition::none())
        .unwrap_err()
        .to_string();
    assert!(error.contains("class"), "{error}");
    let distance = ConditionDistance::Cosine;
    let negative = ConditionCost::Distance {
        name: String::new(),
        weight: -1.0,
        distance,
    };
    assert!(
        OptimalTransport::with_condition(negative)
            .unwrap_err()
            .to_string()
            .contains("-1")
    );
}
