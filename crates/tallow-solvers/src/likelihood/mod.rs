//! Log-likelihoods along the probability-flow ODE.
//!
//! ```text
//! dx/dt = v̂(x, t)        d ln p/dt = −div v̂        ln p_s(x_s) = ln p_t(x_t) + ∫ₛᵗ div v̂ dt
//! div v̂ = Σ ∂v̂ᵢ/∂xᵢ (exact: one backward pass a coordinate)    ≈ zᵀ (∂v̂/∂x) z (one a probe; E[zzᵀ] = I)
//! bits per dimension = −ln p/(D ln 2) − log₂(size of one level of the data)
//! ```
//!
//! Both integrals are made by the pair of Dormand and Prince with steps of its own, each row its own; the integral of the
//! divergence counts as one more coordinate. Probes are drawn once and kept along the whole trajectory.
//!
//! Source: Chen et al. 2018, arXiv:1806.07366; Grathwohl et al. 2019 (FFJORD), arXiv:1810.01367; Song et al. 2021,
//! arXiv:2011.13456, Eq. 39-40 (Skilling-Hutchinson estimator, rtol = atol = 1e-5).

mod divergence;
#[cfg(test)]
mod tests;

use candle_core::{DType, Tensor};
use tallow_denoisers::{Denoiser, Levels, Noise};
use tallow_schedules::{NoiseLevel, Schedule};

use crate::adaptive::{Control, Failure, Method, travel};
use crate::dopri5_adaptive::Embedded;
use crate::watched::{Watched, check_finite};
use crate::{Error, FinalStep, Result};
use divergence::{both, check_graph, rows_and_size};

pub use divergence::{Trace, divergence};

/// How log-likelihoods are computed.
///
/// Source: Chen et al. 2018, arXiv:1806.07366; Grathwohl et al. 2019 (FFJORD), arXiv:1810.01367; Song et al. 2021,
/// arXiv:2011.13456, Eq. 39-40 (Skilling-Hutchinson estimator, rtol = atol = 1e-5).
///
/// ```
/// use candle_core::{Device, Tensor};
/// use tallow_denoisers::{ExactGaussian, Seeded};
/// use tallow_schedules::RectifiedFlow;
/// use tallow_solvers::{Likelihood, Prior, bits_per_dim};
///
/// let model = ExactGaussian::new(vec![0.5, -0.5], vec![0.3, 0.2])?;
/// let x = Tensor::new(&[[0.4, -0.3], [0.6, -0.6]], &Device::Cpu)?;
/// let likelihood = Likelihood::default();
/// let path = RectifiedFlow::default();
/// let told = likelihood.log_density(&model, &path, (1e-3, 1.0), &x, &Prior::Gaussian { std: 1.0 }, &mut Seeded::new(0))?;
/// let bits = bits_per_dim(&told.log_density, 2, 1.0 / 127.5)?;
/// # assert_eq!(bits.dims(), [2]);
/// # Ok::<(), tallow_solvers::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Likelihood {
    /// Tolerances and limits of the integration.
    pub control: Control,
    /// How the divergence is computed.
    pub divergence: Divergence,
}

/// How the divergence of a velocity is computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Divergence {
    /// From all D rows of the Jacobian: for up to some fifty coordinates.
    #[default]
    Exact,
    /// From a number of random probes a trajectory: unbiased, one backward pass each.
    Estimated {
        /// How they are distributed.
        probes: Probes,
        /// How many are averaged over.
        count: usize,
    },
}

/// The distribution of probes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Probes {
    /// ±1 with equal probability: the least variance (Hutchinson).
    #[default]
    Rademacher,
    /// Unit normal (Skilling).
    Gaussian,
}

/// The density at the noisy end.
#[derive(Clone, Copy)]
pub enum Prior<'a> {
    /// N(0, std² I): std is 1 on VP and flow paths, σ_max on VE.
    Gaussian {
        /// Its standard deviation.
        std: f64,
    },
    /// ln p of each row, (B,), at the level where the trajectory ends.
    LogDensity(&'a dyn Fn(&Tensor, NoiseLevel) -> tallow_denoisers::Result<Tensor>),
}

