//! The mode density of Stable Diffusion 3: heavy in the middle, and still something at the ends.
//!
//! ```text
//! t = f(u) = 1 − u − s (cos²(πu/2) − 1 + u)        p(t) = 1/|f'(u)|        f'(u) = −1 − s (1 − (π/2) sin πu)
//! ```
//!
//! Source: Esser et al. 2024, arXiv:2403.03206, Eq. 20.

use std::f64::consts::{FRAC_PI_2, PI};

use crate::{Error, Result};

/// Refuses a scale with which f turns back.
pub(super) fn check(scale: f64) -> Result<()> {
    let most = 2.0 / (PI - 2.0);
    if (-1.0..=most).contains(&scale) {
        return Ok(());
    }
    Err(Error::Parameter {
        owner: "TimeSampling::mode",
        name: "scale",
        value: scale,
        allowed: "in [-1, 2/(π - 2)] = [-1, 1.7519]",
    })
}

/// f(1 − u), which rises.
pub(super) fn quantile(scale: f64, u: f64) -> f64 {
    let v = 1.0 - u;
    (1.0 - v - scale * ((FRAC_PI_2 * v).cos().powi(2) - 1.0 + v)).clamp(0.0, 1.0)
}

pub(super) fn density(scale: f64, t: f64) -> f64 {
    // f falls strictly; its inverse by bisection, which cannot fail where Newton's rule would (f' = 0 at the largest s).
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..64 {
        let middle = 0.5 * (low + high);
        if quantile(scale, middle) < t {
            low = middle;
        } else {
            high = middle;
        }
    }
    let u = 1.0 - 0.5 * (low + high);
    1.0 / (1.0 + scale * (1.0 - FRAC_PI_2 * (PI * u).sin())).abs()
}
