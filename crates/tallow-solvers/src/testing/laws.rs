//! What every sampler must obey. A law that is broken is an error that says how.

use std::ops::ControlFlow;

use candle_core::{DType, Device, Tensor};
use tallow_denoisers::{Denoiser, ExactGaussian, ExactMixture, PerSample, Seeded};
use tallow_schedules::TimeGrid;

use super::hostile::{AboveZero, Fault, Hostile};
use super::problems::Path;
use super::settings::{Setting, Told};
use crate::{Error, Result, Sampled, Sampler};

/// A law by its name.
pub type Law<T> = (&'static str, fn(&dyn Sampler, &T) -> Result<()>);

/// The laws that hold in every setting.
pub const EVERYWHERE: &[Law<Setting>] = &[
    ("a single datum is found", finds_a_single_datum),
    ("states stay finite", stays_finite),
];

/// The laws that one grid shows. The grid should end at σ = 0.
pub const ON_A_GRID: &[Law<TimeGrid>] = &[
    ("one seed gives the same bits", one_seed_gives_the_same_bits),
    ("a batch is its rows one by one", a_batch_is_its_rows),
    ("eight threads agree with one", eight_threads_agree_with_one),
    ("an observer can stop a run", an_observer_stops_the_run),
    ("an empty batch asks no model", an_empty_batch_asks_no_model),
    (
        "a fault of the model is reported where it happens",
        faults_are_reported,
    ),
    ("encoding is computed or refused", encoding_is_computed_or_refused),
];

/// Data that are one point are found where σ ends at 0, and the model is not asked there; a prediction that is blind at the
/// start is refused.
///
/// Found means within 1e-9, or within what three explicit stages make of a rounding error where the signal is all but gone:
/// each multiplies it by up to the first finite σ/α of the grid.
///
/// # Errors
///
/// When the law is broken or a run fails.
pub fn finds_a_single_datum(sampler: &dyn Sampler, setting: &Setting) -> Result<()> {
    let point = [0.7, -0.3];
    let data = ExactGaussian::new(point.to_vec(), vec![0.0, 0.0])?;
    let Some(sampled) = run(sampler, data, setting)? else {
        return Ok(());
    };
    let last = setting.grid.last();
    let rows = sampled.x.to_vec2::<f64>()?;
    let worst = rows
        .iter()
        .flat_map(|row| row.iter().zip(point))
        .map(|(x, point)| (x - last.alpha * point).abs());
    let worst = worst.fold(0.0, f64::max);
    let mut ratios = setting.grid.steps().map(|step| step.from.noise_to_signal());
    let ratio = ratios.find(|ratio| ratio.is_finite()).unwrap_or(1.0);
    let rounding = 4.0 * f64::EPSILON * ratio.powi(3);
    if last.sigma == 0.0 && worst > rounding.clamp(1e-9, 1e-2) {
        return broken(format!("the datum is missed by {worst:.2e} on {setting}"));
    }
    Ok(())
}

/// A run on a mixture is finite in every step; a prediction that is blind at the start is refused.
///
/// # Errors
///
/// When the law is broken or a run fails.
pub fn stays_finite(sampler: &dyn Sampler, setting: &Setting) -> Result<()> {
    // The loop checks every state, and says so in its error.
    run(sampler, ExactMixture::lopsided(2), setting).map(|_| ())
}

fn run(sampler: &dyn Sampler, data: impl Denoiser, setting: &Setting) -> Result<Option<Sampled>> {
    let prediction = setting.prediction;
    let model = AboveZero(Told {
        model: data,
        prediction,
    });
    let mut noise = Seeded::new(3);
    let observe = &mut |_: &crate::Progress<'_>| ControlFlow::Continue(());
    match sampler.run(&model, &setting.grid, &setting.start()?, &mut noise, observe) {
        Ok(_) if !setting.sees() => broken(format!("a blind prediction is not refused on {setting}")),
        Ok(sampled) => Ok(Some(sampled)),
        Err(_) if !setting.sees() => Ok(None),
        Err(error) => broken(format!("{error} on {setting}")),
    }
}

/// Two runs with noise of one seed give the same bits.
///
/// # Errors
///
/// When the law is broken or a run fails.
pub fn one_seed_gives_the_same_bits(sampler: &dyn Sampler, grid: &TimeGrid) -> Result<()> {
    if bits(sampler, grid)? == bits(sampler, grid)? {
        Ok(())
    } else {
        broken("two runs with one seed differ: does the sampler keep something between runs?".to_owned())
    }
}

/// Each row comes out as it does alone, bit for bit, when every row has its own noise.
///
/// # Errors
///
/// When the law is broken or a run fails.
pub fn a_batch_is_its_rows(sampler: &dyn Sampler, grid: &TimeGrid) -> Result<()> {
    let model = ExactMixture::lopsided(2);
    let x = start(grid)?;
    let together = sampler.sample(&model, grid, &x, &mut PerSample::new(4, 3))?;
    for row in 0..3 {
        let mut noise = PerSample::starting_at(4, row as u64, 1);
        let alone = sampler.sample(&model, grid, &x.narrow(0, row, 1)?, &mut noise)?;
        if alone.to_vec2::<f64>()? != together.narrow(0, row, 1)?.to_vec2::<f64>()? {
            return broken(format!("row {row} depends on the rows beside it"));
        }
    }
    Ok(())
}

/// Runs of one sampler in eight threads at a time give the bits of a run alone.
///
/// # Errors
///
/// When the law is broken or a run fails.
pub fn eight_threads_agree_with_one(sampler: &dyn Sampler, grid: &TimeGrid) -> Result<()> {
    let alone = bits(sampler, grid)?;
    let together = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| bits(sampler, grid))).collect();
        threads
            .into_iter()
            .map(std::thread::ScopedJoinHandle::join)
            .collect::<Vec<_>>()
    });
    for result in together {
        let Ok(bits) = result else {
            return broken("a run in a thread panicked".to_owned());
        };
        if bits? != alone {
            return broken("runs in several threads disturb one another".to_owned());
        }
    }
    Ok(())
}

