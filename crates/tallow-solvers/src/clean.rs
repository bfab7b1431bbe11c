//! The ends of a path: what takes the place of an evaluation at σ = 0, and of a velocity that is infinite.

use candle_core::Tensor;
use tallow_denoisers::{Denoiser, Estimate, lincomb};
use tallow_schedules::{NoiseLevel, Step};

use crate::Result;

/// How a method in velocity form ends at σ = 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FinalStep {
    /// The last step ends in x̂_0, and the model is never evaluated at σ = 0.
    #[default]
    Denoise,
    /// The last step is like any other: stages at σ = 0 ask the model there. Where σ̇ is infinite at the clean end (paths
    /// whose σ rises like √t) no such stage exists, and the step ends in x̂_0.
    Evaluate,
}

impl FinalStep {
    /// The estimate at a level; without asking the model at σ = 0 under [`Denoise`](Self::Denoise).
    ///
    /// # Errors
    ///
    /// When the model fails.
    pub fn estimate(self, model: &dyn Denoiser, x: &Tensor, at: NoiseLevel) -> Result<Estimate> {
        match self {
            Self::Denoise => estimate(model, x, at),
            Self::Evaluate => Ok(model.estimate(x, at.into())?),
        }
    }

    /// The whole step, where a method in velocity form cannot or shall not take it: into σ = 0, and from or to a level
    /// whose slope is infinite. It is DDIM's, which knows no slope. A velocity method of one's own asks this first.
    ///
    /// # Errors
    ///
    /// When a tensor operation fails.
    pub fn jump(self, estimate: &Estimate, step: &Step<'_>) -> Result<Option<Tensor>> {
        let steep = |level: NoiseLevel| !(level.alpha_dot.is_finite() && level.sigma_dot.is_finite());
        let denoises = step.to.sigma == 0.0 && self == Self::Denoise;
        if denoises || steep(step.from) || steep(step.to) {
            exponential(estimate, step).map(Some)
        } else {
            Ok(None)
        }
    }
}

/// The model's estimate at a level; at σ = 0, where x is the datum, without asking the model.
///
/// # Errors
///
/// When the model fails.
pub fn estimate(model: &dyn Denoiser, x: &Tensor, at: NoiseLevel) -> Result<Estimate> {
    if at.sigma > 0.0 {
        return Ok(model.estimate(x, at.into())?);
    }
    let x0 = lincomb([(1.0 / at.alpha, x)])?;
    Ok(Estimate::from_pair(x, x0, x.zeros_like()?, at.into())?)
}

/// x_s = α_s x̂_0 + σ_s ε̂: the first-order step of every method in exponential form.
pub(crate) fn exponential(estimate: &Estimate, step: &Step<'_>) -> Result<Tensor> {
    if step.to.sigma == 0.0 {
        return Ok(lincomb([(step.to.alpha, &estimate.x0()?)])?);
    }
    if step.from.sigma == 0.0 || !estimate.adds_up() {
        return Ok(lincomb([
            (step.to.alpha, &estimate.x0()?),
            (step.to.sigma, &estimate.noise()?),
        ])?);
    }
    // The noise is what remains of x: one tensor less to compute than α_s x̂_0 + σ_s ε̂.
    let kept = step.to.sigma / step.from.sigma;
    Ok(lincomb([
        (kept, estimate.x()),
        (step.to.alpha - kept * step.from.alpha, &estimate.x0()?),
    ])?)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;
    use tallow_denoisers::guidance::PlusPlus;
    use tallow_denoisers::{ExactGaussian, Guided, Seeded};
    use tallow_schedules::{RectifiedFlow, Schedule, TimeGrid};

    use super::*;
    use crate::{Ddim, Sampler};

    #[test]
    fn ddim_under_cfg_plus_plus_puts_the_unconditional_noise_back() {
        let model = |mean: f64| ExactGaussian::new(vec![mean, -mean], vec![0.5, 0.2]).unwrap();
        let guided = Guided::new(model(1.0), model(0.2), PlusPlus { lambda: 0.6 }).unwrap();
        let path = RectifiedFlow::default();
        let grid = TimeGrid::new(std::sync::Arc::new(path), vec![0.8, 0.5]).unwrap();
        let x = Tensor::new(&[[0.3f64, 0.1], [-1.5, -2.0]], &Device::Cpu).unwrap();
        let got = Ddim::default()
            .sample(&guided, &grid, &x, &mut Seeded::new(0))
            .unwrap();
        let told = |mean: f64| model(mean).estimate(&x, path.level(0.8).into()).unwrap();
        let x0 = lincomb([(0.6, &told(1.0).x0().unwrap()), (0.4, &told(0.2).x0().unwrap())]).unwrap();
        let expected = lincomb([(0.5, &x0), (0.5, &told(0.2).noise().unwrap())]).unwrap();
        let off = (got - expected)
            .unwrap()
            .abs()
            .unwrap()
            .max_all()
            .unwrap()
            .to_scalar::<f64>()
            .unwrap();
        assert!(off < 1e-14, "{off}");
    }
}
