//! The steps of a chain on a path, and the posterior of each.
//!
//! ```text
//! β = σ_t² − (α_t/α_s)² σ_s²        β̃ = β σ_s²/σ_t²
//! q(x_s | x_t, x_0) = N((α_t/α_s)(σ_s²/σ_t²) x_t + α_s (β/σ_t²) x_0, β̃)
//! ```

use std::sync::Arc;

use candle_core::Tensor;
use tallow_denoisers::mix;
use tallow_schedules::{MAX_STEPS, NoiseLevel, Schedule};

use super::row_terms::mean_bits;
use crate::{Error, Result};

/// A chain of T steps on a path, from noise to data.
#[derive(Clone, Debug)]
pub struct Chain {
    schedule: Arc<dyn Schedule>,
    steps: usize,
    prior_std: f64,
}

/// The Gaussian that x_s has, given x_t and x_0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Posterior {
    /// Factor of x_t in the mean.
    pub of_x: f64,
    /// Factor of x_0 in the mean.
    pub of_x0: f64,
    /// β: the variance of x_t given x_s.
    pub large: f64,
    /// β̃: the variance of x_s given x_t and x_0.
    pub small: f64,
}

impl Posterior {
    /// Of a step from a level to one nearer to the data.
    ///
    /// # Errors
    ///
    /// When the step does not go towards the data.
    pub fn between(from: NoiseLevel, to: NoiseLevel) -> Result<Self> {
        // 1 − (α_t σ_s/α_s σ_t)², without the difference of two numbers near 1.
        let lost = if to.sigma == 0.0 || from.alpha == 0.0 {
            1.0
        } else {
            -(2.0 * (from.lambda() - to.lambda())).exp_m1()
        };
        if !(lost > 0.0) {
            return Err(Error::Parameter {
                owner: "Posterior",
                name: "the time that a step ends at",
                value: to.t,
                allowed: "nearer to the data than the time it starts from",
            });
        }
        let kept = (to.sigma / from.sigma).powi(2);
        let large = from.sigma * from.sigma * lost;
        Ok(Self {
            of_x: from.alpha / to.alpha * kept,
            of_x0: to.alpha * lost,
            large,
            small: large * kept,
        })
    }
}

impl Chain {
    /// The nodes (n + 1)/T of a path, ending in a prior of standard deviation 1.
    ///
    /// # Errors
    ///
    /// When there are fewer than 2 steps or more than 10⁷.
    pub fn new(schedule: Arc<dyn Schedule>, steps: usize) -> Result<Self> {
        if (2..=MAX_STEPS).contains(&steps) {
            return Ok(Self {
                schedule,
                steps,
                prior_std: 1.0,
            });
        }
        Err(Error::Parameter {
            owner: "Chain",
            name: "steps",
            value: steps as f64,
            allowed: "between 2 and 10000000",
        })
    }

    /// The same with a prior of another standard deviation: a variance-exploding path's own σ at its end.
    ///
    /// # Errors
    ///
    /// When it is not positive and finite.
    pub fn with_prior_std(mut self, prior_std: f64) -> Result<Self> {
        if prior_std > 0.0 && prior_std.is_finite() {
            self.prior_std = prior_std;
            return Ok(self);
        }
        Err(Error::Parameter {
            owner: "Chain",
            name: "prior_std",
            value: prior_std,
            allowed: "positive and finite",
        })
    }

    /// The number of steps T.
    #[must_use]
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// The path.
    #[must_use]
    pub fn schedule(&self) -> &Arc<dyn Schedule> {
        &self.schedule
    }

    /// Where step `n` starts; the last step's level for one beyond it.
    #[must_use]
    pub fn level(&self, n: usize) -> NoiseLevel {
        let node = (n.min(self.steps - 1) + 1) as f64 / self.steps as f64;
        self.schedule.level(node * self.schedule.t_max())
    }

    /// The step that starts at a level.
    #[must_use]
    pub fn step_at(&self, level: NoiseLevel) -> usize {
        let node = (level.t / self.schedule.t_max() * self.steps as f64).round() as usize;
        node.clamp(1, self.steps) - 1
    }

    /// The posterior of step `n`: of step 0 it is the datum itself.
    ///
    /// # Errors
    ///
    /// When the path does not lose signal in that step.
    pub fn posterior(&self, n: usize) -> Result<Posterior> {
        let from = self.level(n);
        let to = match n.min(self.steps - 1) {
            0 => NoiseLevel {
                t: 0.0,
                alpha: 1.0,
                sigma: 0.0,
                ..from
            },
            n => self.level(n - 1),
        };
        Posterior::between(from, to)
    }

    /// ln β̃ and ln β of step `n`, between which a learned variance lies. β̃ of step 0 is 0: that of step 1 takes its place.
    ///
    /// # Errors
    ///
    /// As [`posterior`](Self::posterior).
    pub fn log_variances(&self, n: usize) -> Result<(f64, f64)> {
        let small = self.posterior(n.max(1))?.small;
        Ok((small.ln(), self.posterior(n)?.large.ln()))
    }

