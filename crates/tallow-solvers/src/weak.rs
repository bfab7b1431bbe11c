//! For tests: the law that a solver samples, without drawing a number.
//!
//! ```text
//! Gaussian data make a run affine in its start and its noises:  x_N = A x_0 + B + Σ_j C_j z_j
//! mean = A m_0 + B        variance = A² V_0 + Σ_j C_j²
//! ```
//!
//! One run of a batch finds all of A, B, C_j: row 0 starts at 0, row 1 at 1, row j + 2 sees z_j = 1. The exact law after a
//! reverse SDE whose drift is ½(1 + τ²) times the score's is, in x/α with S² = s² + (σ/α)² and a = 1 + τ²,
//!
//! ```text
//! m_s − μ = (m_t − μ) (S_s/S_t)^a        V_s − S_s² = (V_t − S_t²) (S_s/S_t)^{2a}
//! ```
//!
//! and a step that adds its noise exactly is compared with the exact flow between its noises. The start is off the marginal,
//! or errors of the mean would vanish.

use std::sync::{Arc, LazyLock};

use candle_core::{DType, Device, Tensor};
use tallow_denoisers::{BrownianPath, Counted, ExactGaussian, ExactMixture, Noise, Seeded};
use tallow_schedules::{
    NoiseLevel, RectifiedFlow, Schedule, Step, TimeGrid, Trigonometric, Ve, VpCosine, VpLinear,
};

use crate::{Ancestral, Churn, Rk4, Sampler, Solver};

/// a = 1 + τ²: 1 of the probability-flow ODE, 2 of the reverse SDE.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate(pub f64);

const MEAN: f64 = 0.7;
const STD: f64 = 0.5;

/// The paths of all tests, with the interval of time in which orders are measured.
fn problems() -> [(Arc<dyn Schedule>, f64, f64); 3] {
    [
        (Arc::new(VpCosine::default()), 0.95, 0.05),
        (Arc::new(RectifiedFlow::default()), 0.95, 0.05),
        (Arc::new(VpLinear::default()), 1.0, 0.01),
    ]
}

fn grids(steps: usize) -> impl Iterator<Item = TimeGrid> {
    let grid = move |(path, from, to)| TimeGrid::uniform_lambda(path, from, to, steps).unwrap();
    problems().into_iter().map(grid)
}

/// Grids from the noisy end of a path to σ = 0: three of them start at α = 0.
fn whole_grids(steps: usize) -> impl Iterator<Item = TimeGrid> {
    let paths: [Arc<dyn Schedule>; 5] = [
        Arc::new(VpCosine::default()),
        Arc::new(RectifiedFlow::default()),
        Arc::new(Trigonometric),
        Arc::new(VpLinear::default()),
        Arc::new(Ve::default()),
    ];
    let grid = move |path| TimeGrid::uniform(path, steps).unwrap();
    paths.into_iter().map(grid)
}

fn zeros(rows: usize) -> Tensor {
    Tensor::zeros((rows, 1), DType::F64, &Device::Cpu).unwrap()
}

fn values(x: &Tensor) -> Vec<f64> {
    x.flatten_all().unwrap().to_vec1().unwrap()
}

/// z_j = 1 in row j + 2, 0 elsewhere.
struct Probe {
    drawn: usize,
}

impl Noise for Probe {
    fn increment(&mut self, like: &Tensor, from: f64, to: f64) -> tallow_denoisers::Result<Tensor> {
        if from < to {
            return self.fresh(like);
        }
        let words = format!("noise asked for from lambda = {from} to {to}");
        Err(tallow_denoisers::Error::User(words.into()))
    }

    fn fresh(&mut self, like: &Tensor) -> tallow_denoisers::Result<Tensor> {
        let mut z = vec![0.0; like.elem_count()];
        z[self.drawn + 2] = 1.0;
        self.drawn += 1;
        Ok(Tensor::from_vec(z, like.shape(), &Device::Cpu)?)
    }
}

/// Mean and variance of one number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Law {
    mean: f64,
    variance: f64,
}

impl Law {
    /// The data's at a level.
    fn of_data(std: f64, at: NoiseLevel) -> Self {
        Self {
            mean: at.alpha * MEAN,
            variance: (at.alpha * std).powi(2) + at.sigma.powi(2),
        }
    }