impl std::fmt::Debug for Prior<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Gaussian { std } => f.debug_struct("Gaussian").field("std", std).finish(),
            Self::LogDensity(_) => f.write_str("LogDensity(|x, at| …)"),
        }
    }
}

/// What became of a batch; numbers of rows are (B,) of f64 on the CPU, in nats.
#[derive(Clone, Debug)]
pub struct LogDensity {
    /// ln p of each row where the trajectory started.
    pub log_density: Tensor,
    /// The state at the noisy end, (B, …): the code of each row.
    pub code: Tensor,
    /// ln of the prior at the code.
    pub log_prior: Tensor,
    /// The integral of the divergence from start to end.
    pub divergence_integral: Tensor,
    /// Attempted steps.
    pub steps: usize,
    /// Network evaluations; backward passes are not counted.
    pub evaluations: usize,
}

/// Exact divergence, tolerances of 1e-5.
impl Default for Likelihood {
    fn default() -> Self {
        Self {
            control: crate::Dopri5Adaptive::default().control,
            divergence: Divergence::Exact,
        }
    }
}

impl Likelihood {
    /// ln p_t(x) of each row of `x`, (B, …), at the first of two times, with the density at the second given.
    ///
    /// A path without noise at t = 0 has no score there: a start a little above it (score SDE: 1e-5) is usual, and what is
    /// told is the density of data with that much noise. On a CPU the integral is in f64, whatever the type of `x`; on other
    /// devices in f64 for an `x` in f64, else in f32. The model is asked in the type of `x`.
    ///
    /// # Errors
    ///
    /// When a parameter is out of range, a time outside of the path, σ = 0 at the start, the model fails or does not lead
    /// gradients back to x, or the tolerance cannot be held.
    pub fn log_density(
        &self,
        model: &dyn Denoiser,
        schedule: &dyn Schedule,
        (from, to): (f64, f64),
        x: &Tensor,
        prior: &Prior<'_>,
        noise: &mut dyn Noise,
    ) -> Result<LogDensity> {
        self.check(schedule, from, to)?;
        check_finite("the start of a trajectory", x)?;
        let (rows, size) = rows_and_size(x)?;
        let trace = self.trace(x, noise)?;
        check_graph(model, x, schedule.level(from).into())?;
        let model = Watched::begin(model);
        let wide = if x.dtype() == DType::F64 || x.device().is_cpu() {
            DType::F64
        } else {
            DType::F32
        };
        // One more coordinate holds the integral so far.
        let joined = |x: &Tensor, last: &Tensor| -> Result<Tensor> {
            let (x, last) = (x.to_dtype(wide)?.reshape((rows, size))?, last.to_dtype(wide)?);
            Ok(Tensor::cat(&[x, last.reshape((rows, 1))?], 1)?)
        };
        let state = |y: &Tensor| -> Result<Tensor> {
            Ok(y.narrow(1, 0, size)?.to_dtype(x.dtype())?.reshape(x.shape())?)
        };
        let slope = |y: &Tensor, at: &[NoiseLevel]| -> Result<Tensor> {
            let (velocity, divergence) = both(&model, &state(y)?, Levels::PerRow(at), &trace)?;
            joined(&velocity, &divergence)
        };
        let mut method = Embedded::new(&slope, schedule, self.control, FinalStep::Evaluate);
        let nothing = Tensor::zeros(rows, wide, x.device())?;
        let start = joined(&x.detach(), &nothing)?;
        let mut go = || {
            if x.elem_count() == 0 {
                return Ok((start.clone(), 0));
            }
            let failed = |error: Error| Failure {
                attempt: 0,
                time: from,
                error,
            };
            let (lengths, _) = method.start(&start, from, to).map_err(failed)?;
            let visit = &mut |_, _, _, _| Ok(true);
            let (end, steps, _) = travel(
                &mut method,
                &self.control,
                start.clone(),
                (from, lengths),
                &[to],
                visit,
            )?;
            Ok((end, steps))
        };
        let (end, steps) = go().map_err(|Failure { attempt, time, error }| Error::Step {
            index: attempt,
            count: self.control.max_steps,
            t: time,
            evaluations: model.evaluations(),
            source: Box::new(model.take_failure().unwrap_or(error)),
        })?;
        let code = state(&end)?;
        let divergence_integral = narrow_f64(&end.narrow(1, size, 1)?)?;
        let log_prior = narrow_f64(&prior.of(&code, schedule.level(to), size)?)?;
        Ok(LogDensity {
            log_density: (&log_prior + &divergence_integral)?,
            code,
            log_prior,
            divergence_integral,
            steps,
            evaluations: model.evaluations(),
        })
    }

