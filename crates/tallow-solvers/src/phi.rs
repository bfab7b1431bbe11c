//! Integrals of a polynomial times an exponential over a step, and the weights they give to predictions.
//!
//! ```text
//! μ_j(z) = ∫₀¹ e^{(1−s)z} s^j ds = j! φ_{j+1}(z)        φ_1(z) = (e^z − 1)/z        φ_{k+1}(z) = (φ_k(z) − 1/k!)/z
//! ∫₀¹ e^{(1−s)z} p(s) ds = Σ_k w_k p(r_k)               w_k = ∫₀¹ e^{(1−s)z} L_k(s) ds
//! ```
//!
//! where p is the polynomial through the nodes `r_k` and `L_k` its Lagrange basis.
//!
//! Source: Hochbruck & Ostermann 2010, Exponential integrators, Acta Numerica 19, Eq. 2.10; Zhang & Chen 2022,
//! arXiv:2204.13902, Eq. 15.

/// The most predictions that are combined.
pub(crate) const MAX_NODES: usize = 4;

/// Moments of a weight on `[0, 1]`: its integrals against 1, s, s², s³.
pub(crate) type Moments = [f64; MAX_NODES];

/// The moments of the constant weight 1.
pub(crate) const UNIFORM: Moments = [1.0, 0.5, 1.0 / 3.0, 0.25];

/// Below this |z| the recurrence from φ_1 upwards would cancel.
const SERIES_BELOW: f64 = 1.0;

/// The moments of `e^{(1−s)z}`; for z above 1 those of `e^{−sz}`, which are smaller by the factor e^z and cannot overflow.
pub(crate) fn exponential_moments(z: f64) -> Moments {
    if z.abs() <= SERIES_BELOW {
        return small(z);
    }
    if z < 0.0 {
        let phi1 = z.exp_m1() / z;
        let phi2 = (phi1 - 1.0) / z;
        let phi3 = (phi2 - 0.5) / z;
        let phi4 = (phi3 - 1.0 / 6.0) / z;
        return [phi1, phi2, 2.0 * phi3, 6.0 * phi4];
    }
    // ∫₀¹ e^{−sz} s^j ds by parts.
    let end = (-z).exp();
    let m0 = -(-z).exp_m1() / z;
    let m1 = (m0 - end) / z;
    let m2 = (2.0 * m1 - end) / z;
    let m3 = (3.0 * m2 - end) / z;
    [m0, m1, m2, m3]
}

/// What the factor 1 before a prediction is in the scaling of [`exponential_moments`].
pub(crate) fn unit(z: f64) -> f64 {
    if z > SERIES_BELOW { (-z).exp() } else { 1.0 }
}

/// Whether [`exponential_moments`] are those of `e^{−sz}`.
pub(crate) fn is_rescaled(z: f64) -> bool {
    z > SERIES_BELOW
}

/// φ_4 by its series, the rest by the recurrence downwards, which does not cancel.
fn small(z: f64) -> Moments {
    let (mut term, mut phi4) = (1.0 / 24.0, 0.0);
    for n in 5..24 {
        phi4 += term;
        term *= z / f64::from(n);
    }
    let phi3 = z * phi4 + 1.0 / 6.0;
    let phi2 = z * phi3 + 0.5;
    let phi1 = z * phi2 + 1.0;
    [phi1, phi2, 2.0 * phi3, 6.0 * phi4]
}

/// The weights of values at `nodes` (at most four, all different) in the integral of the polynomial through them.
pub(crate) fn lagrange(nodes: &[f64], moments: &Moments) -> [f64; MAX_NODES] {
    let mut weights = [0.0; MAX_NODES];
    for (k, weight) in weights.iter_mut().enumerate().take(nodes.len()) {
        // Coefficients of Π (s − r_j)/(r_k − r_j), from s⁰ upwards.
        let mut basis = [0.0; MAX_NODES];
        basis[0] = 1.0;
        for (_, node) in nodes.iter().enumerate().filter(|(j, _)| *j != k) {
            let span = nodes[k] - node;
            for power in (0..MAX_NODES).rev() {
                let lower = if power > 0 { basis[power - 1] } else { 0.0 };
                basis[power] = (lower - node * basis[power]) / span;
            }
        }
        *weight = basis.iter().zip(moments).map(|(c, moment)| c * moment).sum();
    }
    weights
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gauss-Legendre with five nodes on each of 400 pieces.
    fn quadrature(f: impl Fn(f64) -> f64) -> f64 {
        let inner = (5.0 - 2.0 * (10.0f64 / 7.0).sqrt()).sqrt() / 3.0;
        let outer = (5.0 + 2.0 * (10.0f64 / 7.0).sqrt()).sqrt() / 3.0;
        let (wi, wo) = (
            (322.0 + 13.0 * 70f64.sqrt()) / 900.0,
            (322.0 - 13.0 * 70f64.sqrt()) / 900.0,
        );
        let rule = [
            (0.0, 128.0 / 225.0),
            (inner, wi),
            (-inner, wi),
            (outer, wo),
            (-outer, wo),
        ];
        let half = 0.5 / 400.0;
        (0..400)
            .map(|i| {
                let middle = (2 * i + 1) as f64 * half;
                rule.iter()
                    .map(|(node, weight)| weight * half * f(middle + half * node))
                    .sum::<f64>()
            })
            .sum()
    }

    #[test]
    fn moments_are_the_integrals_they_stand_for() {
        for z in [
            -30.0, -3.0, -1.0001, -1.0, -0.3, -1e-9, 0.0, 1e-9, 0.7, 1.0, 1.0001, 4.0, 30.0,
        ] {
            let moments = exponential_moments(z);
            for (j, moment) in moments.iter().enumerate() {
                let shift = if is_rescaled(z) { 0.0 } else { 1.0 };
                let expected = quadrature(|s| ((shift - s) * z).exp() * s.powi(j as i32));
                assert!(
                    (moment / expected - 1.0).abs() < 2e-13,
                    "z {z}, j {j}: {moment} {expected}"
                );
            }
        }
    }

    #[test]
    fn long_steps_neither_overflow_nor_vanish() {
        for z in [-1e300, -800.0, 800.0, 1e300] {
            let moments = exponential_moments(z);
            assert!(
                moments.iter().all(|moment| moment.is_finite()),
                "{z}: {moments:?}"
            );
            assert!((moments[0] * z.abs() - 1.0).abs() < 1e-12);
        }
        assert_eq!(unit(1e300), 0.0);
    }

    #[test]
    fn a_cubic_is_integrated_exactly_from_four_of_its_values() {
        let cubic = |s: f64| 2.0 - s + 3.0 * s * s - 0.5 * s.powi(3);
        let nodes = [0.0, -0.8, -2.1, 1.0];
        for z in [-2.0, 0.5] {
            let weights = lagrange(&nodes, &exponential_moments(z));
            let sum: f64 = weights.iter().zip(nodes).map(|(w, node)| w * cubic(node)).sum();
            let exact = quadrature(|s| ((1.0 - s) * z).exp() * cubic(s));
            assert!((sum / exact - 1.0).abs() < 1e-13, "{sum} {exact}");
        }
        // Adams-Bashforth's coefficients are those of equal steps and the weight 1.
        let weights = lagrange(&[0.0, -1.0, -2.0, -3.0], &UNIFORM);
        for (weight, expected) in weights.iter().zip([55.0, -59.0, 37.0, -9.0]) {
            assert!((weight * 24.0 - expected).abs() < 1e-12);
        }
    }
}
