//! The laws that every path keeps, called by the tests of each.

use crate::{MAX_GAIN, NoiseLevel, Prediction, Schedule};

/// Times in the open interval, none of them a node of a table of 1000, 100, 50, 10 or fewer steps.
fn times(path: &dyn Schedule) -> impl Iterator<Item = f64> {
    let t_max = path.t_max();
    (0..101).map(move |i| t_max * (f64::from(i) + 0.4375) / 101.0)
}

/// Derivatives, inverse, order of λ, predictions and ends: the laws of all paths.
pub(crate) fn of_path(path: &dyn Schedule) {
    slopes_are_those_of_finite_differences(path);
    inverse_lambda_undoes_lambda(path);
    lambda_falls_and_noise_gains_on_signal(path);
    ends_are_legal(path);
    of_predictions(path);
}

/// α̇, σ̇ and λ̇ are central differences: relative step 2e-6 of the way to the nearer end, tolerance 1e-6.
fn slopes_are_those_of_finite_differences(path: &dyn Schedule) {
    for t in times(path) {
        let h = 2e-6 * t.min(path.t_max() - t);
        let (low, at, high) = (path.level(t - h), path.level(t), path.level(t + h));
        let width = high.t - low.t;
        let slope = |low: f64, high: f64| (high - low) / width;
        let near = |got: f64, want: f64, scale: f64, what: &str| {
            let allowed = 1e-6 * want.abs() + 4e-16 * scale / width + 1e-9;
            assert!(
                (got - want).abs() <= allowed,
                "{path:?}: {what} at t = {t} is {got}, differences say {want}"
            );
        };
        near(at.alpha_dot, slope(low.alpha, high.alpha), at.alpha, "alpha_dot");
        near(at.sigma_dot, slope(low.sigma, high.sigma), at.sigma, "sigma_dot");
        let (above, below) = (path.lambda(t - h), path.lambda(t + h));
        near(
            at.lambda_dot(),
            slope(above, below),
            at.lambda().abs().max(1.0),
            "lambda_dot",
        );
        assert!(
            (path.lambda(t) - at.lambda()).abs() <= 1e-9 * (1.0 + at.lambda().abs()),
            "{path:?}: λ differs at {t}"
        );
    }
}

/// To 1e-9 of the time.
fn inverse_lambda_undoes_lambda(path: &dyn Schedule) {
    for t in times(path) {
        let back = path.inverse_lambda(path.lambda(t));
        assert!(
            (back - t).abs() <= 1e-9 * t,
            "{path:?}: t = {t} came back as {back}"
        );
    }
}

fn lambda_falls_and_noise_gains_on_signal(path: &dyn Schedule) {
    let mut before = path.lambda(0.0);
    for t in times(path) {
        let lambda = path.lambda(t);
        assert!(
            lambda < before,
            "{path:?}: λ went from {before} to {lambda} at t = {t}"
        );
        before = lambda;
        let NoiseLevel {
            alpha,
            sigma,
            alpha_dot,
            sigma_dot,
            ..
        } = path.level(t);
        assert!(
            alpha * sigma_dot - sigma * alpha_dot > 0.0,
            "{path:?}: no noise comes in at t = {t}"
        );
    }
    assert!(path.lambda(path.t_max()) < before);
}

/// Nothing is NaN at the ends, and λ = ±∞ or beyond is answered by them.
fn ends_are_legal(path: &dyn Schedule) {
    for t in [0.0, path.t_max()] {
        let level = path.level(t);
        for value in [
            level.alpha,
            level.sigma,
            level.alpha_dot,
            level.sigma_dot,
            level.lambda(),
            path.lambda(t),
        ] {
            assert!(!value.is_nan(), "{path:?} at {t}: {level:?}");
        }
        assert!(level.alpha >= 0.0 && level.sigma >= 0.0);
    }
    assert_eq!(path.inverse_lambda(f64::INFINITY), 0.0, "{path:?}");
    assert_eq!(path.inverse_lambda(f64::NEG_INFINITY), path.t_max(), "{path:?}");
    for lambda in [-1e6, -800.0, -300.0, 300.0, 800.0, 1e6] {
        let t = path.inverse_lambda(lambda);
        assert!(
            (0.0..=path.t_max()).contains(&t),
            "{path:?}: λ = {lambda} is answered by t = {t}"
        );
    }
    assert!(path.inverse_lambda(f64::NAN).is_nan() || path.inverse_lambda(f64::NAN) >= 0.0);
}

/// Solving recovers x_0, ε, velocity and score to 1e-12 times the coefficients, wherever the gain is below 1e6.
pub(crate) fn of_predictions(path: &dyn Schedule) {
    let edm = Prediction::Edm { sigma_data: 0.7 };
    let all = [
        Prediction::Data,
        Prediction::Noise,
        Prediction::Velocity,
        Prediction::V,
        Prediction::Score,
        edm,
    ];
    let (x0, noise) = (0.7, -1.3);
    for t in times(path) {
        let at = path.level(t);
        let x = at.alpha * x0 + at.sigma * noise;
        for prediction in all
            .into_iter()
            .filter(|prediction| prediction.gain(at) < MAX_GAIN)
        {
            let (a, b) = prediction.target(at);
            let output = a * x0 + b * noise;
            let wanted = [
                (prediction.x0(at), x0),
                (prediction.noise(at), noise),
                (prediction.velocity(at), at.alpha_dot * x0 + at.sigma_dot * noise),
                (prediction.score(at), -noise / at.sigma),
            ];
            for (index, (mixture, want)) in wanted.into_iter().enumerate() {
                let got = mixture.of_x * x + mixture.of_output * output;
                let size = (mixture.of_x * x).abs() + (mixture.of_output * output).abs();
                // Velocity and score multiply what was already rounded once.
                let scale = size + want.abs() * (1.0 + prediction.gain(at)) + 1.0;
                assert!(
                    (got - want).abs() <= 1e-12 * scale * conditioning(at),
                    "{path:?}, {prediction:?} at t = {t}: solved {index} as {got}, not {want}"
                );
            }
        }
    }
}

/// How much rounding the level itself can add: slopes enter velocity with their own size.
fn conditioning(at: NoiseLevel) -> f64 {
    1.0 + at.alpha_dot.abs() + at.sigma_dot.abs() + 1.0 / at.alpha.max(1e-6) + 1.0 / at.sigma.max(1e-6)
}

/// α² + σ² = 1 to 1e-14.
pub(crate) fn variance_is_preserved(path: &dyn Schedule) {
    for t in times(path).chain([0.0, path.t_max()]) {
        let level = path.level(t);
        let total = level.alpha * level.alpha + level.sigma * level.sigma;
        assert!(
            (total - 1.0).abs() < 1e-14,
            "{path:?}: α² + σ² = {total} at t = {t}"
        );
    }
}

/// α(0) = 1 and σ(0) = 0, exactly.
pub(crate) fn starts_clean(path: &dyn Schedule) {
    let start = path.level(0.0);
    assert_eq!((start.alpha, start.sigma), (1.0, 0.0), "{path:?}");
    assert_eq!(path.lambda(0.0), f64::INFINITY, "{path:?}");
}

/// α = 0 exactly, and σ = 1 to 1e-14, at t_max.
pub(crate) fn ends_in_noise(path: &dyn Schedule) {
    let end = path.level(path.t_max());
    assert!(
        end.alpha == 0.0 && (end.sigma - 1.0).abs() < 1e-14,
        "{path:?}: {end:?}"
    );
    assert_eq!(path.lambda(path.t_max()), f64::NEG_INFINITY, "{path:?}");
}
