//! The family "ema": decays, averages of sequences, and averages reconstructed from snapshots.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};
use tallow::nn::{
    Ema, EmaDecay, Init, Parameters, PowerProfile, ProfileFit, Rise, Rising, gamma_of_sigma_rel,
};

use super::rule::{only, refused};
use super::{Comparison, Fields, Obstacle};

/// Checks a case by the name of its rule.
pub(super) fn check(case: &Fields<'_>) -> Result<Comparison, Obstacle> {
    let rule = case.object("rule")?;
    match rule.text("name")? {
        "constant" => constant(case, &rule),
        "warmup_ratio" => rising(case, &rule, Rise::Ratio),
        "warmup_power" => {
            let rise = Rise::Power {
                inv_gamma: rule.number_or("inv_gamma", 1.0)?,
                power: rule.number_or("power", 2.0 / 3.0)?,
            };
            rising(case, &rule, rise)
        }
        "half_life" => half_life(case, &rule),
        "power_function" => power_function(case, &rule),
        "post_hoc" => post_hoc(case, &rule),
        other => Err(Obstacle::Unsupported(format!(
            "the rule {other:?} of averages is not known"
        ))),
    }
}

/// An average that starts at the first value and follows the others.
fn constant(case: &Fields<'_>, rule: &Fields<'_>) -> Result<Comparison, Obstacle> {
    only(rule, &["decay"])?;
    let mut comparison = Comparison::of(case)?;
    let values = case.object("inputs")?.rows("values")?;
    let Some((start, rest)) = values.split_first() else {
        return Err(Obstacle::Wrong("there are no values".to_owned()));
    };
    let averages = followed(EmaDecay::Constant(rule.number("decay")?), start, rest)?;
    comparison.field(&case.object("expected")?, "ema", &averages)?;
    Ok(comparison)
}

fn rising(case: &Fields<'_>, rule: &Fields<'_>, rise: Rise) -> Result<Comparison, Obstacle> {
    let options = [
        "max_decay",
        "inv_gamma",
        "power",
        "update_after_step",
        "min_decay",
    ];
    only(rule, &options)?;
    let mut comparison = Comparison::of(case)?;
    let delay = if rule.has("update_after_step") {
        rule.count("update_after_step")?
    } else {
        0
    };
    let decay = EmaDecay::Rising(Rising {
        rise,
        min_decay: rule.number_or("min_decay", 0.0)?,
        max_decay: rule.number("max_decay")?,
        delay: delay as u64,
    });
    // The peer counts the update that is being made, from 1.
    let steps = case.object("inputs")?.counts("step")?;
    let decays: Vec<f64> = steps
        .iter()
        .map(|&step| decay.at((step as u64).saturating_sub(1)))
        .collect();
    comparison.field(&case.object("expected")?, "decay", &decays)?;
    Ok(comparison)
}

fn half_life(case: &Fields<'_>, rule: &Fields<'_>) -> Result<Comparison, Obstacle> {
    only(rule, &["half_life_images", "rampup_ratio", "batch"])?;
    let mut comparison = Comparison::of(case)?;
    let batch = rule.number("batch")?;
    let updates = rule.number("half_life_images")? / batch;
    let decay = if rule.has("rampup_ratio") {
        let ratio = rule.number("rampup_ratio")?;
        EmaDecay::RampedHalfLife { updates, ratio }
    } else {
        EmaDecay::HalfLife { updates }
    };
    let seen = case.object("inputs")?.numbers("images_seen")?;
    let betas: Vec<f64> = seen.iter().map(|images| decay.after(images / batch)).collect();
    comparison.field(&case.object("expected")?, "beta", &betas)?;
    Ok(comparison)
}

/// γ of a width, its decays, and the average of a sequence that starts anywhere, since β₁ = 0.
fn power_function(case: &Fields<'_>, rule: &Fields<'_>) -> Result<Comparison, Obstacle> {
    only(rule, &["sigma_rel", "gamma"])?;
    let mut comparison = Comparison::of(case)?;
    let gamma = if rule.has("gamma") {
        rule.number("gamma")?
    } else {
        gamma_of_sigma_rel(rule.number("sigma_rel")?).map_err(refused)?
    };
    let decay = EmaDecay::Power { gamma };
    let values = case.object("inputs")?.rows("values")?;
    let expected = case.object("expected")?;
    let betas: Vec<f64> = (0..values.len() as u64).map(|n| decay.at(n)).collect();
    comparison.field(&expected, "beta", &betas)?;
    if expected.has("gamma") {
        comparison.field(&expected, "gamma", &[gamma])?;
    }
    let start = vec![7.0; values.first().map_or(0, Vec::len)];
    comparison.field(&expected, "ema", &followed(decay, &start, &values)?)?;
    Ok(comparison)
}

/// The inner products of the snapshots' profiles, and the weights that make up the wanted one.
fn post_hoc(case: &Fields<'_>, rule: &Fields<'_>) -> Result<Comparison, Obstacle> {
    only(rule, &["target_gamma", "target_time"])?;
    let mut comparison = Comparison::of(case)?;
    let profile = |gamma, time| PowerProfile::new(gamma, time).map_err(refused);
    let want = profile(rule.number("target_gamma")?, rule.number("target_time")?)?;
    let inputs = case.object("inputs")?;
    let (times, gammas) = (inputs.numbers("time")?, inputs.numbers("gamma")?);
    if times.len() != gammas.len() {
        return Err(Obstacle::Wrong(
            "\"time\" and \"gamma\" differ in length".to_owned(),
        ));
    }
    let have = gammas
        .iter()
        .zip(&times)
        .map(|(&gamma, &time)| profile(gamma, time))
        .collect::<Result<Vec<_>, _>>()?;
    let gram: Vec<f64> = have
        .iter()
        .flat_map(|a| have.iter().map(|b| a.inner(*b)))
        .collect();
    let right: Vec<f64> = have.iter().map(|a| a.inner(want)).collect();
    let expected = case.object("expected")?;
    comparison.field(&expected, "gram", &gram)?;
    comparison.field(&expected, "rhs", &right)?;
    let fit = ProfileFit::new(&have, want).map_err(refused)?;
    comparison.field(&expected, "weights", &fit.weights)?;
    Ok(comparison)
}

/// The average after each value, row after row.
fn followed(decay: EmaDecay, start: &[f64], values: &[Vec<f64>]) -> Result<Vec<f64>, Obstacle> {
    let run = || -> tallow::nn::Result<Vec<f64>> {
        let parameters = Parameters::new(0, DType::F64, &Device::Cpu);
        parameters.scope().parameter("p", start.len(), Init::ZEROS)?;
        let set = |value: &[f64]| {
            let tensor = Tensor::new(value, &Device::Cpu)?;
            parameters.restore(&BTreeMap::from([("p".to_owned(), tensor)]))
        };
        set(start)?;
        let mut average = Ema::new(&parameters, decay)?;
        let mut averages = Vec::new();
        for value in values {
            set(value)?;
            average.update()?;
            for tensor in average.state()?.values() {
                averages.extend(tensor.to_vec1::<f64>()?);
            }
        }
        Ok(averages)
    };
    run().map_err(refused)
}
