//! The exact denoiser of a mixture of isotropic Gaussians.
//!
//! ```text
//! v_k = α²s_k² + σ²      D_k = x − αm_k      r_k = softmax_k(ln w_k − (d/2) ln 2πv_k − |D_k|²/2v_k)
//! ε̂ = σ Σ r_k D_k/v_k        x̂_0 = Σ r_k (m_k + αs_k² D_k/v_k)        score = −Σ r_k D_k/v_k
//! ∂r_k/∂x = r_k (Σ_j r_j D_j/v_j − D_k/v_k)
//! ```
//!
//! With deviations of 0 it is the optimal denoiser of a data set: its samples are the data points.

use std::sync::Arc;

use candle_core::Tensor;
use tallow_schedules::NoiseLevel;

use super::{RowModel, estimate, finite, per_row, spread};
use crate::{Denoiser, Error, Estimate, Levels, Result};

/// The exact denoiser of Σ_k w_k N(m_k, s_k² I).
#[derive(Clone, Debug)]
pub struct ExactMixture {
    model: Arc<Model>,
}

#[derive(Debug)]
struct Model {
    log_weights: Vec<f64>,
    means: Vec<Vec<f64>>,
    stds: Vec<f64>,
}

impl ExactMixture {
    /// The denoiser of components with weights (made to sum to 1), means and standard deviations.
    ///
    /// # Errors
    ///
    /// When the three differ in length or are empty, the means differ in length, or a value is not finite, a weight not
    /// positive or a deviation negative.
    pub fn new(weights: &[f64], means: Vec<Vec<f64>>, stds: Vec<f64>) -> Result<Self> {
        let owner = "ExactMixture";
        let Some(dim) = means.first().map(Vec::len).filter(|dim| *dim > 0) else {
            return Err(Error::EmptyBatch {
                what: "ExactMixture's means",
            });
        };
        let lengths = [
            ("weights", weights.len(), means.len()),
            ("stds", stds.len(), means.len()),
        ];
        let rows = means.iter().map(|mean| ("a mean", mean.len(), dim));
        if let Some((name, got, expected)) =
            lengths.into_iter().chain(rows).find(|(_, got, want)| got != want)
        {
            let what = format!("{owner}'s {name}");
            return Err(Error::Shape {
                what,
                expected: expected.into(),
                got: got.into(),
            });
        }
        for mean in &means {
            finite(owner, "means", mean)?;
        }
        spread(owner, "stds", &stds)?;
        if let Some(&value) = weights
            .iter()
            .find(|weight| !(weight.is_finite() && **weight > 0.0))
        {
            return Err(Error::Parameter {
                owner,
                name: "weights",
                value,
                allowed: "positive and finite",
            });
        }
        let total: f64 = weights.iter().sum();
        let log_weights = weights.iter().map(|weight| (weight / total).ln()).collect();
        Ok(Self {
            model: Arc::new(Model {
                log_weights,
                means,
                stds,
            }),
        })
    }

    /// The mixture that tests of solvers use, lopsided so that no error cancels: 0.3 N(−1, 0.35² I) + 0.7 N(1.5, 0.6² I) in
    /// `dim` dimensions (0 counts as 1), both means on the diagonal.
    #[must_use]
    pub fn lopsided(dim: usize) -> Self {
        let means = vec![vec![-1.0; dim.max(1)], vec![1.5; dim.max(1)]];
        let log_weights = vec![0.3f64.ln(), 0.7f64.ln()];
        Self {
            model: Arc::new(Model {
                log_weights,
                means,
                stds: vec![0.35, 0.6],
            }),
        }
    }

    /// log p_t(x) in nats, (B,) of f64.
    ///
    /// # Errors
    ///
    /// When `x` does not have as many elements in a row as the data.
    pub fn log_density(&self, x: &Tensor, at: NoiseLevel) -> Result<Tensor> {
        per_row(x, at, self.model.dim(), |row, at| {
            let logs = self.model.log_joint(row, at);
            let top = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            top + logs.iter().map(|log| (log - top).exp()).sum::<f64>().ln()
        })
    }
}

