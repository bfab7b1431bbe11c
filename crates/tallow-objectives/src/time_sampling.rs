//! At which times a network is trained.
//!
//! ```text
//! u uniform in [0, 1), independent or one in each stratum        t = quantile(u)
//! ```
//!
//! | sampling | where its times are dense |
//! |---|---|
//! | [`uniform`](TimeSampling::uniform), [`stratified`](TimeSampling::stratified) | nowhere |
//! | [`logit_normal`](TimeSampling::logit_normal) | in the middle; nothing at the ends |
//! | [`mode`](TimeSampling::mode) | in the middle, the ends kept |
//! | [`cos_map`](TimeSampling::cos_map) | in the middle: uniform λ-steps of a cosine path |
//! | [`log_normal_sigma`](TimeSampling::log_normal_sigma) | around a noise level |
//! | [`steps`](TimeSampling::steps) | at the nodes of a table |
//! | [`loss_aware`](TimeSampling::loss_aware) | where the loss is large, weighted back |

mod cos_map;
mod logit_normal;
mod loss_aware;
mod mode;
mod strata;

use std::collections::BTreeMap;

use candle_core::Tensor;
use rand::RngCore;
use tallow_denoisers::{normals, uniforms};
use tallow_schedules::{NoiseLevel, Schedule};

pub use loss_aware::LossAware;

use crate::{Error, Loss, Result, normal};

/// A distribution of training times over an interval of a path.
#[derive(Clone, Debug)]
pub struct TimeSampling {
    density: Density,
    spread: Spread,
    interval: Option<(f64, f64)>,
}

/// The levels of a batch.
#[derive(Clone, Debug)]
pub struct Drawn {
    /// Each row's.
    pub levels: Vec<NoiseLevel>,
    /// By how much each row counts for having been drawn more or less often than uniformly; 1 for all where absent.
    pub importance: Option<Vec<f64>>,
}

/// The density of a [`TimeSampling`] over its interval, before it is moved there.
#[derive(Clone, Debug)]
enum Density {
    Uniform,
    LogitNormal { mean: f64, std: f64 },
    Mode { scale: f64 },
    CosMap,
    LogNormalSigma { mean: f64, std: f64 },
    Steps { count: usize },
    LossAware(LossAware),
}

/// How the rows of a batch share the density.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Spread {
    Independent,
    Stratified,
}

impl From<Density> for TimeSampling {
    fn from(density: Density) -> Self {
        Self {
            density,
            spread: Spread::Independent,
            interval: None,
        }
    }
}

impl TimeSampling {
    /// Uniform over the path.
    #[must_use]
    pub const fn uniform() -> Self {
        Self {
            density: Density::Uniform,
            spread: Spread::Independent,
            interval: None,
        }
    }

    /// Uniform, one time in each of B equal strata: [`uniform`](Self::uniform) [`in_strata`](Self::in_strata).
    #[must_use]
    pub const fn stratified() -> Self {
        Self {
            density: Density::Uniform,
            spread: Spread::Stratified,
            interval: None,
        }
    }

    /// t = 1/(1 + e^{−z}), z ~ N(mean, std²), over the path: more in the middle (Esser et al. 2024, arXiv:2403.03206, Eq. 19).
    ///
    /// # Errors
    ///
    /// When `mean` is not finite, or `std` not positive and finite.
    pub fn logit_normal(mean: f64, std: f64) -> Result<Self> {
        check_normal("TimeSampling::logit_normal", mean, std)?;
        Ok(Density::LogitNormal { mean, std }.into())
    }

    /// t = 1 − u − s(cos²(πu/2) − 1 + u), u uniform, over the path: more in the middle for s > 0, more at the ends for
    /// s < 0; 1.29 in the paper (Esser et al. 2024, arXiv:2403.03206, Eq. 20).
    ///
    /// # Errors
    ///
    /// When the scale s is outside [−1, 2/(π − 2)], where t would not fall with u.
    pub fn mode(scale: f64) -> Result<Self> {
        mode::check(scale)?;
        Ok(Density::Mode { scale }.into())
    }

    /// t = 1 − 1/(tan(πu/2) + 1), u uniform, over the path: the log-signal-to-noise ratios of a cosine path, on a straight
    /// one (Esser et al. 2024, arXiv:2403.03206, Eq. 21).
    #[must_use]
    pub fn cos_map() -> Self {
        Density::CosMap.into()
    }

