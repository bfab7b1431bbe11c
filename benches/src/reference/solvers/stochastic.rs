//! Stochastic solvers, and those of σ-space: churn, ancestral steps, SDE-DPM-Solver++, score SDE and Langevin steps.

use std::cell::Cell;
use std::ops::ControlFlow;
use std::rc::Rc;

use tallow::solvers::dpmpp_sde::InnerNoise;
use tallow::solvers::euler_maruyama;
use tallow::solvers::langevin::Norms;
use tallow::solvers::sde_dpmpp::SdeOrder;
use tallow::solvers::{
    Ancestral, Churn, Churned, Dpm2, Dpm2Ancestral, Dpmpp2sAncestral, DpmppSde, Euler, EulerAncestral,
    EulerMaruyama, FinalStep, Heun, Langevin, Sampler, SdeDpmpp,
};

use super::{Case, Verdict, Worst, numbers};

type Made = Result<Box<dyn Sampler>, String>;

pub(super) fn sampler(name: &str, case: &Case<'_>) -> Option<Made> {
    Some(match name {
        "euler" | "euler_churn" => churned(Euler::default(), case),
        "heun" | "heun_churn" => churned(Heun::default(), case),
        "dpm2" | "dpm2_churn" => churned(Dpm2, case),
        "euler_ancestral" => ancestral(case).map(|noise| boxed(EulerAncestral { noise })),
        "dpm2_ancestral" => ancestral(case).map(|noise| boxed(Dpm2Ancestral { noise })),
        "dpmpp_2s_ancestral" => ancestral(case).map(|noise| boxed(Dpmpp2sAncestral { noise })),
        "dpmpp_sde" => dpmpp_sde(case),
        "sde_dpm_solver_pp_multistep" => sde_dpmpp(case),
        "probability_flow_euler" => {
            let final_step = FinalStep::Evaluate;
            Ok(boxed(Euler { final_step }))
        }
        _ => return None,
    })
}

/// Score SDE's states before the noise of each step, and Langevin steps at one level.
pub(super) fn special(name: &str, case: &Case<'_>) -> Option<Result<Verdict, String>> {
    match name {
        "reverse_sde_euler_maruyama" => Some(with_means(case)),
        "langevin_corrector" => Some(corrected(case)),
        _ => None,
    }
}

fn boxed(sampler: impl Sampler + 'static) -> Box<dyn Sampler> {
    Box::new(sampler)
}

#[allow(clippy::needless_pass_by_value, reason = "the shape that map_err asks for")]
fn told(error: tallow::solvers::Error) -> String {
    error.to_string()
}

fn option(case: &Case<'_>, name: &str) -> Result<f64, String> {
    case.number(name).ok_or(format!("the solver has no {name}"))
}

fn churned<S>(solver: S, case: &Case<'_>) -> Made
where
    S: tallow::solvers::Solver<History = ()> + 'static,
{
    let churn = Churn::new(case.number("s_churn").unwrap_or(0.0))
        .and_then(|churn| {
            churn.between(
                case.number("s_tmin").unwrap_or(0.0),
                case.number("s_tmax").unwrap_or(f64::MAX),
            )
        })
        .and_then(|churn| churn.with_noise_scale(case.number("s_noise").unwrap_or(1.0)))
        .map_err(told)?;
    Ok(boxed(Churned::new(solver, churn)))
}

fn ancestral(case: &Case<'_>) -> Result<Ancestral, String> {
    let (eta, scale) = (
        case.number("eta").unwrap_or(1.0),
        case.number("s_noise").unwrap_or(1.0),
    );
    Ancestral::new(eta)
        .and_then(|noise| noise.with_noise_scale(scale))
        .map_err(told)
}

fn dpmpp_sde(case: &Case<'_>) -> Made {
    let r = case.number("r").unwrap_or(0.5);
    let solver = DpmppSde::new(ancestral(case)?).at_fraction(r).map_err(told)?;
    // The cases' two noises of a step are drawn apart.
    Ok(boxed(solver.with_inner_noise(InnerNoise::Own)))
}

fn sde_dpmpp(case: &Case<'_>) -> Made {
    let order = match (
        case.number("order"),
        case.word("variant"),
        case.flag("true_order_3"),
    ) {
        (Some(1.0), _, _) => SdeOrder::First,
        (Some(2.0), Some("midpoint"), _) => SdeOrder::SecondMidpoint,
        (Some(2.0), Some("taylor"), _) => SdeOrder::SecondTaylor,
        (Some(3.0), _, Some(true)) => SdeOrder::Third,
        (Some(3.0), _, Some(false)) => SdeOrder::ThirdHalved,
        other => return Err(format!("no order and variant are {other:?}")),
    };
    let solver = SdeDpmpp::new(order).with_eta(option(case, "eta")?);
    let scale = option(case, "s_noise")?;
    solver
        .and_then(|solver| solver.with_noise_scale(scale))
        .map(boxed)
        .map_err(told)
}

fn with_means(case: &Case<'_>) -> Result<Verdict, String> {
    let (grid, kept) = case.grid()?;
    let (states, means) = (case.steps("x_steps")?, case.steps("x_mean")?);
    let mut worst = Worst::new(case);
    let step = Rc::new(Cell::new(0));
    let mut noise = case.replay(step.clone())?;
    let x = case.tensor("x_init")?;
    let run = EulerMaruyama.run(&case.model()?, &grid, &x, &mut noise, &mut |progress| {
        let index = kept.get(progress.step.index).copied().unwrap_or(usize::MAX);
        match (states.get(index), means.get(index)) {
            (Some(state), Some(mean)) => {
                worst.compare(&format!("x_steps[{index}]"), &progress.point.x, state);
                match euler_maruyama::mean(&progress.point.estimate, &progress.step) {
                    Ok(got) => worst.compare(&format!("x_mean[{index}]"), &got, mean),
                    Err(error) => worst.fail(error.to_string()),
                }
            }
            _ => worst.fail(format!("the case has no step {index}")),
        }
        step.set(kept.get(progress.step.index + 1).copied().unwrap_or(usize::MAX));
        ControlFlow::Continue(())
    });
    worst.compare("x_final", &run.map_err(told)?.x, &numbers(case.field("x_final"))?);
    Ok(worst.verdict())
}

fn corrected(case: &Case<'_>) -> Result<Verdict, String> {
    let norms = match case.word("norms") {
        Some("per_sample") => Norms::PerSample,
        Some("batch_mean") => Norms::BatchMean,
        other => return Err(format!("no norms are called {other:?}")),
    };
    let langevin = Langevin::new(option(case, "snr")?)
        .map_err(told)?
        .with_norms(norms);
    let levels = case.levels(case.schedule()?.as_ref())?;
    let level = *levels.first().ok_or("the case has no node")?;
    let (model, mut x) = (case.model()?, case.tensor("x_init")?);
    let mut worst = Worst::new(case);
    let step = Rc::new(Cell::new(0));
    let mut noise = case.replay(step.clone())?;
    for (index, expected) in case.steps("x_steps")?.iter().enumerate() {
        step.set(index);
        x = langevin.correct(&model, &x, level, &mut noise).map_err(told)?;
        worst.compare(&format!("x_steps[{index}]"), &x, expected);
    }
    Ok(worst.verdict())
}
