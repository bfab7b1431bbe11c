//! Weights of a signal-to-noise ratio, on the errors of several targets.

use tallow::schedules::{NoiseLevel, Prediction, Weighting};

use super::{Comparison, Fields, Obstacle, Told, names, prediction};

pub(super) fn check(case: &Fields<'_>) -> Told<Comparison> {
    let inputs = case.object("inputs")?;
    let (alpha, sigma) = (inputs.numbers("alpha")?, inputs.numbers("sigma")?);
    if alpha.len() != sigma.len() {
        return Err(Obstacle::Wrong("alpha and sigma differ in length".to_owned()));
    }
    let levels: Vec<NoiseLevel> = alpha
        .into_iter()
        .zip(sigma)
        .map(|(alpha, sigma)| level(alpha, sigma))
        .collect();
    let expected = case.object("expected")?;
    let mut comparison = Comparison::of(case)?;
    for name in names(&expected) {
        if name == "snr" {
            let ratios: Vec<f64> = levels.iter().map(NoiseLevel::snr).collect();
            comparison.field(&expected, name, &ratios)?;
            continue;
        }
        let of = expected.object(name)?;
        let (weighting, parameters) = weighting(name, &of)?;
        weighting.check()?;
        for target in names(&of) {
            if parameters.contains(&target) {
                continue;
            }
            let prediction = prediction(target)?;
            if matches!(prediction, Prediction::Velocity | Prediction::Score) {
                let why = format!("a weight on {target} depends on more than the signal-to-noise ratio");
                return Err(Obstacle::Unsupported(why));
            }
            let weights: Vec<f64> = levels
                .iter()
                .map(|level| weighting.weight(*level) * prediction.gain(*level).powi(2))
                .collect();
            comparison.numbers(&format!("{name}.{target}"), &weights, &of.numbers(target)?)?;
        }
    }
    Ok(comparison)
}

/// A weighting by the beginning of its name, and the fields that are its parameters.
fn weighting(name: &str, of: &Fields<'_>) -> Told<(Weighting, &'static [&'static str])> {
    let gamma = || of.number("gamma");
    Ok(if name.starts_with("min_snr") {
        (Weighting::MinSnr { gamma: gamma()? }, &["gamma"])
    } else if name.starts_with("soft_min_snr") {
        (Weighting::SoftMinSnr { gamma: gamma()? }, &["gamma"])
    } else if name.starts_with("p2") {
        let (k, gamma) = (of.number("k")?, gamma()?);
        (Weighting::P2 { k, gamma }, &["k", "gamma"])
    } else {
        return Err(Obstacle::Unsupported(format!("no weighting is called {name:?}")));
    })
}

/// Published weights are of the signal-to-noise ratio alone, v's among them: that of the state scaled to α² + σ² = 1.
fn level(alpha: f64, sigma: f64) -> NoiseLevel {
    let norm = alpha.hypot(sigma);
    NoiseLevel {
        t: 0.5,
        alpha: alpha / norm,
        sigma: sigma / norm,
        alpha_dot: -1.0,
        sigma_dot: 1.0,
    }
}
