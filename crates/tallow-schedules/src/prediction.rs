//! What a network is asked for, as the pair (a, b) of `f = a x_0 + b ε`.
//!
//! ```text
//! ⎡x_t⎤   ⎡α σ⎤ ⎡x_0⎤        x̂_0 = (b x_t − σ f)/δ        ε̂ = (α f − a x_t)/δ        δ = αb − σa
//! ⎢   ⎥ = ⎢   ⎥ ⎢   ⎥
//! ⎣ f ⎦   ⎣a b⎦ ⎣ ε ⎦        v̂ = α̇ x̂_0 + σ̇ ε̂              score = −ε̂/σ
//! ```
//!
//! Expectation is linear, so the same lines hold for conditional means, for any coupling and any source.

use crate::{Error, NoiseLevel, Result};

/// The largest [`gain`](Prediction::gain) at which a prediction is still of use.
pub const MAX_GAIN: f64 = 1e6;

/// What a network is asked to output: `a x_0 + b ε`.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum Prediction {
    /// The clean data x_0.
    Data,
    /// The noise ε (DDPM, Ho et al. 2020, arXiv:2006.11239).
    Noise,
    /// dx/dt = α̇ x_0 + σ̇ ε of the path, in the direction from data to noise (flow matching).
    Velocity,
    /// v = α ε − σ x_0 (Salimans & Ho 2022, arXiv:2202.00512).
    V,
    /// The score −ε/σ (Song et al. 2021, arXiv:2011.13456).
    Score,
    /// The raw network F of EDM's preconditioning (Karras et al. 2022, arXiv:2206.00364, Eq. 7).
    Edm {
        /// Standard deviation of the data.
        sigma_data: f64,
    },
}

/// A linear combination of the state and the network's output: `x · of_x + f · of_output`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mixture {
    /// Coefficient of x_t.
    pub of_x: f64,
    /// Coefficient of the network's output f.
    pub of_output: f64,
}

impl Prediction {
    /// The pair (a, b) of the target `a x_0 + b ε` at a level.
    #[must_use]
    pub fn target(self, at: NoiseLevel) -> (f64, f64) {
        match self {
            Self::Data => (1.0, 0.0),
            Self::Noise => (0.0, 1.0),
            Self::Velocity => (at.alpha_dot, at.sigma_dot),
            Self::V => (-at.sigma, at.alpha),
            Self::Score => (0.0, -1.0 / at.sigma),
            Self::Edm { sigma_data } => {
                let norm = at.sigma.hypot(at.alpha * sigma_data);
                (at.sigma / (sigma_data * norm), -sigma_data * at.alpha / norm)
            }
        }
    }

    /// How far a unit error of the network moves x̂_0: σ/|αb − σa|. Zero at σ = 0, where x̂_0 = x/α whatever is predicted.
    ///
    /// Infinite where the target itself is: velocity at an end of slope −∞ (α = 0 on the sigmoid path).
    #[must_use]
    pub fn gain(self, at: NoiseLevel) -> f64 {
        if at.sigma > 0.0 && self == Self::Velocity && !(at.alpha_dot.is_finite() && at.sigma_dot.is_finite())
        {
            return f64::INFINITY;
        }
        self.x0(at).of_output.abs()
    }

    /// Refuses a level at which the prediction cannot see the data.
    ///
    /// # Errors
    ///
    /// When the [gain](Self::gain) is above [`MAX_GAIN`]: noise prediction at α = 0, for one.
    pub fn check(self, at: NoiseLevel) -> Result<()> {
        let gain = self.gain(at);
        // Written so that a NaN fails, too.
        if gain <= MAX_GAIN {
            Ok(())
        } else {
            Err(Error::Blind {
                prediction: self,
                t: at.t,
                alpha: at.alpha,
                gain,
            })
        }
    }

    /// x̂_0 from x_t and the output.
    #[must_use]
    pub fn x0(self, at: NoiseLevel) -> Mixture {
        if at.sigma == 0.0 {
            return Mixture {
                of_x: 1.0 / at.alpha,
                of_output: 0.0,
            };
        }
        match self {
            Self::Data => Mixture {
                of_x: 0.0,
                of_output: 1.0,
            },
            // Multiplied by σ: b itself is −1/σ.
            Self::Score => Mixture {
                of_x: 1.0 / at.alpha,
                of_output: at.sigma * (at.sigma / at.alpha),
            },
            Self::Noise | Self::Velocity | Self::V | Self::Edm { .. } => {
                let (a, b) = self.target(at);
                let delta = at.alpha * b - at.sigma * a;
                Mixture {
                    of_x: b / delta,
                    of_output: -at.sigma / delta,
                }
            }
        }
    }

