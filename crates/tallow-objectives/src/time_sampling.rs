//! At which times a network is trained.

use rand::RngCore;
use tallow_denoisers::{normals, uniforms};
use tallow_schedules::{NoiseLevel, Schedule};

use crate::{Error, Result};

/// A distribution of training times over an interval of a path.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TimeSampling {
    density: Density,
    interval: Option<(f64, f64)>,
}

/// The density of a [`TimeSampling`] over its interval, before it is moved there.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Density {
    Uniform,
    Stratified,
    LogitNormal { mean: f64, std: f64 },
    LogNormalSigma { mean: f64, std: f64 },
    Steps { count: usize },
}

impl TimeSampling {
    /// Uniform over the path.
    #[must_use]
    pub const fn uniform() -> Self {
        Self {
            density: Density::Uniform,
            interval: None,
        }
    }

    /// One time in each of B equal strata, in a random order of rows: uniform, with a smaller variance of the loss
    /// (Kingma et al. 2021, arXiv:2107.00630, section I.1).
    #[must_use]
    pub const fn stratified() -> Self {
        Self {
            density: Density::Stratified,
            interval: None,
        }
    }

    /// t = 1/(1 + e^{−z}), z ~ N(mean, std²), over the path: more in the middle (Esser et al. 2024, arXiv:2403.03206, Eq. 19).
    ///
    /// # Errors
    ///
    /// When `mean` is not finite, or `std` not positive and finite.
    pub fn logit_normal(mean: f64, std: f64) -> Result<Self> {
        check("TimeSampling::logit_normal", mean, std)?;
        Ok(Self {
            density: Density::LogitNormal { mean, std },
            interval: None,
        })
    }

    /// ln(σ/α) ~ N(mean, std²), cut to the path: EDM's, with −1.2 and 1.2 (Karras et al. 2022, arXiv:2206.00364, Table 1).
    ///
    /// # Errors
    ///
    /// When `mean` is not finite, or `std` not positive and finite.
    pub fn log_normal_sigma(mean: f64, std: f64) -> Result<Self> {
        check("TimeSampling::log_normal_sigma", mean, std)?;
        Ok(Self {
            density: Density::LogNormalSigma { mean, std },
            interval: None,
        })
    }

    /// The nodes (n + 1)/count of a table, n = 0 … count − 1, each as likely: DDPM's.
    ///
    /// # Errors
    ///
    /// When `count` is 0.
    pub fn steps(count: usize) -> Result<Self> {
        if count == 0 {
            let (name, allowed) = ("count", "at least 1");
            return Err(Error::Parameter {
                owner: "TimeSampling::steps",
                name,
                value: 0.0,
                allowed,
            });
        }
        Ok(Self {
            density: Density::Steps { count },
            interval: None,
        })
    }

    /// The same squeezed into `[t_min, t_max]` of the path; for table steps and log-normal σ, cut to it.
    ///
    /// # Errors
    ///
    /// When the interval is empty, negative or not finite.
    pub fn within(mut self, t_min: f64, t_max: f64) -> Result<Self> {
        if !(t_min >= 0.0 && t_min < t_max && t_max.is_finite()) {
            let (name, allowed) = ("t_max", "above t_min, t_min at least 0, both finite");
            return Err(Error::Parameter {
                owner: "TimeSampling::within",
                name,
                value: t_max,
                allowed,
            });
        }
        self.interval = Some((t_min, t_max));
        Ok(self)
    }

    /// The levels of `count` rows.
    ///
    /// # Errors
    ///
    /// When the interval reaches past the path's end.
    pub fn draw(
        &self,
        schedule: &dyn Schedule,
        count: usize,
        rng: &mut dyn RngCore,
    ) -> Result<Vec<NoiseLevel>> {
        let (low, high) = self.interval.unwrap_or((0.0, schedule.t_max()));
        if high > schedule.t_max() {
            return Err(tallow_schedules::Error::Time {
                t: high,
                t_max: schedule.t_max(),
            }
            .into());
        }
        let spread = |share: f64| low + share * (high - low);
        let times: Vec<f64> = match self.density {
            Density::Uniform => uniforms(count, rng).into_iter().map(spread).collect(),
            Density::Stratified => stratified(count, rng).into_iter().map(spread).collect(),
            Density::LogitNormal { mean, std } => {
                let logistic = |z: f64| 1.0 / (1.0 + (-(mean + std * z)).exp());
                normals(count, rng)
                    .into_iter()
                    .map(|z| spread(logistic(z)))
                    .collect()
            }
            Density::LogNormalSigma { mean, std } => {
                let time = |z: f64| schedule.inverse_lambda(-(mean + std * z)).clamp(low, high);
                normals(count, rng).into_iter().map(time).collect()
            }
            Density::Steps { count: steps } => {
                let node = |u: f64| ((u * steps as f64).floor() + 1.0) / steps as f64 * schedule.t_max();
                uniforms(count, rng)
                    .into_iter()
                    .map(|u| node(u).clamp(low, high))
                    .collect()
            }
        };
        Ok(times.into_iter().map(|t| schedule.level(t)).collect())
    }
}

