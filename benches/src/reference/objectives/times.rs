//! Densities and quantiles of training times.

use tallow::objectives::TimeSampling;
use tallow::objectives::time_sampling::LossAware;
use tallow::schedules::{RectifiedFlow, Schedule, Ve};

use super::{Comparison, Fields, Obstacle, Told, only, told};

pub(super) fn logit_normal(case: &Fields<'_>, rule: &Fields<'_>) -> Told<Comparison> {
    let sampling = TimeSampling::logit_normal(rule.number("mean")?, rule.number("std")?).map_err(told)?;
    let expected = only(case, &["pdf", "quantile_at_t"])?;
    let shares = case.object("inputs")?.numbers("t")?;
    let mut comparison = Comparison::of(case)?;
    comparison.field(&expected, "pdf", &densities(&sampling, &shares)?)?;
    if expected.has("quantile_at_t") {
        comparison.field(&expected, "quantile_at_t", &quantiles(&sampling, &shares)?)?;
    }
    Ok(comparison)
}

pub(super) fn mode(case: &Fields<'_>, rule: &Fields<'_>) -> Told<Comparison> {
    let sampling = TimeSampling::mode(rule.number("s")?).map_err(told)?;
    let expected = only(case, &["t", "density_at_t"])?;
    // f falls with u: the share below f(u) is 1 − u.
    let shares: Vec<f64> = case
        .object("inputs")?
        .numbers("u")?
        .into_iter()
        .map(|u| 1.0 - u)
        .collect();
    let times = quantiles(&sampling, &shares)?;
    let mut comparison = Comparison::of(case)?;
    comparison.field(&expected, "t", &times)?;
    if expected.has("density_at_t") {
        comparison.field(&expected, "density_at_t", &densities(&sampling, &times)?)?;
    }
    Ok(comparison)
}

pub(super) fn cos_map(case: &Fields<'_>) -> Told<Comparison> {
    let sampling = TimeSampling::cos_map();
    let expected = only(case, &["pdf", "t_of_u"])?;
    let inputs = case.object("inputs")?;
    let mut comparison = Comparison::of(case)?;
    if expected.has("pdf") {
        comparison.field(&expected, "pdf", &densities(&sampling, &inputs.numbers("t")?)?)?;
    }
    if expected.has("t_of_u") {
        comparison.field(&expected, "t_of_u", &quantiles(&sampling, &inputs.numbers("u")?)?)?;
    }
    Ok(comparison)
}

/// σ by its logarithm on EDM's clock, and the time of that σ on the straight path.
pub(super) fn log_normal(case: &Fields<'_>, rule: &Fields<'_>) -> Told<Comparison> {
    let (mean, std) = (rule.number("p_mean")?, rule.number("p_std")?);
    TimeSampling::log_normal_sigma(mean, std).map_err(told)?;
    let expected = only(case, &["sigma", "t"])?;
    let logs: Vec<f64> = case
        .object("inputs")?
        .numbers("z")?
        .into_iter()
        .map(|z| mean + std * z)
        .collect();
    let (clock, path) = (Ve::with_t_max(1e9)?, RectifiedFlow::default());
    let on = |path: &dyn Schedule| -> Vec<f64> { logs.iter().map(|log| path.inverse_lambda(-log)).collect() };
    let mut comparison = Comparison::of(case)?;
    comparison.field(&expected, "sigma", &on(&clock))?;
    comparison.field(&expected, "t", &on(&path))?;
    Ok(comparison)
}

pub(super) fn loss_aware(case: &Fields<'_>, rule: &Fields<'_>) -> Told<Comparison> {
    let expected = only(case, &["probabilities", "importance_weights"])?;
    let losses = case.object("inputs")?.rows("history")?;
    let (history, uniform) = (rule.count("history")?, rule.number("uniform_prob")?);
    let sampling = LossAware::new(losses.len())
        .and_then(|sampling| sampling.with_memory(history, uniform))
        .map_err(told)?;
    for (step, losses) in losses.iter().enumerate() {
        for loss in losses {
            sampling.record(step, *loss).map_err(told)?;
        }
    }
    let mut comparison = Comparison::of(case)?;
    comparison.field(&expected, "probabilities", &sampling.probabilities())?;
    if expected.has("importance_weights") {
        comparison.field(&expected, "importance_weights", &sampling.importance())?;
    }
    Ok(comparison)
}

fn densities(sampling: &TimeSampling, times: &[f64]) -> Told<Vec<f64>> {
    let path = RectifiedFlow::default();
    let density = |t: &f64| sampling.density(&path, *t).map_err(told);
    times.iter().map(density).collect::<Result<_, Obstacle>>()
}

fn quantiles(sampling: &TimeSampling, shares: &[f64]) -> Told<Vec<f64>> {
    let path = RectifiedFlow::default();
    let quantile = |u: &f64| sampling.quantile(&path, *u).map_err(told);
    shares.iter().map(quantile).collect::<Result<_, Obstacle>>()
}
