//! Learning rates among the cases of the family "optim".

use tallow::train::LearningRate;

use super::rule::{only, refused};
use super::{Comparison, Fields, Obstacle};

/// Checks a case whose rule is a learning rate.
pub(super) fn check(case: &Fields<'_>, rule: &Fields<'_>, name: &str) -> Result<Comparison, Obstacle> {
    if name == "inverse_sqrt_images" {
        return inverse_square_root(case, rule);
    }
    let base = rule.number("base")?;
    let (warm_up, total) = (whole(rule, "warmup_steps")?, whole(rule, "total_steps")?);
    let steps = case.object("inputs")?.counts("step")?;
    let known = |more: &[&str]| only(rule, &[&["base", "warmup_steps", "total_steps"], more].concat());
    let rate = match name {
        "constant" | "constant_with_warmup" => {
            known(&[])?;
            LearningRate::constant(base)
        }
        "linear" => {
            known(&[])?;
            LearningRate::linear(base, total)
        }
        "cosine" => {
            known(&["num_cycles"])?;
            // The peer's cosine is not bounded: it rises again after its end, and more cycles are waves.
            if rule.number_or("num_cycles", 0.5)? != 0.5 || steps.iter().any(|&step| step as u64 > total) {
                let why = "a cosine that rises again is not among the learning rates";
                return Err(Obstacle::Unsupported(why.to_owned()));
            }
            LearningRate::cosine(base, total)
        }
        "cosine_with_restarts" => {
            known(&["num_cycles"])?;
            let cycles = if rule.has("num_cycles") {
                rule.count("num_cycles").map_err(|_| {
                    Obstacle::Unsupported("a part of a cycle is not among the learning rates".to_owned())
                })?
            } else {
                1
            };
            LearningRate::cosine_with_restarts(base, total, cycles as u64)
        }
        "polynomial" => {
            known(&["power", "lr_end"])?;
            let end = rule.number_or("lr_end", 1e-7)?;
            LearningRate::polynomial(base, total, rule.number_or("power", 1.0)?)
                .and_then(|rate| rate.with_floor(end))
        }
        other => {
            let why = format!("the rule {other:?} of learning rates is not known");
            return Err(Obstacle::Unsupported(why));
        }
    };
    let rate = rate.map_err(refused)?.with_warm_up_from_zero(warm_up);
    let mut comparison = Comparison::of(case)?;
    let rates: Vec<f64> = steps.iter().map(|&step| rate.at(step as u64)).collect();
    comparison.field(&case.object("expected")?, "lr", &rates)?;
    Ok(comparison)
}

/// EDM2's rule, with the image as the unit of time.
fn inverse_square_root(case: &Fields<'_>, rule: &Fields<'_>) -> Result<Comparison, Obstacle> {
    only(rule, &["ref_lr", "ref_batches", "rampup_images", "batch"])?;
    let peak = rule.number("ref_lr")?;
    let after = images(rule.number("ref_batches")? * rule.number("batch")?)?;
    let rate = if after == 0 {
        LearningRate::constant(peak)
    } else {
        LearningRate::inverse_square_root(peak, after)
    };
    let rate = rate.map_err(refused)?;
    let rate = rate.with_warm_up_from_zero(images(rule.number_or("rampup_images", 0.0)?)?);
    let mut comparison = Comparison::of(case)?;
    let seen = case.object("inputs")?.numbers("images_seen")?;
    let rates = seen
        .into_iter()
        .map(|seen| Ok(rate.at(images(seen)?)))
        .collect::<Result<Vec<_>, Obstacle>>()?;
    comparison.field(&case.object("expected")?, "lr", &rates)?;
    Ok(comparison)
}

/// A number of steps, 0 if it is not given.
fn whole(rule: &Fields<'_>, name: &str) -> Result<u64, Obstacle> {
    if rule.has(name) {
        Ok(rule.count(name)? as u64)
    } else {
        Ok(0)
    }
}

fn images(number: f64) -> Result<u64, Obstacle> {
    if number >= 0.0 && number.fract() == 0.0 && number < 1e18 {
        Ok(number as u64)
    } else {
        Err(Obstacle::Unsupported(format!(
            "{number} is no number of whole images"
        )))
    }
}
