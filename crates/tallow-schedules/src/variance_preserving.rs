//! What all variance-preserving paths share: everything follows from B = −ln ᾱ and its slope β.
//!
//! ```text
//! α = e^{−B/2}     σ = √(1 − e^{−B})     α̇ = −½ β α     σ̇ = ½ β α²/σ     λ = −½ ln(e^B − 1)
//! ```
//!
//! Written with `expm1`, so that σ keeps all digits where ᾱ is near 1, and λ those where ᾱ underflows.

/// α of the integral B.
pub(crate) fn alpha(integral: f64) -> f64 {
    (-0.5 * integral).exp()
}

/// σ of the integral B.
pub(crate) fn sigma(integral: f64) -> f64 {
    (-(-integral).exp_m1()).sqrt()
}

/// α̇ of the integral B and its slope β.
pub(crate) fn alpha_dot(integral: f64, beta: f64) -> f64 {
    -0.5 * beta * alpha(integral)
}

/// σ̇ of the integral B and its slope β; +∞ at B = 0, where σ rises like √t.
pub(crate) fn sigma_dot(integral: f64, beta: f64) -> f64 {
    0.5 * beta * (-integral).exp() / sigma(integral)
}

/// λ of the integral B.
pub(crate) fn lambda(integral: f64) -> f64 {
    -0.5 * (integral + (-(-integral).exp_m1()).ln())
}

/// B of λ: ln(1 + e^{−2λ}).
pub(crate) fn integral(lambda: f64) -> f64 {
    softplus(-2.0 * lambda)
}

/// (α, σ) of λ, on the unit circle.
pub(crate) fn circle(lambda: f64) -> (f64, f64) {
    let smaller = (-lambda.abs()).exp();
    let norm = smaller.hypot(1.0);
    if lambda >= 0.0 {
        (1.0 / norm, smaller / norm)
    } else {
        (smaller / norm, 1.0 / norm)
    }
}

/// ln(1 + e^x) without overflow.
pub(crate) fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lambda_and_integral_undo_each_other_from_tiny_to_huge() {
        for b in [1e-300, 1e-17, 1e-3, 0.7, 10.0, 700.0, 5e4] {
            let back = integral(lambda(b));
            assert!((back - b).abs() <= 1e-12 * b, "{b} came back as {back}");
        }
    }

    #[test]
    fn sigma_keeps_its_digits_where_the_data_is_almost_clean() {
        // √(1 − e^{−b}) = √b (1 − b/4 + …)
        let b = 1e-14;
        assert!((sigma(b) / b.sqrt() - 1.0).abs() < 1e-14);
    }

    #[test]
    fn the_ends_are_legal_and_the_circle_is_one() {
        assert_eq!(
            (lambda(0.0), lambda(f64::INFINITY)),
            (f64::INFINITY, f64::NEG_INFINITY)
        );
        assert_eq!(
            (integral(f64::INFINITY), integral(f64::NEG_INFINITY)),
            (0.0, f64::INFINITY)
        );
        assert_eq!(circle(f64::INFINITY), (1.0, 0.0));
        assert_eq!(circle(f64::NEG_INFINITY), (0.0, 1.0));
        assert!(sigma_dot(0.0, 0.1).is_infinite());
    }
}
