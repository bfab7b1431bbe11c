//! The methods: what is asked of the network, on which path, at which times, against which noise, and on which steps its
//! samples are drawn.
//!
//! A method of your own is one more entry of [`methods`]: an [`Objective`] is made of it, trained for the same budget, and
//! its denoiser goes through every solver.
//!
//! [`Objective`]: tallow::objectives::Objective

use std::sync::Arc;

use tallow::denoisers::{Batch, Dataset, Error, Parameterization, Prediction};
use tallow::objectives::coupling::{Coupling, Independent, OptimalTransport};
use tallow::objectives::{Regression, TimeSampling};
use tallow::schedules::{RectifiedFlow, Schedule, TimeGrid, Trigonometric, Ve, VpLinear};
use tallow_examples::Failure;

use crate::sets::Set;

/// A way to train a denoiser, and the steps that it is sampled on.
pub(crate) struct Method {
    /// In tables and pictures.
    pub(crate) title: &'static str,
    /// The path.
    pub(crate) path: Arc<dyn Schedule>,
    /// What the network is told, and what it is asked for.
    pub(crate) parameterization: Parameterization,
    /// The times that training sees.
    pub(crate) times: TimeSampling,
    /// Who is paired with which noise.
    pub(crate) coupling: Box<dyn Coupling>,
    /// The levels that a run of so many steps visits.
    pub(crate) steps: Steps,
}

/// How levels are spread along a path.
#[derive(Clone, Copy)]
pub(crate) enum Steps {
    /// Evenly in time.
    Uniform,
    /// Evenly in λ from the noisy end to this time, then to the data in one step.
    Lambda(f64),
    /// EDM's: σ^{1/7} evenly, between these two levels, then to the data in one step.
    Karras(f64, f64),
}

/// The data have deviation 1 where EDM's have ½: its levels, and the mean of their logarithms, double.
const EDM_SCALE: f64 = 2.0;
/// Where noise prediction on the VP path ends; DPM-Solver's choice (arXiv:2206.00927, section 3.4).
const CLEAN: f64 = 1e-3;

/// All methods, in the order of the table.
///
/// # Errors
///
/// None: the settings are within their ranges.
pub(crate) fn methods() -> Result<Vec<Method>, Failure> {
    let (low, high) = (0.002 * EDM_SCALE, 80.0 * EDM_SCALE);
    Ok(vec![
        // Ho et al. 2020, arXiv:2006.11239: noise, on the path that its 1000 steps approximate.
        Method {
            title: "DDPM",
            path: Arc::new(VpLinear::default()),
            parameterization: Parameterization::new(Prediction::Noise),
            times: TimeSampling::stratified().within(CLEAN, 1.0)?,
            coupling: Box::new(Independent),
            steps: Steps::Lambda(CLEAN),
        },
        // Karras et al. 2022, arXiv:2206.00364, Table 1.
        Method {
            title: "EDM",
            path: Arc::new(Ve::with_t_max(high)?),
            parameterization: Parameterization::edm(0.5 * EDM_SCALE)?,
            times: TimeSampling::log_normal_sigma(-1.2 + EDM_SCALE.ln(), 1.2)?.in_strata(),
            coupling: Box::new(Independent),
            steps: Steps::Karras(low, high),
        },
        // Lipman et al. 2022, arXiv:2210.02747.
        Method {
            title: "flow matching",
            path: Arc::new(RectifiedFlow::default()),
            parameterization: Parameterization::flow_matching(),
            times: TimeSampling::stratified(),
            coupling: Box::new(Independent),
            steps: Steps::Uniform,
        },
        // Tong et al. 2024, arXiv:2302.00482: the same with pairs of exact transport within the batch.
        Method {
            title: "OT-CFM",
            path: Arc::new(RectifiedFlow::default()),
            parameterization: Parameterization::flow_matching(),
            times: TimeSampling::stratified(),
            coupling: Box::new(OptimalTransport::new()),
            steps: Steps::Uniform,
        },
        // Salimans & Ho 2022, arXiv:2202.00512: v on the cosine path.
        Method {
            title: "v-prediction",
            path: Arc::new(Trigonometric),
            parameterization: Parameterization::new(Prediction::V),
            times: TimeSampling::stratified(),
            coupling: Box::new(Independent),
            steps: Steps::Uniform,
        },
    ])
}

impl Method {
    /// What training lowers: each row's squared error counts alike.
    pub(crate) fn objective(&self) -> Regression {
        Regression::new(self.path.clone(), self.parameterization).with_times(self.times.clone())
    }

    /// The levels of a run of so many steps, two at least.
    ///
    /// # Errors
    ///
    /// When there is no step, or too many.
    pub(crate) fn grid(&self, steps: usize) -> Result<TimeGrid, Failure> {
        let path = self.path.clone();
        Ok(match self.steps {
            Steps::Uniform => TimeGrid::uniform(path, steps)?,
            Steps::Lambda(end) if steps > 1 => {
                let from = path.t_max();
                TimeGrid::uniform_lambda(path, from, end, steps - 1)?.then_clean()?
            }
            Steps::Lambda(_) => TimeGrid::uniform(path, steps)?,
            Steps::Karras(low, high) => TimeGrid::karras(path, low, high, 7.0, steps)?,
        })
    }

    /// The data as this method pairs them.
    pub(crate) fn data<'a>(&'a self, set: &'a Set) -> Paired<'a> {
        Paired {
            set,
            coupling: self.coupling.as_ref(),
        }
    }
}

/// Data with the noise that a coupling gives them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paired<'a> {
    set: &'a Set,
    coupling: &'a dyn Coupling,
}

impl Dataset for Paired<'_> {
    fn item_shape(&self) -> &[usize] {
        &[2]
    }

    fn draw(&self, count: usize, rng: &mut dyn rand::RngCore) -> tallow::denoisers::Result<Batch> {
        let batch = self.set.batch(count, rng)?;
        self.coupling
            .pair(batch, rng)
            .map_err(|error| Error::User(error.into()))
    }
}