    /// KL(q(x_T|x_0) ‖ N(0, prior²)) of each row of `x0`, (B, …), in bits per dimension, (B,).
    ///
    /// # Errors
    ///
    /// When `x0` is a scalar.
    pub fn prior_bits(&self, x0: &Tensor) -> Result<Tensor> {
        let end = self.level(self.steps - 1);
        let (share, mean) = (end.sigma / self.prior_std, end.alpha / self.prior_std);
        let square = mix(x0, x0, end.into(), |_| (mean, 0.0))?.sqr()?;
        let nats = square.affine(0.5, 0.5 * (share * share - 1.0) - share.ln())?;
        mean_bits(&nats)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;
    use tallow_schedules::{Table, VpLinear};

    use super::*;

    fn table() -> Chain {
        let table = Table::linear_beta(50, 0.002, 0.2).unwrap();
        Chain::new(Arc::new(table), 50).unwrap()
    }

    #[test]
    fn on_a_table_posteriors_are_ddpms() {
        let table = Table::linear_beta(50, 0.002, 0.2).unwrap();
        let bars = table.alpha_bars();
        for n in [1, 7, 49] {
            let posterior = self::table().posterior(n).unwrap();
            let beta = table.betas()[n];
            let want = Posterior {
                of_x: (1.0 - beta).sqrt() * (1.0 - bars[n - 1]) / (1.0 - bars[n]),
                of_x0: bars[n - 1].sqrt() * beta / (1.0 - bars[n]),
                large: beta,
                small: table.posterior_variance(n).unwrap(),
            };
            for (got, want) in [
                (posterior.of_x, want.of_x),
                (posterior.of_x0, want.of_x0),
                (posterior.large, want.large),
                (posterior.small, want.small),
            ] {
                assert!((got / want - 1.0).abs() < 1e-11, "{n}: {got}, not {want}");
            }
        }
        let first = self::table().posterior(0).unwrap();
        assert_eq!((first.of_x, first.of_x0, first.small), (0.0, 1.0, 0.0));
        assert!((first.large / 0.002 - 1.0).abs() < 1e-11);
    }

    /// Bayes: q(x_s) q(x_t | x_s) = q(x_t) q(x_s | x_t) as densities of one dimension.
    #[test]
    fn posteriors_obey_bayes_on_any_path() {
        let path = VpLinear::default();
        let (from, to) = (path.level(0.6), path.level(0.35));
        let posterior = Posterior::between(from, to).unwrap();
        let log_normal = |x: f64, mean: f64, variance: f64| {
            -0.5 * ((std::f64::consts::TAU * variance).ln() + (x - mean).powi(2) / variance)
        };
        let x0 = 0.8;
        for (x, y) in [(0.3, -0.4), (1.1, 0.9)] {
            let forward = log_normal(y, to.alpha * x0, to.sigma.powi(2))
                + log_normal(x, from.alpha / to.alpha * y, posterior.large);
            let backward = log_normal(x, from.alpha * x0, from.sigma.powi(2))
                + log_normal(y, posterior.of_x * x + posterior.of_x0 * x0, posterior.small);
            assert!((forward - backward).abs() < 1e-12, "{forward} {backward}");
        }
    }

    #[test]
    fn the_priors_bits_are_the_integral_of_the_divergence() {
        let chain = table().with_prior_std(1.3).unwrap();
        let end = chain.level(49);
        let x0 = Tensor::new(&[[0.7f64], [-1.0]], &Device::Cpu).unwrap();
        let bits = chain.prior_bits(&x0).unwrap().to_vec1::<f64>().unwrap();
        for (bits, x0) in bits.iter().zip([0.7, -1.0]) {
            let (mean, std) = (end.alpha * x0, end.sigma);
            // Trapezoids on a smooth integrand that vanishes at both ends: exact to rounding.
            let nats: f64 = (-4000..=4000)
                .map(|i| {
                    let x = f64::from(i) * 0.005;
                    let log = |m: f64, s: f64| {
                        -0.5 * ((x - m) / s).powi(2) - (s * std::f64::consts::TAU.sqrt()).ln()
                    };
                    let q = log(mean, std);
                    q.exp() * (q - log(0.0, 1.3)) * 0.005
                })
                .sum();
            assert!((bits - nats / std::f64::consts::LN_2).abs() < 1e-12, "{bits}");
        }
    }

    #[test]
    fn a_level_of_the_chain_is_the_step_that_made_it() {
        for n in 0..50 {
            assert_eq!(table().step_at(table().level(n)), n);
        }
    }

    #[test]
    fn chains_that_are_none_are_refused() {
        let path: Arc<dyn Schedule> = Arc::new(VpLinear::default());
        for steps in [0, 1, usize::MAX] {
            assert!(Chain::new(path.clone(), steps).is_err());
        }
        assert!(table().with_prior_std(0.0).is_err());
        assert!(Posterior::between(path.level(0.2), path.level(0.5)).is_err());
        assert!(Posterior::between(path.level(0.2), path.level(0.2)).is_err());
    }
}