/// An observer that stops the run after a step is given the state after it.
///
/// # Errors
///
/// When the law is broken or a run fails.
pub fn an_observer_stops_the_run(sampler: &dyn Sampler, grid: &TimeGrid) -> Result<()> {
    let model = ExactMixture::lopsided(2);
    let mut states = Vec::new();
    let mut noise = Seeded::new(5);
    let all = sampler.run(&model, grid, &start(grid)?, &mut noise, &mut |progress| {
        states.push(progress.point.x.clone());
        ControlFlow::Continue(())
    })?;
    // Adaptive methods take several steps from one time of the grid to the next.
    if all.stopped || all.steps < states.len() {
        return broken(format!("{} steps were taken, {} seen", all.steps, states.len()));
    }
    for (index, state) in states.iter().enumerate() {
        let mut seen = 0;
        let mut noise = Seeded::new(5);
        let part = sampler.run(&model, grid, &start(grid)?, &mut noise, &mut |_| {
            seen += 1;
            if seen > index {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })?;
        let same = part.x.to_vec2::<f64>()? == state.to_vec2::<f64>()?;
        let stopped = index + 1 < states.len();
        let counted = (1..=all.steps).contains(&part.steps);
        if !same || !counted || part.stopped != stopped {
            return broken(format!("a stop after step {index} gives {part:?}, not {state}"));
        }
    }
    Ok(())
}

/// No rows come back for no rows, and the model is not asked.
///
/// # Errors
///
/// When the law is broken or a run fails.
pub fn an_empty_batch_asks_no_model(sampler: &dyn Sampler, grid: &TimeGrid) -> Result<()> {
    let model = Hostile::new(ExactMixture::lopsided(2), Fault::Failure, 1);
    let x = Tensor::zeros((0, 2), DType::F64, &Device::Cpu)?;
    let end = sampler.sample(&model, grid, &x, &mut Seeded::new(0))?;
    if model.calls() > 0 || end.dims() != [0, 2] {
        return broken(format!("{} calls, {:?} came back", model.calls(), end.dims()));
    }
    Ok(())
}

/// NaN, infinity, a wrong shape or an error at any call ends the run at that step, with its time and the evaluations so far;
/// and a run on huge values ends.
///
/// # Errors
///
/// When the law is broken or a run fails.
pub fn faults_are_reported(sampler: &dyn Sampler, grid: &TimeGrid) -> Result<()> {
    // Evaluations, and the times between which they were made, of each step of a run without a fault.
    let mut steps = Vec::new();
    let model = ExactMixture::lopsided(2);
    let mut noise = Seeded::new(6);
    let good = sampler.run(&model, grid, &start(grid)?, &mut noise, &mut |progress| {
        let (from, to) = (progress.step.from.t, progress.step.to.t);
        steps.push((progress.evaluations, from, to));
        ControlFlow::Continue(())
    })?;
    for call in 1..=good.evaluations.min(60) {
        let step = steps.iter().find(|(evaluations, ..)| *evaluations >= call);
        // Adaptive methods start steps between the times of the grid as well.
        let begins = |t: f64| step.is_none_or(|(_, from, to)| t <= *from && t > *to);
        for fault in [Fault::Nan, Fault::Infinite, Fault::WrongShape, Fault::Failure] {
            let hostile = Hostile::new(&model, fault, call);
            let result = sampler.sample(&hostile, grid, &start(grid)?, &mut Seeded::new(6));
            reported(result.as_ref().err(), fault, call, begins)?;
        }
        let hostile = Hostile::new(&model, Fault::Huge, call);
        // However it ends: that it does is the law.
        let _ = sampler.sample(&hostile, grid, &start(grid)?, &mut Seeded::new(6));
    }
    Ok(())
}

/// Refuses an error that does not tell what happened at a call, and when.
fn reported(error: Option<&Error>, fault: Fault, call: usize, begins: impl Fn(f64) -> bool) -> Result<()> {
    let Some(Error::Step {
        t,
        evaluations,
        source,
        ..
    }) = error
    else {
        return broken(format!("{fault:?} at call {call} came out as {error:?}"));
    };
    let named = match fault {
        Fault::Nan | Fault::Infinite => matches!(**source, Error::NonFiniteModel { count: 1, .. }),
        Fault::Failure => source
            .to_string()
            .contains(&format!("call {call} fails as planned")),
        Fault::WrongShape | Fault::Huge => matches!(**source, Error::Denoiser(_) | Error::Candle(_)),
    };
    let counted = *evaluations == call;
    if named && counted && begins(*t) {
        Ok(())
    } else {
        broken(format!(
            "{fault:?} at call {call} was reported as: {source} at t = {t}, {evaluations} evaluations"
        ))
    }
}

/// From data to noise a sampler gives finite states, or says that it cannot go there.
///
/// # Errors
///
/// When the law is broken.
pub fn encoding_is_computed_or_refused(sampler: &dyn Sampler, _grid: &TimeGrid) -> Result<()> {
    let model = ExactMixture::lopsided(2);
    for path in Path::ALL {
        for (from_t, to_t) in [(0.05, 0.9), (0.0, 0.9)] {
            let grid = TimeGrid::uniform_between(path.schedule(), from_t, to_t, 7)?;
            let result = sampler.sample(&model, &grid, &start(&grid)?, &mut Seeded::new(8));
            let refused = match &result {
                Ok(_) => true,
                Err(Error::Direction { .. }) => true,
                Err(Error::Step { source, .. }) => matches!(**source, Error::Direction { .. }),
                Err(_) => false,
            };
            if !refused {
                let name = path.name();
                return broken(format!("encoding from t = {from_t} on {name}: {result:?}"));
            }
        }
    }
    Ok(())
}

/// Three rows for the start of a grid.
fn start(grid: &TimeGrid) -> Result<Tensor> {
    let x = Tensor::new(&[[0.9f64, -0.4], [-1.3, 0.2], [0.1, 1.6]], &Device::Cpu)?;
    Ok((x * grid.first().sigma.max(0.1))?)
}

fn bits(sampler: &dyn Sampler, grid: &TimeGrid) -> Result<Vec<u64>> {
    let model = ExactMixture::lopsided(2);
    let end = sampler.sample(&model, grid, &start(grid)?, &mut Seeded::new(2))?;
    let values = end.flatten_all()?.to_vec1::<f64>()?;
    Ok(values.into_iter().map(f64::to_bits).collect())
}

fn broken<T>(how: String) -> Result<T> {
    Err(Error::User(how.into()))
}
