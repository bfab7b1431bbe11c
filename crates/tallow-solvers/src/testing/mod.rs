//! Tests for solvers, one's own included: exact problems, measured orders, laws and hostile models.
//!
//! [`check`] runs everything on a sampler and reports in words. A solver of one's own needs nothing but the trait:
//!
//! ```
//! use candle_core::Tensor;
//! use tallow_denoisers::{Denoiser, Noise, lincomb};
//! use tallow_schedules::Step;
//! use tallow_solvers::{Claim, Point, Result, Solver, estimate, testing};
//!
//! /// First order: keep x̂_0 and what remains of x.
//! #[derive(Debug)]
//! struct Mine;
//!
//! impl Solver for Mine {
//!     type History = ();
//!
//!     fn step(
//!         &self, model: &dyn Denoiser, x: &Tensor, step: &Step<'_>, _: &mut (), _: &mut dyn Noise,
//!     ) -> Result<Point> {
//!         let estimate = estimate(model, x, step.from)?;
//!         let kept = if step.from.sigma > 0.0 { step.to.sigma / step.from.sigma } else { 1.0 };
//!         let x = lincomb([(kept, x), (step.to.alpha - kept * step.from.alpha, &estimate.x0()?)])?;
//!         Ok(Point { x, estimate })
//!     }
//! }
//!
//! let report = testing::check(&Mine, Claim::Order(1.0));
//! assert!(report.passed(), "{report}");
//! # Ok::<(), tallow_solvers::Error>(())
//! ```
//!
//! The parts stand alone as well:
//!
//! * [`Problem`]: probability-flow ODEs with exact solutions; [`order()`] measures how fast a sampler converges to them.
//! * [`weak_order()`]: how fast the moments of a stochastic sampler converge, without Monte Carlo.
//! * [`laws`]: what every sampler must obey, on every path, grid and prediction ([`Setting`]).
//! * [`identities`]: samplers that should be one and the same, paths that should not matter.
//! * [`Hostile`]: models that return NaN, infinity, a wrong shape or an error at a call of choice.

pub mod hostile;
pub mod identities;
pub mod laws;
mod normal;
pub mod order;
pub mod problems;
pub mod report;
pub mod settings;
#[cfg(test)]
mod tests;
pub mod weak_order;

pub use hostile::{Fault, Hostile};
pub use order::{FEW_STEPS, FLOOR, Measured, Order, STEPS, Silence, error, order, steps_for};
pub use problems::{Path, Problem};
pub use report::{Finding, Report, check};
pub use settings::{Setting, Told};
pub use weak_order::{AffineRun, WEAK_STEPS, WeakOrder, weak_error, weak_order};
