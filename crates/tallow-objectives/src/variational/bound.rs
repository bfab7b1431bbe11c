//! The whole bound of a model on data: a draw of every step's term.

use candle_core::Tensor;
use rand::RngCore;
use tallow_denoisers::{Denoiser, Error as DenoiserError, Levels, lincomb, normal_like};

use super::{Chain, Decoder, StepTerms, log_variance};
use crate::{Error, Result};

/// Which variance the steps towards the data have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReverseVariance {
    /// β̃, the posterior's; of the step to the datum, the next one's.
    #[default]
    FixedSmall,
    /// β.
    FixedLarge,
    /// Between the two, as the network says.
    LearnedRange,
}

/// How many bits a model needs for each datum, per dimension; every tensor (B,).
#[derive(Clone, Debug)]
pub struct Bits {
    /// The bound: the sum of the rest.
    pub total: Tensor,
    /// What the prior costs.
    pub prior: Tensor,
    /// What each step costs, from the one that ends in the datum.
    pub steps: Vec<Tensor>,
}

/// The variational bound of a model on data `x0`, (B, …), in bits per dimension, with one draw of x_t for each step.
///
/// A Monte Carlo estimate without bias, above −log₂ p(x_0)/d on average. Images are to be scaled to [−1, 1].
///
/// # Errors
///
/// When `x0` is a scalar or has no rows, the decoder has fewer than 2 or more than 65536 values, the path does not lose signal
/// in a step, a learned variance is asked for and the model has none, or the model fails.
pub fn bits_per_dimension(
    model: &dyn Denoiser,
    chain: &Chain,
    variance: ReverseVariance,
    decoder: Decoder,
    x0: &Tensor,
    rng: &mut dyn RngCore,
) -> Result<Bits> {
    decoder.check()?;
    let rows = x0.dims().first().copied().ok_or_else(|| DenoiserError::NoRows {
        what: "x0".to_owned(),
    })?;
    if rows == 0 {
        let what = "a bound on the likelihood";
        return Err(DenoiserError::EmptyBatch { what }.into());
    }
    let prior = chain.prior_bits(x0)?;
    let mut total = prior.clone();
    let mut steps = Vec::with_capacity(chain.steps());
    for n in 0..chain.steps() {
        let level = chain.level(n);
        let x_t = lincomb([(level.alpha, x0), (level.sigma, &normal_like(x0, rng)?)])?;
        let estimate = model.estimate(&x_t, Levels::Shared(level))?.detach();
        let terms = StepTerms::new(chain, vec![n; rows], decoder)?;
        let fixed = |log: f64| -> Result<Tensor> { Ok(x0.ones_like()?.affine(log, 0.0)?) };
        let (small, large) = chain.log_variances(n)?;
        let log = match variance {
            ReverseVariance::FixedSmall => fixed(small)?,
            ReverseVariance::FixedLarge => fixed(large)?,
            ReverseVariance::LearnedRange => {
                let range = estimate.range().ok_or(Error::NoRange {
                    what: "ReverseVariance::LearnedRange",
                })?;
                log_variance(range, &terms.bounds)?
            }
        };
        let mean = terms.mean(&x_t, &estimate.x0()?)?;
        let bits = terms.bits(x0, &x_t, &mean, &log)?.detach();
        total = (total + &bits)?;
        steps.push(bits);
    }
    Ok(Bits { total, prior, steps })
}

#[cfg(test)]
mod tests {
    use std::f64::consts::{LN_2, PI};
    use std::sync::Arc;

    use candle_core::{DType, Device};
    use tallow_denoisers::{ExactGaussian, Seeded};
    use tallow_schedules::VpLinear;

    use super::*;

    const STD: f64 = 0.4;

    fn data(rows: usize) -> Tensor {
        let like = Tensor::zeros((rows, 2), DType::F64, &Device::Cpu).unwrap();
        normal_like(&like, &mut Seeded::new(5))
            .unwrap()
            .affine(STD, 0.1)
            .unwrap()
    }

    /// Mean over the rows, and its standard error.
    fn mean(bits: &Bits) -> (f64, f64) {
        let rows = bits.total.to_vec1::<f64>().unwrap();
        let n = rows.len() as f64;
        let mean = rows.iter().sum::<f64>() / n;
        let variance = rows.iter().map(|row| (row - mean).powi(2)).sum::<f64>() / n;
        (mean, (variance / n).sqrt())
    }

    fn run(steps: usize, model: &dyn Denoiser, variance: ReverseVariance) -> (f64, f64) {
        let chain = Chain::new(Arc::new(VpLinear::default()), steps).unwrap();
        let rng = &mut Seeded::new(2);
        mean(&bits_per_dimension(model, &chain, variance, Decoder::Point, &data(4000), rng).unwrap())
    }

    #[test]
    fn the_bound_lies_above_the_entropy_and_falls_towards_it_with_the_steps() {
        let model = ExactGaussian::new(vec![0.1; 2], vec![STD; 2]).unwrap();
        let entropy = 0.5 * (2.0 * PI * std::f64::consts::E * STD * STD).ln() / LN_2;
        let mut last = f64::INFINITY;
        for steps in [10, 40, 160] {
            let (bits, error) = run(steps, &model, ReverseVariance::FixedLarge);
            assert!(
                bits > entropy - 6.1 * error,
                "{steps} steps: {bits} below {entropy}"
            );
            assert!(bits < last, "{steps} steps: {bits}, after {last}");
            last = bits;
        }
        // 160 steps of the exact model are within 0.15 bits of the best there is.
        assert!(last < entropy + 0.15, "{last}, entropy {entropy}");
        let wrong = ExactGaussian::new(vec![0.4; 2], vec![STD; 2]).unwrap();
        let (bits, _) = run(160, &wrong, ReverseVariance::FixedLarge);
        assert!(bits > last + 0.2, "a wrong model needs more bits: {bits}");
    }

    #[test]
    fn the_total_is_the_sum_of_its_parts() {
        let model = ExactGaussian::new(vec![0.1; 2], vec![STD; 2]).unwrap();
        let chain = Chain::new(Arc::new(VpLinear::default()), 5).unwrap();
        let rng = &mut Seeded::new(2);
        let small = ReverseVariance::FixedSmall;
        let bits = bits_per_dimension(&model, &chain, small, Decoder::Point, &data(3), rng).unwrap();
        let mut sum = bits.prior.to_vec1::<f64>().unwrap();
        for step in &bits.steps {
            for (sum, term) in sum.iter_mut().zip(step.to_vec1::<f64>().unwrap()) {
                *sum += term;
            }
        }
        for (sum, total) in sum.iter().zip(bits.total.to_vec1::<f64>().unwrap()) {
            assert!((sum - total).abs() < 1e-12);
        }
        assert_eq!(bits.steps.len(), 5);
    }

    #[test]
    fn an_empty_batch_and_a_missing_range_are_refused() {
        let model = ExactGaussian::new(vec![0.1; 2], vec![STD; 2]).unwrap();
        let chain = Chain::new(Arc::new(VpLinear::default()), 5).unwrap();
        let bound = |variance, rows| {
            let rng = &mut Seeded::new(2);
            bits_per_dimension(&model, &chain, variance, Decoder::Point, &data(rows), rng)
        };
        assert!(bound(ReverseVariance::FixedSmall, 0).is_err());
        let message = bound(ReverseVariance::LearnedRange, 2).unwrap_err().to_string();
        assert!(message.contains("with_learned_range"), "{message}");
    }
}
