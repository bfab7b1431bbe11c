//! Every check fails for a fault that it is there to catch.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use candle_core::Tensor;
use tallow_denoisers::{Denoiser, Noise, lincomb};
use tallow_schedules::{Step, TimeGrid};

use crate::testing::{Path, Setting, check, laws};
use crate::{Claim, Ddim, Ddpm, Euler, Heun, Point, Result, Solver, estimate};

/// Heun's method with a fault, or none.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Slip {
    None,
    /// 0.51 and 0.49 instead of a half each.
    Weights,
    /// The second slope is taken at the step's start.
    Time,
    /// An extra 1 in a thousand.
    Scale,
}

impl Solver for Slip {
    type History = ();

    fn step(
        &self,
        model: &dyn Denoiser,
        x: &Tensor,
        step: &Step<'_>,
        _history: &mut (),
        _noise: &mut dyn Noise,
    ) -> Result<Point> {
        let estimate = estimate(model, x, step.from)?;
        let (start, dt) = (estimate.velocity()?, step.to.t - step.from.t);
        let euler = lincomb([(1.0, x), (dt, &start)])?;
        let late = if *self == Self::Time { step.from } else { step.to };
        let end = model.estimate(&euler, late.into())?.velocity()?;
        let weight = if *self == Self::Weights { 0.51 } else { 0.5 };
        let scale = if *self == Self::Scale { 1.001 } else { 1.0 };
        let x = lincomb([
            (1.0, x),
            (scale * weight * dt, &start),
            (scale * (1.0 - weight) * dt, &end),
        ])?;
        Ok(Point { x, estimate })
    }
}

fn failed(report: &crate::testing::Report, what: &str) -> usize {
    let failed = report.findings.iter().filter(|finding| finding.outcome.is_err());
    failed.filter(|finding| finding.what.contains(what)).count()
}

#[test]
fn wrong_weights_a_wrong_time_and_a_wrong_scale_lose_the_order() {
    assert_eq!(failed(&check(&Slip::None, Claim::Order(2.0)), "order 2"), 0);
    for slip in [Slip::Weights, Slip::Time, Slip::Scale] {
        assert_eq!(failed(&check(&slip, Claim::Order(2.0)), "order 2"), 6, "{slip:?}");
    }
}

#[test]
fn euler_is_not_of_second_and_heun_not_of_first_or_third_order() {
    assert_eq!(failed(&check(&Euler::default(), Claim::Order(2.0)), "order 2"), 6);
    assert_eq!(failed(&check(&Heun::default(), Claim::Order(1.0)), "order 1"), 6);
    assert_eq!(failed(&check(&Heun::default(), Claim::Order(3.0)), "order 3"), 6);
}

/// Ancestral steps whose noise is drawn once, or is ten percent too strong.
#[derive(Clone, Copy, Debug)]
enum Noisy {
    Reused,
    Strong,
}

impl Solver for Noisy {
    type History = Option<Tensor>;

    fn step(
        &self,
        model: &dyn Denoiser,
        x: &Tensor,
        step: &Step<'_>,
        history: &mut Option<Tensor>,
        noise: &mut dyn Noise,
    ) -> Result<Point> {
        let (from, to) = (step.from.lambda(), step.to.lambda());
        let z = match (self, history.as_ref()) {
            (Self::Reused, Some(z)) => z.clone(),
            (Self::Reused, None) => noise.increment(x, from, to)?,
            (Self::Strong, _) => (noise.increment(x, from, to)? * 1.1)?,
        };
        *history = Some(z.clone());
        Ddpm::default().step(model, x, step, &mut (), &mut Replayed(z))
    }
}

struct Replayed(Tensor);

impl Noise for Replayed {
    fn increment(&mut self, like: &Tensor, _from: f64, _to: f64) -> tallow_denoisers::Result<Tensor> {
        self.fresh(like)
    }

    fn fresh(&mut self, _like: &Tensor) -> tallow_denoisers::Result<Tensor> {
        Ok(self.0.clone())
    }
}

#[test]
fn reused_noise_and_strong_noise_have_no_weak_order() {
    assert_eq!(
        failed(&check(&Ddpm::default(), Claim::WeakOrder(1.0)), "order"),
        0
    );
    for noisy in [Noisy::Reused, Noisy::Strong] {
        assert_eq!(
            failed(&check(&noisy, Claim::WeakOrder(1.0)), "weak order"),
            3,
            "{noisy:?}"
        );
    }
    assert_eq!(
        failed(&check(&Ddpm::default(), Claim::WeakOrder(2.0)), "weak order"),
        3
    );
    assert_eq!(failed(&check(&Ddpm::default(), Claim::Order(1.0)), "order 1"), 6);
}

