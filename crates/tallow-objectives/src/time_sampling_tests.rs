use tallow_denoisers::Seeded;
use tallow_schedules::{RectifiedFlow, Ve, VpLinear};

use super::*;

fn times(sampling: &TimeSampling, schedule: &dyn Schedule, count: usize) -> Vec<f64> {
    let drawn = sampling.draw(schedule, count, &mut Seeded::new(3)).unwrap();
    drawn.levels.into_iter().map(|level| level.t).collect()
}

/// The largest distance between the draws' distribution function and `cdf`; above 0.0327 once in 10⁹ for 10⁴ draws
/// (Dvoretzky-Kiefer-Wolfowitz).
fn misfit(mut draws: Vec<f64>, cdf: impl Fn(f64) -> f64) -> f64 {
    draws.sort_by(f64::total_cmp);
    let n = draws.len() as f64;
    draws.iter().enumerate().fold(0.0, |worst: f64, (rank, t)| {
        let f = cdf(*t);
        worst
            .max((f - rank as f64 / n).abs())
            .max((f - (rank + 1) as f64 / n).abs())
    })
}

/// Φ, by Abramowitz & Stegun 26.2.17: to 7.5e-8, and apart from the library's own.
fn normal_cdf(z: f64) -> f64 {
    let k = 1.0 / (1.0 + 0.231_641_9 * z.abs());
    let poly = [
        1.330_274_429,
        -1.821_255_978,
        1.781_477_937,
        -0.356_563_782,
        0.319_381_530,
    ];
    let tail =
        poly.iter().fold(0.0, |sum, c| (sum + c) * k) * (-0.5 * z * z).exp() / std::f64::consts::TAU.sqrt();
    if z < 0.0 { tail } else { 1.0 - tail }
}

type Cdf = Box<dyn Fn(f64) -> f64>;

/// Every continuous sampling over a path of the clock [0, 1], and its distribution function.
fn on_the_straight_path() -> Vec<(&'static str, TimeSampling, Cdf)> {
    let logit = |t: f64| (t / (1.0 - t)).ln();
    // u of t for the mode density: the root of a falling function.
    let mode = |s: f64| {
        move |t: f64| {
            let f = |u: f64| 1.0 - u - s * ((std::f64::consts::FRAC_PI_2 * u).cos().powi(2) - 1.0 + u);
            let (mut low, mut high) = (0.0, 1.0);
            for _ in 0..60 {
                let middle = 0.5 * (low + high);
                if f(middle) > t {
                    low = middle;
                } else {
                    high = middle;
                }
            }
            1.0 - low
        }
    };
    vec![
        ("uniform", TimeSampling::uniform(), Box::new(|t| t)),
        (
            "logit_normal",
            TimeSampling::logit_normal(0.3, 0.8).unwrap(),
            Box::new(move |t| normal_cdf((logit(t) - 0.3) / 0.8)),
        ),
        ("mode", TimeSampling::mode(1.29).unwrap(), Box::new(mode(1.29))),
        (
            "mode, ends",
            TimeSampling::mode(-0.7).unwrap(),
            Box::new(mode(-0.7)),
        ),
        (
            "cos_map",
            TimeSampling::cos_map(),
            Box::new(|t| 2.0 / std::f64::consts::PI * (t / (1.0 - t)).atan()),
        ),
        (
            // On this path σ/α = t/(1 − t).
            "log_normal_sigma",
            TimeSampling::log_normal_sigma(-1.2, 1.2).unwrap(),
            Box::new(move |t| normal_cdf((logit(t) + 1.2) / 1.2)),
        ),
    ]
}

#[test]
fn every_sampling_has_its_distribution_independent_or_in_strata() {
    let path = RectifiedFlow::default();
    for (name, sampling, cdf) in on_the_straight_path() {
        let independent = misfit(times(&sampling, &path, 10_000), &cdf);
        assert!(independent < 0.0327, "{name}: {independent}");
        // A stratified batch misses by at most one part.
        let stratified = misfit(times(&sampling.in_strata(), &path, 10_000), &cdf);
        assert!(stratified < 1.001e-4, "{name} in strata: {stratified}");
    }
    // The check sees a wrong distribution: the logit-normal of another mean.
    let wrong = TimeSampling::logit_normal(0.45, 0.8).unwrap();
    let logit = |t: f64| (t / (1.0 - t)).ln();
    assert!(
        misfit(times(&wrong, &path, 10_000), |t| normal_cdf(
            (logit(t) - 0.3) / 0.8
        )) > 0.0327
    );
}

