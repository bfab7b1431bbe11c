#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod error;
mod grid;
#[cfg(test)]
mod laws;
mod level;
mod named;
mod polynomial;
mod prediction;
mod rectified_flow;
mod scaled_linear;
mod sub_vp;
mod table;
mod trigonometric;
mod variance_preserving;
mod ve;
mod ve_geometric;
mod vp_cosine;
mod vp_linear;
mod vp_sigmoid;
mod weighting;

use std::fmt::Debug;
use std::sync::Arc;

pub use error::{Error, Result};
pub use grid::{
    MAX_STEPS, Step, TimeGrid, exponential_sigmas, flow_base_times, flow_shift_of_pixels,
    flow_shift_of_sequence, flow_time_of_sigma, iddpm_u_table, karras_sigmas, karras_to_linear_flow,
    leading_steps, linspace_n_plus_1_steps, linspace_steps, polyexponential_sigmas, quadratic_steps,
    quadratic_times, shift_time, shifted_flow_times, singlestep_order_plan, trailing_steps, uniform_times,
};
pub use level::NoiseLevel;
pub use named::NamedSchedule;
pub use polynomial::Polynomial;
pub use prediction::{MAX_GAIN, Mixture, Prediction};
pub use rectified_flow::RectifiedFlow;
pub use scaled_linear::ScaledLinear;
pub use sub_vp::SubVp;
pub use table::Table;
pub use trigonometric::Trigonometric;
pub use ve::Ve;
pub use ve_geometric::VeGeometric;
pub use vp_cosine::VpCosine;
pub use vp_linear::VpLinear;
pub use vp_sigmoid::VpSigmoid;
pub use weighting::Weighting;

/// A Gaussian path `x_t = α_t x_0 + σ_t ε`, from data at `t = 0` to noise at `t = t_max`.
///
/// Times outside `[0, t_max]` are for [`checked_level`](Self::checked_level) to refuse: the other methods compute whatever
/// their formula gives there. A path of one's own needs the five functions; [`TimeGrid`], predictions and solvers follow.
///
/// ```
/// use tallow_schedules::Schedule;
///
/// /// α = 1, σ = t²: variance explodes, slowly at first.
/// #[derive(Debug)]
/// struct Squared;
///
/// impl Schedule for Squared {
///     fn alpha(&self, _t: f64) -> f64 { 1.0 }
///     fn sigma(&self, t: f64) -> f64 { t * t }
///     fn alpha_dot(&self, _t: f64) -> f64 { 0.0 }
///     fn sigma_dot(&self, t: f64) -> f64 { 2.0 * t }
///     fn inverse_lambda(&self, lambda: f64) -> f64 { (-0.5 * lambda).exp().min(1.0) }
/// }
///
/// assert!((Squared.inverse_lambda(Squared.lambda(0.3)) - 0.3).abs() < 1e-15);
/// ```
pub trait Schedule: Debug + Send + Sync {
    /// Signal scale α_t: falls from 1 (VP, flow) or stays at 1 (VE).
    fn alpha(&self, t: f64) -> f64;

    /// Noise scale σ_t, in units of the data; rises from 0 (or a small σ_min).
    fn sigma(&self, t: f64) -> f64;

    /// dα/dt.
    fn alpha_dot(&self, t: f64) -> f64;

    /// dσ/dt; may be infinite at `t = 0`.
    fn sigma_dot(&self, t: f64) -> f64;

    /// The time at which λ_t = ln(α_t/σ_t) equals `lambda`. λ falls strictly with t.
    ///
    /// A value that the path does not reach, ±∞ for one, is answered by the end that is nearer.
    fn inverse_lambda(&self, lambda: f64) -> f64;

    /// Where the path ends: 1, except where the clock is σ itself.
    fn t_max(&self) -> f64 {
        1.0
    }

    /// λ_t = ln(α_t/σ_t), half the log of the signal-to-noise ratio; from +∞ (σ = 0) to −∞ (α = 0).
    fn lambda(&self, t: f64) -> f64 {
        self.level(t).lambda()
    }

    /// The level at a time that comes from outside: a file, a command line, a caller.
    ///
    /// # Errors
    ///
    /// When the time is NaN or outside `[0, t_max]`.
    fn checked_level(&self, t: f64) -> Result<NoiseLevel> {
        let t_max = self.t_max();
        if (0.0..=t_max).contains(&t) {
            Ok(self.level(t))
        } else {
            Err(Error::Time { t, t_max })
        }
    }

    /// The four coefficients at once: all that solvers and models are given.
    fn level(&self, t: f64) -> NoiseLevel {
        NoiseLevel {
            t,
            alpha: self.alpha(t),
            sigma: self.sigma(t),
            alpha_dot: self.alpha_dot(t),
            sigma_dot: self.sigma_dot(t),
        }
    }
}

impl<S: Schedule + ?Sized> Schedule for Arc<S> {
    fn alpha(&self, t: f64) -> f64 {
        (**self).alpha(t)
    }

    fn sigma(&self, t: f64) -> f64 {
        (**self).sigma(t)
    }

    fn alpha_dot(&self, t: f64) -> f64 {
        (**self).alpha_dot(t)
    }

    fn sigma_dot(&self, t: f64) -> f64 {
        (**self).sigma_dot(t)
    }

    fn inverse_lambda(&self, lambda: f64) -> f64 {
        (**self).inverse_lambda(lambda)
    }

    fn t_max(&self) -> f64 {
        (**self).t_max()
    }

    fn lambda(&self, t: f64) -> f64 {
        (**self).lambda(t)
    }

    fn level(&self, t: f64) -> NoiseLevel {
        (**self).level(t)
    }
}
