//! Laws of the adaptive methods.

use std::cell::Cell;
use std::ops::ControlFlow;
use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use tallow_denoisers::{Counted, Denoiser, Estimate, ExactGaussian, ExactMixture, Levels, Noise, Seeded};
use tallow_schedules::{RectifiedFlow, Schedule, TimeGrid, Ve, VpCosine, VpLinear, VpSigmoid};

use super::*;
use crate::dopri5::tests::{lopsided, starts};
use crate::{Dopri5Adaptive, DpmAdaptive, DpmPair, FinalStep, Rk4, Sampler};

fn all_paths() -> [Arc<dyn Schedule>; 5] {
    [
        Arc::new(RectifiedFlow::default()),
        Arc::new(VpCosine::default()),
        Arc::new(VpLinear::default()),
        Arc::new(VpSigmoid::default()),
        Arc::new(Ve::default()),
    ]
}

fn grid(path: &Arc<dyn Schedule>, times: &[f64]) -> TimeGrid {
    TimeGrid::new(path.clone(), times.to_vec()).unwrap()
}

fn values(x: &Tensor) -> Vec<f64> {
    x.flatten_all().unwrap().to_vec1().unwrap()
}

fn apart(a: &Tensor, b: &Tensor) -> f64 {
    values(a)
        .iter()
        .zip(values(b))
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f64::max)
}

fn go(sampler: &dyn Sampler, model: &dyn Denoiser, grid: &TimeGrid, x: &Tensor) -> Tensor {
    sampler.sample(model, grid, x, &mut Seeded::new(0)).unwrap()
}

fn samplers(tolerance: f64) -> [Box<dyn Sampler>; 3] {
    [
        Box::new(Dopri5Adaptive::new(tolerance, tolerance).unwrap()),
        Box::new(DpmAdaptive::new(DpmPair::OneTwo, tolerance, tolerance).unwrap()),
        Box::new(DpmAdaptive::new(DpmPair::TwoThree, tolerance, tolerance).unwrap()),
    ]
}

fn root_mean_square(a: &Tensor, b: &Tensor) -> f64 {
    let squares: Vec<f64> = values(a)
        .iter()
        .zip(values(b))
        .map(|(a, b)| (a - b).powi(2))
        .collect();
    (squares.iter().sum::<f64>() / squares.len() as f64).sqrt()
}

/// The slope of log error against log tolerance, by least squares.
fn slope(errors: &[(f64, f64)]) -> f64 {
    let logs: Vec<_> = errors
        .iter()
        .map(|(tolerance, error)| (tolerance.ln(), error.ln()))
        .collect();
    let n = logs.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| logs.iter().map(of).sum::<f64>() / n;
    let (x, y) = (mean(|p| p.0), mean(|p| p.1));
    let cross: f64 = logs.iter().map(|p| (p.0 - x) * (p.1 - y)).sum();
    cross / logs.iter().map(|p| (p.0 - x).powi(2)).sum::<f64>()
}

#[test]
fn the_error_follows_the_tolerance() {
    // Three coordinates: the error estimate of one alone passes through zero now and then.
    let means = vec![vec![-1.0, 0.4, 0.3], vec![1.5, 0.2, -0.7], vec![0.1, -2.0, 0.5]];
    let model = ExactMixture::new(&[1.0, 2.0, 0.5], means, vec![0.35, 0.6, 0.5]).unwrap();
    let like = Tensor::zeros((64, 3), DType::F64, &Device::Cpu).unwrap();
    let starts = Seeded::new(1).fresh(&like).unwrap();
    for path in &all_paths()[..3] {
        let (from, to) = (0.95, 0.05);
        let fine = TimeGrid::uniform_lambda(path.clone(), from, to, 8192).unwrap();
        let truth = go(&Rk4::default(), &model, &fine, &starts);
        for (index, tolerances) in [
            [1e-6, 1e-7, 1e-8, 1e-9, 1e-10],
            [1e-2, 1e-3, 1e-4, 1e-5, 1e-6],
            [1e-2, 1e-3, 1e-4, 1e-5, 1e-6],
        ]
        .iter()
        .enumerate()
        {
            let errors: Vec<_> = tolerances
                .iter()
                .map(|tolerance| {
                    let got = go(
                        samplers(*tolerance)[index].as_ref(),
                        &model,
                        &grid(path, &[from, to]),
                        &starts,
                    );
                    (*tolerance, root_mean_square(&got, &truth))
                })
                .collect();
            let slope = slope(&errors);
            println!("{path:?} {index}: {slope:.3} {errors:?}");
            assert!(
                (0.8..=1.2).contains(&slope),
                "{path:?} {index}: {slope} of {errors:?}"
            );
            assert!(
                errors.iter().all(|(tolerance, error)| *error < 10.0 * tolerance),
                "{path:?} {index}: {errors:?}"
            );
        }
    }
}