impl Denoiser for ExactMixture {
    fn estimate(&self, x: &Tensor, at: Levels<'_>) -> Result<Estimate> {
        estimate(self.model.clone(), x, at)
    }
}

impl Model {
    fn variance(&self, k: usize, at: NoiseLevel) -> f64 {
        (at.alpha * self.stds[k]).powi(2) + at.sigma.powi(2)
    }

    /// ln w_k + ln N(x; αm_k, v_k I).
    fn log_joint(&self, x: &[f64], at: NoiseLevel) -> Vec<f64> {
        (0..self.means.len())
            .map(|k| {
                let v = self.variance(k, at);
                let square: f64 = x
                    .iter()
                    .zip(&self.means[k])
                    .map(|(x, m)| (x - at.alpha * m).powi(2))
                    .sum();
                let share = if square == 0.0 { 0.0 } else { square / v };
                self.log_weights[k] - 0.5 * (x.len() as f64 * (std::f64::consts::TAU * v).ln() + share)
            })
            .collect()
    }

    /// r_k: the probability that x comes from component k.
    fn responsibilities(&self, x: &[f64], at: NoiseLevel) -> Vec<f64> {
        let mut r = self.log_joint(x, at);
        let top = r.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if top.is_infinite() {
            // Data points at σ = 0: x is on one of them (+∞), or on none (−∞) and none is likelier than another.
            r.iter_mut()
                .for_each(|log| *log = if *log == top { 1.0 } else { 0.0 });
        } else {
            r.iter_mut().for_each(|log| *log = (*log - top).exp());
        }
        let total: f64 = r.iter().sum();
        r.iter_mut().for_each(|r| *r /= total);
        r
    }

    /// v of component k alone is `slope · D_k − σ m_k`.
    fn slope(&self, k: usize, at: NoiseLevel) -> f64 {
        let v = self.variance(k, at);
        if v == 0.0 {
            0.0
        } else {
            at.alpha * at.sigma * (1.0 - self.stds[k].powi(2)) / v
        }
    }
}

impl RowModel for Model {
    fn dim(&self) -> usize {
        self.means[0].len()
    }

    fn v(&self, x: &[f64], at: NoiseLevel, v: &mut [f64]) {
        v.fill(0.0);
        for (k, r) in self.responsibilities(x, at).into_iter().enumerate() {
            let slope = self.slope(k, at);
            for ((v, x), m) in v.iter_mut().zip(x).zip(&self.means[k]) {
                *v += r * (slope * (x - at.alpha * m) - at.sigma * m);
            }
        }
    }

    fn pullback(&self, x: &[f64], at: NoiseLevel, g: &[f64], out: &mut [f64]) {
        let r = self.responsibilities(x, at);
        let scaled = |k: usize, i: usize| {
            let v = self.variance(k, at);
            if v == 0.0 {
                0.0
            } else {
                (x[i] - at.alpha * self.means[k][i]) / v
            }
        };
        // g · (what component k says), the factor on ∂r_k/∂x.
        let said: Vec<f64> = (0..r.len())
            .map(|k| {
                let slope = self.slope(k, at);
                let one =
                    |i: usize| slope * (x[i] - at.alpha * self.means[k][i]) - at.sigma * self.means[k][i];
                (0..x.len()).map(|i| g[i] * one(i)).sum()
            })
            .collect();
        let slope: f64 = (0..r.len()).map(|k| r[k] * self.slope(k, at)).sum();
        for i in 0..x.len() {
            let pull: f64 = (0..r.len()).map(|k| r[k] * scaled(k, i)).sum();
            let turn: f64 = (0..r.len()).map(|k| said[k] * r[k] * (pull - scaled(k, i))).sum();
            out[i] = slope * g[i] + turn;
        }
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};
    use tallow_schedules::{NoiseLevel, RectifiedFlow, Schedule};

    use super::*;
    use crate::lincomb;

    fn model() -> ExactMixture {
        let means = vec![vec![-1.0, 0.4], vec![1.5, 0.2], vec![0.1, -2.0]];
        ExactMixture::new(&[1.0, 2.0, 0.5], means, vec![0.35, 0.6, 0.1]).unwrap()
    }

    fn x() -> Tensor {
        Tensor::new(&[[0.3f64, 0.1], [-1.5, -2.0], [0.2, -0.7]], &Device::Cpu).unwrap()
    }

