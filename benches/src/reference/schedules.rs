//! The family "schedules": tables, continuous paths, their ends, and predictions on them.

use tallow::schedules::{NoiseLevel, Prediction, Schedule};

use super::mixture::{Mixture, Posterior};
use super::{Comparison, Fields, File, Obstacle, path};

/// Checks a case by its kind.
pub(super) fn check(case: &Fields<'_>, file: &File) -> Result<Comparison, Obstacle> {
    match case.text("kind")? {
        "discrete" => discrete(case, file),
        "continuous" => continuous(case, file),
        "endpoints" => endpoints(case, file),
        "predictions" => predictions(case, file),
        other => Err(Obstacle::Unsupported(format!(
            "the kind {other:?} of schedules is not known"
        ))),
    }
}

/// β, ᾱ, levels and posterior variances of a table at some of its entries.
fn discrete(case: &Fields<'_>, file: &File) -> Result<Comparison, Obstacle> {
    let table = path::table(&case.object("schedule")?, file)?;
    let mut comparison = Comparison::of(case)?;
    let (betas, alpha_bars) = (table.betas(), table.alpha_bars());

    let all = case.counts("index")?;
    comparison.field(case, "beta", &entries(betas, &all)?)?;
    comparison.field(case, "alpha_bar", &entries(&alpha_bars, &all)?)?;
    comparison.field(case, "beta_sum", &[betas.iter().sum()])?;

    let finite = case.counts("index_finite")?;
    entries(betas, &finite)?;
    let times: Vec<f64> = finite.iter().map(|&n| table.time_of_index(n)).collect();
    levels(case, &table, &times, &mut comparison)?;
    let posterior = finite
        .iter()
        .map(|&n| table.posterior_variance(n))
        .collect::<Result<Vec<_>, _>>()?;
    comparison.field(case, "posterior_variance", &posterior)?;

    if let Some(terminal) = case.optional("terminal")? {
        let end = table.level(table.t_max());
        comparison.field(&terminal, "alpha", &[end.alpha])?;
        comparison.field(&terminal, "sigma", &[end.sigma])?;
    }
    Ok(comparison)
}

fn entries(of: &[f64], index: &[usize]) -> Result<Vec<f64>, Obstacle> {
    let entry = |&n: &usize| of.get(n).copied().ok_or(n);
    index
        .iter()
        .map(entry)
        .collect::<Result<_, _>>()
        .map_err(|n| Obstacle::Wrong(format!("the table of {} entries has no entry {n}", of.len())))
}

/// α, σ and λ at times.
fn levels(
    case: &Fields<'_>,
    path: &dyn Schedule,
    times: &[f64],
    comparison: &mut Comparison,
) -> Result<(), Obstacle> {
    let at = |f: &dyn Fn(f64) -> f64| times.iter().map(|&t| f(t)).collect::<Vec<_>>();
    comparison.field(case, "alpha", &at(&|t| path.alpha(t)))?;
    comparison.field(case, "sigma", &at(&|t| path.sigma(t)))?;
    comparison.field(case, "lambda", &at(&|t| path.lambda(t)))
}

/// Values, slopes and inverse of a path; in reversed time t is 1 − t and slopes change sign.
fn continuous(case: &Fields<'_>, file: &File) -> Result<Comparison, Obstacle> {
    let path = path::schedule(&case.object("schedule")?, file)?;
    let mut comparison = Comparison::of(case)?;
    let reversed = is_reversed(case)?;
    let clock = |t: f64| if reversed { 1.0 - t } else { t };
    let sign = if reversed { -1.0 } else { 1.0 };

    let times: Vec<f64> = case.numbers("t")?.into_iter().map(clock).collect();
    levels(case, path.as_ref(), &times, &mut comparison)?;
    let slopes = |of: &dyn Fn(NoiseLevel) -> f64| {
        times
            .iter()
            .map(|&t| sign * of(path.level(t)))
            .collect::<Vec<_>>()
    };
    comparison.field(case, "dalpha_dt", &slopes(&|level| level.alpha_dot))?;
    comparison.field(case, "dsigma_dt", &slopes(&|level| level.sigma_dot))?;
    comparison.field(case, "dlambda_dt", &slopes(&|level| level.lambda_dot()))?;

    if let Some(inverse) = case.optional("inverse")? {
        let lambdas = inverse.numbers("lambda")?;
        let times: Vec<f64> = lambdas
            .into_iter()
            .map(|lambda| clock(path.inverse_lambda(lambda)))
            .collect();
        comparison.numbers("inverse.t", &times, &inverse.numbers("t")?)?;
    }
    Ok(comparison)
}

