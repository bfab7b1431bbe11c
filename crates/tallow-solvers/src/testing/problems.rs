//! Probability-flow ODEs whose solution is known to the last digits.
//!
//! ```text
//! Gaussian     x_s = α_s μ + (S_s/S_t)(x_t − α_t μ)         S² = α²s² + σ²
//! mixture 1-d  x_s = F_s⁻¹(F_t(x_t))                        F: the distribution function of x at a level
//! mixture 2-d  a product of two such, turned: noise is isotropic, so the flow commutes with the rotation
//! ```
//!
//! The Gaussian's ODE is linear in x, and some methods converge faster on it than in general: claims of order are tested on
//! the mixtures.

use std::fmt;
use std::sync::Arc;

use candle_core::{Device, Tensor};
use tallow_denoisers::{Denoiser, ExactGaussian, ExactMixture};
use tallow_schedules::{NoiseLevel, RectifiedFlow, Schedule, TimeGrid, VpCosine, VpLinear};

use super::normal::Components;
use crate::Result;

/// The paths of the problems, with an interval in which the data are neither lost nor found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// The cosine path, t from 0.95 to 0.05.
    VpCosine,
    /// α = 1 − t, σ = t, t from 0.95 to 0.05.
    RectifiedFlow,
    /// β from 0.1 to 20, t from 1 to 0.01.
    VpLinear,
}

impl Path {
    /// All three.
    pub const ALL: [Self; 3] = [Self::VpCosine, Self::RectifiedFlow, Self::VpLinear];

    /// The path's name, that of its schedule.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::VpCosine => "vp_cosine",
            Self::RectifiedFlow => "linear_flow",
            Self::VpLinear => "vp_linear",
        }
    }

    /// Its schedule.
    #[must_use]
    pub fn schedule(self) -> Arc<dyn Schedule> {
        match self {
            Self::VpCosine => Arc::new(VpCosine::default()),
            Self::RectifiedFlow => Arc::new(RectifiedFlow::default()),
            Self::VpLinear => Arc::new(VpLinear::default()),
        }
    }

    /// Where its problems start and end.
    #[must_use]
    pub fn interval(self) -> (f64, f64) {
        match self {
            Self::VpCosine | Self::RectifiedFlow => (0.95, 0.05),
            Self::VpLinear => (1.0, 0.01),
        }
    }
}

/// A probability-flow ODE between two times, with starts and where they exactly lead.
pub struct Problem {
    /// The data's name: gaussian, mixture_1d or mixture_2d.
    pub name: &'static str,
    /// The path.
    pub path: Path,
    /// The path's schedule.
    pub schedule: Arc<dyn Schedule>,
    /// Where runs start.
    pub from_t: f64,
    /// Where runs end.
    pub to_t: f64,
    /// Starts, (B, d) of f64.
    pub start: Tensor,
    /// Where they lead, (B, d) of f64, within 1e-13.
    pub end: Tensor,
    model: Box<dyn Denoiser + Send + Sync>,
}

impl fmt::Debug for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}", self.name, self.path.name())
    }
}

/// 0.3 N(−1, 0.35²) + 0.7 N(1.5, 0.6²): not symmetric, so that no error cancels.
const LOPSIDED: [(f64, f64, f64); 2] = [(0.3, -1.0, 0.35), (0.7, 1.5, 0.6)];
/// The two factors of the mixture in the plane, and the angle by which it is turned.
const FIRST: [(f64, f64, f64); 2] = [(0.35, -1.1, 0.5), (0.65, 1.3, 0.5)];
const SECOND: [(f64, f64, f64); 2] = [(0.6, -0.7, 0.5), (0.4, 1.6, 0.5)];
const ANGLE: f64 = 0.6;

impl Problem {
    /// Normal data in three dimensions, each with its own mean and width.
    ///
    /// # Errors
    ///
    /// When a tensor operation fails.
    pub fn gaussian(path: Path) -> Result<Self> {
        let model = ExactGaussian::new(vec![0.8, -0.5, 0.1], vec![0.4, 1.3, 0.7])?;
        let start = [
            [0.3, -1.1, 0.7],
            [-1.2, 0.2, 1.4],
            [0.9, 1.6, -0.4],
            [-0.1, 0.5, -1.7],
        ];
        let start = Tensor::new(&start, &Device::Cpu)?;
        let (from, to) = ends(path);
        let end = model.flow(&start, from, to)?;
        Ok(Self::new("gaussian", path, (start, end), Box::new(model)))
    }

    /// A lopsided mixture of two normal distributions in one dimension.
    ///
    /// # Errors
    ///
    /// When a tensor operation fails.
    pub fn mixture_1d(path: Path) -> Result<Self> {
        let (from, to) = ends(path);
        let starts = [-1.6, -0.9, -0.45, -0.1, 0.25, 0.6, 1.1, 1.9];
        let ends = starts.map(|x| flow(&LOPSIDED, x, from, to));
        let column = |values: &[f64]| Tensor::new(values, &Device::Cpu)?.unsqueeze(1);
        let points = (column(&starts)?, column(&ends)?);
        let (weights, means, stds) = parts(&LOPSIDED);
        let model = ExactMixture::new(&weights, means.into_iter().map(|m| vec![m]).collect(), stds)?;
        Ok(Self::new("mixture_1d", path, points, Box::new(model)))
    }

