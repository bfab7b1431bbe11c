//! The exact denoiser of Gaussian data, one mean and one standard deviation for each element.
//!
//! ```text
//! S² = α²s² + σ²      δ = x − αμ      x̂_0 = μ + αs²δ/S²      ε̂ = σδ/S²      score = −δ/S²
//! x_s = α_s μ + (S_s/S_t)(x_t − α_t μ)         (the probability-flow ODE, solved)
//! ```

use std::sync::Arc;

use candle_core::Tensor;
use tallow_schedules::NoiseLevel;

use super::{RowModel, estimate, finite, per_row, spread};
use crate::{Denoiser, Error, Estimate, Levels, Result};

/// The exact denoiser of data from N(μ, diag(s²)). Standard deviations of 0 are data points.
#[derive(Clone, Debug)]
pub struct ExactGaussian {
    model: Arc<Model>,
}

#[derive(Debug)]
struct Model {
    mean: Vec<f64>,
    std: Vec<f64>,
}

impl ExactGaussian {
    /// The denoiser of N(mean, diag(std²)); one entry for each element of a row.
    ///
    /// # Errors
    ///
    /// When the two differ in length, are empty, or hold a value that is not finite or a negative deviation.
    pub fn new(mean: Vec<f64>, std: Vec<f64>) -> Result<Self> {
        if mean.is_empty() {
            return Err(Error::EmptyBatch {
                what: "ExactGaussian's mean",
            });
        }
        if mean.len() != std.len() {
            let what = "ExactGaussian's std".to_owned();
            return Err(Error::Shape {
                what,
                expected: mean.len().into(),
                got: std.len().into(),
            });
        }
        finite("ExactGaussian", "mean", &mean)?;
        spread("ExactGaussian", "std", &std)?;
        Ok(Self {
            model: Arc::new(Model { mean, std }),
        })
    }

    /// Where the probability-flow ODE takes `x`, (B, …), from one level to another, solved.
    ///
    /// # Errors
    ///
    /// When `x` does not have as many elements in a row as the data, or a tensor operation fails.
    pub fn flow(&self, x: &Tensor, from: NoiseLevel, to: NoiseLevel) -> Result<Tensor> {
        let part = |f: &dyn Fn(f64, f64) -> f64| -> Result<Tensor> {
            let values: Vec<f64> = self
                .model
                .mean
                .iter()
                .zip(&self.model.std)
                .map(|(mean, std)| f(*mean, *std))
                .collect();
            let row = Tensor::new(values, x.device())?.to_dtype(x.dtype())?;
            Ok(row.reshape(&x.dims()[1..])?)
        };
        let ratio = part(&|_, s| (to.alpha * s).hypot(to.sigma) / (from.alpha * s).hypot(from.sigma))?;
        let start = part(&|mean, _| from.alpha * mean)?;
        let end = part(&|mean, _| to.alpha * mean)?;
        Ok(x.broadcast_sub(&start)?
            .broadcast_mul(&ratio)?
            .broadcast_add(&end)?)
    }

    /// log p_t(x) in nats, (B,) of f64.
    ///
    /// # Errors
    ///
    /// When `x` does not have as many elements in a row as the data.
    pub fn log_density(&self, x: &Tensor, at: NoiseLevel) -> Result<Tensor> {
        per_row(x, at, self.model.mean.len(), |row, at| {
            let terms = row.iter().zip(self.model.mean.iter().zip(&self.model.std));
            terms.fold(0.0, |sum, (x, (mean, std))| {
                let variance = (at.alpha * std).powi(2) + at.sigma.powi(2);
                let delta = x - at.alpha * mean;
                sum - 0.5 * ((std::f64::consts::TAU * variance).ln() + delta * delta / variance)
            })
        })
    }
}

impl Denoiser for ExactGaussian {
    fn estimate(&self, x: &Tensor, at: Levels<'_>) -> Result<Estimate> {
        estimate(self.model.clone(), x, at)
    }
}

