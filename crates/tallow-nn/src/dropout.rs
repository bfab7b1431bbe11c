//! Dropout: training with some values left out at random.
//!
//! ```text
//! y = m ⊙ x/(1 − p),    m ~ Bernoulli(1 − p) for each value
//! ```
//!
//! The mask comes from the caller's generator, one 32-bit word a value in the order of the values, so a run whose
//! generator is restored leaves out the same values again, on every device.
//!
//! Source: Srivastava et al. 2014, "Dropout: a simple way to prevent neural networks from overfitting".

use candle_core::{Device, Tensor};
use rand::RngCore;

use crate::dual::Dual;
use crate::error::{Error, Result};

/// Leaves out each value with a probability, and scales the others so that the mean stays. It has no parameters.
///
/// Source: Srivastava et al. 2014, "Dropout: a simple way to prevent neural networks from overfitting".
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    rate: f64,
}

impl Dropout {
    /// A value is left out with probability `rate`.
    ///
    /// # Errors
    ///
    /// When `rate` is outside [0, 1).
    pub fn new(rate: f64) -> Result<Self> {
        if !(0.0..1.0).contains(&rate) {
            return Err(Error::Setting {
                name: "rate of a dropout",
                value: rate,
                allowed: "from 0 to below 1",
            });
        }
        Ok(Self { rate })
    }

    /// The probability that a value is left out.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.rate
    }

    /// y with a mask drawn from `rng`; x as it is without one, as when sampling, or at rate 0, which draws nothing.
    ///
    /// # Errors
    ///
    /// When candle's operations fail.
    pub fn forward(&self, x: &Tensor, rng: Option<&mut dyn RngCore>) -> Result<Tensor> {
        match self.mask(x, rng)? {
            Some(mask) => Ok((x * mask)?),
            None => Ok(x.clone()),
        }
    }

    /// y with its derivative along the tangent of `x`, under the same mask.
    ///
    /// # Errors
    ///
    /// Those of [`forward`](Self::forward).
    pub fn forward_dual(&self, x: &Dual, rng: Option<&mut dyn RngCore>) -> Result<Dual> {
        match self.mask(x.value(), rng)? {
            Some(mask) => x.linear(|x| x * &mask),
            None => Ok(x.clone()),
        }
    }

    /// 0 or 1/(1 − p) for each value; `None` where all stay.
    fn mask(&self, x: &Tensor, rng: Option<&mut dyn RngCore>) -> Result<Option<Tensor>> {
        let Some(rng) = rng else {
            return Ok(None);
        };
        if self.rate == 0.0 {
            return Ok(None);
        }
        let mut bytes = vec![0; 4 * x.elem_count()];
        rng.fill_bytes(&mut bytes);
        // Words below the limit are left out: p to within 2⁻³².
        let limit = (self.rate * 2f64.powi(32)) as u32;
        let kept = (1.0 / (1.0 - self.rate)) as f32;
        let mask = bytes.chunks_exact(4).map(|bytes| {
            let word = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
            if word < limit { 0.0 } else { kept }
        });
        let mask = Tensor::from_vec(mask.collect(), x.shape(), &Device::Cpu)?;
        Ok(Some(mask.to_dtype(x.dtype())?.to_device(x.device())?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{check_dual, check_gradients, distance, numbers, random};
    use candle_core::DType;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    fn seeded(seed: u64) -> ChaCha8Rng {
        ChaCha8Rng::seed_from_u64(seed)
    }

    #[test]
    fn the_share_and_the_mean_are_those_asked_for() {
        for rate in [0.1, 0.5, 0.9] {
            let ones = Tensor::ones((200, 500), DType::F32, &Device::Cpu).unwrap();
            let y = Dropout::new(rate)
                .unwrap()
                .forward(&ones, Some(&mut seeded(1)))
                .unwrap();
            let y = numbers(&y);
            let left_out = y.iter().filter(|&&y| y == 0.0).count() as f64 / 1e5;
            // The standard error is √(p (1 − p)/1e5) ≤ 0.0016.
            assert!((left_out - rate).abs() < 0.006, "{rate}: {left_out}");
            let kept = 1.0 / (1.0 - rate);
            assert!(y.iter().all(|&y| y == 0.0 || (y - kept).abs() < 1e-6 * kept));
        }
    }

    #[test]
    fn a_generator_in_the_same_state_leaves_out_the_same_values() {
        let dropout = Dropout::new(0.3).unwrap();
        let x = random((7, 9), 1);
        let mut rng = seeded(3);
        let first = dropout.forward(&x, Some(&mut rng)).unwrap();
        let second = dropout.forward(&x, Some(&mut rng)).unwrap();
        assert!(distance(&first, &second) > 0.0);
        assert_eq!(
            distance(&first, &dropout.forward(&x, Some(&mut seeded(3))).unwrap()),
            0.0
        );
        // Whatever the type, the same values.
        let half = x.to_dtype(DType::F16).unwrap();
        let half = numbers(&dropout.forward(&half, Some(&mut seeded(3))).unwrap());
        for (half, first) in half.iter().zip(numbers(&first)) {
            assert_eq!(*half == 0.0, first == 0.0);
        }
    }

    #[test]
    fn without_a_generator_and_at_rate_zero_values_stay() {
        let x = random((3, 4), 2);
        let mut rng = seeded(4);
        assert_eq!(
            distance(&Dropout::new(0.7).unwrap().forward(&x, None).unwrap(), &x),
            0.0
        );
        let none = Dropout::new(0.0).unwrap();
        assert_eq!(distance(&none.forward(&x, Some(&mut rng)).unwrap(), &x), 0.0);
        assert_eq!(rng, seeded(4), "nothing was drawn");
    }

    #[test]
    fn gradients_and_tangents_go_through_the_same_mask() {
        let dropout = Dropout::new(0.4).unwrap();
        let x = random((3, 5), 5);
        check_gradients(std::slice::from_ref(&x), |x| {
            dropout.forward(&x[0].t()?, Some(&mut seeded(6)))
        });
        check_dual(
            &x,
            |x| dropout.forward_dual(x, Some(&mut seeded(6))),
            |x| dropout.forward(x, Some(&mut seeded(6))),
        );
        let none = x.narrow(0, 0, 0).unwrap();
        assert_eq!(
            dropout.forward(&none, Some(&mut seeded(6))).unwrap().dims(),
            [0, 5]
        );
    }

    #[test]
    fn rates_outside_their_range_are_refused() {
        for rate in [-0.1, 1.0, f64::NAN] {
            let message = Dropout::new(rate).unwrap_err().to_string();
            assert!(message.contains("below 1"), "{message}");
        }
    }
}
