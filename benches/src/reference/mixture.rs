//! Data from a mixture of Gaussians, for which every prediction has a formula.
//!
//! ```text
//! x_0 ~ Σ w_k N(m_k, s_k² I)      v_k = α² s_k² + σ²      D_k = x − α m_k
//! r_k = softmax_k( ln w_k − (d/2) ln(2π v_k) − |D_k|²/(2 v_k) )
//!
//! ln p = logsumexp of the same      score = −Σ r_k D_k/v_k      ε = σ Σ r_k D_k/v_k
//! x_0 = Σ r_k (m_k + (α s_k²/v_k) D_k)      velocity = α̇ x_0 + σ̇ ε
//! ```
//!
//! Plain f64, one point at a time, and apart from everything that is tested with it.

use std::f64::consts::TAU;

use tallow::schedules::NoiseLevel;

use super::{Fields, Obstacle};

/// A mixture of isotropic Gaussians.
#[derive(Clone, Debug, PartialEq)]
pub struct Mixture {
    weights: Vec<f64>,
    means: Vec<Vec<f64>>,
    stds: Vec<f64>,
}

/// All that is known about the data behind one point.
#[derive(Clone, Debug, PartialEq)]
pub struct Posterior {
    /// ln p(x).
    pub log_density: f64,
    /// ∇ ln p(x).
    pub score: Vec<f64>,
    /// E[ε | x].
    pub epsilon: Vec<f64>,
    /// E[x_0 | x].
    pub x0: Vec<f64>,
}

impl Mixture {
    /// The mixture of a case: `weights`, `means` and `stds` of equal number.
    ///
    /// # Errors
    ///
    /// When a field is missing, the numbers differ, or there is no component or dimension.
    pub fn of(fields: &Fields<'_>) -> Result<Self, Obstacle> {
        let (weights, means, stds) = (
            fields.numbers("weights")?,
            fields.rows("means")?,
            fields.numbers("stds")?,
        );
        let fits = weights.len() == means.len() && means.len() == stds.len();
        if !fits || means.first().is_none_or(Vec::is_empty) {
            let message = format!(
                "{} needs as many weights as means and stds, at least one, got {}, {} and {}",
                fields.place(),
                weights.len(),
                means.len(),
                stds.len()
            );
            return Err(Obstacle::Wrong(message));
        }
        Ok(Self { weights, means, stds })
    }

    /// The number of coordinates of a point.
    #[must_use]
    pub fn dimension(&self) -> usize {
        self.means[0].len()
    }

    /// The points in a field, each of the mixture's dimension.
    ///
    /// # Errors
    ///
    /// When the field is missing, no list of points, or of another dimension.
    pub fn points(&self, fields: &Fields<'_>, name: &str) -> Result<Vec<Vec<f64>>, Obstacle> {
        let points = fields.rows(name)?;
        match points.first() {
            Some(point) if point.len() != self.dimension() => Err(Obstacle::Wrong(format!(
                "{name:?} of {} has points of {} coordinates, the mixture {}",
                fields.place(),
                point.len(),
                self.dimension()
            ))),
            _ => Ok(points),
        }
    }

    /// Density, score and conditional means at a point of the level (α, σ).
    #[must_use]
    pub fn posterior(&self, x: &[f64], alpha: f64, sigma: f64) -> Posterior {
        let half = 0.5 * x.len() as f64;
        let variance: Vec<f64> = self
            .stds
            .iter()
            .map(|std| alpha * alpha * std * std + sigma * sigma)
            .collect();
        let offset = |k: usize| {
            x.iter()
                .zip(&self.means[k])
                .map(move |(x, mean)| x - alpha * mean)
        };
        let logits: Vec<f64> = (0..self.weights.len())
            .map(|k| {
                let square: f64 = offset(k).map(|d| d * d).sum();
                self.weights[k].ln() - half * (TAU * variance[k]).ln() - square / (2.0 * variance[k])
            })
            .collect();
        let most = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let total: f64 = logits.iter().map(|logit| (logit - most).exp()).sum();

        let (mut pull, mut x0) = (vec![0.0; x.len()], vec![0.0; x.len()]);
        for (k, logit) in logits.iter().enumerate() {
            let share = (logit - most).exp() / total;
            let shrink = alpha * self.stds[k] * self.stds[k] / variance[k];
            for (i, d) in offset(k).enumerate() {
                pull[i] += share * d / variance[k];
                x0[i] += share * (self.means[k][i] + shrink * d);
            }
        }
        Posterior {
            log_density: most + total.ln(),
            score: pull.iter().map(|pull| -pull).collect(),
            epsilon: pull.iter().map(|pull| sigma * pull).collect(),
            x0,
        }
    }