#[test]
fn a_row_does_not_know_its_batch() {
    let path: Arc<dyn Schedule> = Arc::new(VpCosine::default());
    for sampler in samplers(1e-4) {
        let run = |x: &Tensor| go(sampler.as_ref(), &lopsided(), &grid(&path, &[0.98, 0.0]), x);
        let together = run(&starts());
        for row in 0..4 {
            let alone = run(&starts().narrow(0, row, 1).unwrap());
            assert_eq!(
                values(&alone)[0].to_bits(),
                values(&together)[row].to_bits(),
                "{sampler:?} row {row}"
            );
        }
    }
}

#[test]
fn every_path_is_travelled_from_end_to_end_and_back() {
    let model = ExactGaussian::new(vec![0.7], vec![0.5]).unwrap();
    for path in all_paths() {
        let t_max = path.t_max();
        let end = path.level(t_max);
        let x = (starts() * end.sigma).unwrap();
        let spread = (0.5 * end.alpha).hypot(end.sigma);
        let exact: Vec<f64> = values(&x)
            .iter()
            .map(|x| 0.7 + 0.5 / spread * (x - 0.7 * end.alpha))
            .collect();
        for sampler in samplers(1e-6) {
            let clean = go(sampler.as_ref(), &model, &grid(&path, &[t_max, 0.0]), &x);
            let off = values(&clean)
                .iter()
                .zip(&exact)
                .map(|(a, b)| (a - b).abs())
                .fold(0.0, f64::max);
            assert!(off < 1e-4, "{path:?} {sampler:?}: {off}");
            let back = go(sampler.as_ref(), &model, &grid(&path, &[0.0, t_max]), &clean);
            let off = apart(&back, &x) / end.sigma;
            assert!(off < 1e-4, "{path:?} {sampler:?}: {off} on the way back");
        }
    }
}

#[test]
fn the_model_is_never_asked_at_sigma_zero() {
    struct Clean(ExactGaussian, Cell<bool>);
    impl Denoiser for Clean {
        fn estimate(&self, x: &Tensor, at: Levels<'_>) -> tallow_denoisers::Result<Estimate> {
            self.1
                .set(self.1.get() && at.iter().all(|level| level.sigma > 0.0));
            self.0.estimate(x, at)
        }
    }
    let model = Clean(ExactGaussian::new(vec![0.7], vec![0.5]).unwrap(), Cell::new(true));
    for path in all_paths() {
        for sampler in samplers(1e-3) {
            go(
                sampler.as_ref(),
                &model,
                &grid(&path, &[0.9, 0.4, 0.0]),
                &starts(),
            );
            go(
                sampler.as_ref(),
                &model,
                &grid(&path, &[0.0, 0.4, 0.9]),
                &starts(),
            );
        }
    }
    assert!(model.1.get());
}

#[test]
fn nodes_are_interpolated_and_change_nothing() {
    let path: Arc<dyn Schedule> = Arc::new(RectifiedFlow::default());
    let times: Vec<f64> = (0..=20).map(|i| 1.0 - f64::from(i) / 20.0).collect();
    for sampler in samplers(1e-7) {
        let model = Counted::new(lopsided());
        let plain = go(sampler.as_ref(), &model, &grid(&path, &[1.0, 0.0]), &starts());
        let evaluations = model.count();
        model.reset();
        let mut seen = Vec::new();
        let sampled = sampler
            .run(
                &model,
                &grid(&path, &times),
                &starts(),
                &mut Seeded::new(0),
                &mut |progress| {
                    seen.push((progress.step.to.t, progress.point.clone()));
                    ControlFlow::Continue(())
                },
            )
            .unwrap();
        assert_eq!((model.count(), sampled.stopped), (evaluations, false));
        assert_eq!(values(&plain), values(&sampled.x));
        assert_eq!(seen.iter().map(|(t, _)| *t).collect::<Vec<_>>(), times[1..]);
        assert_eq!(values(&seen[19].1.x), values(&sampled.x));
        for (t, point) in &seen[..19] {
            let there = go(sampler.as_ref(), &lopsided(), &grid(&path, &[1.0, *t]), &starts());
            let off = apart(&there, &point.x);
            assert!(off < 3e-5, "{sampler:?} at {t}: {off}");
        }
        // What was believed at the start of each step is what the model says there.
        for pair in seen.windows(2).take(18) {
            let (t, at) = (pair[0].0, &pair[0].1.x);
            let told = lopsided()
                .estimate(at, path.level(t).into())
                .unwrap()
                .x0()
                .unwrap();
            let off = apart(&told, &pair[1].1.estimate.x0().unwrap());
            assert!(off < 2e-3, "{sampler:?} at {t}: {off}");
        }
    }
}

#[test]
fn an_observer_stops_a_run_at_a_node() {
    let path: Arc<dyn Schedule> = Arc::new(RectifiedFlow::default());
    for sampler in samplers(1e-4) {
        let mut count = 0;
        let sampled = sampler
            .run(
                &lopsided(),
                &grid(&path, &[1.0, 0.6, 0.3, 0.0]),
                &starts(),
                &mut Seeded::new(0),
                &mut |_| {
                    count += 1;
                    if count == 2 {
                        ControlFlow::Break(())
                    } else {
                        ControlFlow::Continue(())
                    }
                },
            )
            .unwrap();
        assert!(sampled.stopped && count == 2);
        let there = go(
            sampler.as_ref(),
            &lopsided(),
            &grid(&path, &[1.0, 0.3]),
            &starts(),
        );
        assert!(apart(&there, &sampled.x) < 5e-3, "{sampler:?}");
    }
}

