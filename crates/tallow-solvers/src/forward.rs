//! The forward process between two levels: what churn and restarts add.
//!
//! ```text
//! x_s = (α_s/α_t) x_t + k √(σ_s² − (α_s/α_t)² σ_t²) z          s noisier than t
//! ```
//!
//! Source: Kingma et al. 2021, arXiv:2107.00630, Eq. 2.

use candle_core::Tensor;
use tallow_denoisers::{Noise, lincomb};
use tallow_schedules::NoiseLevel;

use crate::Result;

/// `x` at a noisier level, with fresh noise times `scale`; `from` has a signal.
pub(crate) fn noised(
    x: &Tensor,
    from: NoiseLevel,
    up: NoiseLevel,
    scale: f64,
    noise: &mut dyn Noise,
) -> Result<Tensor> {
    let ratio = up.alpha / from.alpha;
    let kept = ratio * from.sigma;
    let added = ((up.sigma - kept) * (up.sigma + kept)).max(0.0).sqrt();
    let z = noise.fresh(x)?;
    Ok(lincomb([(ratio, x), (scale * added, &z)])?)
}
