use super::*;

/// Points on a jittered lattice, so that costs are many different numbers.
fn costs(n: usize, m: usize, spread: f64) -> Vec<f64> {
    let at = |i: usize, k: usize| (((i * 733 + k * 389) % 997) as f64 / 997.0 - 0.5) * spread;
    let cost = |i: usize, j: usize| (at(i, 1) - at(j + 50, 2)).powi(2) + (at(i, 3) - at(j + 90, 4)).powi(2);
    (0..n * m).map(|k| cost(k / m, k % m)).collect()
}

fn masses(n: usize, seed: usize) -> Vec<f64> {
    let raw: Vec<f64> = (0..n).map(|i| 0.1 + ((i * 37 + seed) % 11) as f64).collect();
    let total: f64 = raw.iter().sum();
    raw.iter().map(|mass| mass / total).collect()
}

fn sums(plan: &[f64], m: usize) -> (Vec<f64>, Vec<f64>) {
    let rows = plan.chunks(m).map(|row| row.iter().sum()).collect();
    let columns = (0..m).map(|j| plan.iter().skip(j).step_by(m).sum()).collect();
    (rows, columns)
}

#[test]
fn a_converged_plan_has_its_marginals_to_1e9_even_where_the_exponent_would_underflow() {
    for (n, m) in [(1, 1), (3, 5), (17, 40), (64, 64)] {
        let (a, b) = (masses(n, 1), masses(m, 2));
        for (spread, regularization) in [(1.0, 0.1), (4.0, 0.5), (100.0, 5.0), (1000.0, 100.0)] {
            let sinkhorn = Sinkhorn {
                iterations: 200_000,
                ..Sinkhorn::new(regularization)
            };
            let found = sinkhorn.plan(&costs(n, m, spread), &a, &b).unwrap();
            let (rows, columns) = sums(&found.plan, m);
            for (sum, mass) in rows.iter().zip(&a).chain(columns.iter().zip(&b)) {
                assert!(
                    (sum - mass).abs() < 1e-9,
                    "{n} x {m}, spread {spread}: {sum} for {mass}, {found:?}"
                );
            }
        }
    }
}

#[test]
fn the_plan_is_the_exponential_of_its_potentials() {
    let (n, m, regularization) = (6, 9, 0.3);
    let costs = costs(n, m, 3.0);
    let found = Sinkhorn::new(regularization)
        .plan(&costs, &masses(n, 1), &masses(m, 2))
        .unwrap();
    for i in 0..n {
        for j in 0..m {
            let log =
                (found.row_potentials[i] + found.column_potentials[j] - costs[i * m + j]) / regularization;
            let (exact, got) = (log.exp(), found.plan[i * m + j]);
            assert!((exact - got).abs() <= 1e-12 * exact);
        }
    }
}

#[test]
fn two_by_two_is_the_root_of_a_quadratic() {
    // P = [[p, ½ − p], [½ − p, p]] with p²/(½ − p)² = exp(−(c00 + c11 − c01 − c10)/ε).
    let (costs, regularization) = ([1.0, 3.0, 2.0, 0.5], 0.7);
    let ratio = f64::exp(-(1.0 + 0.5 - 3.0 - 2.0) / regularization / 2.0);
    let p = 0.5 * ratio / (1.0 + ratio);
    let found = Sinkhorn::new(regularization)
        .plan(&costs, &[0.5, 0.5], &[0.5, 0.5])
        .unwrap();
    for (got, exact) in found.plan.iter().zip([p, 0.5 - p, 0.5 - p, p]) {
        assert!((got - exact).abs() < 1e-11, "{got} for {exact}");
    }
}

#[test]
fn little_regularization_comes_to_the_exact_plan() {
    let (n, m) = (5, 7);
    let (costs, a, b) = (costs(n, m, 3.0), masses(n, 4), masses(m, 9));
    let exact = crate::transport(&costs, &a, &b).unwrap().cost;
    let sinkhorn = Sinkhorn {
        iterations: 300_000,
        ..Sinkhorn::new(2e-3)
    };
    let found = sinkhorn.plan(&costs, &a, &b).unwrap();
    let cost: f64 = found.plan.iter().zip(&costs).map(|(p, c)| p * c).sum();
    assert!(cost >= exact - 1e-9 && cost < exact + 5e-3, "{cost} for {exact}");
}

#[test]
fn relaxed_marginals_satisfy_their_own_equations() {
    // At the optimum P 1 = a exp(−f/ρ) and Pᵀ 1 = b exp(−g/ρ).
    let (n, m, strength) = (6, 9, 1.5);
    let (a, b) = (masses(n, 1), vec![0.4; m]);
    let sinkhorn = Sinkhorn {
        marginals: Marginals::Relaxed(strength),
        ..Sinkhorn::new(0.5)
    };
    let found = sinkhorn.plan(&costs(n, m, 4.0), &a, &b).unwrap();
    let (rows, columns) = sums(&found.plan, m);
    for ((sum, mass), f) in rows.iter().zip(&a).zip(&found.row_potentials) {
        assert!((sum - mass * (-f / strength).exp()).abs() < 1e-10);
    }
    for ((sum, mass), g) in columns.iter().zip(&b).zip(&found.column_potentials) {
        assert!((sum - mass * (-g / strength).exp()).abs() < 1e-10);
    }
}

#[test]
fn a_row_without_mass_sends_none() {
    let found = Sinkhorn::new(0.5)
        .plan(&costs(3, 3, 2.0), &[0.5, 0.0, 0.5], &[0.25, 0.75, 0.0])
        .unwrap();
    assert!(
        found.plan[3..6].iter().all(|&mass| mass == 0.0) && found.plan[2] == 0.0,
        "{found:?}"
    );
    let (rows, columns) = sums(&found.plan, 3);
    for (sum, mass) in rows
        .iter()
        .zip([0.5, 0.0, 0.5])
        .chain(columns.iter().zip([0.25, 0.75, 0.0]))
    {
        assert!((sum - mass).abs() < 1e-9);
    }
}

#[test]
fn a_problem_that_has_no_plan_is_refused_in_words() {
    let half = [0.5, 0.5];
    let refused = |sinkhorn: Sinkhorn, costs: &[f64], a: &[f64], b: &[f64]| {
        sinkhorn.plan(costs, a, b).unwrap_err().to_string()
    };
    let fine = Sinkhorn::new(0.5);
    assert!(refused(Sinkhorn::new(0.0), &[0.0; 4], &half, &half).contains("`regularization` is 0"));
    assert!(refused(Sinkhorn::new(f64::NAN), &[0.0; 4], &half, &half).contains("NaN"));
    assert!(refused(fine, &[0.0; 3], &half, &half).contains("`costs` holds 3"));
    assert!(refused(fine, &[0.0, f64::NAN, 0.0, 0.0], &half, &half).contains("`costs[1]` is NaN"));
    assert!(refused(fine, &[0.0; 4], &[0.5, -0.5], &half).contains("`a[1]` is -0.5"));
    assert!(refused(fine, &[], &[], &[]).contains("`a` is 0"));
    let text = refused(fine, &[0.0; 4], &[0.5, 0.6], &half);
    assert!(text.contains("1.1") && text.contains("relax"), "{text}");
}
