//! States, targets, losses and conversions of the predictions; preconditioned networks.

use candle_core::Tensor;
use tallow::denoisers::{Estimate, InputScale, Levels, Parameterization, TimeInput, mix};
use tallow::objectives::{Penalty, TimeSampling};
use tallow::schedules::{NoiseLevel, Prediction, Schedule, Ve, VpLinear, Weighting};

use super::{Comparison, Fields, Obstacle, Told, exploding, flat, names, only, prediction, tensor, told};

pub(super) fn check(case: &Fields<'_>) -> Told<Comparison> {
    let inputs = case.object("inputs")?;
    let column = |name| inputs.numbers(name);
    let (alpha, sigma) = (column("alpha")?, column("sigma")?);
    let (alpha_dot, sigma_dot, t) = (column("dalpha_dt")?, column("dsigma_dt")?, column("t")?);
    let lengths = [sigma.len(), alpha_dot.len(), sigma_dot.len(), t.len()];
    if lengths.iter().any(|length| *length != alpha.len()) {
        return Err(Obstacle::Wrong("the levels' numbers differ in length".to_owned()));
    }
    let levels: Vec<NoiseLevel> = (0..alpha.len())
        .map(|row| NoiseLevel {
            t: t[row],
            alpha: alpha[row],
            sigma: sigma[row],
            alpha_dot: alpha_dot[row],
            sigma_dot: sigma_dot[row],
        })
        .collect();
    let at = Levels::PerRow(&levels);
    let (x0, noise) = (tensor(&inputs, "x0")?, tensor(&inputs, "epsilon")?);
    let output = tensor(&inputs, "network_output")?;
    let x_t = mix(&x0, &noise, at, |level| (level.alpha, level.sigma)).map_err(told)?;

    let known = [
        "x_t",
        "targets",
        "mse_per_sample",
        "sum_squares_per_sample",
        "as_x0",
        "as_epsilon",
    ];
    let expected = only(case, &known)?;
    let mut comparison = Comparison::of(case)?;
    comparison.field(&expected, "x_t", &flat(&x_t)?)?;
    for part in &known[1..] {
        let Some(part_of) = expected.optional(part)? else {
            continue;
        };
        for name in names(&part_of) {
            let prediction = prediction(name)?;
            let estimate = || Estimate::new(&x_t, output.clone(), prediction, at).map_err(told);
            let target = mix(&x0, &noise, at, |level| prediction.target(level)).map_err(told)?;
            let errors = || (&output - &target).map_err(told);
            let elements = x0.dim(1).map_err(told)? as f64;
            let got = match *part {
                "targets" => flat(&target)?,
                "as_x0" => flat(&estimate()?.x0().map_err(told)?)?,
                "as_epsilon" => flat(&estimate()?.noise().map_err(told)?)?,
                part => {
                    let mean = flat(&Penalty::Squared.rows(&errors()?).map_err(told)?)?;
                    let factor = if part == "mse_per_sample" { 1.0 } else { elements };
                    mean.into_iter().map(|mean| mean * factor).collect()
                }
            };
            comparison.numbers(&format!("{part}.{name}"), &got, &part_of.numbers(name)?)?;
        }
    }
    Ok(comparison)
}

