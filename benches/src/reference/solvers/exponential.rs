//! Deterministic methods in exponential form: DPM-Solver(++), UniPC, DEIS, Adams-Bashforth, iPNDM and PLMS.

use serde_json::Value;
use tallow::solvers::dpmpp_3m::Curvature;
use tallow::solvers::exponential::{Form, Variant};
use tallow::solvers::pndm::PndmStart;
use tallow::solvers::singlestep::Stages;
use tallow::solvers::unipc::{Corrector, UniScale};
use tallow::solvers::{
    AdamsBashforth, Deis, DpmSolver, DpmSolverMultistep, Dpmpp2m, Dpmpp3m, Error, Ipndm, LastSteps, Pndm,
    Sampler, Start, UniPc,
};

use super::Case;

type Made = Result<Box<dyn Sampler>, String>;

pub(super) fn sampler(name: &str, case: &Case<'_>) -> Option<Made> {
    let made = match name {
        "dpm_solver_singlestep" => singlestep(Form::Noise, case),
        "dpm_solver_pp_singlestep" => singlestep(Form::Data, case),
        "dpm_solver_multistep" => noise_multistep(case),
        "dpm_solver_pp_multistep" => data_multistep(case),
        "unipc" => unipc(case),
        "deis_log_rho" => order(case).and_then(|order| {
            boxed(Deis::new(order).map(|deis| deis.with_start(Start::Ramp).with_last_steps(last_steps(case))))
        }),
        "lms" => order(case)
            .and_then(|order| boxed(AdamsBashforth::new(order).map(|adams| adams.with_start(Start::Ramp)))),
        "ipndm" => order(case).and_then(|order| boxed(Ipndm::new(order))),
        "plms" => Ok(Box::new(Pndm {
            start: PndmStart::Mean,
        }) as Box<dyn Sampler>),
        _ => return None,
    };
    Some(made)
}

fn boxed<S: Sampler + 'static>(made: Result<S, Error>) -> Made {
    made.map(|solver| Box::new(solver) as Box<dyn Sampler>)
        .map_err(|error| error.to_string())
}

fn order(case: &Case<'_>) -> Result<usize, String> {
    case.number("order")
        .map(|order| order as usize)
        .ok_or_else(|| "the solver has no order".to_owned())
}

fn variant(case: &Case<'_>) -> Result<Variant, String> {
    match case.word("variant") {
        None | Some("midpoint") => Ok(Variant::Midpoint),
        Some("taylor") => Ok(Variant::Taylor),
        other => Err(format!("no variant is called {other:?}")),
    }
}

/// What programs mean by `lower_order_final` differs: the orders of the case tell.
fn last_steps(case: &Case<'_>) -> LastSteps {
    let orders: Vec<_> = case
        .field("order_per_step")
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_u64)
        .collect();
    let falls = orders.windows(2).any(|pair| pair[1] < pair[0]);
    if case.flag("lower_order_final") == Some(true) && falls {
        LastSteps::Lowered
    } else {
        LastSteps::FullOrder
    }
}

fn singlestep(form: Form, case: &Case<'_>) -> Made {
    let order = order(case)?;
    let stages = match case.word("grid") {
        Some("logSNR") => Stages::EvenLambda,
        Some("time_uniform") => Stages::EvenTime,
        Some("time_quadratic") => Stages::EvenRootTime,
        other => return Err(format!("no grid is called {other:?}")),
    };
    let solver = match case.word("plan") {
        Some("fixed") => DpmSolver::new(form, order),
        Some("fast") => {
            let evaluations = case.field("nfe").as_u64().ok_or("nfe is missing")?;
            DpmSolver::fast(form, order, evaluations as usize)
        }
        other => return Err(format!("no plan is called {other:?}")),
    };
    let variant = variant(case)?;
    boxed(solver.map(|solver| solver.with_variant(variant).with_stages(stages)))
}

fn noise_multistep(case: &Case<'_>) -> Made {
    if case.flag("true_order_3") == Some(true) {
        return boxed(
            Deis::new(3).map(|deis| deis.with_start(Start::Ramp).with_last_steps(last_steps(case))),
        );
    }
    let variant = variant(case)?;
    boxed(
        DpmSolverMultistep::new(order(case)?)
            .map(|solver| solver.with_variant(variant).with_last_steps(last_steps(case))),
    )
}

fn data_multistep(case: &Case<'_>) -> Made {
    let (variant, last_steps) = (variant(case)?, last_steps(case));
    Ok(match order(case)? {
        1 => return boxed(DpmSolver::new(Form::Data, 1)),
        2 => Box::new(Dpmpp2m { variant, last_steps }),
        3 => {
            let full = case.flag("true_order_3") == Some(true);
            let curvature = if full {
                Curvature::Full
            } else {
                Curvature::Published
            };
            Box::new(Dpmpp3m {
                curvature,
                variant,
                start: Start::Ramp,
                last_steps,
            })
        }
        other => return Err(format!("no multistep DPM-Solver++ has the order {other}")),
    })
}

fn unipc(case: &Case<'_>) -> Made {
    let mut solver = UniPc::new(order(case)?).map_err(|error| error.to_string())?;
    solver.form = if case.flag("data_prediction") == Some(false) {
        Form::Noise
    } else {
        Form::Data
    };
    solver.scale = match case.word("b_h") {
        Some("bh1") => UniScale::Bh1,
        Some("bh2") => UniScale::Bh2,
        other => return Err(format!("no B(h) is called {other:?}")),
    };
    solver.corrector = if case.flag("corrector") == Some(false) {
        Corrector::Off
    } else {
        Corrector::UniC
    };
    solver.start = Start::Ramp;
    solver.last_steps = last_steps(case);
    Ok(Box::new(solver))
}
