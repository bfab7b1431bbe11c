//! Runge-Kutta methods on dx/dt = velocity.

use tallow::solvers::rk4::Rk4Rule;
use tallow::solvers::{Euler, FinalStep, Heun, Midpoint, Rk4, Sampler};

use super::Case;

pub(super) fn sampler(name: &str, _case: &Case<'_>) -> Option<Result<Box<dyn Sampler>, String>> {
    // The cases evaluate at σ = 0, too.
    let final_step = FinalStep::Evaluate;
    let solver: Box<dyn Sampler> = match name {
        "flow_euler" => Box::new(Euler { final_step }),
        "flow_midpoint" => Box::new(Midpoint { final_step }),
        "flow_heun2" => Box::new(Heun { final_step }),
        "flow_rk4_classic" => Box::new(Rk4 {
            rule: Rk4Rule::Classic,
            final_step,
        }),
        "flow_rk4_38" => Box::new(Rk4 {
            rule: Rk4Rule::ThreeEighths,
            final_step,
        }),
        _ => return None,
    };
    Some(Ok(solver))
}
