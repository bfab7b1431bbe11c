//! Denoising score matching on the paths of score SDEs.
//!
//! ```text
//! loss = mean over rows of λ(t) · mean |s_θ(x_t, t) + ε/σ|²        x_t = α x_0 + σ ε        −ε/σ = ∇ log p(x_t | x_0)
//! λ = σ²: every level counts alike        λ = g²: a bound on the likelihood
//! ```
//!
//! It is the weighted regression on [`Prediction::Score`]: the weighting `Snr` is λ = σ² on the score, `Likelihood` is λ = g².
//!
//! Sources: Vincent 2011; Song et al. 2021, arXiv:2011.13456, Eq. 7; Song et al. 2021, arXiv:2101.09258, Eq. 8 (g²).

use std::sync::Arc;

use tallow_denoisers::{Parameterization, Prediction, TimeInput};
use tallow_schedules::{Schedule, Weighting};

use crate::{Regression, Result, TimeSampling};

/// The share of the path next to the data that is left out: there the score is infinite.
const EPSILON: f64 = 1e-5;

/// On a variance-preserving path, the network told 999 t; λ = σ². `.with_weighting(Weighting::Likelihood)` makes it g².
///
/// Sources: Vincent 2011; Song et al. 2021, arXiv:2011.13456, Eq. 7; Song et al. 2021, arXiv:2101.09258, Eq. 8 (g²).
///
/// # Errors
///
/// When the path ends at no positive time.
pub fn vp(schedule: Arc<dyn Schedule>) -> Result<Regression> {
    denoising(schedule, TimeInput::Scaled(999.0))
}

/// On a variance-exploding path, the network told σ/α; λ = σ². `.with_weighting(Weighting::Likelihood)` makes it g².
///
/// Sources: Vincent 2011; Song et al. 2021, arXiv:2011.13456, Eq. 7; Song et al. 2021, arXiv:2101.09258, Eq. 8 (g²).
///
/// # Errors
///
/// When the path ends at no positive time.
pub fn ve(schedule: Arc<dyn Schedule>) -> Result<Regression> {
    denoising(schedule, TimeInput::NoiseToSignal)
}

fn denoising(schedule: Arc<dyn Schedule>, time: TimeInput) -> Result<Regression> {
    let t_max = schedule.t_max();
    let times = TimeSampling::uniform().within(EPSILON * t_max, t_max)?;
    let parameterization = Parameterization {
        time,
        ..Parameterization::new(Prediction::Score)
    };
    Regression::new(schedule, parameterization)
        .with_times(times)
        .with_weighting(Weighting::Snr)
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device, Tensor};
    use tallow_denoisers::{Batch, Seeded, network};
    use tallow_schedules::{Ve, VeGeometric, VpLinear};

    use super::*;
    use crate::Objective;

    #[test]
    fn the_weights_are_sigma_squared_and_g_squared_on_the_score() {
        let paths: [Arc<dyn Schedule>; 3] = [
            Arc::new(VpLinear::default()),
            Arc::new(Ve::default()),
            Arc::new(VeGeometric::default()),
        ];
        for path in paths {
            for share in [0.01, 0.4, 0.9] {
                let level = path.level(share * path.t_max());
                let on_score =
                    |weighting: Weighting| weighting.weight(level) * Prediction::Score.gain(level).powi(2);
                let simple = on_score(Weighting::Snr) / level.sigma.powi(2);
                let likelihood = on_score(Weighting::Likelihood) / level.diffusion_squared();
                assert!((simple - 1.0).abs() < 1e-12, "{path:?} {share}: {simple}");
                assert!((likelihood - 1.0).abs() < 1e-9, "{path:?} {share}: {likelihood}");
            }
        }
    }

    /// With a network of zeros the loss is λ |ε/σ|²: mean |ε|² for λ = σ².
    #[test]
    fn a_network_of_zeros_costs_the_square_of_the_noise() {
        let batch = Batch::new(Tensor::zeros((20_000, 2), DType::F64, &Device::Cpu).unwrap());
        let zero = network(|call| call.x.zeros_like());
        let objectives = [
            vp(Arc::new(VpLinear::default())).unwrap(),
            ve(Arc::new(VeGeometric::default())).unwrap(),
        ];
        for objective in objectives {
            let loss = objective.loss(&zero, &batch, &mut Seeded::new(1)).unwrap();
            let mean = loss.mean.to_scalar::<f64>().unwrap();
            // ε² has variance 2; 40 000 of them.
            assert!((mean - 1.0).abs() < 6.1 * (2.0 / 4e4_f64).sqrt(), "{mean}");
        }
    }
}
