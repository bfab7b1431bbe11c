//! The laws, for every solver in every setting.

use std::sync::Arc;

use tallow_denoisers::{ExactMixture, Seeded};
use tallow_schedules::{RectifiedFlow, Schedule, TimeGrid, Ve, VpCosine, VpLinear};

use super::every_solver;
use crate::testing::identities::{Reclocked, path_gap, trajectory_gap};
use crate::testing::laws::{EVERYWHERE, ON_A_GRID};
use crate::testing::{Path, Problem, Setting};
use crate::{Claim, Ddim, Ddpm, Euler, Sampler};

/// Every path, grid and prediction, at numbers of steps from 1 to 50 in turn.
#[test]
fn every_solver_is_finite_and_finds_a_single_datum_everywhere() {
    let by_steps: Vec<Vec<Setting>> = [1, 2, 3, 4, 5, 7, 11, 18, 50]
        .map(|steps| Setting::all(steps).unwrap())
        .into();
    every_solver(|entry| {
        let sampler = entry.sampler();
        for (index, settings) in by_steps.iter().enumerate() {
            // Few steps in every setting; many in a ninth of them, another ninth each time.
            let stride = if index < 3 { 1 } else { 7 };
            for setting in settings.iter().skip(index % stride).step_by(stride) {
                for (name, law) in EVERYWHERE {
                    law(&*sampler, setting).map_err(|error| format!("{name}: {error}"))?;
                }
            }
        }
        Ok(())
    });
}

#[test]
fn every_solver_obeys_the_laws_of_a_run() {
    let paths: [Arc<dyn Schedule>; 3] = [
        Arc::new(VpLinear::default()),
        Arc::new(RectifiedFlow::default()),
        Arc::new(Ve::default()),
    ];
    let grids = paths.map(|path| TimeGrid::uniform(path, 6).unwrap());
    every_solver(|entry| {
        for grid in &grids {
            for (name, law) in ON_A_GRID {
                law(&*entry.sampler(), grid).map_err(|error| format!("{name}: {error}"))?;
            }
        }
        Ok(())
    });
}

#[test]
fn every_solver_evaluates_as_often_as_it_says() {
    let problem = Problem::mixture_2d(Path::VpCosine).unwrap();
    every_solver(|entry| {
        if entry.claim == Claim::Tolerance {
            return Ok(());
        }
        let evaluations = |steps| {
            let (grid, noise) = (problem.grid(steps).unwrap(), &mut Seeded::new(1));
            let go_on = &mut |_: &crate::Progress<'_>| std::ops::ControlFlow::Continue(());
            entry
                .sampler()
                .run(problem.model(), &grid, &problem.start, noise, go_on)
                .map(|sampled| sampled.evaluations)
                .map_err(|error| error.to_string())
        };
        // Twelve steps more are whole blocks of singlestep plans, too.
        let more = evaluations(36)? - evaluations(24)?;
        if more == 12 * entry.evaluations {
            Ok(())
        } else {
            Err(format!(
                "{more} evaluations in 12 steps, {} a step are claimed",
                entry.evaluations
            ))
        }
    });
}

/// A solver that does not notice another clock knows a path by λ only, and so must not notice another path. DDPM's large
/// variance, σ_t² − (α_t σ_s/α_s)², is the exception: it compares the two σ, which no rescaling of x leaves alone. So do
/// tolerances, which are told in units of x.
#[test]
fn every_solver_blind_to_the_clock_is_blind_to_the_path() {
    let model = ExactMixture::lopsided(2);
    let cosine: Arc<dyn Schedule> = Arc::new(VpCosine::default());
    let grid = TimeGrid::uniform_lambda(cosine.clone(), 0.9, 0.1, 12).unwrap();
    let other_clock: Arc<dyn Schedule> = Arc::new(Reclocked(cosine));
    let paths: [Arc<dyn Schedule>; 3] = [
        Arc::new(RectifiedFlow::default()),
        Arc::new(VpLinear::default()),
        Arc::new(Ve::default()),
    ];
    let x = candle_core::Tensor::new(&[[0.4f64, -1.1], [1.7, 0.2]], &candle_core::Device::Cpu).unwrap();
    every_solver(|entry| {
        let sampler = entry.sampler();
        let gap = |other: &Arc<dyn Schedule>| {
            path_gap(&*sampler, &model, (&grid, other), &x, || Seeded::new(5))
                .map_err(|error| error.to_string())
        };
        let absolute = entry.name == "ddpm_large" || entry.claim == Claim::Tolerance;
        if absolute || gap(&other_clock)? > 1e-10 {
            return Ok(());
        }
        for path in &paths {
            let gap = gap(path)?;
            if gap > 1e-9 {
                return Err(format!("x/alpha is off by {gap:.1e} on {path:?}"));
            }
        }
        Ok(())
    });
}

fn gap(a: &dyn Sampler, b: &dyn Sampler, path: &Arc<dyn Schedule>, to_t: f64) -> f64 {
    let grid = TimeGrid::uniform_between(path.clone(), path.t_max(), to_t, 17).unwrap();
    let x = candle_core::Tensor::new(&[[0.4f64, -1.1], [1.7, 0.2]], &candle_core::Device::Cpu).unwrap();
    trajectory_gap((a, b), &ExactMixture::lopsided(2), &grid, &x, || Seeded::new(9)).unwrap()
}

#[test]
fn euler_is_ddim_on_the_rectified_flow_and_on_edms_clock() {
    for path in [
        Arc::new(RectifiedFlow::default()) as Arc<dyn Schedule>,
        Arc::new(Ve::default()),
    ] {
        let gap = gap(&Euler::default(), &Ddim::default(), &path, 0.0);
        assert!(gap < 1e-12, "{gap:e}");
    }
}

#[test]
fn ddim_with_all_noise_is_ddpm() {
    let ancestral = Ddim::new(1.0).unwrap();
    for path in Path::ALL {
        let gap = gap(&ancestral, &Ddpm::default(), &path.schedule(), 0.0);
        assert!(gap < 1e-12, "{gap:e}");
    }
}

/// N equal steps of DDIM over the angle Θ of the trigonometric path shrink unit normal data by cosᴺ(Θ/N).
#[test]
fn the_error_of_ddim_on_unit_normal_data_is_a_power_of_a_cosine() {
    let model = tallow_denoisers::ExactGaussian::new(vec![0.0], vec![1.0]).unwrap();
    let path: Arc<dyn Schedule> = Arc::new(tallow_schedules::Trigonometric);
    let grid = TimeGrid::uniform(path, 10).unwrap();
    let x = candle_core::Tensor::new(&[[1.3f64]], &candle_core::Device::Cpu).unwrap();
    let end = Ddim::default()
        .sample(&model, &grid, &x, &mut Seeded::new(0))
        .unwrap();
    let expected = 1.3 * (std::f64::consts::FRAC_PI_2 / 10.0).cos().powi(10);
    let got = end.to_vec2::<f64>().unwrap()[0][0];
    assert!((got / expected - 1.0).abs() < 1e-13, "{got} {expected}");
}
