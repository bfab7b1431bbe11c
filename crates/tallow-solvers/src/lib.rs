//! Solvers for diffusion and flow-matching models with measured orders, over any network.
#![forbid(unsafe_code)]

pub mod catalogue;
mod clean;
pub mod ddim;
pub mod ddpm;
mod error;
pub mod euler;
pub mod heun;
pub mod midpoint;
pub mod rk4;
mod run;
mod sampler;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod watched;

use candle_core::Tensor;
use tallow_denoisers::{Denoiser, Estimate, Noise};
use tallow_schedules::Step;

pub use catalogue::{Claim, Entry, Needs, by_name};
pub use clean::{FinalStep, estimate};
pub use ddim::Ddim;
pub use ddpm::Ddpm;
pub use error::{Error, Result};
pub use euler::Euler;
pub use heun::Heun;
pub use midpoint::Midpoint;
pub use rk4::Rk4;
pub use run::{Progress, Run};
pub use sampler::{Observer, Sampled, Sampler, start};

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
