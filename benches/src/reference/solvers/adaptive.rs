//! Dormand-Prince with the steps of the nodes and with its own, and Heun's third order.

use tallow::solvers::{Dopri5, Dopri5Adaptive, FinalStep, Heun3, Sampler};

use super::Case;

pub(super) fn sampler(name: &str, case: &Case<'_>) -> Option<Result<Box<dyn Sampler>, String>> {
    // The cases evaluate at σ = 0, too.
    let final_step = FinalStep::Evaluate;
    let solver: Box<dyn Sampler> = match name {
        "flow_heun3" => Box::new(Heun3 { final_step }),
        "flow_dopri5_fixed" => Box::new(Dopri5 { final_step }),
        "flow_dopri5_adaptive" => return Some(adaptive(case)),
        _ => return None,
    };
    Some(Ok(solver))
}

fn adaptive(case: &Case<'_>) -> Result<Box<dyn Sampler>, String> {
    let option = |name: &str| {
        case.number(name)
            .ok_or_else(|| format!("solver.{name} is missing"))
    };
    let solver = Dopri5Adaptive::new(option("rtol")?, option("atol")?).map_err(|error| error.to_string())?;
    Ok(Box::new(solver))
}
