//! One term of the bound for each row, each row at a step of its own.

use std::f64::consts::LN_2;

use candle_core::{D, Device, Tensor};
use tallow_denoisers::{Error as DenoiserError, combine_rows};

use super::{Chain, Decoder, Posterior};
use crate::Result;

/// KL(N(m₁, e^{v₁}) ‖ N(m₂, e^{v₂})) of each element, in nats: ½(v₂ − v₁ − 1 + e^{v₁ − v₂} + (m₁ − m₂)² e^{−v₂}).
///
/// # Errors
///
/// When shapes do not fit.
pub fn gaussian_kl(first: (&Tensor, &Tensor), second: (&Tensor, &Tensor)) -> Result<Tensor> {
    let ((mean, log), (other_mean, other_log)) = (first, second);
    let gap = (log - other_log)?;
    let square = ((mean - other_mean)?.sqr()? * other_log.neg()?.exp()?)?;
    Ok((((gap.exp()? - gap)? + square)? - 1.0)?.affine(0.5, 0.0)?)
}

/// ln Σ_θ = w ln β + (1 − w) ln β̃, w = (o + 1)/2, of a network's range o, (B, …), with (ln β̃, ln β) of each row.
///
/// Source: Nichol & Dhariwal 2021, arXiv:2102.09672, Eq. 15.
///
/// # Errors
///
/// When there is not one pair for each row.
pub fn log_variance(range: &Tensor, bounds: &[(f64, f64)]) -> Result<Tensor> {
    let slopes: Vec<f64> = bounds
        .iter()
        .map(|(small, large)| 0.5 * (large - small))
        .collect();
    let middles: Vec<f64> = bounds
        .iter()
        .map(|(small, large)| 0.5 * (large + small))
        .collect();
    let ones = range.ones_like()?.detach();
    Ok(combine_rows(&[(&slopes, range), (&middles, &ones)])?)
}

/// The mean over a row's elements, (B, …) → (B,), in bits.
pub(super) fn mean_bits(nats: &Tensor) -> Result<Tensor> {
    let rows = nats
        .dims()
        .first()
        .copied()
        .ok_or_else(|| DenoiserError::NoRows {
            what: "x0".to_owned(),
        })?;
    Ok(nats
        .reshape((rows, ()))?
        .mean(D::Minus1)?
        .affine(1.0 / LN_2, 0.0)?)
}

/// The steps at which the rows of a batch stand, with what the bound needs of each.
pub(crate) struct StepTerms {
    steps: Vec<usize>,
    posteriors: Vec<Posterior>,
    /// ln β̃ and ln β.
    pub(crate) bounds: Vec<(f64, f64)>,
    decoder: Decoder,
}

impl StepTerms {
    pub(crate) fn new(chain: &Chain, steps: Vec<usize>, decoder: Decoder) -> Result<Self> {
        let posteriors = steps.iter().map(|n| chain.posterior(*n)).collect::<Result<_>>()?;
        let bounds = steps
            .iter()
            .map(|n| chain.log_variances(*n))
            .collect::<Result<_>>()?;
        Ok(Self {
            steps,
            posteriors,
            bounds,
            decoder,
        })
    }

    /// The mean of the step that ends nearer to the data, with `x0` the datum or what is believed of it.
    pub(crate) fn mean(&self, x_t: &Tensor, x0: &Tensor) -> Result<Tensor> {
        let of_x: Vec<f64> = self.posteriors.iter().map(|posterior| posterior.of_x).collect();
        let of_x0: Vec<f64> = self.posteriors.iter().map(|posterior| posterior.of_x0).collect();
        Ok(combine_rows(&[(&of_x, x_t), (&of_x0, x0)])?)
    }

    /// Each row's term in bits per dimension, (B,): the decoder's at step 0, a divergence elsewhere.
    pub(crate) fn bits(
        &self,
        x0: &Tensor,
        x_t: &Tensor,
        mean: &Tensor,
        log_variance: &Tensor,
    ) -> Result<Tensor> {
        let smalls: Vec<f64> = self.bounds.iter().map(|(small, _)| *small).collect();
        let smalls = combine_rows(&[(&smalls, &x0.ones_like()?.detach())])?;
        let divergence = gaussian_kl((&self.mean(x_t, x0)?, &smalls), (mean, log_variance))?;
        let bits = mean_bits(&divergence)?;
        let first: Vec<u32> = (0u32..)
            .zip(&self.steps)
            .filter(|(_, n)| **n == 0)
            .map(|(row, _)| row)
            .collect();
        if first.is_empty() {
            return Ok(bits);
        }
        let chosen: Vec<f64> = self.steps.iter().map(|n| f64::from(u8::from(*n != 0))).collect();
        let chosen = Tensor::new(chosen, &Device::Cpu)?
            .to_dtype(bits.dtype())?
            .to_device(bits.device())?;
        let first = Tensor::new(first, x0.device())?;
        let of = |tensor: &Tensor| tensor.index_select(&first, 0);
        let decoded = self.decoder.nats(&of(x0)?, &of(mean)?, &of(log_variance)?)?;
        Ok((bits * chosen)?.index_add(&first, &mean_bits(&decoded)?, 0)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_divergence_is_the_integral_of_its_definition() {
        for (m1, s1, m2, s2) in [(0.3, 0.5, -0.2, 0.7), (1.0, 0.2, 1.0, 0.2), (-1.0, 0.9, 0.5, 0.4)] {
            let scalar = |value: f64| Tensor::new(&[value], &Device::Cpu).unwrap();
            let log = |s: f64| scalar(2.0 * f64::ln(s));
            let got = gaussian_kl((&scalar(m1), &log(s1)), (&scalar(m2), &log(s2)))
                .unwrap()
                .to_vec1::<f64>()
                .unwrap()[0];
            let density = |x: f64, m: f64, s: f64| {
                -0.5 * ((x - m) / s).powi(2) - (s * std::f64::consts::TAU.sqrt()).ln()
            };
            // Trapezoids on a smooth integrand that vanishes at both ends: exact to rounding.
            let want: f64 = (-10_000..=10_000)
                .map(|i| {
                    let x = f64::from(i) * 1e-3;
                    let q = density(x, m1, s1);
                    q.exp() * (q - density(x, m2, s2)) * 1e-3
                })
                .sum();
            assert!((got - want).abs() < 1e-12, "{got}, not {want}");
        }
    }

    #[test]
    fn a_range_of_minus_1_is_the_small_variance_and_1_the_large_one() {
        let range = Tensor::new(&[[-1.0f64, 1.0, 0.0]], &Device::Cpu).unwrap();
        let logs = log_variance(&range, &[(-3.0, -1.0)])
            .unwrap()
            .to_vec2::<f64>()
            .unwrap();
        assert_eq!(logs, [[-3.0, -1.0, -2.0]]);
        assert!(log_variance(&range, &[]).is_err());
    }
}
