//! Family "likelihood": log-densities, divergences and codes along the probability-flow ODE.

use candle_core::{Device, Tensor};
use serde_json::Value;
use tallow::denoisers::{Denoiser, Seeded};
use tallow::schedules::NoiseLevel;
use tallow::solvers::likelihood::{Trace, divergence};
use tallow::solvers::{Control, Dopri5Adaptive, Likelihood, Prior, bits_per_dim};

use super::solvers::{Case, Verdict, Worst, numbers};

/// Checks one case of the family.
#[must_use]
pub fn check(case: &Value, tables: &Value) -> Verdict {
    let of_kind = match case["kind"].as_str() {
        Some("log_density") => log_density(case, tables),
        Some("probability_flow") => probability_flow(case, tables),
        Some("bits_per_dim") => bits(case),
        other => Ok(Verdict::Unsupported(format!(
            "no check answers to the kind {other:?}"
        ))),
    };
    of_kind.unwrap_or_else(Verdict::Failed)
}

type Told<T> = Result<T, String>;

/// The mixture's own density, score and divergence of the score.
fn log_density(value: &Value, tables: &Value) -> Told<Verdict> {
    let case = Case::new(value, tables);
    let (model, x) = (case.model()?, case.tensor("x")?);
    let clean = NoiseLevel {
        t: 0.0,
        alpha: 1.0,
        sigma: 0.0,
        alpha_dot: 0.0,
        sigma_dot: 1.0,
    };
    let mut worst = Worst::of(value);
    let density = model.log_density(&x, clean).map_err(told)?;
    worst.compare(
        "log_density_nats",
        &density,
        &numbers(&value["log_density_nats"])?,
    );
    // The score of the data is the limit of small noise; on this path the velocity is −σ times the score.
    let sigma = 1e-8;
    let at = NoiseLevel {
        t: sigma,
        sigma,
        ..clean
    };
    let score = model
        .estimate(&x, at.into())
        .and_then(|estimate| estimate.score())
        .map_err(told)?;
    worst.compare("score", &score, &numbers(&value["score"])?);
    let (_, trace) = divergence(&model, &x, at.into(), &Trace::Exact).map_err(told)?;
    let of_score = (trace / -sigma).map_err(told)?;
    worst.compare(
        "score_divergence",
        &of_score,
        &numbers(&value["score_divergence"])?,
    );
    Ok(worst.verdict())
}

fn probability_flow(value: &Value, tables: &Value) -> Told<Verdict> {
    let case = Case::new(value, tables);
    let (model, x, path) = (case.model()?, case.tensor("x")?, case.schedule()?);
    let part = |name: &str| value[name].as_f64().ok_or_else(|| format!("{name} is missing"));
    let between = (part("t_start")?, part("t_end")?);
    let (start, end) = (path.level(between.0), path.level(between.1));
    let mut worst = Worst::of(value);
    let mut compare = |name: &str, got: &Tensor| -> Told<()> {
        worst.compare(name, got, &numbers(&value[name])?);
        Ok(())
    };
    let scalar = |of: f64| Tensor::new(&[of], &Device::Cpu).map_err(told);
    for (name, of) in [
        ("alpha_start", start.alpha),
        ("sigma_start", start.sigma),
        ("alpha_end", end.alpha),
        ("sigma_end", end.sigma),
    ] {
        compare(name, &scalar(of)?)?;
    }

    let likelihood = Likelihood {
        control: Control::new(1e-10, 1e-10).map_err(told)?,
        ..Likelihood::default()
    };
    let density = |x: &Tensor, at: NoiseLevel| model.log_density(x, at);
    let run = |prior: &Prior<'_>| {
        likelihood
            .log_density(&model, path.as_ref(), between, &x, prior, &mut Seeded::new(0))
            .map_err(told)
    };
    let exact = run(&Prior::LogDensity(&density))?;
    compare("x_end", &exact.code)?;
    compare("divergence_integral", &exact.divergence_integral)?;
    compare("log_density_start_exact", &exact.log_density)?;
    compare("log_density_end_exact", &exact.log_prior)?;
    compare(
        "bits_per_dim",
        &bits_per_dim(&exact.log_density, x.dim(1).map_err(told)?, 1.0).map_err(told)?,
    )?;
    let gaussian = run(&Prior::Gaussian {
        std: part("gaussian_prior_std")?,
    })?;
    compare("log_prior_of_x_end", &gaussian.log_prior)?;
    compare("log_density_with_gaussian_prior", &gaussian.log_density)?;

    let at_start = |trace: &Trace| divergence(&model, &x, start.into(), trace).map_err(told);
    compare("divergence_at_start", &at_start(&Trace::Exact)?.1)?;
    let probe = Trace::Probed(vec![case.tensor("probe")?]);
    compare("hutchinson_divergence_at_start", &at_start(&probe)?.1)?;

    let solver = Dopri5Adaptive {
        control: likelihood.control,
        ..Dopri5Adaptive::default()
    };
    let code = solver
        .transport(&model, path.clone(), between, &x)
        .map_err(told)?;
    let back = solver
        .transport(&model, path.clone(), (between.1, between.0), &code)
        .map_err(told)?;
    compare("x_end", &code)?;
    compare("x", &back)?;
    Ok(worst.verdict())
}

fn bits(value: &Value) -> Told<Verdict> {
    let dimensions = value["dim"].as_u64().ok_or("dim is missing")? as usize;
    let densities = Tensor::new(numbers(&value["log_density_nats"])?, &Device::Cpu).map_err(told)?;
    let columns = numbers(&value["scale"])?
        .into_iter()
        .map(|level| bits_per_dim(&densities, dimensions, level).map_err(told))
        .collect::<Told<Vec<_>>>()?;
    let mut worst = Worst::of(value);
    let table = Tensor::stack(&columns, 1).map_err(told)?;
    worst.compare("expected", &table, &numbers(&value["expected"])?);
    Ok(worst.verdict())
}

fn told(error: impl std::fmt::Display) -> String {
    error.to_string()
}