    /// ε̂ from x_t and the output. At σ = 0, where x_t says nothing of ε, what the output alone says of it.
    #[must_use]
    pub fn noise(self, at: NoiseLevel) -> Mixture {
        let (a, b) = self.target(at);
        match self {
            Self::Score => Mixture {
                of_x: 0.0,
                of_output: -at.sigma,
            },
            _ if at.sigma == 0.0 && (b == 0.0 || b.is_infinite()) => Mixture {
                of_x: 0.0,
                of_output: 0.0,
            },
            _ => {
                let delta = at.alpha * b - at.sigma * a;
                Mixture {
                    of_x: -a / delta,
                    of_output: at.alpha / delta,
                }
            }
        }
    }

    /// v̂ = dx/dt from x_t and the output.
    #[must_use]
    pub fn velocity(self, at: NoiseLevel) -> Mixture {
        if self == Self::Velocity {
            return Mixture {
                of_x: 0.0,
                of_output: 1.0,
            };
        }
        self.x0(at)
            .times(at.alpha_dot)
            .plus(self.noise(at).times(at.sigma_dot))
    }

    /// The score −ε̂/σ from x_t and the output; infinite at σ = 0.
    #[must_use]
    pub fn score(self, at: NoiseLevel) -> Mixture {
        if self == Self::Score {
            return Mixture {
                of_x: 0.0,
                of_output: 1.0,
            };
        }
        self.noise(at).times(-1.0 / at.sigma)
    }
}

impl Mixture {
    /// Both coefficients times a factor; a coefficient of zero stays zero, even times infinity.
    #[must_use]
    pub fn times(self, factor: f64) -> Self {
        let scale = |value: f64| if value == 0.0 { 0.0 } else { value * factor };
        Self {
            of_x: scale(self.of_x),
            of_output: scale(self.of_output),
        }
    }

    /// The sum, coefficient by coefficient.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            of_x: self.of_x + other.of_x,
            of_output: self.of_output + other.of_output,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{RectifiedFlow, Schedule, Trigonometric, Ve, VpLinear, VpSigmoid};

    #[test]
    fn the_laws_of_predictions_hold_on_four_paths() {
        let paths: [&dyn Schedule; 4] = [
            &VpLinear::default(),
            &RectifiedFlow::default(),
            &Trigonometric,
            &Ve::default(),
        ];
        for path in paths {
            crate::laws::of_predictions(path);
        }
    }

    #[test]
    fn noise_is_blind_where_there_is_no_signal_and_v_is_not() {
        let end = Trigonometric.level(1.0);
        assert!(Prediction::Noise.check(end).is_err() && Prediction::Score.check(end).is_err());
        assert!(Prediction::V.check(end).is_ok() && Prediction::Velocity.check(end).is_ok());
        let message = Prediction::Noise.check(end).unwrap_err().to_string();
        assert!(
            message.starts_with("Noise prediction cannot see the data at t = 1"),
            "{message}"
        );
        assert!(
            Prediction::Velocity
                .check(VpSigmoid::default().level(1.0))
                .is_err()
        );
    }

    #[test]
    fn at_sigma_zero_the_state_is_the_data() {
        let clean = VpLinear::default().level(0.0);
        for prediction in [
            Prediction::Data,
            Prediction::Noise,
            Prediction::V,
            Prediction::Velocity,
            Prediction::Score,
        ] {
            assert_eq!(
                prediction.x0(clean),
                Mixture {
                    of_x: 1.0,
                    of_output: 0.0
                }
            );
            assert_eq!(prediction.gain(clean), 0.0);
        }
    }

    #[test]
    fn preconditioning_never_amplifies_beyond_the_spread_of_the_data() {
        let edm = Prediction::Edm { sigma_data: 0.5 };
        for sigma in [1e-6, 0.5, 80.0] {
            assert!(edm.gain(Ve::default().level(sigma)) <= 0.5 + 1e-12);
        }
    }
}