/// EDM's column of Table 1: the network's own output F, on α = 1.
pub(super) fn edm(case: &Fields<'_>, sigma_data: f64) -> Told<Comparison> {
    let inputs = case.object("inputs")?;
    let expected = only(
        case,
        &[
            "c_skip",
            "c_out",
            "c_in",
            "c_noise",
            "loss_weight",
            "denoised",
            "f_target",
            "loss_per_sample",
            "lognormal",
        ],
    )?;
    let levels: Vec<NoiseLevel> = inputs.numbers("sigma")?.into_iter().map(exploding).collect();
    let parameterization = Parameterization::edm(sigma_data).map_err(told)?;
    let prediction = parameterization.prediction;
    let mut comparison = Comparison::of(case)?;
    factors(&mut comparison, &expected, &levels, prediction, |level| {
        (parameterization.scale.of(level), parameterization.time.of(level))
    })?;
    let each = |f: &dyn Fn(NoiseLevel) -> f64| -> Vec<f64> { levels.iter().map(|level| f(*level)).collect() };
    if expected.has("loss_weight") {
        let weights = each(&|level| Weighting::Edm { sigma_data }.weight(level));
        comparison.field(&expected, "loss_weight", &weights)?;
    }
    if let Some(normal) = expected.optional("lognormal")? {
        let sampling = TimeSampling::log_normal_sigma(normal.number("p_mean")?, normal.number("p_std")?)
            .map_err(told)?;
        let path = Ve::with_t_max(1e9)?;
        let densities = levels
            .iter()
            // Of ln σ: the clock is σ.
            .map(|level| Ok(sampling.density(&path, level.t).map_err(told)? * level.sigma))
            .collect::<Told<Vec<f64>>>()?;
        comparison.field(&normal, "density_of_ln_sigma", &densities)?;
    }
    if !expected.has("denoised") && !expected.has("f_target") && !expected.has("loss_per_sample") {
        return Ok(comparison);
    }
    let at = Levels::PerRow(&levels);
    let (x0, noise) = (tensor(&inputs, "x0")?, tensor(&inputs, "epsilon")?);
    let output = tensor(&inputs, "network_F")?;
    let x_t = mix(&x0, &noise, at, |level| (level.alpha, level.sigma)).map_err(told)?;
    let target = mix(&x0, &noise, at, |level| prediction.target(level)).map_err(told)?;
    let denoised = Estimate::new(&x_t, output.clone(), prediction, at).and_then(|estimate| estimate.x0());
    // The loss of F with weight 1 is the weighted loss of x̂_0.
    let gains: Vec<f64> = levels
        .iter()
        .map(|level| Weighting::Edm { sigma_data }.weight(*level) * prediction.gain(*level).powi(2))
        .collect();
    let errors: Tensor = (&output - &target).map_err(told)?;
    let losses = flat(&Penalty::Squared.rows(&errors).map_err(told)?)?;
    let losses: Vec<f64> = losses
        .iter()
        .zip(&gains)
        .map(|(loss, gain)| loss * gain)
        .collect();
    for (name, got) in [
        ("denoised", flat(&denoised.map_err(told)?)?),
        ("f_target", flat(&target)?),
        ("loss_per_sample", losses),
    ] {
        if expected.has(name) {
            comparison.field(&expected, name, &got)?;
        }
    }
    Ok(comparison)
}

/// The VP column: noise prediction on the path x/α, whose clock the network is told times M − 1.
pub(super) fn vp(case: &Fields<'_>, rule: &Fields<'_>) -> Told<Comparison> {
    let beta_0 = rule.number("beta_min")?;
    let path = VpLinear::new(beta_0, beta_0 + rule.number("beta_d")?)?;
    let last = rule.number("M")? - 1.0;
    let levels: Vec<NoiseLevel> = case
        .object("inputs")?
        .numbers("sigma")?
        .into_iter()
        .map(exploding)
        .collect();
    let expected = only(case, &["c_skip", "c_out", "c_in", "c_noise"])?;
    let mut comparison = Comparison::of(case)?;
    factors(&mut comparison, &expected, &levels, Prediction::Noise, |level| {
        let level = path.level(path.inverse_lambda(level.lambda()));
        (level.alpha, TimeInput::Scaled(last).of(level))
    })?;
    Ok(comparison)
}

/// The VE column: σ times the score on α = 1, told ln(σ/2).
pub(super) fn ve(case: &Fields<'_>) -> Told<Comparison> {
    let levels: Vec<NoiseLevel> = case
        .object("inputs")?
        .numbers("sigma")?
        .into_iter()
        .map(exploding)
        .collect();
    let expected = only(case, &["c_skip", "c_out", "c_in", "c_noise"])?;
    let mut comparison = Comparison::of(case)?;
    let each = |f: &dyn Fn(NoiseLevel) -> f64| -> Vec<f64> { levels.iter().map(|level| f(*level)).collect() };
    let told_time = |level| 4.0 * TimeInput::QuarterLogSigma.of(level) - std::f64::consts::LN_2;
    for (name, got) in [
        ("c_skip", each(&|level| Prediction::Score.x0(level).of_x)),
        (
            "c_out",
            each(&|level| Prediction::Score.x0(level).of_output / level.sigma),
        ),
        ("c_in", each(&|level| InputScale::Unit.of(level))),
        ("c_noise", each(&told_time)),
    ] {
        if expected.has(name) {
            comparison.field(&expected, name, &got)?;
        }
    }
    Ok(comparison)
}

/// c_skip and c_out of a prediction, and (c_in, c_noise) as told.
fn factors(
    comparison: &mut Comparison,
    expected: &Fields<'_>,
    levels: &[NoiseLevel],
    prediction: Prediction,
    input: impl Fn(NoiseLevel) -> (f64, f64),
) -> Told<()> {
    let each = |f: &dyn Fn(NoiseLevel) -> f64| -> Vec<f64> { levels.iter().map(|level| f(*level)).collect() };
    for (name, got) in [
        ("c_skip", each(&|level| prediction.x0(level).of_x)),
        ("c_out", each(&|level| prediction.x0(level).of_output)),
        ("c_in", each(&|level| input(level).0)),
        ("c_noise", each(&|level| input(level).1)),
    ] {
        if expected.has(name) {
            comparison.field(expected, name, &got)?;
        }
    }
    Ok(())
}