    /// Where the SDE takes this law.
    fn moved(self, Rate(a): Rate, from: NoiseLevel, to: NoiseLevel) -> Self {
        let (start, end) = (Self::of_data(STD, from), Self::of_data(STD, to));
        let (u, v) = (start.variance.sqrt() / from.alpha, end.variance.sqrt() / to.alpha);
        let (grown, shrunk) = (to.alpha / from.alpha, (v / u).powf(a));
        Self {
            mean: end.mean + (self.mean - start.mean) * grown * shrunk,
            variance: end.variance + (self.variance - start.variance) * (grown * shrunk).powi(2),
        }
    }

    fn distance(self, other: Self) -> f64 {
        let variance = (self.variance - other.variance).abs();
        (self.mean - other.mean).abs().max(variance)
    }
}

/// The law that a run ends in, and how many noises it drew.
fn law<S: Solver>(solver: &S, grid: &TimeGrid, std: f64, start: Law) -> (Law, usize) {
    let rows = 2 + 4 * grid.step_count() + 64;
    let mut x = vec![0.0; rows];
    x[1] = 1.0;
    let x = Tensor::from_vec(x, (rows, 1), &Device::Cpu).unwrap();
    let model = ExactGaussian::new(vec![MEAN], vec![std]).unwrap();
    let mut probe = Probe { drawn: 0 };
    let x = values(&solver.sample(&model, grid, &x, &mut probe).unwrap());
    let (b, a) = (x[0], x[1] - x[0]);
    let noises: f64 = x[2..].iter().map(|x| (x - b).powi(2)).sum();
    let law = Law {
        mean: a * start.mean + b,
        variance: a * a * start.variance + noises,
    };
    (law, probe.drawn)
}