/// Whether time runs from noise to data: by the convention stated, or by the id.
fn is_reversed(case: &Fields<'_>) -> Result<bool, Obstacle> {
    let stated = if case.has("time_convention") {
        case.text("time_convention")?
    } else {
        ""
    };
    let squeezed: String = stated.chars().filter(|letter| !letter.is_whitespace()).collect();
    Ok(squeezed.contains("t=0noise")
        || squeezed.contains("t_rev")
        || case.place().ends_with("/reversed_time"))
}

/// α and σ where λ is infinite: they are as stated, and λ is infinite, not NaN.
fn endpoints(case: &Fields<'_>, file: &File) -> Result<Comparison, Obstacle> {
    let mut comparison = Comparison::of(case)?;
    for row in case.objects("rows")? {
        let path = path::schedule(&row.object("schedule")?, file)?;
        let level = path.level(row.number("t")?);
        let place = |name: &str| format!("{}.{name}", row.place());
        comparison.number(&place("alpha"), level.alpha, row.number("alpha")?);
        comparison.number(&place("sigma"), level.sigma, row.number("sigma")?);
        if level.lambda().is_nan() || path.lambda(level.t).is_nan() {
            return Err(Obstacle::Wrong(format!("{} is NaN", place("lambda"))));
        }
    }
    Ok(comparison)
}

/// Every prediction of a mixture, by formula and by the library's conversion from every other.
fn predictions(case: &Fields<'_>, file: &File) -> Result<Comparison, Obstacle> {
    let path = path::schedule(&case.object("schedule")?, file)?;
    let mixture = Mixture::of(&case.object("mixture")?)?;
    let mut comparison = Comparison::of(case)?;
    for row in case.objects("rows")? {
        let at = path.level(row.number("t")?);
        comparison.field(&row, "alpha", &[at.alpha])?;
        comparison.field(&row, "sigma", &[at.sigma])?;
        comparison.field(&row, "dalpha_dt", &[at.alpha_dot])?;
        comparison.field(&row, "dsigma_dt", &[at.sigma_dot])?;
        let points = mixture.points(&row, "x")?;
        by_formula(&row, &mixture, &points, at, &mut comparison)?;
        by_conversion(&row, &points, at, &mut comparison)?;
    }
    Ok(comparison)
}

fn by_formula(
    row: &Fields<'_>,
    mixture: &Mixture,
    points: &[Vec<f64>],
    at: NoiseLevel,
    comparison: &mut Comparison,
) -> Result<(), Obstacle> {
    let posteriors: Vec<Posterior> = points
        .iter()
        .map(|x| mixture.posterior(x, at.alpha, at.sigma))
        .collect();
    let flat = |of: &dyn Fn(&Posterior) -> Vec<f64>| posteriors.iter().flat_map(of).collect::<Vec<_>>();
    // a x_0 + b ε
    let pair = |(a, b): (f64, f64)| {
        flat(&|p| {
            p.x0.iter()
                .zip(&p.epsilon)
                .map(|(x0, epsilon)| a * x0 + b * epsilon)
                .collect()
        })
    };
    comparison.field(row, "epsilon", &flat(&|p| p.epsilon.clone()))?;
    comparison.field(row, "x0", &flat(&|p| p.x0.clone()))?;
    comparison.field(row, "score", &flat(&|p| p.score.clone()))?;
    comparison.field(row, "v", &pair(Prediction::V.target(at)))?;
    comparison.field(row, "velocity", &pair(Prediction::Velocity.target(at)))?;
    comparison.field(row, "log_density", &flat(&|p| vec![p.log_density]))
}

/// From each expected prediction, the library solves for all others; rounding grows with the coefficients.
fn by_conversion(
    row: &Fields<'_>,
    points: &[Vec<f64>],
    at: NoiseLevel,
    comparison: &mut Comparison,
) -> Result<(), Obstacle> {
    let x: Vec<f64> = points.concat();
    let all = [
        ("epsilon", Prediction::Noise),
        ("x0", Prediction::Data),
        ("score", Prediction::Score),
        ("v", Prediction::V),
        ("velocity", Prediction::Velocity),
    ];
    for (from, prediction) in all {
        if prediction.check(at).is_err() {
            continue;
        }
        let outputs = row.numbers(from)?;
        let solved = [
            ("x0", prediction.x0(at)),
            ("epsilon", prediction.noise(at)),
            ("velocity", prediction.velocity(at)),
            ("score", prediction.score(at)),
        ];
        for (to, mix) in solved {
            let scale = 1.0 + mix.of_x.abs() + mix.of_output.abs();
            for (index, (want, (x, output))) in
                row.numbers(to)?.iter().zip(x.iter().zip(&outputs)).enumerate()
            {
                let got = mix.of_x * x + mix.of_output * output;
                comparison.scaled(
                    &format!("{}: {to}[{index}] from {from}", row.place()),
                    got,
                    *want,
                    scale,
                );
            }
        }
    }
    Ok(())
}