/// Runs that are not as good as they look.
#[derive(Debug)]
enum Unlawful {
    /// Counts its steps over all runs.
    Remembers(AtomicUsize),
    /// Takes the mean over the batch.
    Mixes,
    /// Asks at the clean end.
    AsksAtZero,
    /// Hides errors of the model.
    Swallows,
    /// Keeps half of the noise at the end.
    StaysNoisy,
    /// Divides by the step's end.
    Divides,
    /// Keeps the state of another run.
    Shares(Mutex<Option<Tensor>>),
}

impl Solver for Unlawful {
    type History = ();

    fn step(
        &self,
        model: &dyn Denoiser,
        x: &Tensor,
        step: &Step<'_>,
        history: &mut (),
        noise: &mut dyn Noise,
    ) -> Result<Point> {
        let point = match self {
            Self::Swallows => match Ddim::default().step(model, x, step, history, noise) {
                Ok(point) => point,
                Err(_) => Point {
                    x: x.clone(),
                    estimate: tallow_denoisers::Estimate::from_x0(x, x.clone(), step.from.into())?,
                },
            },
            _ => Ddim::default().step(model, x, step, history, noise)?,
        };
        let x = match self {
            Self::Remembers(count) => {
                let count = count.fetch_add(1, Ordering::Relaxed);
                (point.x + 1e-12 * count as f64)?
            }
            Self::Mixes => point.x.broadcast_add(&(point.x.mean_keepdim(0)? * 1e-12)?)?,
            Self::AsksAtZero => {
                let _ = model.estimate(x, step.to.into())?;
                point.x
            }
            Self::StaysNoisy => (point.x + (x * 1e-3)?)?,
            Self::Divides => (point.x.clone() + ((x / step.to.sigma)? * step.to.sigma)? - x)?,
            Self::Shares(other) => {
                let mut other = other.lock().unwrap();
                let last = other.replace(point.x.clone());
                match last.filter(|last| last.shape() == point.x.shape()) {
                    Some(last) => ((point.x + (&last * 1e-12)?)? - 0.0)?,
                    None => point.x,
                }
            }
            Self::Swallows => point.x,
        };
        Ok(Point { x, ..point })
    }
}

fn grid() -> TimeGrid {
    TimeGrid::uniform(Path::VpLinear.schedule(), 6).unwrap()
}

fn everywhere(
    law: fn(&dyn crate::Sampler, &Setting) -> Result<()>,
    sampler: &dyn crate::Sampler,
) -> Result<()> {
    Setting::all(3)
        .unwrap()
        .iter()
        .try_for_each(|setting| law(sampler, setting))
}

#[test]
fn a_sampler_that_remembers_or_shares_breaks_the_law_of_seeds_and_threads() {
    let remembers = || Unlawful::Remembers(AtomicUsize::new(0));
    let shares = || Unlawful::Shares(Mutex::new(None));
    assert!(laws::one_seed_gives_the_same_bits(&remembers(), &grid()).is_err());
    assert!(laws::one_seed_gives_the_same_bits(&shares(), &grid()).is_err());
    assert!(laws::eight_threads_agree_with_one(&remembers(), &grid()).is_err());
    assert!(laws::eight_threads_agree_with_one(&shares(), &grid()).is_err());
    assert!(laws::an_observer_stops_the_run(&remembers(), &grid()).is_err());
}

#[test]
fn a_sampler_that_mixes_rows_breaks_the_law_of_batches() {
    assert!(laws::a_batch_is_its_rows(&Unlawful::Mixes, &grid()).is_err());
    assert!(laws::a_batch_is_its_rows(&Ddim::default(), &grid()).is_ok());
}

#[test]
fn asking_at_the_clean_end_missing_the_datum_and_dividing_by_zero_are_noticed() {
    for unlawful in [Unlawful::AsksAtZero, Unlawful::StaysNoisy, Unlawful::Divides] {
        assert!(
            everywhere(laws::finds_a_single_datum, &unlawful).is_err(),
            "{unlawful:?}"
        );
    }
    assert!(everywhere(laws::stays_finite, &Unlawful::Divides).is_err());
    assert!(everywhere(laws::stays_finite, &Unlawful::AsksAtZero).is_err());
}

#[test]
fn swallowed_errors_are_noticed() {
    assert!(laws::faults_are_reported(&Unlawful::Swallows, &grid()).is_err());
    assert!(laws::faults_are_reported(&Ddim::default(), &grid()).is_ok());
    let blind = Setting::all(2)
        .unwrap()
        .into_iter()
        .find(|setting| !setting.sees())
        .unwrap();
    assert!(laws::stays_finite(&Unlawful::Swallows, &blind).is_err());
}

#[test]
fn a_downward_solver_that_encodes_to_nan_is_noticed() {
    assert!(laws::encoding_is_computed_or_refused(&Slip::None, &grid()).is_err());
    assert!(laws::encoding_is_computed_or_refused(&Ddpm::default(), &grid()).is_ok());
}