    /// ln(σ/α) ~ N(mean, std²), cut to the path: EDM's, with −1.2 and 1.2 (Karras et al. 2022, arXiv:2206.00364, Table 1).
    ///
    /// # Errors
    ///
    /// When `mean` is not finite, or `std` not positive and finite.
    pub fn log_normal_sigma(mean: f64, std: f64) -> Result<Self> {
        check_normal("TimeSampling::log_normal_sigma", mean, std)?;
        Ok(Density::LogNormalSigma { mean, std }.into())
    }

    /// The nodes (n + 1)/count of a table, n = 0 … count − 1, each as likely: DDPM's.
    ///
    /// # Errors
    ///
    /// When `count` is 0 or above 10⁷.
    pub fn steps(count: usize) -> Result<Self> {
        check_steps("TimeSampling::steps", count)?;
        Ok(Density::Steps { count }.into())
    }

    /// The nodes of a table, likelier where the loss is larger; what the objective [observes](crate::Objective::observe)
    /// decides.
    #[must_use]
    pub fn loss_aware(sampling: LossAware) -> Self {
        Density::LossAware(sampling).into()
    }

    /// The same with one row in each of B strata of equal probability, in a random order of rows: each row's time is
    /// distributed as before, the mean of a batch varies less (Kingma et al. 2021, arXiv:2107.00630, section I.1).
    #[must_use]
    pub fn in_strata(mut self) -> Self {
        self.spread = Spread::Stratified;
        self
    }

    /// The same squeezed into `[t_min, t_max]` of the path; for table steps and log-normal σ, cut to it.
    ///
    /// # Errors
    ///
    /// When the interval is empty, negative or not finite, or the sampling is loss-aware, which has the nodes of its table.
    pub fn within(mut self, t_min: f64, t_max: f64) -> Result<Self> {
        let sound = t_min >= 0.0 && t_min < t_max && t_max.is_finite();
        if !sound || matches!(self.density, Density::LossAware(_)) {
            let allowed = if sound {
                "left out for loss-aware sampling, which visits the nodes of its table"
            } else {
                "above t_min, t_min at least 0, both finite"
            };
            return Err(Error::Parameter {
                owner: "TimeSampling::within",
                name: "t_max",
                value: t_max,
                allowed,
            });
        }
        self.interval = Some((t_min, t_max));
        Ok(self)
    }

    /// The levels of `count` rows, and how much each counts.
    ///
    /// # Errors
    ///
    /// When the interval reaches past the path's end.
    pub fn draw(&self, schedule: &dyn Schedule, count: usize, rng: &mut dyn RngCore) -> Result<Drawn> {
        let interval = self.interval(schedule)?;
        let mut importance = None;
        let times: Vec<f64> = match (&self.density, self.spread) {
            // Normal numbers have a stream of their own: cheaper than a quantile each.
            (Density::LogitNormal { mean, std }, Spread::Independent) => normals(count, rng)
                .into_iter()
                .map(|z| squeeze(interval, logit_normal::logistic(mean + std * z)))
                .collect(),
            (Density::LogNormalSigma { mean, std }, Spread::Independent) => normals(count, rng)
                .into_iter()
                .map(|z| log_normal_time(schedule, interval, mean + std * z))
                .collect(),
            (density, spread) => {
                let shares = match spread {
                    Spread::Independent => uniforms(count, rng),
                    Spread::Stratified => strata::shares(count, rng),
                };
                if let Density::LossAware(sampling) = density {
                    let (times, weights) = sampling.draw(schedule, &shares);
                    importance = Some(weights);
                    times
                } else {
                    shares
                        .into_iter()
                        .map(|u| quantile(density, schedule, interval, u))
                        .collect()
                }
            }
        };
        Ok(Drawn {
            levels: times.into_iter().map(|t| schedule.level(t)).collect(),
            importance,
        })
    }

    /// The time below which the share `u` of all draws lies.
    ///
    /// # Errors
    ///
    /// When `u` is outside [0, 1], or the interval reaches past the path's end.
    pub fn quantile(&self, schedule: &dyn Schedule, u: f64) -> Result<f64> {
        if !(0.0..=1.0).contains(&u) {
            return Err(Error::Parameter {
                owner: "TimeSampling::quantile",
                name: "u",
                value: u,
                allowed: "in [0, 1]",
            });
        }
        let interval = self.interval(schedule)?;
        Ok(match &self.density {
            Density::LossAware(sampling) => sampling.draw(schedule, &[u]).0.first().copied().unwrap_or(0.0),
            density => quantile(density, schedule, interval, u),
        })
    }

