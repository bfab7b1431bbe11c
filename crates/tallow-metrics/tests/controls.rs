//! Positive and negative controls of every measure: a known difference is found, and between equal samples none is.
//!
//! A measure is judged by a permutation test: the difference is found where the value of the two samples is above those of 19
//! random ways to deal their points to two sides. Between equal samples that happens once in twenty at most, so 40 such
//! pairs give more than 8 false alarms with a probability of 2e-4. Measures that have an expectation between equal samples
//! are held against it as well.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tallow_metrics::{
    Kernel, PathEnergy, PathShape, Points, Projections, Statistic, chamfer_mean, chamfer_sum,
    classifier_two_sample_test, energy_distance, frechet_distance_of, inception_score, kernel_distance,
    max_sliced_wasserstein2, mmd, nearest_neighbour_accuracy, path_energy, path_shape, precision_recall,
    sinkhorn_divergence, sliced_wasserstein2, wasserstein1, wasserstein2,
};

const POINTS: usize = 30;
const PERMUTATIONS: usize = 19;
const PAIRS: usize = 40;
const MOST_ALARMS: usize = 8;
/// Neighbours of the measures that have some.
const NEIGHBOURS: usize = 5;

/// A value of two clouds that rises with their difference.
type Measure = fn(&Points<'_>, &Points<'_>) -> f64;
/// A sample; of the other distribution if the number is 1.
type Draw = fn(&mut ChaCha8Rng, f64) -> Vec<f64>;

