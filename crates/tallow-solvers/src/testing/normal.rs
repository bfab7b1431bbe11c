//! Tails of mixtures of normal distributions in one dimension, to the last digits.
//!
//! ```text
//! x < 1:  erf x  = 2/√π e^{−x²} Σ_n 2ⁿ x^{2n+1}/(2n+1)!!          (all terms positive)
//! x ≥ 1:  erfc x = e^{−x²}/√π · 1/(x + ½/(x + 1/(x + (3/2)/(x + …))))
//! ```
//!
//! Source: Abramowitz & Stegun 1964, 7.1.6 and 7.1.14.

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI, PI, TAU};

/// 2/√π ∫_x^∞ e^{−t²} dt, with a relative error below 1e-14 for x < 5.
pub(super) fn erfc(x: f64) -> f64 {
    if x < 0.0 {
        2.0 - erfc(-x)
    } else if x < 1.0 {
        1.0 - FRAC_2_SQRT_PI * (-x * x).exp() * series(x)
    } else {
        // The error of n levels falls like e^{−2x√(2n)}: 300 are enough from 1 on.
        let fraction = (1..300).rev().fold(x, |below, n| x + 0.5 * f64::from(n) / below);
        (-x * x).exp() / (PI.sqrt() * fraction)
    }
}

fn series(x: f64) -> f64 {
    let (mut term, mut sum) = (x, x);
    for n in 1..40 {
        term *= 2.0 * x * x / f64::from(2 * n + 1);
        sum += term;
    }
    sum
}

/// Σ_k w_k N(m_k, s_k²): one component is (weight, mean, standard deviation).
#[derive(Clone, Debug)]
pub(super) struct Components(pub(super) Vec<(f64, f64, f64)>);

impl Components {
    /// The distribution of αx_0 + σε.
    pub(super) fn noised(&self, alpha: f64, sigma: f64) -> Self {
        let noised = |&(w, m, s): &(f64, f64, f64)| (w, alpha * m, (alpha * s).hypot(sigma));
        Self(self.0.iter().map(noised).collect())
    }

    /// P(X ≤ x).
    pub(super) fn below(&self, x: f64) -> f64 {
        self.sum(|m, s| 0.5 * erfc((m - x) / s * FRAC_1_SQRT_2))
    }

    /// P(X > x).
    pub(super) fn above(&self, x: f64) -> f64 {
        self.sum(|m, s| 0.5 * erfc((x - m) / s * FRAC_1_SQRT_2))
    }

    fn density(&self, x: f64) -> f64 {
        self.sum(|m, s| (-0.5 * ((x - m) / s).powi(2)).exp() / (TAU.sqrt() * s))
    }

    /// The point with as much probability below it as `other` has below `x`: where the probability-flow ODE leads in one
    /// dimension, as it keeps the order of the points.
    pub(super) fn quantile_of(&self, other: &Self, x: f64) -> f64 {
        // The smaller of the two tails keeps its digits.
        let (below, above) = (other.below(x), other.above(x));
        let excess = |y: f64| {
            if below < above {
                self.below(y) - below
            } else {
                above - self.above(y)
            }
        };
        let reach = |sign: f64| self.0.iter().map(move |(_, m, s)| m + sign * 40.0 * s);
        let mut low = reach(-1.0).fold(f64::INFINITY, f64::min);
        let mut high = reach(1.0).fold(f64::NEG_INFINITY, f64::max);
        for _ in 0..60 {
            let middle = 0.5 * (low + high);
            if excess(middle) < 0.0 {
                low = middle;
            } else {
                high = middle;
            }
        }
        (0..3).fold(0.5 * (low + high), |y, _| y - excess(y) / self.density(y))
    }

    fn sum(&self, f: impl Fn(f64, f64) -> f64) -> f64 {
        self.0.iter().map(|(w, m, s)| w * f(*m, *s)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn erfc_has_fourteen_digits() {
        let known = [
            (0.1, 0.8875370839817152),
            (0.5, 0.4795001221869535),
            (0.999, 0.15771472979350307),
            (1.0, 0.15729920705028513),
            (1.5, 0.033894853524689274),
            (2.0, 0.004677734981047265),
            (3.0, 2.2090496998585438e-05),
            (5.0, 1.5374597944280351e-12),
        ];
        for (x, expected) in known {
            let error = erfc(x) / expected - 1.0;
            assert!(error.abs() < 1e-14, "{error:e} at {x}");
            assert!((erfc(-x) + erfc(x) - 2.0).abs() < 1e-15);
        }
    }

    #[test]
    fn quantiles_are_found_again() {
        let data = Components(vec![(0.3, -1.0, 0.35), (0.7, 1.5, 0.6)]);
        let noised = data.noised(0.2, 0.9);
        for x in [-3.0, -1.0, 0.1, 0.7, 2.9] {
            let error = data.quantile_of(&noised, noised.quantile_of(&data, x)) - x;
            assert!(error.abs() < 2e-13, "{error:e} at {x}");
        }
    }
}
