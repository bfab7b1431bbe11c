//! Mean and spread of groups of values, without losing digits to a large mean.
//!
//! ```text
//! m = fl(Σ x/n)   in the type of x,   δ = Σ (x − m)/n,   mean = m + δ
//! variance = Σ (x − m)²/n − δ²,   rstd = 1/√(variance + ε)
//! ```
//!
//! x − m is nearly exact where the mean is large, and mean and rstd are kept in f64: a mean rounded to f32 would shift
//! every normalised value by up to 2⁻²⁴ |mean|/σ.

use crate::error::{Error, Result, check_length};
use crate::float::Float;
use crate::lanes::{sum, sums};

/// The mean and 1/√(variance + ε) of every group of values, in f64.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Statistics {
    /// Means; zeros where only the size is normalised.
    pub mean: Vec<f64>,
    /// 1/√(variance + ε).
    pub rstd: Vec<f64>,
}

impl Statistics {
    /// Zeros for `n` groups.
    pub(crate) fn zeros(n: usize) -> Self {
        Self {
            mean: vec![0.0; n],
            rstd: vec![0.0; n],
        }
    }

    pub(crate) fn check(&self, groups: usize) -> Result<()> {
        check_length("mean", self.mean.len(), groups)?;
        check_length("rstd", self.rstd.len(), groups)
    }
}

/// Refuses an ε that would leave a constant group without a norm.
pub(crate) fn check_epsilon(value: f64) -> Result<()> {
    if value > 0.0 && value.is_finite() {
        return Ok(());
    }
    let (name, allowed) = ("epsilon", "a positive number");
    Err(Error::Setting { name, value, allowed })
}

/// The statistics of one group as the loops take them: x̂ = (x − m) rstd − δ rstd.
#[derive(Clone, Copy)]
pub(crate) struct Moments<T> {
    /// The mean in the type of x.
    pub(crate) centre: T,
    /// What the rounding of the mean left out.
    pub(crate) rest: f64,
    pub(crate) rstd: f64,
}

impl<T: Float> Moments<T> {
    #[inline(always)]
    pub(crate) fn new(mean: f64, rstd: f64) -> Self {
        let centre = T::from_f64(mean);
        let rest = mean - centre.to_f64();
        Self { centre, rest, rstd }
    }
}

/// The mean and 1/√(variance + ε) of `x`; 0 and 1/√ε of nothing.
#[inline(always)]
pub(crate) fn centred<T: Float>(x: &[T], epsilon: f64) -> (f64, f64) {
    let n = x.len().max(1) as f64;
    let centre = T::from_f64(sum(x, |x| x) / n);
    let [shift, square] = sums(x, x, |x, _| {
        let d = x - centre;
        [d, d * d]
    });
    let shift = shift / n;
    // Rounding may leave a constant group slightly below 0. NaN stays.
    let variance = square / n - shift * shift;
    let variance = if variance < 0.0 { 0.0 } else { variance };
    (centre.to_f64() + shift, 1.0 / (variance + epsilon).sqrt())
}

/// 1/√(mean square + ε) of `x`.
#[inline(always)]
pub(crate) fn uncentred<T: Float>(x: &[T], epsilon: f64) -> f64 {
    let square = sum(x, |x| x * x) / x.len().max(1) as f64;
    1.0 / (square + epsilon).sqrt()
}

impl<T: Float> Moments<T> {
    /// (m, a, c) with x̂ gain + offset = (x − m) a + c.
    #[inline(always)]
    pub(crate) fn line(&self, gain: T, offset: T) -> (T, T, T) {
        let a = gain.to_f64() * self.rstd;
        let c = offset.to_f64() - a * self.rest;
        (self.centre, T::from_f64(a), T::from_f64(c))
    }

    /// Σ u and Σ u x̂.
    #[inline(always)]
    pub(crate) fn gradient_sums(&self, x: &[T], u: &[T]) -> [f64; 2] {
        let centre = self.centre;
        let [plain, product] = sums(x, u, |x, u| [u, (x - centre) * u]);
        [plain, self.rstd * (product - self.rest * plain)]
    }

    /// (p, q, r) with rstd (gain u − means₀ − x̂ means₁) = p u + q (x − m) + r.
    #[inline(always)]
    pub(crate) fn pull(&self, gain: T, means: [f64; 2]) -> (T, T, T) {
        let p = self.rstd * gain.to_f64();
        let q = -self.rstd * self.rstd * means[1];
        let r = -self.rstd * means[0] - q * self.rest;
        (T::from_f64(p), T::from_f64(q), T::from_f64(r))
    }
}