/// How a law moves in a step without error.
pub(crate) type ExactStep<'a> = &'a dyn Fn(Law, &Step<'_>) -> Law;

/// The reverse SDE of a rate.
pub(crate) fn sde(rate: Rate) -> impl Fn(Law, &Step<'_>) -> Law {
    move |law, step| law.moved(rate, step.from, step.to)
}

/// The probability-flow ODE to where an ancestral step's drift ends, then its noise.
pub(crate) fn flow_then_noise(ancestral: Ancestral) -> impl Fn(Law, &Step<'_>) -> Law {
    move |law, step| {
        let split = ancestral.split("test", step).unwrap();
        let below = NoiseLevel {
            alpha: split.target.alpha,
            sigma: split.target.sigma,
            ..step.to
        };
        let law = law.moved(Rate(1.0), step.from, below);
        Law {
            variance: law.variance + split.fresh.powi(2),
            ..law
        }
    }
}

/// Noise up to the churned level, then the probability-flow ODE.
pub(crate) fn noise_then_flow(churn: Churn) -> impl Fn(Law, &Step<'_>) -> Law {
    move |law, step| {
        let up = churn.level(step).unwrap_or(step.from);
        let ratio = up.alpha / step.from.alpha;
        let added = up.sigma.powi(2) - (ratio * step.from.sigma).powi(2);
        let law = Law {
            mean: ratio * law.mean,
            variance: ratio * ratio * law.variance + added,
        };
        law.moved(Rate(1.0), up, step.to)
    }
}

/// The slopes of the weak error over 128, 256 and 512 steps, from a start off the marginal, are `claim` within 0.10 at the
/// last doubling on three paths.
pub(crate) fn assert_order<S: Solver>(solver: &S, exact: ExactStep<'_>, claim: f64) {
    let slopes = slopes(&|steps| errors(solver, exact, steps));
    println!("{solver:?}: weak slopes {slopes:.3?}");
    for (_, slope) in &slopes {
        let words = format!("{solver:?}: weak slopes {slopes:.3?}, not {claim}");
        assert!((slope - claim).abs() <= 0.10, "{words}");
    }
}

/// The weak error of so many steps on the three paths.
pub(crate) fn errors<S: Solver>(solver: &S, exact: ExactStep<'_>, steps: usize) -> Vec<f64> {
    let error = |grid: TimeGrid| {
        let start = Law::of_data(STD, grid.first());
        let start = Law {
            mean: start.mean + 0.3,
            variance: 1.4 * start.variance,
        };
        let end = grid.steps().fold(start, |law, step| exact(law, &step));
        law(solver, &grid, STD, start).0.distance(end)
    };
    grids(steps).map(error).collect()
}

/// The slopes of the error over 128, 256 and 512 steps are `claim` within 0.15 on a mixture and three paths, against the
/// fourth-order Runge-Kutta method with 4000 steps.
pub(crate) fn assert_ode_order<S: Solver>(solver: &S, claim: f64) {
    static EXACT: LazyLock<Vec<Vec<f64>>> = LazyLock::new(|| run_from_starts(&Rk4::default(), 4000));
    let errors = |steps| -> Vec<f64> {
        let runs = run_from_starts(solver, steps);
        let worst = |(got, exact): (&Vec<f64>, &Vec<f64>)| largest_difference(got, exact);
        runs.iter().zip(EXACT.iter()).map(worst).collect()
    };
    let slopes = slopes(&errors);
    println!("{solver:?}: slopes {slopes:.3?}");
    for (_, slope) in &slopes {
        assert!(
            (slope - claim).abs() <= 0.15,
            "{solver:?}: slopes {slopes:.3?}, not {claim}"
        );
    }
}

fn run_from_starts<S: Solver>(solver: &S, steps: usize) -> Vec<Vec<f64>> {
    let x = Tensor::new(&[[-1.5f64], [-0.3], [0.4], [1.8]], &Device::Cpu).unwrap();
    let model = ExactMixture::lopsided(1);
    let end = |grid: TimeGrid| solver.sample(&model, &grid, &x, &mut Seeded::new(0)).unwrap();
    grids(steps).map(|grid| values(&end(grid))).collect()
}

/// The slopes from 128 to 256 and from 256 to 512 steps.
fn slopes(errors: &dyn Fn(usize) -> Vec<f64>) -> Vec<(f64, f64)> {
    let [few, some, many] = [128, 256, 512].map(errors);
    let slope = |i: usize| ((few[i] / some[i]).log2(), (some[i] / many[i]).log2());
    (0..few.len()).map(slope).collect()
}

fn largest_difference(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

/// The same states from the same noise, to 1e-10, on all paths from end to end.
pub(crate) fn assert_same<A: Solver, B: Solver>(a: &A, b: &B) {
    let model = ExactMixture::lopsided(2);
    for grid in whole_grids(7) {
        let z = Seeded::new(9).fresh(&Tensor::zeros((3, 2), DType::F64, &Device::Cpu).unwrap());
        let x = (z.unwrap() * grid.first().sigma).unwrap();
        let a_end = values(&a.sample(&model, &grid, &x, &mut Seeded::new(1)).unwrap());
        let b_end = values(&b.sample(&model, &grid, &x, &mut Seeded::new(1)).unwrap());
        let off = largest_difference(&a_end, &b_end);
        assert!(off < 1e-10, "{a:?} and {b:?} differ by {off} on {grid}");
    }
}

/// Data that are one point are sampled exactly (mean and variance to 1e-12) in three steps with `draws` noises each, and
/// a whole path ends in the point.
pub(crate) fn assert_exact_for_a_point<S: Solver>(solver: &S, draws: usize) {
    assert_exact_in_law_for_a_point(solver);
    for grid in grids(3) {
        let drawn = law(solver, &grid, 0.0, Law::of_data(0.0, grid.first())).1;
        assert_eq!(drawn, 3 * draws, "{solver:?}");
    }
}

/// As [`assert_exact_for_a_point`], with any number of noises.
pub(crate) fn assert_exact_in_law_for_a_point<S: Solver>(solver: &S) {
    for grid in grids(3).chain(grids(40)) {
        let got = law(solver, &grid, 0.0, Law::of_data(0.0, grid.first())).0;
        let exact = Law::of_data(0.0, grid.last());
        assert!(
            got.distance(exact) < 1e-12,
            "{solver:?} on {grid}: {got:?}, not {exact:?}"
        );
    }
    assert_lands_on_the_datum(solver);
}

/// A run to σ = 0 ends in the datum, to 1e-9, from any start, on all paths.
pub(crate) fn assert_lands_on_the_datum<S: Solver>(solver: &S) {
    let model = ExactGaussian::new(vec![MEAN], vec![0.0]).unwrap();
    let x = Tensor::new(&[[-1.3f64], [0.0], [2.0]], &Device::Cpu).unwrap();
    for grid in [1, 2, 6].into_iter().flat_map(whole_grids) {
        let end = values(&solver.sample(&model, &grid, &x, &mut Seeded::new(4)).unwrap());
        let off = largest_difference(&end, &[MEAN; 3]);
        assert!(off < 1e-9, "{solver:?} on {grid} ends {off} beside the datum");
    }
}

/// 200 steps from data to noise and 200 back return to the start within `tolerance`.
pub(crate) fn assert_there_and_back<S: Solver>(solver: &S, tolerance: f64) {
    let model = ExactMixture::lopsided(1);
    let x = Tensor::new(&[[-1.2f64], [0.4], [1.8]], &Device::Cpu).unwrap();
    for grid in grids(200) {
        let mut noise = Seeded::new(0);
        let up = solver
            .sample(&model, &grid.clone().reversed(), &x, &mut noise)
            .unwrap();
        let back = solver.sample(&model, &grid, &up, &mut noise).unwrap();
        let off = largest_difference(&values(&back), &values(&x));
        assert!(
            off < tolerance,
            "{solver:?} comes back {off} beside the start on {grid}"
        );
    }
}

/// On one Brownian path more steps come closer and closer to one another: the distance of 32 to 64 steps is at least 1.5
/// times that of 64 to 128, in the mean over 32 samples.
pub(crate) fn assert_converges_on_one_path<S: Solver>(solver: &S) {
    let model = ExactMixture::lopsided(1);
    let path: Arc<dyn Schedule> = Arc::new(RectifiedFlow::default());
    let [few, some, many] = [32, 64, 128].map(|steps| {
        let grid = TimeGrid::uniform_lambda(path.clone(), 0.95, 0.05, steps).unwrap();
        let mut noise = BrownianPath::new(6, 32);
        let x = noise.fresh(&zeros(32)).unwrap();
        values(&solver.sample(&model, &grid, &x, &mut noise).unwrap())
    });
    let distance = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b).abs()).sum::<f64>();
    let (coarse, fine) = (distance(&few, &some), distance(&some, &many));
    println!("{solver:?}: {coarse:.3} then {fine:.3} apart");
    assert!(fine < coarse / 1.5, "{solver:?}: {coarse} then {fine} apart");
}

