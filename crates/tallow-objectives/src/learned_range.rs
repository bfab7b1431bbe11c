//! iDDPM: a network that also learns the variance of its steps.
//!
//! ```text
//! hybrid   loss = L_simple + λ T L_n        the mean in L_n is a constant of the gradient: it teaches the variance alone
//! bound    loss = T L_n                     teaches both; to be drawn by loss-aware sampling
//! ```
//!
//! n is a step drawn for each row, T L_n a draw of the variational bound in bits per dimension (without the prior, which
//! nothing can change), L_simple the mean squared error of the network's own target.
//!
//! Source: Nichol & Dhariwal 2021, arXiv:2102.09672, Eq. 15-16 and section 3.3; λ = 0.001 there.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use rand::RngCore;
use tallow_denoisers::{
    Batch, Error as DenoiserError, Estimate, Levels, Network, Parameterization, Variance, mix, normal_like,
};

use crate::time_sampling::LossAware;
use crate::variational::{Chain, Decoder, StepTerms, log_variance};
use crate::{Error, Loss, Objective, Penalty, Result, TimeSampling};

/// Trains a network with twice the channels: the prediction, and where its variance lies between β̃ (−1) and β (1).
///
/// Source: Nichol & Dhariwal 2021, arXiv:2102.09672, Eq. 15-16 and section 3.3; λ = 0.001 there.
#[derive(Clone, Debug)]
pub struct LearnedRange {
    chain: Chain,
    parameterization: Parameterization,
    times: TimeSampling,
    decoder: Decoder,
    share: Share,
}

/// What the loss is made of.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Share {
    Hybrid { weight: f64 },
    Bound,
}

impl LearnedRange {
    /// L_simple + 0.001 L_vlb, at uniform steps, for images of bytes.
    ///
    /// # Errors
    ///
    /// When the parameterization does not say that the variance is learned.
    pub fn hybrid(chain: Chain, parameterization: Parameterization) -> Result<Self> {
        let times = TimeSampling::steps(chain.steps())?;
        Self::of(chain, parameterization, times, Share::Hybrid { weight: 0.001 })
    }

    /// L_vlb alone, at steps drawn by their losses, for images of bytes.
    ///
    /// # Errors
    ///
    /// As [`hybrid`](Self::hybrid).
    pub fn bound(chain: Chain, parameterization: Parameterization) -> Result<Self> {
        let times = TimeSampling::loss_aware(LossAware::new(chain.steps())?);
        Self::of(chain, parameterization, times, Share::Bound)
    }

    /// The hybrid with another λ.
    ///
    /// # Errors
    ///
    /// When it is negative or not finite, or there is no hybrid.
    pub fn with_bound_weight(mut self, weight: f64) -> Result<Self> {
        if weight >= 0.0 && weight.is_finite() && self.share != Share::Bound {
            self.share = Share::Hybrid { weight };
            return Ok(self);
        }
        Err(Error::Parameter {
            owner: "LearnedRange",
            name: "the weight of the bound",
            value: weight,
            allowed: "finite and not negative, and belonging to a hybrid loss",
        })
    }

    /// The same for data that is not bytes.
    ///
    /// # Errors
    ///
    /// When the decoder is none.
    pub fn with_decoder(mut self, decoder: Decoder) -> Result<Self> {
        decoder.check()?;
        self.decoder = decoder;
        Ok(self)
    }

    /// The same at steps drawn otherwise; times between steps are rounded to the nearer one.
    #[must_use]
    pub fn with_times(mut self, times: TimeSampling) -> Self {
        self.times = times;
        self
    }

    fn of(
        chain: Chain,
        parameterization: Parameterization,
        times: TimeSampling,
        share: Share,
    ) -> Result<Self> {
        if parameterization.variance != Variance::LearnedRange {
            return Err(Error::NoRange { what: "LearnedRange" });
        }
        Ok(Self {
            chain,
            parameterization,
            times,
            decoder: Decoder::bytes(),
            share,
        })
    }

    /// The bound's draw of each row, T L_n in bits per dimension, (B,).
    fn bound_of_rows(
        &self,
        x0: &Tensor,
        x_t: &Tensor,
        estimate: &Estimate,
        steps: Vec<usize>,
    ) -> Result<Tensor> {
        let terms = StepTerms::new(&self.chain, steps, self.decoder)?;
        let range = estimate.range().ok_or(Error::NoRange { what: "LearnedRange" })?;
        let log = log_variance(range, &terms.bounds)?;
        let believed = match self.share {
            Share::Hybrid { .. } => estimate.x0()?.detach(),
            Share::Bound => estimate.x0()?,
        };
        let bits = terms.bits(x0, x_t, &terms.mean(x_t, &believed)?, &log)?;
        Ok(bits.affine(self.chain.steps() as f64, 0.0)?)
    }
}

impl Objective for LearnedRange {
    fn loss(&self, network: &dyn Network, batch: &Batch, rng: &mut dyn RngCore) -> Result<Loss> {
        let rows = batch.rows()?;
        if rows == 0 {
            return Err(DenoiserError::EmptyBatch { what: "a loss" }.into());
        }
        let x0 = &batch.x0;
        let noise = match &batch.x1 {
            Some(x1) => x1.clone(),
            None => normal_like(x0, rng)?,
        };
        let drawn = self.times.draw(self.chain.schedule().as_ref(), rows, rng)?;
        let steps: Vec<usize> = drawn
            .levels
            .iter()
            .map(|level| self.chain.step_at(*level))
            .collect();
        let levels: Vec<_> = steps.iter().map(|n| self.chain.level(*n)).collect();
        let (at, prediction) = (Levels::PerRow(&levels), self.parameterization.prediction);
        for level in &levels {
            prediction.check(*level)?;
        }

        let x_t = mix(x0, &noise, at, |level| (level.alpha, level.sigma))?;
        let output = self.parameterization.call(network, &x_t, at, &batch.condition)?;
        let (output, range) = self.parameterization.split(&output, &x_t)?;
        let estimate = Estimate::new(&x_t, output.clone(), prediction, at)?.with_range(range);
        let bound = self.bound_of_rows(x0, &x_t, &estimate, steps)?;
        let per_row = match self.share {
            Share::Bound => bound,
            Share::Hybrid { weight } => {
                let target = mix(x0, &noise, at, |level| prediction.target(level))?;
                (Penalty::Squared.rows(&(output - target)?)? + (bound * weight)?)?
            }
        };
        let mean = match drawn.importance {
            None => per_row.mean_all()?,
            Some(weights) => {
                let weights = Tensor::new(weights, &Device::Cpu)?
                    .to_dtype(per_row.dtype())?
                    .to_device(per_row.device())?;
                (&per_row * weights)?.mean_all()?
            }
        };
        Ok(Loss {
            mean,
            per_row: per_row.detach(),
            levels,
        })
    }

    fn observe(&self, loss: &Loss) -> Result<()> {
        self.times.observe(self.chain.schedule().as_ref(), loss)
    }

    fn state(&self) -> Result<BTreeMap<String, Tensor>> {
        self.times.state()
    }

    fn restore(&self, state: &BTreeMap<String, Tensor>) -> Result<()> {
        self.times.restore(state)
    }
}

#[cfg(test)]
#[path = "learned_range_tests.rs"]
mod tests;