    fn levels() -> Vec<NoiseLevel> {
        let ve = |sigma: f64| NoiseLevel {
            t: sigma,
            alpha: 1.0,
            sigma,
            alpha_dot: 0.0,
            sigma_dot: 1.0,
        };
        let path = RectifiedFlow::default();
        vec![
            path.level(0.1),
            path.level(0.6),
            path.level(1.0),
            ve(0.02),
            ve(80.0),
        ]
    }

    #[test]
    fn the_score_is_the_gradient_of_the_log_density() {
        for level in levels() {
            let score = model()
                .estimate(&x(), level.into())
                .unwrap()
                .score()
                .unwrap()
                .to_vec2::<f64>()
                .unwrap();
            for axis in 0..2 {
                let h = 1e-6 * level.sigma.max(0.05);
                let mut dx = [[0.0; 2]; 3];
                dx.iter_mut().for_each(|row| row[axis] = h);
                let dx = Tensor::new(&dx, &Device::Cpu).unwrap();
                let log_p = |x: Tensor| model().log_density(&x, level).unwrap().to_vec1::<f64>().unwrap();
                let (up, down) = (log_p((x() + &dx).unwrap()), log_p((x() - &dx).unwrap()));
                for row in 0..3 {
                    let slope = (up[row] - down[row]) / (2.0 * h);
                    let bound = 1e-6 * (1.0 + slope.abs());
                    assert!(
                        (slope - score[row][axis]).abs() < bound,
                        "{slope} {:?} {level:?}",
                        score[row]
                    );
                }
            }
        }
    }

    #[test]
    fn estimates_add_up_to_x() {
        for level in levels() {
            let estimate = model().estimate(&x(), level.into()).unwrap();
            let parts = [
                (level.alpha, &estimate.x0().unwrap()),
                (level.sigma, &estimate.noise().unwrap()),
            ];
            let difference = (lincomb(parts).unwrap() - x()).unwrap().abs().unwrap();
            assert!(difference.max_all().unwrap().to_scalar::<f64>().unwrap() < 1e-12);
        }
    }

    #[test]
    fn the_gradient_of_x0_is_its_difference_quotient() {
        for level in levels() {
            let probe = Tensor::new(&[[0.3f64, -1.0], [0.7, 0.2], [-0.4, 0.9]], &Device::Cpu).unwrap();
            let value = |x: &Tensor| {
                let x0 = model().estimate(x, level.into()).unwrap().x0().unwrap();
                (x0 * &probe).unwrap().sum_all().unwrap()
            };
            let var = Var::from_tensor(&x()).unwrap();
            let gradient = value(var.as_tensor())
                .backward()
                .unwrap()
                .get(&var)
                .unwrap()
                .to_vec2::<f64>()
                .unwrap();
            let h = 1e-5;
            for row in 0..3 {
                for axis in 0..2 {
                    let mut dx = [[0.0; 2]; 3];
                    dx[row][axis] = h;
                    let dx = Tensor::new(&dx, &Device::Cpu).unwrap();
                    let at = |x: Tensor| value(&x).to_scalar::<f64>().unwrap();
                    let slope = (at((x() + &dx).unwrap()) - at((x() - &dx).unwrap())) / (2.0 * h);
                    assert!((slope - gradient[row][axis]).abs() < 1e-6, "{slope} {gradient:?}");
                }
            }
        }
    }

    #[test]
    fn data_points_are_found_again_near_the_clean_end() {
        let points = vec![vec![0.0, 1.0], vec![2.0, -1.0]];
        let model = ExactMixture::new(&[1.0, 1.0], points, vec![0.0; 2]).unwrap();
        let x = Tensor::new(&[[0.01f64, 0.99]], &Device::Cpu).unwrap();
        let x0 = model
            .estimate(&x, RectifiedFlow::default().level(1e-3).into())
            .unwrap()
            .x0()
            .unwrap();
        let x0 = x0.to_vec2::<f64>().unwrap();
        assert!(x0[0][0].abs() < 1e-15 && (x0[0][1] - 1.0).abs() < 1e-15, "{x0:?}");
    }
}