/// Evaluations of a run over the whole flow path.
pub(crate) fn evaluations<S: Solver>(solver: &S, steps: usize) -> usize {
    let grid = TimeGrid::uniform(Arc::new(RectifiedFlow::default()), steps).unwrap();
    let model = Counted::new(ExactMixture::lopsided(1));
    solver
        .sample(&model, &grid, &zeros(2), &mut Seeded::new(0))
        .unwrap();
    model.count()
}

/// How far off the mean is at the end of the flow path after a start whose mean was off by 0.3.
pub(crate) fn mean_error<S: Solver>(solver: &S, steps: usize) -> f64 {
    let grid = TimeGrid::uniform_lambda(Arc::new(RectifiedFlow::default()), 0.95, 0.05, steps).unwrap();
    let mut start = Law::of_data(STD, grid.first());
    start.mean += 0.3;
    let mut probe = Probe { drawn: 0 };
    let model = ExactGaussian::new(vec![MEAN], vec![STD]).unwrap();
    // The rows after the first see noises of 1, which no one reads.
    let x = Tensor::full(start.mean, (300, 1), &Device::Cpu).unwrap();
    let x = values(&solver.sample(&model, &grid, &x, &mut probe).unwrap());
    (x[0] - Law::of_data(STD, grid.last()).mean).abs()
}

/// What a run over the path of EDM's clock fails with.
pub(crate) fn failure<S: Solver>(solver: &S) -> String {
    let grid = TimeGrid::uniform(Arc::new(Ve::default()), 5).unwrap();
    let model = ExactMixture::lopsided(1);
    let result = solver.sample(&model, &grid, &zeros(2), &mut Seeded::new(0));
    result.unwrap_err().to_string()
}