fn normal(rng: &mut ChaCha8Rng) -> f64 {
    let (u, v): (f64, f64) = (rng.random(), rng.random());
    (-2.0 * (1.0 - u).ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}

/// Points of the plane, four deviations further to the right.
fn shifted(rng: &mut ChaCha8Rng, by: f64) -> Vec<f64> {
    (0..POINTS)
        .flat_map(|_| [normal(rng) + 4.0 * by, normal(rng)])
        .collect()
}

/// Probabilities of three classes, sure of one or of none.
fn classes(rng: &mut ChaCha8Rng, by: f64) -> Vec<f64> {
    let row = |rng: &mut ChaCha8Rng| {
        let powers = [0; 3].map(|_| ((3.0 - 2.5 * by) * normal(rng)).exp());
        let total: f64 = powers.iter().sum();
        powers.map(|power| power / total)
    };
    (0..POINTS).flat_map(|_| row(rng)).collect()
}

/// Paths of five places in the plane from left to right, bent upwards.
fn paths(rng: &mut ChaCha8Rng, by: f64) -> Vec<f64> {
    let path = |rng: &mut ChaCha8Rng| -> Vec<f64> {
        let (length, height, bend) = (4.0 + 0.2 * normal(rng), normal(rng), 0.3 * normal(rng) + 2.0 * by);
        let place = |k: usize| {
            let t = k as f64 / 4.0;
            [length * t, height + bend * (std::f64::consts::PI * t).sin()]
        };
        (0..5).flat_map(place).collect()
    };
    (0..POINTS).flat_map(|_| path(rng)).collect()
}

/// The states of paths that are rows.
fn states(paths: &Points<'_>) -> Vec<Vec<f64>> {
    let state = |k: usize| {
        paths
            .iter()
            .flat_map(|path| path[2 * k..2 * k + 2].to_vec())
            .collect()
    };
    (0..5).map(state).collect()
}

fn energy(paths: &Points<'_>) -> PathEnergy {
    let states = states(paths);
    let states: Vec<_> = states
        .iter()
        .map(|state| Points::new(state, 2).unwrap())
        .collect();
    path_energy(&states, &[0.0, 0.25, 0.5, 0.75, 1.0]).unwrap()
}

/// The energy above the transport distance of the ends, in units of it.
fn normalised(paths: &Points<'_>) -> f64 {
    let states = states(paths);
    let ends = [&states[0], &states[4]].map(|state| Points::new(state, 2).unwrap());
    let transport = wasserstein2(&ends[0], &ends[1]).unwrap().distance.powi(2);
    energy(paths).normalised(transport).unwrap()
}

fn shape(paths: &Points<'_>) -> PathShape {
    let states = states(paths);
    let states: Vec<_> = states
        .iter()
        .map(|state| Points::new(state, 2).unwrap())
        .collect();
    path_shape(&states).unwrap()
}

fn directions(count: u32) -> Projections {
    let angles = (0..count).map(|k| std::f64::consts::PI * f64::from(k) / f64::from(count));
    let values: Vec<f64> = angles.flat_map(|angle| [angle.cos(), angle.sin()]).collect();
    Projections::new(&values, 2).unwrap()
}

fn told(x: &Points<'_>, y: &Points<'_>) -> f64 {
    let mut rng = ChaCha8Rng::seed_from_u64(99);
    classifier_two_sample_test(x, y, &mut rng).unwrap().accuracy
}

fn discrepancy(x: &Points<'_>, y: &Points<'_>, kernel: &Kernel) -> f64 {
    mmd(x, y, kernel, Statistic::U).unwrap().squared
}

const MEASURES: &[(&str, usize, Draw, Measure)] = &[
    ("W1", 2, shifted, |x, y| wasserstein1(x, y).unwrap().distance),
    ("W2", 2, shifted, |x, y| wasserstein2(x, y).unwrap().distance),
    ("sliced W2", 2, shifted, |x, y| {
        sliced_wasserstein2(x, y, &directions(12)).unwrap().distance
    }),
    ("max-sliced W2", 2, shifted, |x, y| {
        max_sliced_wasserstein2(x, y, &directions(4)).unwrap().distance
    }),
    ("Sinkhorn divergence", 2, shifted, |x, y| {
        sinkhorn_divergence(x, y, 2.0).unwrap().divergence
    }),
    ("energy distance, V", 2, shifted, |x, y| {
        energy_distance(x, y, Statistic::V).unwrap()
    }),
    ("energy distance, U", 2, shifted, |x, y| {
        energy_distance(x, y, Statistic::U).unwrap()
    }),
    ("MMD, Gaussian", 2, shifted, |x, y| {
        discrepancy(x, y, &Kernel::Gaussian(vec![0.5, 1.0]))
    }),
    ("MMD, Laplace", 2, shifted, |x, y| {
        discrepancy(x, y, &Kernel::Laplace(vec![1.0]))
    }),
    ("MMD, inverse multiquadric", 2, shifted, |x, y| {
        discrepancy(x, y, &Kernel::InverseMultiquadric(vec![1.0]))
    }),
    ("classifier test", 2, shifted, told),
    ("Fréchet distance", 2, shifted, |x, y| {
        frechet_distance_of(x, y).unwrap().distance_squared
    }),
    ("kernel distance", 2, shifted, |x, y| {
        kernel_distance(x, y).unwrap()
    }),
    ("Inception score", 3, classes, |x, y| {
        let [a, b] = [x, y].map(|side| inception_score(side, 1).unwrap().score);
        (a - b).abs()
    }),
    ("precision", 2, shifted, |x, y| {
        -precision_recall(x, y, NEIGHBOURS).unwrap().precision
    }),
    ("recall", 2, shifted, |x, y| {
        -precision_recall(x, y, NEIGHBOURS).unwrap().recall
    }),
    ("density", 2, shifted, |x, y| {
        -precision_recall(x, y, NEIGHBOURS).unwrap().density
    }),
    ("coverage", 2, shifted, |x, y| {
        -precision_recall(x, y, NEIGHBOURS).unwrap().coverage
    }),
    ("Chamfer, sum", 2, shifted, |x, y| chamfer_sum(x, y).unwrap()),
    ("Chamfer, mean", 2, shifted, |x, y| chamfer_mean(x, y).unwrap()),
    ("neighbour accuracy", 2, shifted, |x, y| {
        nearest_neighbour_accuracy(x, y).unwrap().accuracy
    }),
    ("path energy", 10, paths, |x, y| {
        (energy(x).energy - energy(y).energy).abs()
    }),
    ("normalised path energy", 10, paths, |x, y| {
        (normalised(x) - normalised(y)).abs()
    }),
    ("turning", 10, paths, |x, y| {
        (shape(x).turning - shape(y).turning).abs()
    }),
    ("straightness", 10, paths, |x, y| {
        (shape(x).straightness() - shape(y).straightness()).abs()
    }),
];

/// Whether the value of the samples is above those of all ways in which their points are dealt anew.
fn found(measure: Measure, x: &[f64], y: &[f64], dimension: usize, rng: &mut ChaCha8Rng) -> bool {
    let of = |x: &[f64], y: &[f64]| {
        measure(
            &Points::new(x, dimension).unwrap(),
            &Points::new(y, dimension).unwrap(),
        )
    };
    let observed = of(x, y);
    let mut points: Vec<&[f64]> = x.chunks(dimension).chain(y.chunks(dimension)).collect();
    (0..PERMUTATIONS).all(|_| {
        for last in (1..points.len()).rev() {
            points.swap(last, rng.random_range(0..=last));
        }
        let (x, y) = points.split_at(POINTS);
        of(&x.concat(), &y.concat()) < observed
    })
}

#[test]
fn every_measure_finds_a_known_difference_and_seldom_one_between_equal_samples() {
    for (name, dimension, draw, measure) in MEASURES {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut count = |pairs: usize, by: f64| {
            (0..pairs)
                .filter(|_| {
                    let (x, y) = (draw(&mut rng, 0.0), draw(&mut rng, by));
                    found(*measure, &x, &y, *dimension, &mut rng)
                })
                .count()
        };
        let (alarms, hits) = (count(PAIRS, 0.0), count(5, 1.0));
        println!("{name}: {alarms} false alarms in {PAIRS}, {hits} of 5 differences");
        assert!(alarms <= MOST_ALARMS, "{name}: {alarms} false alarms");
        assert_eq!(hits, 5, "{name}");
    }
}

#[test]
fn between_equal_samples_measures_average_to_what_they_should() {
    // Unbiased ones to 0, those that tell sides apart to ½ and less (a point cannot be its own neighbour), density to 1,
    // coverage to the closed form of Naeem et al. 2020, section 3.4.
    let ratio = |k: usize| (POINTS - k) as f64 / (2 * POINTS - k) as f64;
    let coverage = 1.0 - (1..=NEIGHBOURS).map(ratio).product::<f64>();
    let apart = (POINTS as f64 - 1.0) / (2.0 * POINTS as f64 - 1.0);
    let expected = [
        ("energy distance, U", 0.0),
        ("MMD, Gaussian", 0.0),
        ("MMD, Laplace", 0.0),
        ("MMD, inverse multiquadric", 0.0),
        ("kernel distance", 0.0),
        ("classifier test", 0.5),
        ("neighbour accuracy", apart),
        ("density", -1.0),
        ("coverage", -coverage),
    ];
    for (name, exact) in expected {
        let (_, dimension, draw, measure) = MEASURES.iter().find(|measure| measure.0 == name).unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let values: Vec<f64> = (0..400)
            .map(|_| {
                let (x, y) = (draw(&mut rng, 0.0), draw(&mut rng, 0.0));
                measure(
                    &Points::new(&x, *dimension).unwrap(),
                    &Points::new(&y, *dimension).unwrap(),
                )
            })
            .collect();
        let mean = values.iter().sum::<f64>() / 400.0;
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / 399.0;
        let error = (variance / 400.0).sqrt();
        println!("{name}: {mean} ± {error} for {exact}");
        assert!(
            (mean - exact).abs() < 4.0 * error,
            "{name}: {mean} ± {error} for {exact}"
        );
    }
}