    /// Four normal distributions in the plane, the corners of a turned rectangle with four different weights.
    ///
    /// # Errors
    ///
    /// When a tensor operation fails.
    pub fn mixture_2d(path: Path) -> Result<Self> {
        let (from, to) = ends(path);
        let starts = [
            [-1.4, 0.6],
            [-0.7, -1.2],
            [-0.2, 0.3],
            [0.1, 1.5],
            [0.4, -0.5],
            [0.8, 0.9],
            [1.2, -1.6],
            [1.8, 0.1],
        ];
        let ends = starts.map(|[u, v]| turn([flow(&FIRST, u, from, to), flow(&SECOND, v, from, to)]));
        let points = (
            Tensor::new(&starts.map(turn), &Device::Cpu)?,
            Tensor::new(&ends, &Device::Cpu)?,
        );
        let (mut weights, mut means, mut stds) = (Vec::new(), Vec::new(), Vec::new());
        for (w, m, s) in FIRST {
            for (v, n, _) in SECOND {
                weights.push(w * v);
                means.push(turn([m, n]).to_vec());
                stds.push(s);
            }
        }
        let model = ExactMixture::new(&weights, means, stds)?;
        Ok(Self::new("mixture_2d", path, points, Box::new(model)))
    }

    /// Both mixtures on all paths: what a claim of order is tested on.
    ///
    /// # Errors
    ///
    /// When a tensor operation fails.
    pub fn nonlinear() -> Result<Vec<Self>> {
        let both = |path| [Self::mixture_1d(path), Self::mixture_2d(path)];
        Path::ALL.into_iter().flat_map(both).collect()
    }

    fn new(
        name: &'static str,
        path: Path,
        (start, end): (Tensor, Tensor),
        model: Box<dyn Denoiser + Send + Sync>,
    ) -> Self {
        let (from_t, to_t) = path.interval();
        Self {
            name,
            path,
            schedule: path.schedule(),
            from_t,
            to_t,
            start,
            end,
            model,
        }
    }

    /// The exact denoiser of the data.
    #[must_use]
    pub fn model(&self) -> &dyn Denoiser {
        &*self.model
    }

    /// Steps of equal length in λ from start to end.
    ///
    /// # Errors
    ///
    /// When there are no or too many steps.
    pub fn grid(&self, steps: usize) -> Result<TimeGrid> {
        let schedule = self.schedule.clone();
        Ok(TimeGrid::uniform_lambda(schedule, self.from_t, self.to_t, steps)?)
    }

    /// The root mean square of a result's distance to the exact end, over all numbers.
    ///
    /// # Errors
    ///
    /// When `x` is not shaped like the end.
    pub fn error(&self, x: &Tensor) -> Result<f64> {
        let square = (x - &self.end)?.sqr()?.mean_all()?;
        Ok(square.to_scalar::<f64>()?.sqrt())
    }
}

fn ends(path: Path) -> (NoiseLevel, NoiseLevel) {
    let (from_t, to_t) = path.interval();
    (path.schedule().level(from_t), path.schedule().level(to_t))
}

/// Where the flow of a mixture in one dimension leads from one level to another.
fn flow(data: &[(f64, f64, f64)], x: f64, from: NoiseLevel, to: NoiseLevel) -> f64 {
    let data = Components(data.to_vec());
    let (start, end) = (
        data.noised(from.alpha, from.sigma),
        data.noised(to.alpha, to.sigma),
    );
    end.quantile_of(&start, x)
}

fn parts(data: &[(f64, f64, f64)]) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
    let part = |f: fn(&(f64, f64, f64)) -> f64| data.iter().map(f).collect();
    (part(|c| c.0), part(|c| c.1), part(|c| c.2))
}

fn turn([u, v]: [f64; 2]) -> [f64; 2] {
    let (sin, cos) = ANGLE.sin_cos();
    [cos * u - sin * v, sin * u + cos * v]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Rk4, Sampler};
    use tallow_denoisers::Seeded;

    /// Two truths that share nothing: distribution functions here, Runge-Kutta there.
    #[test]
    fn a_fine_integration_ends_where_the_distribution_functions_say() {
        for path in Path::ALL {
            for problem in [
                Problem::gaussian(path),
                Problem::mixture_1d(path),
                Problem::mixture_2d(path),
            ] {
                let problem = problem.unwrap();
                let grid = problem.grid(2000).unwrap();
                let x = Rk4::default()
                    .sample(problem.model(), &grid, &problem.start, &mut Seeded::new(0))
                    .unwrap();
                let error = problem.error(&x).unwrap();
                assert!(error < 1e-12, "{problem:?}: {error:e}");
            }
        }
    }
}
