//! Bridges: a third term on the path between a datum and its source.
//!
//! ```text
//! x_t = α x_0 + β x_1 + γ z        z ~ N(0, I)        dx/dt = α̇ x_0 + β̇ x_1 + γ̇ z
//! Constant       γ = σ
//! Schrodinger    γ = σ √(s (1 − s)),  s = t/t_max
//! ```
//!
//! α and β are the signal and noise scales of a [`Schedule`](tallow_schedules::Schedule). On the straight path the constant
//! one is conditional flow matching with Gaussian probability paths, the other, paired by optimal transport with
//! regularisation 2σ², a Schrödinger bridge; on the trigonometric path the constant one is the variance-preserving
//! interpolant. Bridges exist in training only: sampling follows the velocity, and nothing else of x_t can be inferred.
//!
//! Sources: Tong et al. 2024, arXiv:2302.00482, Eq. 14 and 19; Albergo & Vanden-Eijnden 2023, arXiv:2209.15571.

use candle_core::Tensor;
use tallow_denoisers::combine_rows;
use tallow_schedules::NoiseLevel;

use crate::{Error, Result};

/// How much noise of its own a path between two data sets has.
///
/// Sources: Tong et al. 2024, arXiv:2302.00482, Eq. 14 and 19; Albergo & Vanden-Eijnden 2023, arXiv:2209.15571.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bridge {
    /// As much everywhere, the ends included: 0.1 in two dimensions, 0 for images in the paper.
    Constant {
        /// σ.
        sigma: f64,
    },
    /// A Brownian bridge: none at the ends.
    Schrodinger {
        /// σ, the diffusion of the reference process.
        sigma: f64,
    },
}

/// Points of a batch of bridges, and their velocities.
#[derive(Clone, Debug)]
pub struct Crossing {
    /// x_t, (B, …).
    pub x: Tensor,
    /// dx/dt at fixed x_0, x_1 and z, (B, …).
    pub velocity: Tensor,
}

impl Bridge {
    /// γ and dγ/dt at a level of a path that ends at `t_max`.
    #[must_use]
    pub fn noise(self, at: NoiseLevel, t_max: f64) -> (f64, f64) {
        match self {
            Self::Constant { sigma } => (sigma, 0.0),
            Self::Schrodinger { sigma: 0.0 } => (0.0, 0.0),
            Self::Schrodinger { sigma } => {
                let share = at.t / t_max;
                let root = (share * (1.0 - share)).max(0.0).sqrt();
                (sigma * root, sigma * (0.5 - share) / (root * t_max))
            }
        }
    }

    /// The points between data `x0` and sources `x1` with the noise `z`, all (B, …), one level a row, and their velocities.
    ///
    /// # Errors
    ///
    /// When shapes differ, or a velocity is infinite: a Brownian bridge's at its ends.
    pub fn cross(self, [x0, x1, z]: [&Tensor; 3], levels: &[NoiseLevel], t_max: f64) -> Result<Crossing> {
        let noises: Vec<_> = levels.iter().map(|level| self.noise(*level, t_max)).collect();
        let ends = levels.iter().zip(&noises).find(|(level, (_, slope))| {
            !(slope.is_finite() && level.alpha_dot.is_finite() && level.sigma_dot.is_finite())
        });
        if let Some((level, _)) = ends {
            return Err(Error::Unbounded {
                what: "the velocity of the bridge",
                t: level.t,
            });
        }
        let sum = |alpha: &dyn Fn(&NoiseLevel) -> f64,
                   beta: &dyn Fn(&NoiseLevel) -> f64,
                   gamma: &dyn Fn(&(f64, f64)) -> f64| {
            let alphas: Vec<f64> = levels.iter().map(alpha).collect();
            let betas: Vec<f64> = levels.iter().map(beta).collect();
            let gammas: Vec<f64> = noises.iter().map(gamma).collect();
            combine_rows(&[(&alphas, x0), (&betas, x1), (&gammas, z)])
        };
        Ok(Crossing {
            x: sum(&|l| l.alpha, &|l| l.sigma, &|n| n.0)?,
            velocity: sum(&|l| l.alpha_dot, &|l| l.sigma_dot, &|n| n.1)?,
        })
    }

    /// Refuses a σ that makes no bridge.
    ///
    /// # Errors
    ///
    /// When it is negative or not finite.
    pub fn check(self) -> Result<()> {
        let (Self::Constant { sigma } | Self::Schrodinger { sigma }) = self;
        if sigma >= 0.0 && sigma.is_finite() {
            return Ok(());
        }
        Err(Error::Parameter {
            owner: "Bridge",
            name: "sigma",
            value: sigma,
            allowed: "finite and not negative",
        })
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;
    use tallow_schedules::{RectifiedFlow, Schedule, Trigonometric};

    use super::*;

    fn largest(difference: &Tensor) -> f64 {
        let largest = difference.abs().unwrap().max_all().unwrap();
        largest.to_scalar::<f64>().unwrap()
    }

    #[test]
    fn the_velocity_is_the_slope_of_the_crossing() {
        let points = [[0.7f64, -1.0], [2.0, 0.4], [-0.3, 1.1]];
        let [x0, x1, z] = points.map(|row| Tensor::new(&[row], &Device::Cpu).unwrap());
        let paths: [&dyn Schedule; 2] = [&RectifiedFlow::default(), &Trigonometric];
        for path in paths {
            for bridge in [
                Bridge::Constant { sigma: 0.3 },
                Bridge::Schrodinger { sigma: 0.8 },
            ] {
                for t in [0.1, 0.5, 0.83] {
                    let at = |t: f64| bridge.cross([&x0, &x1, &z], &[path.level(t)], 1.0).unwrap();
                    let slope = ((at(t + 1e-6).x - at(t - 1e-6).x).unwrap() / 2e-6).unwrap();
                    assert!(
                        largest(&(slope - at(t).velocity).unwrap()) < 1e-8,
                        "{bridge:?} at {t}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_brownian_bridge_starts_and_ends_without_noise_and_has_its_variance_between() {
        let path = RectifiedFlow::default();
        let bridge = Bridge::Schrodinger { sigma: 0.8 };
        for (t, variance) in [(0.0, 0.0), (1.0, 0.0), (0.5, 0.16), (0.2, 0.64 * 0.16)] {
            assert!((bridge.noise(path.level(t), 1.0).0.powi(2) - variance).abs() < 1e-15);
        }
    }

    #[test]
    fn the_infinite_velocity_at_an_end_is_refused_with_a_way_out() {
        let x = Tensor::new(&[[0.0f64]], &Device::Cpu).unwrap();
        let path = RectifiedFlow::default();
        let message = Bridge::Schrodinger { sigma: 0.8 }
            .cross([&x, &x, &x], &[path.level(1.0)], 1.0)
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("t = 1") && message.contains("TimeSampling::within"),
            "{message}"
        );
        let none = Bridge::Schrodinger { sigma: 0.0 };
        assert!(none.cross([&x, &x, &x], &[path.level(1.0)], 1.0).is_ok());
        for sigma in [-0.1, f64::NAN, f64::INFINITY] {
            assert!(Bridge::Constant { sigma }.check().is_err());
        }
    }
}
