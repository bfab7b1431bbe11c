//! The family "objectives": targets, weights, penalties, bounds, time densities and paths of training.
//!
//! What a case expects beyond the fields that its rule knows makes it unsupported, not passed.

mod bound;
mod paths;
mod targets;
mod times;
mod weights;

use candle_core::{DType, Device, Tensor};
use serde_json::Value;
use tallow::objectives::Penalty;
use tallow::schedules::{NoiseLevel, Prediction};

use super::{Comparison, Fields, Obstacle};

type Told<T> = Result<T, Obstacle>;

/// Checks a case by its rule.
pub(super) fn check(case: &Fields<'_>) -> Told<Comparison> {
    let rule = case.object("rule")?;
    match rule.text("name")? {
        "targets" => targets::check(case),
        "snr_weights" => weights::check(case),
        "edm_preconditioning" => targets::edm(case, rule.number("sigma_data")?),
        "vp_preconditioning" => targets::vp(case, &rule),
        "ve_preconditioning" => targets::ve(case),
        "learned_range_vlb" => bound::check(case, &rule),
        "prior_kl" => bound::prior(case, rule.number("alpha_bar_T")?),
        "loss_second_moment" => times::loss_aware(case, &rule),
        "pseudo_huber" => penalty(case, Penalty::PseudoHuber { c: rule.number("c")? }),
        "l1" | "absolute" => penalty(case, Penalty::Absolute),
        "mean_flow_adaptive" => adaptive(case, &rule),
        "logit_normal" => times::logit_normal(case, &rule),
        "mode" => times::mode(case, &rule),
        "cosmap" => times::cos_map(case),
        "edm_lognormal_to_flow_time" => times::log_normal(case, &rule),
        "conditional_path" => paths::check(case, &rule),
        other => Err(Obstacle::Unsupported(format!(
            "no objective has the rule {other:?}"
        ))),
    }
}

fn penalty(case: &Fields<'_>, penalty: Penalty) -> Told<Comparison> {
    penalty.check().map_err(told)?;
    let (inputs, expected) = (case.object("inputs")?, only(case, &["loss_per_sample"])?);
    let rows = penalty.rows(&tensor(&inputs, "difference")?).map_err(told)?;
    let mut comparison = Comparison::of(case)?;
    comparison.field(&expected, "loss_per_sample", &flat(&rows)?)?;
    Ok(comparison)
}

fn adaptive(case: &Fields<'_>, rule: &Fields<'_>) -> Told<Comparison> {
    let penalty = Penalty::Adaptive {
        power: rule.number("p")?,
        floor: rule.number("c")?,
    };
    penalty.check().map_err(told)?;
    let inputs = case.object("inputs")?;
    let expected = only(case, &["loss_per_sample", "weight"])?;
    let difference = tensor(&inputs, "difference")?;
    let losses = flat(&penalty.rows(&difference).map_err(told)?)?;
    let elements = difference.dim(1).map_err(told)? as f64;
    let squares = flat(&Penalty::Squared.rows(&difference).map_err(told)?)?;
    let weights: Vec<f64> = losses
        .iter()
        .zip(&squares)
        .map(|(loss, square)| loss / (square * elements))
        .collect();
    let mut comparison = Comparison::of(case)?;
    comparison.field(&expected, "loss_per_sample", &losses)?;
    comparison.field(&expected, "weight", &weights)?;
    Ok(comparison)
}

/// A prediction by its name in the format.
fn prediction(name: &str) -> Told<Prediction> {
    Ok(match name {
        "epsilon" => Prediction::Noise,
        "x0" => Prediction::Data,
        "v" => Prediction::V,
        "velocity" => Prediction::Velocity,
        "score" => Prediction::Score,
        other => {
            return Err(Obstacle::Unsupported(format!(
                "no prediction is called {other:?}"
            )));
        }
    })
}

/// A level of α = 1, whose clock is σ.
fn exploding(sigma: f64) -> NoiseLevel {
    NoiseLevel {
        t: sigma,
        alpha: 1.0,
        sigma,
        alpha_dot: 0.0,
        sigma_dot: 1.0,
    }
}

/// What is expected, if nothing else is than the fields named.
fn only<'a>(case: &Fields<'a>, known: &[&str]) -> Told<Fields<'a>> {
    let expected = case.object("expected")?;
    for name in names(&expected) {
        if !known.contains(&name) {
            return Err(Obstacle::Unsupported(format!("nothing here computes {name:?}")));
        }
    }
    Ok(expected)
}

fn names<'a>(of: &Fields<'a>) -> Vec<&'a str> {
    of.value()
        .as_object()
        .map_or(Vec::new(), |fields| fields.keys().map(String::as_str).collect())
}

/// Rows of numbers as (B, d) of f64; a plain list as (B, 1).
fn tensor(of: &Fields<'_>, name: &str) -> Told<Tensor> {
    let nested = of
        .value()
        .get(name)
        .and_then(Value::as_array)
        .and_then(|list| list.first());
    if nested.is_some_and(Value::is_number) {
        let column = of.numbers(name)?;
        let count = column.len();
        return Tensor::from_vec(column, (count, 1), &Device::Cpu).map_err(told);
    }
    let rows = of.rows(name)?;
    let (count, width) = (rows.len(), rows.first().map_or(0, Vec::len));
    Tensor::from_vec(rows.concat(), (count, width), &Device::Cpu).map_err(told)
}

fn flat(tensor: &Tensor) -> Told<Vec<f64>> {
    let numbers = tensor
        .to_dtype(DType::F64)
        .and_then(|tensor| tensor.flatten_all()?.to_vec1());
    numbers.map_err(told)
}

fn told(error: impl std::fmt::Display) -> Obstacle {
    Obstacle::Wrong(format!("refused: {error}"))
}