impl Model {
    /// v of one element is `slope · (x − αμ) − σμ`.
    fn slope(at: NoiseLevel, std: f64) -> f64 {
        let total = (at.alpha * std).hypot(at.sigma);
        if total == 0.0 {
            0.0
        } else {
            (at.alpha / total) * (at.sigma / total) * (1.0 - std * std)
        }
    }
}

impl RowModel for Model {
    fn dim(&self) -> usize {
        self.mean.len()
    }

    fn v(&self, x: &[f64], at: NoiseLevel, v: &mut [f64]) {
        for ((v, x), (mean, std)) in v.iter_mut().zip(x).zip(self.mean.iter().zip(&self.std)) {
            *v = Self::slope(at, *std) * (x - at.alpha * mean) - at.sigma * mean;
        }
    }

    fn pullback(&self, _x: &[f64], at: NoiseLevel, g: &[f64], out: &mut [f64]) {
        for ((out, g), std) in out.iter_mut().zip(g).zip(&self.std) {
            *out = Self::slope(at, *std) * g;
        }
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;
    use tallow_schedules::{RectifiedFlow, Schedule};

    use super::*;
    use crate::lincomb;

    fn model() -> ExactGaussian {
        ExactGaussian::new(vec![0.7, -1.2, 0.0], vec![0.3, 1.5, 0.0]).unwrap()
    }

    fn x() -> Tensor {
        Tensor::new(&[[0.3f64, 0.1, -0.4], [1.5, -2.0, 0.2]], &Device::Cpu).unwrap()
    }

    fn largest(difference: &Tensor) -> f64 {
        difference
            .abs()
            .unwrap()
            .max_all()
            .unwrap()
            .to_scalar::<f64>()
            .unwrap()
    }

    #[test]
    fn the_velocity_is_the_slope_of_the_solved_flow() {
        let path = RectifiedFlow::default();
        let (t, dt) = (0.6, 1e-5);
        let at = |t: f64| model().flow(&x(), path.level(0.6), path.level(t)).unwrap();
        let slope = ((at(t + dt) - at(t - dt)).unwrap() / (2.0 * dt)).unwrap();
        let velocity = model()
            .estimate(&x(), path.level(t).into())
            .unwrap()
            .velocity()
            .unwrap();
        assert!(largest(&(slope - velocity).unwrap()) < 1e-9);
    }

    #[test]
    fn the_score_is_the_gradient_of_the_log_density() {
        let level = RectifiedFlow::default().level(0.4);
        let score = model().estimate(&x(), level.into()).unwrap().score().unwrap();
        let dx = Tensor::new(&[[1e-5f64, 0.0, 0.0], [0.0, 1e-5, 0.0]], &Device::Cpu).unwrap();
        let log_p = |x: Tensor| model().log_density(&x, level).unwrap();
        let rise = (log_p((x() + &dx).unwrap()) - log_p((x() - &dx).unwrap())).unwrap();
        let slope = (rise / 2e-5).unwrap().to_vec1::<f64>().unwrap();
        let score = score.to_vec2::<f64>().unwrap();
        assert!((slope[0] - score[0][0]).abs() < 1e-8 && (slope[1] - score[1][1]).abs() < 1e-8);
    }

    #[test]
    fn estimates_add_up_to_x_also_at_the_ends() {
        let path = RectifiedFlow::default();
        for t in [0.0, 1e-9, 0.5, 1.0] {
            let level = path.level(t);
            let estimate = model().estimate(&x(), level.into()).unwrap();
            let (x0, noise) = (estimate.x0().unwrap(), estimate.noise().unwrap());
            let sum = lincomb([(level.alpha, &x0), (level.sigma, &noise)]).unwrap();
            assert!(largest(&(sum - x()).unwrap()) < 1e-12, "t = {t}");
        }
    }

    #[test]
    fn another_dimension_is_refused() {
        let x = Tensor::zeros((2, 4), candle_core::DType::F64, &Device::Cpu).unwrap();
        let error = model()
            .estimate(&x, RectifiedFlow::default().level(0.5).into())
            .unwrap_err()
            .to_string();
        assert!(error.contains("[2, 4]") && error.contains("[2, 3]"), "{error}");
    }
}