    fn check(&self, schedule: &dyn Schedule, from: f64, to: f64) -> Result<()> {
        self.control.check()?;
        let start = schedule.checked_level(from)?;
        schedule.checked_level(to)?;
        let refused = |name, value, allowed| {
            Err(Error::Parameter {
                owner: "Likelihood",
                name,
                value,
                allowed,
            })
        };
        if start.sigma == 0.0 {
            return refused(
                "the first time",
                from,
                "where σ > 0, such as 1e-5: there is no score without noise",
            );
        }
        if to <= from {
            return refused(
                "the second time",
                to,
                "above the first: the prior lies at the noisy end",
            );
        }
        match self.divergence {
            Divergence::Estimated { count: 0, .. } => refused("count", 0.0, "at least 1"),
            _ => Ok(()),
        }
    }

    /// The probes of a batch of trajectories.
    fn trace(&self, like: &Tensor, noise: &mut dyn Noise) -> Result<Trace> {
        let Divergence::Estimated { probes, count } = self.divergence else {
            return Ok(Trace::Exact);
        };
        let mut drawn = Vec::with_capacity(count);
        for _ in 0..count {
            let normal = noise.fresh(like)?;
            drawn.push(match probes {
                Probes::Gaussian => normal,
                Probes::Rademacher => normal.ge(0.0)?.to_dtype(like.dtype())?.affine(2.0, -1.0)?,
            });
        }
        Ok(Trace::Probed(drawn))
    }
}

/// Bits per dimension of data whose 8-bit levels have the size `level` in the model's units: 1/127.5 for data in [−1, 1],
/// 1/255 for data in [0, 1], 1 for the differential entropy itself. The data are those levels with uniform noise.
///
/// `log_density`: (B,), in nats.
///
/// # Errors
///
/// When `dimensions` is 0, `level` is not positive, or a tensor operation fails.
pub fn bits_per_dim(log_density: &Tensor, dimensions: usize, level: f64) -> Result<Tensor> {
    let refused = |name, value, allowed| {
        Err(Error::Parameter {
            owner: "bits_per_dim",
            name,
            value,
            allowed,
        })
    };
    if dimensions == 0 {
        return refused("dimensions", 0.0, "at least 1");
    }
    if !(level.is_finite() && level > 0.0) {
        return refused("level", level, "positive and finite");
    }
    let scale = -1.0 / (dimensions as f64 * std::f64::consts::LN_2);
    Ok(log_density.affine(scale, -level.log2())?)
}

impl Prior<'_> {
    /// ln p of each row of the code.
    fn of(&self, code: &Tensor, at: NoiseLevel, size: usize) -> Result<Tensor> {
        match self {
            Self::LogDensity(log_density) => Ok(log_density(code, at)?),
            Self::Gaussian { std } if std.is_finite() && *std > 0.0 => {
                let rows = code.dim(0)?;
                let square = code.to_dtype(DType::F64)?.reshape((rows, size))?.sqr()?.sum(1)?;
                let norm = 0.5 * size as f64 * (std::f64::consts::TAU * std * std).ln();
                Ok(square.affine(-0.5 / (std * std), -norm)?)
            }
            Self::Gaussian { std } => Err(Error::Parameter {
                owner: "Prior",
                name: "std",
                value: *std,
                allowed: "positive and finite",
            }),
        }
    }
}

/// (B,) of f64 on the CPU.
fn narrow_f64(x: &Tensor) -> Result<Tensor> {
    let x = x.to_device(&candle_core::Device::Cpu)?.to_dtype(DType::F64)?;
    Ok(x.flatten_all()?)
}