#[test]
fn the_density_is_the_slope_of_the_distribution_function() {
    let path = RectifiedFlow::default();
    for (name, sampling, cdf) in on_the_straight_path() {
        for t in [0.07, 0.3, 0.5, 0.81] {
            let slope = (cdf(t + 1e-4) - cdf(t - 1e-4)) / 2e-4;
            let density = sampling.density(&path, t).unwrap();
            assert!(
                (density - slope).abs() < 2e-3 * (1.0 + slope),
                "{name} at {t}: {density}, {slope}"
            );
            let u = cdf(t);
            let back = sampling.quantile(&path, u).unwrap();
            // As well as the Φ of this test tells u.
            assert!(
                (back - t).abs() < 1e-8 + 8e-8 / density,
                "{name}: quantile of {u} is {back}, not {t}"
            );
        }
        assert_eq!(
            sampling.within(0.2, 0.7).unwrap().density(&path, 0.8).unwrap(),
            0.0
        );
    }
}

#[test]
fn an_interval_holds_all_times_and_keeps_their_shape() {
    let path = VpLinear::default();
    for (name, sampling, _) in on_the_straight_path() {
        let sampling = sampling.within(0.2, 0.7).unwrap();
        let drawn = times(&sampling, &path, 2000);
        assert!(drawn.iter().all(|t| (0.2..=0.7).contains(t)), "{name}");
    }
    let uniform = TimeSampling::uniform().within(0.2, 0.7).unwrap();
    assert!(misfit(times(&uniform, &path, 10_000), |t| (t - 0.2) / 0.5) < 0.0327);
    assert!((uniform.density(&path, 0.3).unwrap() - 2.0).abs() < 1e-12);
}

#[test]
fn log_normal_sigma_is_edms_on_the_clock_of_edm() {
    let path = Ve::default();
    let sampling = TimeSampling::log_normal_sigma(-1.2, 1.2).unwrap();
    let drawn = times(&sampling, &path, 10_000);
    assert!(misfit(drawn, |sigma| normal_cdf((sigma.ln() + 1.2) / 1.2)) < 0.0327);
}

#[test]
fn strata_get_one_row_each_in_a_random_order() {
    let count = 64;
    let path = RectifiedFlow::default();
    let mut parts: Vec<usize> = times(&TimeSampling::stratified(), &path, count)
        .into_iter()
        .map(|t| (t * count as f64) as usize)
        .collect();
    assert_ne!(parts, (0..count).collect::<Vec<_>>(), "the rows are shuffled");
    parts.sort_unstable();
    assert_eq!(parts, (0..count).collect::<Vec<_>>());
    // Steps in strata: 64 rows visit each of 16 steps four times.
    let steps = TimeSampling::steps(16).unwrap().in_strata();
    let mut visits = [0; 16];
    for t in times(&steps, &path, count) {
        visits[(t * 16.0).round() as usize - 1] += 1;
    }
    assert_eq!(visits, [4; 16]);
}

/// χ² of 9 degrees of freedom exceeds 60.0 about once in 10⁹.
#[test]
fn table_steps_are_each_as_likely_and_nothing_else_is_visited() {
    let path = RectifiedFlow::default();
    let mut visits = [0.0; 10];
    for t in times(&TimeSampling::steps(10).unwrap(), &path, 10_000) {
        let node = (t * 10.0).round();
        assert!(
            (t * 10.0 - node).abs() < 1e-12 && (1.0..=10.0).contains(&node),
            "{t}"
        );
        visits[node as usize - 1] += 1.0;
    }
    let chi: f64 = visits.iter().map(|n| (n - 1000.0_f64).powi(2) / 1000.0).sum();
    assert!(chi < 60.0, "{chi}: {visits:?}");
}

#[test]
fn impossible_parameters_are_refused_by_name() {
    let path = RectifiedFlow::default();
    let refused = [
        TimeSampling::logit_normal(f64::NAN, 1.0),
        TimeSampling::log_normal_sigma(0.0, 0.0),
        TimeSampling::uniform().within(0.5, 0.5),
        TimeSampling::uniform().within(-0.1, 0.5),
        TimeSampling::uniform().within(0.0, f64::INFINITY),
        TimeSampling::steps(0),
        TimeSampling::mode(1.8),
        TimeSampling::mode(f64::NAN),
    ];
    for refused in refused {
        let message = refused.unwrap_err().to_string();
        assert!(
            message.contains("TimeSampling::") && message.contains("got"),
            "{message}"
        );
    }
    let beyond = TimeSampling::uniform().within(0.0, 2.0).unwrap();
    let message = beyond
        .draw(&path, 1, &mut Seeded::new(0))
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("time 2 is outside of the path's range [0, 1]"),
        "{message}"
    );
    assert!(TimeSampling::uniform().quantile(&path, 1.5).is_err());
    let message = TimeSampling::steps(3)
        .unwrap()
        .density(&path, 0.5)
        .unwrap_err()
        .to_string();
    assert!(message.contains("has no density"), "{message}");
}
