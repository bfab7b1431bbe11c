//! Methods in exponential form at the ends of paths, in runs of one step, upwards, and at odd step lengths.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::ops::ControlFlow;
use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use tallow_denoisers::{ExactGaussian, ExactMixture, Seeded};
use tallow_schedules::{RectifiedFlow, Schedule, TimeGrid, Trigonometric, Ve, VpCosine, VpLinear, VpSigmoid};
use tallow_solvers::{AdamsBashforth, Ddim, Deis, Entry, Needs, Sampler, UniPc, catalogue, start};

fn ours() -> Vec<&'static Entry> {
    let names = [
        "dpm_", "dpmpp_2s", "dpmpp_3s", "dpmpp_2m", "dpmpp_3m", "uni", "deis", "adams", "ipndm", "pndm",
        "plms",
    ];
    let named = |entry: &&Entry| {
        entry.needs == Needs::AnyCoupling && names.iter().any(|name| entry.name.starts_with(name))
    };
    catalogue::SOLVERS.iter().filter(named).collect()
}

fn paths() -> Vec<Arc<dyn Schedule>> {
    vec![
        Arc::new(VpLinear::default()),
        Arc::new(VpCosine::default()),
        Arc::new(VpSigmoid::default()),
        Arc::new(RectifiedFlow::default()),
        Arc::new(Trigonometric),
        Arc::new(Ve::default()),
    ]
}

fn values(x: &Tensor) -> Vec<f64> {
    x.flatten_all().unwrap().to_vec1().unwrap()
}

fn distance(a: &Tensor, b: &Tensor) -> f64 {
    values(a)
        .iter()
        .zip(values(b))
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f64::max)
}

fn noise_for(grid: &TimeGrid) -> Tensor {
    start(grid, (16, 1), DType::F64, &Device::Cpu, &mut Seeded::new(5)).unwrap()
}

/// From the noisy end of each path (λ = −∞ on four of them) to σ = 0. Data that are one point come out exactly.
#[test]
fn whole_paths_in_few_steps_end_on_the_datum() {
    let point = ExactGaussian::new(vec![0.7], vec![0.0]).unwrap();
    for entry in ours() {
        for path in paths() {
            for steps in [1, 2, 3, 4, 7, 20] {
                let grid = TimeGrid::uniform(path.clone(), steps).unwrap();
                let x = noise_for(&grid);
                let x = entry
                    .sampler()
                    .sample(&point, &grid, &x, &mut Seeded::new(0))
                    .unwrap();
                let off = values(&x).iter().map(|x| (x - 0.7).abs()).fold(0.0, f64::max);
                assert!(
                    off < 1e-6,
                    "{} on {path:?} in {steps}: off by {off:e}",
                    entry.name
                );
            }
        }
    }
}

#[test]
fn a_run_of_one_step_into_the_data_is_ddim() {
    let model = ExactMixture::lopsided(1);
    for entry in ours() {
        for path in paths() {
            let grid = TimeGrid::uniform_between(path, 0.8, 0.0, 1).unwrap();
            let x = noise_for(&grid);
            let ddim = Ddim::default()
                .sample(&model, &grid, &x, &mut Seeded::new(0))
                .unwrap();
            let mut evaluations = 0;
            let got = entry
                .sampler()
                .run(&model, &grid, &x, &mut Seeded::new(0), &mut |progress| {
                    evaluations = progress.evaluations;
                    ControlFlow::Continue(())
                });
            assert!(distance(&got.unwrap().x, &ddim) < 1e-12, "{}", entry.name);
            assert_eq!(evaluations, 1, "{}", entry.name);
        }
    }
}

#[test]
fn ends_near_the_data_approach_the_data() {
    let model = ExactMixture::lopsided(1);
    let path: Arc<dyn Schedule> = Arc::new(RectifiedFlow::default());
    for entry in ours() {
        let sample = |end: f64| {
            let grid = TimeGrid::new(path.clone(), vec![1.0, 0.7, 0.4, 0.2, 0.1, end]).unwrap();
            entry
                .sampler()
                .sample(&model, &grid, &noise_for(&grid), &mut Seeded::new(0))
                .unwrap()
        };
        let clean = sample(0.0);
        for end in [1e-300, 1e-38, 1e-12] {
            let off = distance(&sample(end), &clean);
            assert!(off < 1e-9, "{} to {end}: {off}", entry.name);
        }
    }
}

#[test]
fn encoding_and_decoding_return_to_the_start() {
    let model = ExactMixture::lopsided(1);
    for entry in ours() {
        for path in paths() {
            let down = TimeGrid::uniform_lambda(path.clone(), 0.9, 0.1, 400).unwrap();
            let x = noise_for(&down);
            let solver = entry.sampler();
            let clean = solver.sample(&model, &down, &x, &mut Seeded::new(0)).unwrap();
            let back = solver
                .sample(&model, &down.reversed(), &clean, &mut Seeded::new(0))
                .unwrap();
            let off = distance(&back, &x);
            assert!(off < 1e-3, "{} on {path:?}: {off:e}", entry.name);
        }
    }
}

#[test]
fn encoding_may_start_at_the_data_and_end_in_pure_noise() {
    let model = ExactMixture::lopsided(1);
    for entry in ours() {
        for path in paths() {
            let grid = TimeGrid::uniform(path.clone(), 10).unwrap().reversed();
            let x = Tensor::from_slice(&[-1.2, -0.9, 0.4, 1.8], (4, 1), &Device::Cpu).unwrap();
            let x = entry
                .sampler()
                .sample(&model, &grid, &x, &mut Seeded::new(0))
                .unwrap();
            // Cubics in σ/α, extrapolated over steps that grow tenfold, are poor; without the guards they reach 1e15.
            let largest = values(&x).iter().map(|x| x.abs()).fold(0.0, f64::max) / grid.last().sigma;
            assert!(largest < 1e4, "{} on {path:?}: {largest}", entry.name);
        }
    }
}

#[test]
fn a_run_of_its_own_history_does_not_touch_another() {
    let model = ExactMixture::lopsided(1);
    let grid = TimeGrid::uniform(Arc::new(VpLinear::default()), 12).unwrap();
    for entry in ours() {
        let solver = entry.sampler();
        let [first, second] = [0, 1].map(|_| {
            values(
                &solver
                    .sample(&model, &grid, &noise_for(&grid), &mut Seeded::new(0))
                    .unwrap(),
            )
        });
        assert_eq!(first, second, "{}", entry.name);
    }
}

#[test]
fn orders_that_do_not_exist_are_refused() {
    for order in [0, 5, usize::MAX] {
        assert!(
            Deis::new(order).is_err() && AdamsBashforth::new(order).is_err() && UniPc::new(order).is_err()
        );
    }
    let message = UniPc::new(4).unwrap_err().to_string();
    assert_eq!(message, "UniPc needs order (of the predictor) 1, 2 or 3, got 4");
}