    /// The probability density of a time, per unit of the path's clock; 0 outside of the interval.
    ///
    /// What log-normal σ has beyond its interval is put on the interval's ends, and is not part of the density.
    ///
    /// # Errors
    ///
    /// When the sampling has probabilities instead: table steps, uniform or loss-aware.
    pub fn density(&self, schedule: &dyn Schedule, t: f64) -> Result<f64> {
        let (low, high) = self.interval(schedule)?;
        let share = (t - low) / (high - low);
        let of_share = match &self.density {
            Density::Steps { .. } | Density::LossAware(_) => {
                return Err(Error::NoDensity {
                    sampling: "a sampling of table steps",
                });
            }
            _ if !(low..=high).contains(&t) => return Ok(0.0),
            Density::LogNormalSigma { mean, std } => {
                let level = schedule.level(t);
                let z = (-level.lambda() - mean) / std;
                return Ok(normal::density(z) / std * -level.lambda_dot());
            }
            Density::Uniform => 1.0,
            Density::LogitNormal { mean, std } => logit_normal::density(*mean, *std, share),
            Density::Mode { scale } => mode::density(*scale, share),
            Density::CosMap => cos_map::density(share),
        };
        Ok(of_share / (high - low))
    }

    /// Learns from a loss: see [`Objective::observe`](crate::Objective::observe).
    ///
    /// # Errors
    ///
    /// When the sampling is loss-aware and the loss is not finite or not of its table.
    pub fn observe(&self, schedule: &dyn Schedule, loss: &Loss) -> Result<()> {
        match &self.density {
            Density::LossAware(sampling) => sampling.observe(schedule, loss),
            _ => Ok(()),
        }
    }

    /// What a checkpoint keeps: nothing unless the sampling is loss-aware.
    ///
    /// # Errors
    ///
    /// When a tensor cannot be made.
    pub fn state(&self) -> Result<BTreeMap<String, Tensor>> {
        match &self.density {
            Density::LossAware(sampling) => sampling.state(),
            _ => Ok(BTreeMap::new()),
        }
    }

    /// Takes up a [`state`](Self::state) again.
    ///
    /// # Errors
    ///
    /// When the state is not that of a sampling like this.
    pub fn restore(&self, state: &BTreeMap<String, Tensor>) -> Result<()> {
        match &self.density {
            Density::LossAware(sampling) => sampling.restore(state),
            _ => crate::no_state(state),
        }
    }

    fn interval(&self, schedule: &dyn Schedule) -> Result<(f64, f64)> {
        let (low, high) = self.interval.unwrap_or((0.0, schedule.t_max()));
        if high > schedule.t_max() {
            return Err(tallow_schedules::Error::Time {
                t: high,
                t_max: schedule.t_max(),
            }
            .into());
        }
        Ok((low, high))
    }
}

/// The time of a share, for all densities but the loss-aware one.
fn quantile(density: &Density, schedule: &dyn Schedule, interval: (f64, f64), u: f64) -> f64 {
    match density {
        Density::Uniform | Density::LossAware(_) => squeeze(interval, u),
        Density::LogitNormal { mean, std } => {
            squeeze(interval, logit_normal::logistic(mean + std * normal::quantile(u)))
        }
        Density::Mode { scale } => squeeze(interval, mode::quantile(*scale, u)),
        Density::CosMap => squeeze(interval, cos_map::quantile(u)),
        Density::LogNormalSigma { mean, std } => {
            log_normal_time(schedule, interval, mean + std * normal::quantile(u))
        }
        Density::Steps { count } => {
            let node = ((u * *count as f64).floor() + 1.0).min(*count as f64);
            (node / *count as f64 * schedule.t_max()).clamp(interval.0, interval.1)
        }
    }
}

fn squeeze((low, high): (f64, f64), share: f64) -> f64 {
    low + share * (high - low)
}

/// The time at which ln(σ/α) has a value, cut to the interval.
fn log_normal_time(schedule: &dyn Schedule, (low, high): (f64, f64), log_sigma: f64) -> f64 {
    schedule.inverse_lambda(-log_sigma).clamp(low, high)
}

fn check_normal(owner: &'static str, mean: f64, std: f64) -> Result<()> {
    let refused = |name, value, allowed| {
        Err(Error::Parameter {
            owner,
            name,
            value,
            allowed,
        })
    };
    if !mean.is_finite() {
        return refused("mean", mean, "finite");
    }
    if !(std.is_finite() && std > 0.0) {
        return refused("std", std, "positive and finite");
    }
    Ok(())
}

fn check_steps(owner: &'static str, count: usize) -> Result<()> {
    if (1..=tallow_schedules::MAX_STEPS).contains(&count) {
        return Ok(());
    }
    Err(Error::Parameter {
        owner,
        name: "count",
        value: count as f64,
        allowed: "between 1 and 10000000",
    })
}

#[cfg(test)]
#[path = "time_sampling_tests.rs"]
mod tests;
