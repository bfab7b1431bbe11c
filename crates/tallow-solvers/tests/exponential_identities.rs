//! Methods that must be one, and what must not depend on the path: to 1e-12.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::sync::Arc;

use candle_core::{Device, Tensor};
use tallow_denoisers::{ExactMixture, Seeded};
use tallow_schedules::{RectifiedFlow, Schedule, TimeGrid, Trigonometric, Ve, VpCosine, VpLinear};
use tallow_solvers::exponential::{Form, Variant};
use tallow_solvers::{
    AdamsBashforth, Ddim, Deis, DpmSolver, DpmSolverMultistep, Dpmpp2m, Dpmpp3m, Ipndm, LastSteps, Sampler,
    Start, UniPc,
};

fn paths() -> Vec<Arc<dyn Schedule>> {
    vec![
        Arc::new(VpLinear::default()),
        Arc::new(VpCosine::default()),
        Arc::new(RectifiedFlow::default()),
        Arc::new(Trigonometric),
        Arc::new(Ve::default()),
    ]
}

/// The run over levels σ/α, from unit normal numbers times σ, as x/α of the last level (x_0 at σ = 0).
fn run(solver: &dyn Sampler, path: &Arc<dyn Schedule>, ratios: &[f64]) -> Vec<f64> {
    let times = ratios.iter().map(|ratio| match ratio {
        0.0 => 0.0,
        ratio => path.inverse_lambda(-ratio.ln()),
    });
    run_on(solver, &TimeGrid::new(path.clone(), times.collect()).unwrap())
}

fn run_on(solver: &dyn Sampler, grid: &TimeGrid) -> Vec<f64> {
    let rows = [-1.7, -0.4, 0.3, 2.1].map(|z| z * grid.first().sigma);
    let x = Tensor::from_slice(&rows, (4, 1), &Device::Cpu).unwrap();
    let x = solver
        .sample(&ExactMixture::lopsided(1), grid, &x, &mut Seeded::new(0))
        .unwrap();
    let x: Vec<f64> = x.flatten_all().unwrap().to_vec1().unwrap();
    x.iter().map(|x| x / grid.last().alpha).collect()
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter()
        .zip(b)
        .map(|(a, b)| (a - b).abs() / (1.0 + b.abs()))
        .fold(0.0, f64::max)
}

#[test]
fn all_methods_of_order_one_are_ddim() {
    let mut unip = UniPc::new(1).unwrap().uncorrected();
    let mut unip_noise = unip;
    unip_noise.form = Form::Noise;
    unip.last_steps = LastSteps::FullOrder;
    let methods: [(&str, Box<dyn Sampler>); 7] = [
        ("DPM-Solver-1", Box::new(DpmSolver::new(Form::Noise, 1).unwrap())),
        ("DPM-Solver++1", Box::new(DpmSolver::new(Form::Data, 1).unwrap())),
        ("UniP-1", Box::new(unip)),
        ("UniP-1, noise", Box::new(unip_noise)),
        ("DEIS-1", Box::new(Deis::new(1).unwrap())),
        ("Adams-Bashforth-1", Box::new(AdamsBashforth::new(1).unwrap())),
        ("iPNDM-1", Box::new(Ipndm::new(1).unwrap())),
    ];
    for path in paths() {
        // From the noisy to the clean end, and back.
        let ends = TimeGrid::uniform(path.clone(), 9).unwrap();
        for grid in [ends.clone(), ends.reversed()] {
            let grid = if grid.last().alpha < 1e-12 {
                TimeGrid::new(path.clone(), grid.times()[..9].to_vec()).unwrap()
            } else {
                grid
            };
            let ddim = run_on(&Ddim::default(), &grid);
            for (name, method) in &methods {
                let off = distance(&run_on(method.as_ref(), &grid), &ddim);
                assert!(off < 1e-12, "{name} on {path:?}: {off:e}");
            }
        }
    }
}

#[test]
fn methods_with_two_names_are_one() {
    let ratios = [30.0, 12.0, 5.0, 3.0, 1.1, 0.6, 0.2, 0.1, 0.0];
    let last_steps = LastSteps::FullOrder;
    let mut unip_2 = UniPc::new(2).unwrap().uncorrected();
    let mut unip_3 = UniPc::new(3).unwrap().uncorrected();
    (unip_2.last_steps, unip_3.last_steps) = (last_steps, last_steps);
    let variant = Variant::Taylor;
    let noise_2m = DpmSolverMultistep::new(2)
        .unwrap()
        .with_variant(variant)
        .with_last_steps(last_steps);
    let deis_2 = Deis::new(2).unwrap().with_last_steps(last_steps);
    let multistep_2 = Dpmpp2m {
        last_steps,
        ..Dpmpp2m::default()
    };
    let multistep_3 = Dpmpp3m {
        last_steps,
        ..Dpmpp3m::default()
    };
    let pairs: [(&str, &dyn Sampler, &dyn Sampler); 3] = [
        ("UniP-2 is (2M)", &unip_2, &multistep_2),
        ("UniP-3 is (3M)", &unip_3, &multistep_3),
        ("DEIS-2 is the taylor form", &deis_2, &noise_2m),
    ];
    for path in paths() {
        for (name, a, b) in pairs {
            let off = distance(&run(a, &path, &ratios), &run(b, &path, &ratios));
            assert!(off < 1e-12, "{name} on {path:?}: {off:e}");
        }
    }
}

#[test]
fn the_rescaled_state_does_not_depend_on_the_path() {
    let to_zero = [30.0, 12.0, 5.0, 3.0, 1.1, 0.6, 0.2, 0.1, 0.0];
    let methods: [(&str, Box<dyn Sampler>); 9] = [
        ("2M", Box::new(Dpmpp2m::default())),
        ("3M", Box::new(Dpmpp3m::default())),
        ("3M, published", Box::new(Dpmpp3m::published())),
        ("2S", Box::new(DpmSolver::new(Form::Data, 2).unwrap())),
        ("DPM-Solver-3", Box::new(DpmSolver::new(Form::Noise, 3).unwrap())),
        ("UniPC-3", Box::new(UniPc::new(3).unwrap())),
        ("DEIS-3", Box::new(Deis::new(3).unwrap().with_start(Start::Ramp))),
        ("Adams-Bashforth-4", Box::new(AdamsBashforth::new(4).unwrap())),
        ("iPNDM", Box::new(Ipndm::default())),
    ];
    let paths = paths();
    for (name, method) in &methods {
        for ratios in [&to_zero[..], &to_zero[..8]] {
            // Noise that is scaled by σ differs in x/α between paths only through rounding: it is σ/α times the same.
            let expected = run(method.as_ref(), &paths[0], ratios);
            for path in &paths[1..] {
                let off = distance(&run(method.as_ref(), path, ratios), &expected);
                assert!(off < 1e-11, "{name} on {path:?}: {off:e}");
            }
        }
    }
}
