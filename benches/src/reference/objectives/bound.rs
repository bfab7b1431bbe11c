//! Terms of the variational bound.

use std::f64::consts::LN_2;
use std::sync::Arc;

use candle_core::Tensor;
use tallow::denoisers::{Estimate, lincomb};
use tallow::objectives::Penalty;
use tallow::objectives::variational::{Cdf, Chain, Decoder, gaussian_kl, log_variance};
use tallow::schedules::{Prediction, Schedule, Table};

use super::{Comparison, Fields, Obstacle, Told, flat, only, tensor, told};

pub(super) fn check(case: &Fields<'_>, rule: &Fields<'_>) -> Told<Comparison> {
    let (steps, n) = (rule.count("T")?, rule.count("t")?);
    if n >= steps {
        return Err(Obstacle::Wrong(format!("step {n} of a table of {steps}")));
    }
    let table = Table::linear_beta(steps, rule.number("beta_start")?, rule.number("beta_end")?)?;
    let chain = Chain::new(Arc::new(table), steps).map_err(told)?;
    let inputs = case.object("inputs")?;
    let [x0, noise, believed, range] =
        ["x0", "epsilon", "epsilon_hat", "range_output"].map(|name| tensor(&inputs, name));
    let (x0, noise, believed) = (x0?, noise?, believed?);
    let rows = x0.dim(0).map_err(told)?;
    let level = chain.level(n);
    let x_t = lincomb([(level.alpha, &x0), (level.sigma, &noise)]).map_err(told)?;
    let posterior = chain.posterior(n).map_err(told)?;
    let (small, large) = chain.log_variances(n).map_err(told)?;
    let mean_of = |data: &Tensor| lincomb([(posterior.of_x, &x_t), (posterior.of_x0, data)]).map_err(told);
    let estimate = Estimate::new(&x_t, believed.clone(), Prediction::Noise, level.into()).map_err(told)?;
    let (true_mean, mean) = (mean_of(&x0)?, mean_of(&estimate.x0().map_err(told)?)?);
    let log = log_variance(&range?, &vec![(small, large); rows]).map_err(told)?;
    let smalls = x0
        .ones_like()
        .and_then(|ones| ones.affine(small, 0.0))
        .map_err(told)?;
    let bits = |nats: &Tensor| -> Told<Vec<f64>> {
        let mean = nats.mean(1).map_err(told)?;
        Ok(flat(&mean)?.into_iter().map(|nats| nats / LN_2).collect())
    };
    let kl = bits(&gaussian_kl((&true_mean, &smalls), (&mean, &log)).map_err(told)?)?;
    let decoded = |cdf| {
        bits(
            &Decoder::Values { count: 256, cdf }
                .nats(&x0, &mean, &log)
                .map_err(told)?,
        )
    };
    let (tanh, exact) = (decoded(Cdf::Tanh)?, decoded(Cdf::Exact)?);
    let bound = |decoder: &[f64]| if n == 0 { decoder.to_vec() } else { kl.clone() };
    let simple = (&noise - &believed).map_err(told)?;
    let alpha_bar = chain.schedule().alpha(level.t).powi(2);

    let all = [
        ("alpha_bar", vec![alpha_bar]),
        ("posterior_log_variance_clipped", vec![small]),
        ("model_log_variance", flat(&log)?),
        ("posterior_mean", flat(&true_mean)?),
        ("model_mean", flat(&mean)?),
        ("kl_bits_per_dim", kl.clone()),
        ("vlb_bits_per_dim_tanh", bound(&tanh)),
        ("vlb_bits_per_dim_erf", bound(&exact)),
        ("decoder_nll_bits_per_dim_tanh", tanh),
        ("decoder_nll_bits_per_dim_erf", exact),
        ("l_simple", flat(&Penalty::Squared.rows(&simple).map_err(told)?)?),
    ];
    compare(case, &all)
}

pub(super) fn prior(case: &Fields<'_>, alpha_bar: f64) -> Told<Comparison> {
    // A table that ends at this ᾱ, by way of any other.
    let table = Table::from_alpha_bars(&[0.5 * (1.0 + alpha_bar), alpha_bar])?;
    let chain = Chain::new(Arc::new(table), 2).map_err(told)?;
    let bits = chain
        .prior_bits(&tensor(&case.object("inputs")?, "x0")?)
        .map_err(told)?;
    compare(case, &[("bits_per_dim", flat(&bits)?)])
}

/// Compares what is expected, if all of it was computed.
fn compare(case: &Fields<'_>, all: &[(&str, Vec<f64>)]) -> Told<Comparison> {
    let names: Vec<&str> = all.iter().map(|(name, _)| *name).collect();
    let expected = only(case, &names)?;
    let mut comparison = Comparison::of(case)?;
    for (name, got) in all {
        if expected.has(name) {
            comparison.field(&expected, name, got)?;
        }
    }
    Ok(comparison)
}
