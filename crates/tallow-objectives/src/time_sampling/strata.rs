//! One number in each part of [0, 1): a low-discrepancy batch.

use rand::RngCore;
use tallow_denoisers::uniforms;

/// One number in each of `count` equal parts of [0, 1), in a random order.
pub(super) fn shares(count: usize, rng: &mut dyn RngCore) -> Vec<f64> {
    // A sum that rounds up to 1 would leave the last part.
    let below_one = 1.0 - f64::EPSILON / 2.0;
    let mut shares: Vec<f64> = uniforms(count, rng)
        .into_iter()
        .enumerate()
        .map(|(part, u)| ((part as f64 + u) / count as f64).min(below_one))
        .collect();
    // Fisher-Yates.
    for (last, u) in (1..count).rev().zip(uniforms(count.saturating_sub(1), rng)) {
        let other = (u * (last + 1) as f64) as usize;
        shares.swap(last, other);
    }
    shares
}