/// Fails, or returns NaN, or jumps, from some call on.
struct Hostile {
    calls: Cell<usize>,
    from: usize,
    as_what: f64,
}

impl Denoiser for Hostile {
    fn estimate(&self, x: &Tensor, at: Levels<'_>) -> tallow_denoisers::Result<Estimate> {
        self.calls.set(self.calls.get() + 1);
        let x0 = if self.calls.get() >= self.from {
            x.affine(0.0, self.as_what)?
        } else {
            x.affine(0.5, 0.0)?
        };
        Estimate::from_x0(x, x0, at)
    }
}

#[test]
fn a_nan_is_reported_at_the_call_that_made_it() {
    let path: Arc<dyn Schedule> = Arc::new(RectifiedFlow::default());
    for sampler in samplers(1e-5) {
        for from in 1..30 {
            let model = Hostile {
                calls: Cell::new(0),
                from,
                as_what: f64::NAN,
            };
            let error = sampler.sample(&model, &grid(&path, &[1.0, 0.0]), &starts(), &mut Seeded::new(0));
            let message = error.unwrap_err().to_string();
            assert!(
                message.contains("not finite") && message.contains(&format!("{from} evaluations")),
                "{message}"
            );
            assert_eq!(model.calls.get(), from);
        }
    }
}

#[test]
fn a_model_that_cannot_be_followed_ends_in_an_error() {
    struct Rough;
    impl Denoiser for Rough {
        fn estimate(&self, x: &Tensor, at: Levels<'_>) -> tallow_denoisers::Result<Estimate> {
            // No two calls agree: sin of a large multiple of time.
            let rough = |row: usize| at.row(row).map_or(0.0, |level| (level.t * 1e9).sin() * 1e6);
            let x0: Vec<f64> = (0..x.elem_count()).map(rough).collect();
            Estimate::from_x0(x, Tensor::from_vec(x0, x.shape(), x.device())?, at)
        }
    }
    let path: Arc<dyn Schedule> = Arc::new(RectifiedFlow::default());
    for sampler in samplers(1e-6) {
        let error = sampler
            .sample(&Rough, &grid(&path, &[1.0, 0.1]), &starts(), &mut Seeded::new(0))
            .unwrap_err();
        let message = error.to_string();
        assert!(message.contains("gets no further with row"), "{message}");
    }
    let mut few = Dopri5Adaptive::new(1e-10, 1e-10).unwrap();
    few.control.max_steps = 3;
    let error = few
        .sample(
            &lopsided(),
            &grid(&path, &[1.0, 0.1]),
            &starts(),
            &mut Seeded::new(0),
        )
        .unwrap_err();
    assert!(error.to_string().contains("3 steps are not enough"), "{error}");
}

#[test]
fn tolerances_that_are_none_are_refused() {
    for (rtol, atol) in [(0.0, 1e-5), (1e-5, -1.0), (f64::NAN, 1e-5), (1e-5, f64::INFINITY)] {
        assert!(Control::new(rtol, atol).is_err());
    }
    let mut solver = Dopri5Adaptive::default();
    solver.control.rtol = f64::NAN;
    let path: Arc<dyn Schedule> = Arc::new(RectifiedFlow::default());
    assert!(
        solver
            .sample(
                &lopsided(),
                &grid(&path, &[1.0, 0.0]),
                &starts(),
                &mut Seeded::new(0)
            )
            .is_err()
    );
}

#[test]
fn an_empty_batch_is_where_it_ends_up() {
    let path: Arc<dyn Schedule> = Arc::new(RectifiedFlow::default());
    let empty = Tensor::zeros((0, 1), DType::F64, &Device::Cpu).unwrap();
    for sampler in samplers(1e-3) {
        let model = Counted::new(lopsided());
        assert_eq!(
            go(sampler.as_ref(), &model, &grid(&path, &[1.0, 0.0]), &empty).dims(),
            [0, 1]
        );
        assert_eq!(model.count(), 0);
    }
}

#[test]
fn stages_at_sigma_zero_are_taken_where_asked_for() {
    let path: Arc<dyn Schedule> = Arc::new(RectifiedFlow::default());
    let solver = Dopri5Adaptive {
        final_step: FinalStep::Evaluate,
        ..Dopri5Adaptive::new(1e-9, 1e-9).unwrap()
    };
    let to_end = go(&solver, &lopsided(), &grid(&path, &[0.9, 0.0]), &starts());
    let denoised = go(
        &Dopri5Adaptive::new(1e-9, 1e-9).unwrap(),
        &lopsided(),
        &grid(&path, &[0.9, 0.0]),
        &starts(),
    );
    assert!(apart(&to_end, &denoised) < 1e-7);
}
