//! The logit-normal density of Stable Diffusion 3.
//!
//! ```text
//! t = 1/(1 + e^{−z}), z ~ N(m, s²)        p(t) = φ((ln(t/(1−t)) − m)/s) / (s t (1−t))
//! ```
//!
//! Source: Esser et al. 2024, arXiv:2403.03206, Eq. 19.

use crate::normal;

pub(super) fn logistic(z: f64) -> f64 {
    1.0 / (1.0 + (-z).exp())
}

pub(super) fn density(mean: f64, std: f64, t: f64) -> f64 {
    let width = t * (1.0 - t);
    if width <= 0.0 {
        return 0.0;
    }
    let logit = t.ln() - (-t).ln_1p();
    normal::density((logit - mean) / std) / (std * width)
}