/// One number in each of `count` equal parts of [0, 1), in a random order.
fn stratified(count: usize, rng: &mut dyn RngCore) -> Vec<f64> {
    let mut shares: Vec<f64> = uniforms(count, rng)
        .into_iter()
        .enumerate()
        .map(|(part, u)| (part as f64 + u) / count as f64)
        .collect();
    // Fisher-Yates.
    for (last, u) in (1..count).rev().zip(uniforms(count.saturating_sub(1), rng)) {
        let other = (u * (last + 1) as f64) as usize;
        shares.swap(last, other);
    }
    shares
}

fn check(owner: &'static str, mean: f64, std: f64) -> Result<()> {
    if !mean.is_finite() {
        return Err(Error::Parameter {
            owner,
            name: "mean",
            value: mean,
            allowed: "finite",
        });
    }
    if !(std.is_finite() && std > 0.0) {
        return Err(Error::Parameter {
            owner,
            name: "std",
            value: std,
            allowed: "positive and finite",
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tallow_denoisers::Seeded;
    use tallow_schedules::RectifiedFlow;

    use super::*;

    fn times(sampling: TimeSampling, count: usize) -> Vec<f64> {
        let levels = sampling
            .draw(&RectifiedFlow::default(), count, &mut Seeded::new(3))
            .unwrap();
        levels.into_iter().map(|level| level.t).collect()
    }

    /// The largest distance between the draws' distribution function and `cdf`; above 0.0327 once in 10⁹ for 10⁴ draws
    /// (Dvoretzky-Kiefer-Wolfowitz).
    fn misfit(mut draws: Vec<f64>, cdf: impl Fn(f64) -> f64) -> f64 {
        draws.sort_by(f64::total_cmp);
        let n = draws.len() as f64;
        draws.iter().enumerate().fold(0.0, |worst: f64, (rank, t)| {
            worst.max((cdf(*t) - rank as f64 / n).abs())
        })
    }

    /// Φ, by Abramowitz & Stegun 26.2.17: to 7.5e-8.
    fn normal_cdf(z: f64) -> f64 {
        let k = 1.0 / (1.0 + 0.231_641_9 * z.abs());
        let poly = [
            1.330_274_429,
            -1.821_255_978,
            1.781_477_937,
            -0.356_563_782,
            0.319_381_530,
        ];
        let tail = poly.iter().fold(0.0, |sum, c| (sum + c) * k) * (-0.5 * z * z).exp()
            / std::f64::consts::TAU.sqrt();
        if z < 0.0 { tail } else { 1.0 - tail }
    }

    #[test]
    fn uniform_times_are_uniform_on_their_interval() {
        let sampling = TimeSampling::uniform().within(0.2, 0.7).unwrap();
        assert!(misfit(times(sampling, 10_000), |t| (t - 0.2) / 0.5) < 0.0327);
    }

    #[test]
    fn logit_normal_times_have_normal_logits() {
        let sampling = TimeSampling::logit_normal(0.3, 0.8).unwrap();
        assert!(
            misfit(times(sampling, 10_000), |t| normal_cdf(
                ((t / (1.0 - t)).ln() - 0.3) / 0.8
            )) < 0.0327
        );
    }

    #[test]
    fn log_normal_sigma_times_have_a_normal_log_sigma() {
        let sampling = TimeSampling::log_normal_sigma(-1.2, 1.2).unwrap();
        assert!(
            misfit(times(sampling, 10_000), |t| normal_cdf(
                ((t / (1.0 - t)).ln() + 1.2) / 1.2
            )) < 0.0327
        );
    }

    #[test]
    fn stratified_times_fall_one_into_each_part() {
        let count = 64;
        let mut parts: Vec<usize> = times(TimeSampling::stratified(), count)
            .into_iter()
            .map(|t| (t * count as f64) as usize)
            .collect();
        assert_ne!(parts, (0..count).collect::<Vec<_>>(), "the rows are shuffled");
        parts.sort_unstable();
        assert_eq!(parts, (0..count).collect::<Vec<_>>());
    }

    #[test]
    fn table_steps_visit_every_node_and_nothing_else() {
        let mut steps: Vec<usize> = times(TimeSampling::steps(10).unwrap(), 1000)
            .into_iter()
            .map(|t| (t * 10.0).round() as usize)
            .collect();
        steps.sort_unstable();
        steps.dedup();
        assert_eq!(steps, (1..=10).collect::<Vec<_>>());
    }

    #[test]
    fn impossible_parameters_are_refused() {
        assert!(TimeSampling::logit_normal(f64::NAN, 1.0).is_err());
        assert!(TimeSampling::log_normal_sigma(0.0, 0.0).is_err());
        assert!(TimeSampling::uniform().within(0.5, 0.5).is_err());
        assert!(TimeSampling::steps(0).is_err());
        let beyond = TimeSampling::uniform().within(0.0, 2.0).unwrap();
        assert!(
            beyond
                .draw(&RectifiedFlow::default(), 1, &mut Seeded::new(0))
                .is_err()
        );
    }
}
