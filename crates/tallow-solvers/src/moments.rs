//! Moments of the exponential weight that data-form integrators share.
//!
//! ```text
//! ψ_k(H) = ∫₀¹ H e^{−H(1−u)} u^k du          ψ_0 = 1 − e^{−H}          ψ_k = 1 − (k/H) ψ_{k−1}
//!        = H k! Σ_n (−H)^n / (n + k + 1)!
//! ```

/// ψ_k(H): the series where the recurrence cancels. H = ∞ gives 1.
pub(crate) fn moment(k: usize, h: f64) -> f64 {
    if h.abs() >= 1.0 {
        return (1..=k).fold(-(-h).exp_m1(), |before, k| 1.0 - k as f64 / h * before);
    }
    let mut term = h / (k + 1) as f64;
    let mut sum = 0.0;
    for n in 0..24 {
        sum += term;
        term *= -h / (n + k + 2) as f64;
    }
    sum
}

/// ∫₀¹ H e^{−H(1−u)} l_j(u) du for the Lagrange polynomials l_j of distinct nodes: the weights of an Adams step.
pub(crate) fn adams_weights(nodes: &[f64], h: f64) -> Vec<f64> {
    let weight = |j: usize| {
        // Coefficients of l_j, lowest power first.
        let mut polynomial = vec![1.0];
        for (i, node) in nodes.iter().enumerate().filter(|(i, _)| *i != j) {
            let scale = 1.0 / (nodes[j] - nodes[i]);
            let mut product = vec![0.0; polynomial.len() + 1];
            for (power, coefficient) in polynomial.iter().enumerate() {
                product[power + 1] += scale * coefficient;
                product[power] -= scale * node * coefficient;
            }
            polynomial = product;
        }
        polynomial
            .iter()
            .enumerate()
            .map(|(power, coefficient)| coefficient * moment(power, h))
            .sum()
    };
    (0..nodes.len()).map(weight).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Simpson's rule with 2000 intervals.
    fn integral(f: impl Fn(f64) -> f64) -> f64 {
        let n = 2000;
        let sum: f64 = (0..=n)
            .map(|i| {
                let weight = if i == 0 || i == n {
                    1.0
                } else {
                    2.0 + 2.0 * f64::from(i % 2)
                };
                weight * f(f64::from(i) / f64::from(n))
            })
            .sum();
        sum / (3.0 * f64::from(n))
    }

    #[test]
    fn moments_are_the_integrals_on_both_sides_of_the_switch() {
        for h in [1e-9, 0.01, 0.999, 1.0, 3.0, -0.5, -2.0] {
            for k in 0..4 {
                let exact = integral(|u| h * (-h * (1.0 - u)).exp() * u.powi(k));
                let got = moment(k as usize, h);
                assert!(
                    (got - exact).abs() <= 1e-11 * exact.abs(),
                    "psi_{k}({h}) = {got}, not {exact}"
                );
            }
        }
        assert_eq!(moment(2, f64::INFINITY), 1.0);
    }

    #[test]
    fn adams_weights_integrate_polynomials_exactly() {
        let nodes = [1.0, 0.0, -0.7, -2.1];
        for h in [0.05, 1.7] {
            let weights = adams_weights(&nodes, h);
            for power in 0..4 {
                let sum: f64 = weights.iter().zip(nodes).map(|(w, u)| w * u.powi(power)).sum();
                let exact = moment(power as usize, h);
                assert!(
                    (sum - exact).abs() < 1e-13,
                    "power {power} at {h}: {sum}, not {exact}"
                );
            }
        }
    }
}
