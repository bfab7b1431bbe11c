//! The density that gives a straight path the log-signal-to-noise ratios of a cosine path.
//!
//! ```text
//! t = 1 − 1/(tan(πu/2) + 1)        p(t) = 2/(π − 2πt + 2πt²)
//! ```
//!
//! Source: Esser et al. 2024, arXiv:2403.03206, Eq. 21.

use std::f64::consts::{FRAC_PI_2, PI};

/// sin/(sin + cos), which is the same without the pole at u = 1.
pub(super) fn quantile(u: f64) -> f64 {
    let (sin, cos) = (FRAC_PI_2 * u).sin_cos();
    sin / (sin + cos)
}

pub(super) fn density(t: f64) -> f64 {
    2.0 / (PI * (1.0 - 2.0 * t * (1.0 - t)))
}
