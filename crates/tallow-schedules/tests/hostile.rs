//! Parameters, times and counts of any kind: an error or a result that keeps its promises, never a panic, never a NaN.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::sync::Arc;

use proptest::prelude::*;
use tallow_schedules::*;

/// Any number at all, special ones often, ordinary ones most often.
fn number() -> impl Strategy<Value = f64> {
    let special = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::MIN_POSITIVE,
        5e-324,
        -5e-324,
        f64::MAX,
        f64::MIN,
        f64::EPSILON,
        1.0 - f64::EPSILON,
    ];
    prop_oneof![
        2 => prop::sample::select(special.to_vec()),
        1 => any::<f64>(),
        3 => 0.0..1.0f64,
        2 => (-14.0..14.0f64).prop_map(|exponent| 10.0f64.powf(exponent)),
        1 => -100.0..100.0f64,
    ]
}

fn count() -> impl Strategy<Value = usize> {
    prop_oneof![
        Just(0),
        Just(1),
        Just(2),
        Just(usize::MAX),
        Just(MAX_STEPS + 1),
        any::<usize>(),
        1..200usize
    ]
    .prop_map(|count| {
        if (200..=MAX_STEPS).contains(&count) {
            count % 1000
        } else {
            count
        }
    })
}

/// What every path promises at times inside its range and for any λ.
fn keeps_its_promises(path: &dyn Schedule, part: f64, lambda: f64) {
    let t_max = path.t_max();
    for t in [0.0, (t_max * part).clamp(0.0, t_max), t_max] {
        let level = path.level(t);
        let values = [
            level.alpha,
            level.sigma,
            level.alpha_dot,
            level.sigma_dot,
            path.lambda(t),
            level.lambda(),
        ];
        assert!(
            !values.iter().any(|value| value.is_nan()),
            "{path:?} at {t}: {level:?}, λ {}",
            path.lambda(t)
        );
        assert!(level.alpha >= 0.0 && level.sigma >= 0.0, "{path:?}: {level:?}");
        assert!(
            !level.diffusion_squared().is_nan() && !level.lambda_dot().is_nan(),
            "{path:?}: {level:?}"
        );
    }
    let t = path.inverse_lambda(lambda);
    assert!(
        lambda.is_nan() || (0.0..=t_max).contains(&t),
        "{path:?}: λ = {lambda} is answered by {t}"
    );
}

