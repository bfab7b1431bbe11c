#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod adams_bashforth;
pub mod adaptive;
mod ancestral;
pub mod catalogue;
pub mod churned;
mod clean;
pub mod ddim;
pub mod ddpm;
pub mod deis;
pub mod dopri5;
pub mod dopri5_adaptive;
pub mod dpm2;
pub mod dpm2_ancestral;
pub mod dpm_adaptive;
pub mod dpm_solver;
pub mod dpm_solver_multistep;
pub mod dpmpp_2m;
pub mod dpmpp_2s_ancestral;
pub mod dpmpp_3m;
pub mod dpmpp_sde;
mod error;
pub mod euler;
pub mod euler_ancestral;
pub mod euler_maruyama;
pub mod exponential;
#[cfg(test)]
mod faults;
mod forward;
pub mod heun;
pub mod heun3;
pub mod inpainted;
pub mod ipndm;
pub mod langevin;
pub mod likelihood;
pub mod midpoint;
mod moments;
pub mod multistep;
mod phi;
pub mod pndm;
pub mod restart;
pub mod rk4;
mod run;
pub mod sa_solver;
mod sampler;
pub mod sde_dpmpp;
pub mod singlestep;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod unipc;
mod watched;
#[cfg(test)]
mod weak;

use candle_core::Tensor;
use tallow_denoisers::{Denoiser, Estimate, Noise};
use tallow_schedules::Step;

/// The crate of networks, estimates and noise, in the version that these solvers take.
pub use tallow_denoisers as denoisers;
/// The crate of paths and time grids, in the version that these solvers take.
pub use tallow_schedules as schedules;

pub use adams_bashforth::AdamsBashforth;
pub use adaptive::Control;
pub use ancestral::Ancestral;
pub use catalogue::{Claim, Entry, Needs, by_name};
pub use churned::{Churn, Churned};
pub use clean::{FinalStep, estimate};
pub use ddim::Ddim;
pub use ddpm::Ddpm;
pub use deis::Deis;
pub use dopri5::Dopri5;
pub use dopri5_adaptive::Dopri5Adaptive;
pub use dpm_adaptive::{DpmAdaptive, DpmPair};
pub use dpm_solver::DpmSolver;
pub use dpm_solver_multistep::DpmSolverMultistep;
pub use dpm2::Dpm2;
pub use dpm2_ancestral::Dpm2Ancestral;
pub use dpmpp_2m::Dpmpp2m;
pub use dpmpp_2s_ancestral::Dpmpp2sAncestral;
pub use dpmpp_3m::Dpmpp3m;
pub use dpmpp_sde::DpmppSde;
pub use error::{Error, Result};
pub use euler::Euler;
pub use euler_ancestral::EulerAncestral;
pub use euler_maruyama::EulerMaruyama;
pub use heun::Heun;
pub use heun3::Heun3;
pub use inpainted::Inpainted;
pub use ipndm::Ipndm;
pub use langevin::{Corrected, Langevin};
pub use likelihood::{Divergence, Likelihood, Prior, Probes, bits_per_dim};
pub use midpoint::Midpoint;
pub use multistep::{LastSteps, Start};
pub use pndm::Pndm;
pub use restart::{Restart, Restarted};
pub use rk4::Rk4;
pub use run::{Progress, Run};
pub use sa_solver::SaSolver;
pub use sampler::{Observer, Sampled, Sampler, start};
pub use sde_dpmpp::SdeDpmpp;
pub use unipc::UniPc;

/// One step of a sampler. The type is configuration only; what a run remembers is its `History`.
pub trait Solver: std::fmt::Debug + Send + Sync {
    /// What a step leaves for the next one: `()` unless the method is multistep. Made afresh for each run.
    type History: Default;

    /// Moves `x`, (B, …), from `step.from` to `step.to`.
    ///
    /// The loop hands out models whose estimates are cut off from the graph and checked to be finite.
    ///
    /// # Errors
    ///
    /// When the model, the noise or a tensor operation fails, or the method cannot take the step.
    fn step(
        &self,
        model: &dyn Denoiser,
        x: &Tensor,
        step: &Step<'_>,
        history: &mut Self::History,
        noise: &mut dyn Noise,
    ) -> Result<Point>;
}

/// Where a trajectory is after a step, and what the model believed at its start.
#[derive(Clone, Debug)]
pub struct Point {
    /// The state after the step, (B, …).
    pub x: Tensor,
    /// The model's estimate where the step started.
    pub estimate: Estimate,
}