    /// E[ε | x].
    #[must_use]
    pub fn epsilon(&self, x: &[f64], alpha: f64, sigma: f64) -> Vec<f64> {
        self.posterior(x, alpha, sigma).epsilon
    }

    /// E[x_0 | x].
    #[must_use]
    pub fn x0(&self, x: &[f64], alpha: f64, sigma: f64) -> Vec<f64> {
        self.posterior(x, alpha, sigma).x0
    }

    /// ∇ ln p(x).
    #[must_use]
    pub fn score(&self, x: &[f64], alpha: f64, sigma: f64) -> Vec<f64> {
        self.posterior(x, alpha, sigma).score
    }

    /// E[dx/dt | x] along the path.
    #[must_use]
    pub fn velocity(&self, x: &[f64], at: NoiseLevel) -> Vec<f64> {
        let Posterior { epsilon, x0, .. } = self.posterior(x, at.alpha, at.sigma);
        x0.iter()
            .zip(&epsilon)
            .map(|(x0, epsilon)| at.alpha_dot * x0 + at.sigma_dot * epsilon)
            .collect()
    }

    /// ln p(x).
    #[must_use]
    pub fn log_density(&self, x: &[f64], alpha: f64, sigma: f64) -> f64 {
        self.posterior(x, alpha, sigma).log_density
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mixture() -> Mixture {
        Mixture {
            weights: vec![0.3, 0.7],
            means: vec![vec![-1.0, 0.5], vec![1.5, -0.2]],
            stds: vec![0.35, 0.6],
        }
    }

    #[test]
    fn the_score_is_the_gradient_of_the_log_density() {
        let (mixture, x, h) = (mixture(), [0.4, -0.3], 1e-5);
        for (alpha, sigma) in [(0.8, 0.6), (1.0, 3.0), (0.0, 1.0), (1.0, 0.0)] {
            let score = mixture.score(&x, alpha, sigma);
            for i in 0..2 {
                let moved = |by: f64| {
                    let mut x = x;
                    x[i] += by;
                    mixture.log_density(&x, alpha, sigma)
                };
                let slope = (moved(h) - moved(-h)) / (2.0 * h);
                assert!((score[i] - slope).abs() < 1e-8, "{} is not {slope}", score[i]);
            }
        }
    }

    #[test]
    fn data_and_noise_add_up_to_the_point() {
        let (mixture, x) = (mixture(), [0.4, -2.0]);
        for (alpha, sigma) in [(0.8, 0.6), (1.0, 3.0), (0.0, 1.0), (1.0, 0.0)] {
            let Posterior { x0, epsilon, .. } = mixture.posterior(&x, alpha, sigma);
            for i in 0..2 {
                assert!((alpha * x0[i] + sigma * epsilon[i] - x[i]).abs() < 1e-14);
            }
        }
    }

    #[test]
    fn the_density_integrates_to_one() {
        let (mixture, step) = (mixture(), 0.05);
        let axis = || (-120..=120).map(|i| f64::from(i) * step);
        let density = |x, y| mixture.log_density(&[x, y], 0.8, 0.6).exp();
        let mass: f64 = axis()
            .flat_map(|x| axis().map(move |y| (x, y)))
            .map(|(x, y)| density(x, y))
            .sum();
        assert!((mass * step * step - 1.0).abs() < 1e-9);
    }
}
