//! The unit normal distribution, accurate in its tails.

use std::f64::consts::{FRAC_1_SQRT_2, LN_2, PI, SQRT_2, TAU};

/// φ(z), the density.
pub(crate) fn density(z: f64) -> f64 {
    log_density(z).exp()
}

/// ln φ(z).
pub(crate) fn log_density(z: f64) -> f64 {
    -0.5 * (z * z + TAU.ln())
}

/// Φ(z), the distribution function.
pub(crate) fn cumulative(z: f64) -> f64 {
    0.5 * libm::erfc(-z * FRAC_1_SQRT_2)
}

/// ln Q(z) = ln(1 − Φ(z)), finite for every finite z.
pub(crate) fn log_tail(z: f64) -> f64 {
    // erfc underflows past 38; the asymptotic series is exact to the last bit long before.
    if z < 30.0 {
        return libm::erfc(z * FRAC_1_SQRT_2).ln() - LN_2;
    }
    let inverse = 1.0 / (z * z);
    let series = -inverse * (1.0 - inverse * (3.0 - 15.0 * inverse));
    log_density(z) - z.ln() + series.ln_1p()
}

/// Φ⁻¹(p): −∞ at 0, +∞ at 1, NaN outside.
pub(crate) fn quantile(p: f64) -> f64 {
    if p > 0.5 {
        return -quantile(1.0 - p);
    }
    if p == 0.0 {
        return f64::NEG_INFINITY;
    }
    // The leading term of the tail, or of the middle, then Halley's rule: cubic convergence.
    let tail = (-2.0 * p.ln()).sqrt();
    let mut z = if p < 0.2 {
        -(tail - ((2.0 * PI).ln() + 2.0 * tail.ln()) / (2.0 * tail)).max(0.5)
    } else {
        (p - 0.5) * SQRT_2 * PI.sqrt()
    };
    for _ in 0..8 {
        let step = (cumulative(z) - p) / density(z);
        z -= step / (1.0 + 0.5 * z * step);
    }
    z
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quantile_inverts_the_distribution_function() {
        for p in [1e-300, 1e-20, 1e-5, 0.02, 0.19, 0.21, 0.4, 0.5, 0.73, 0.999] {
            let back = cumulative(quantile(p));
            assert!((back / p - 1.0).abs() < 1e-12, "{back} for {p}");
        }
        assert_eq!(quantile(0.0), f64::NEG_INFINITY);
        assert_eq!(quantile(1.0), f64::INFINITY);
        assert!(quantile(f64::NAN).is_nan());
        // From tables: Φ(1.959964) = 0.975.
        assert!((quantile(0.975) - 1.959_963_984_540_054).abs() < 1e-12);
    }

    #[test]
    fn the_tail_goes_on_where_erfc_has_underflowed() {
        let below = log_tail(30.0 - 1e-9);
        assert!((below - log_tail(30.0)).abs() < 1e-6, "no jump at 30");
        // ln Q falls with the slope −z − 1/z + …
        let slope = (log_tail(100.01) - log_tail(99.99)) / 0.02;
        assert!((slope + 100.0 + 0.01).abs() < 1e-5, "{slope}");
        assert!((log_tail(0.0) + LN_2).abs() < 1e-15);
        assert!((log_tail(-5.0).exp() - cumulative(5.0)).abs() < 1e-15);
    }
}