fn is_strictly_monotone(grid: Result<TimeGrid>) {
    let Ok(grid) = grid else { return };
    let falls = grid.times()[1] < grid.times()[0];
    assert!(
        grid.times()
            .windows(2)
            .all(|pair| pair[0] != pair[1] && (pair[1] < pair[0]) == falls)
    );
    assert!(
        grid.times()
            .iter()
            .all(|t| (0.0..=grid.schedule().t_max()).contains(t))
    );
    assert!(!grid.to_string().contains("NaN"), "{grid}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn continuous_paths(a in number(), b in number(), c in number(), part in 0.0..1.0f64, lambda in number()) {
        let named = [
            NamedSchedule::VpLinear { beta_0: a, beta_1: b },
            NamedSchedule::VpCosine { s: a },
            NamedSchedule::VpSigmoid { start: a, end: b, tau: c },
            NamedSchedule::VpSigmoid { start: -b.abs(), end: a.abs(), tau: 1.0 },
            NamedSchedule::ScaledLinear { beta_0: a, beta_1: b },
            NamedSchedule::SubVp { beta_0: a, beta_1: b },
            NamedSchedule::VeGeometric { sigma_min: a, sigma_max: b },
            NamedSchedule::Edm { t_max: a },
            NamedSchedule::LinearFlowSigmaMin { sigma_min: a },
            NamedSchedule::Polynomial { n: a },
        ];
        for path in named.iter().filter_map(|named| named.build().ok()) {
            keeps_its_promises(path.as_ref(), part, lambda);
        }
    }

    #[test]
    fn tables(betas in prop::collection::vec(number(), 0..6), part in 0.0..1.0f64, lambda in number()) {
        for table in [Table::from_betas(betas.clone()), Table::from_alpha_bars(&betas)].into_iter().flatten() {
            keeps_its_promises(&table, part, lambda);
            if let Ok(rescaled) = table.zero_terminal_snr() {
                keeps_its_promises(&rescaled, part, lambda);
                prop_assert_eq!(rescaled.alpha(1.0), 0.0);
            }
        }
    }

    #[test]
    fn published_tables(steps in count(), a in number(), b in number(), c in number(), part in 0.0..1.0f64) {
        let tables = [
            Table::linear_beta(steps, a, b),
            Table::linear_beta_scaled_to(steps),
            Table::scaled_linear_beta(steps, a, b),
            Table::geodiff_sigmoid_beta(steps, a, b),
            Table::cosine(steps, a, b),
            Table::sigmoid_alpha_bar(steps, a, b, c, 0.999),
        ];
        for table in tables.into_iter().flatten() {
            prop_assert_eq!(table.len(), steps);
            keeps_its_promises(&table, part, 0.3);
        }
    }

    #[test]
    fn grids(steps in count(), a in number(), b in number(), c in number(), which in 0..6usize) {
        let names = ["vp_linear", "linear_flow", "edm", "vp_cosine", "ve_geometric", "zero_terminal_snr"];
        let path = NamedSchedule::from_name(names[which]).and_then(|named| named.build()).unwrap();
        is_strictly_monotone(TimeGrid::uniform(path.clone(), steps));
        is_strictly_monotone(TimeGrid::uniform_between(path.clone(), a, b, steps));
        is_strictly_monotone(TimeGrid::quadratic_between(path.clone(), a, b, steps));
        is_strictly_monotone(TimeGrid::uniform_lambda(path.clone(), a, b, steps));
        is_strictly_monotone(TimeGrid::uniform_lambda(path.clone(), a, b, steps).and_then(TimeGrid::then_clean));
        is_strictly_monotone(TimeGrid::karras(path.clone(), a, b, c, steps));
        is_strictly_monotone(TimeGrid::exponential(path.clone(), a, b, steps));
        is_strictly_monotone(TimeGrid::polyexponential(path.clone(), a, b, c, steps));
        is_strictly_monotone(TimeGrid::flow_shift(path.clone(), a, steps));
        is_strictly_monotone(TimeGrid::of_noise_levels(path.clone(), &[a, b, c]));
        is_strictly_monotone(TimeGrid::new(path, vec![a, b, c]));
    }

    #[test]
    fn table_grids(len in 1..300usize, steps in count(), offset in count(), fraction in number()) {
        let table = Arc::new(Table::linear_beta(len, 1e-4, 0.02).unwrap());
        is_strictly_monotone(TimeGrid::leading(table.clone(), steps, offset));
        is_strictly_monotone(TimeGrid::linspace(table.clone(), steps));
        is_strictly_monotone(TimeGrid::linspace_n_plus_1(table.clone(), steps));
        is_strictly_monotone(TimeGrid::trailing(table.clone(), steps));
        is_strictly_monotone(TimeGrid::quadratic(table.clone(), steps, fraction));
        is_strictly_monotone(TimeGrid::table_steps(table, &[steps, offset]));
    }

    #[test]
    fn plain_numbers(steps in count(), order in count(), a in number(), b in number(), c in number()) {
        if let Ok(levels) = iddpm_u_table(steps, a, b) {
            prop_assert!(levels.iter().all(|level| !level.is_nan()));
        }
        if let Ok(plan) = singlestep_order_plan(order, steps) {
            prop_assert_eq!(plan.iter().sum::<usize>(), steps);
        }
        if let Ok(t) = shift_time(a, b) {
            prop_assert!((0.0..=1.0).contains(&t));
        }
        for shift in [flow_shift_of_pixels(a, b), flow_shift_of_sequence(a, (256.0, b), (4096.0, c))].into_iter().flatten() {
            prop_assert!(shift > 0.0);
        }
        for weighting in [
            Weighting::MinSnr { gamma: a },
            Weighting::SoftMinSnr { gamma: a },
            Weighting::P2 { k: a, gamma: b },
            Weighting::Edm { sigma_data: a },
            Weighting::Sigmoid { bias: a },
            Weighting::Likelihood,
        ] {
            if weighting.check().is_ok() {
                for t in [0.0, 0.4, 1.0] {
                    let weight = weighting.weight(Trigonometric.level(t));
                    prop_assert!(weight >= 0.0, "{:?} at {}: {}", weighting, t, weight);
                }
            }
        }
    }
}
