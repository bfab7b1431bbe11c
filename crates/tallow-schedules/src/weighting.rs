//! Loss weights, as functions of a noise level.
//!
//! ```text
//! loss = w(level) |x̂_0 − x_0|²          SNR = α²/σ²
//! ```
//!
//! All weights stand on the error of x̂_0. An objective on another target multiplies by the square of that target's
//! [gain](crate::Prediction::gain): on ε by σ²/α² = 1/SNR, on EDM's F by what makes its weight 1. So min-SNR is min-SNR
//! for every prediction.

use crate::error::check;
use crate::{NoiseLevel, Result};

/// How much a level counts in the loss; the weight of the squared error of x̂_0.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum Weighting {
    /// 1.
    Uniform,
    /// SNR: the plain mean squared error of ε, DDPM's L_simple (Ho et al. 2020, arXiv:2006.11239, Eq. 14).
    #[default]
    Snr,
    /// min(SNR, γ): no level counts more than γ; 5 in the paper (Hang et al. 2023, arXiv:2303.09556).
    MinSnr {
        /// γ.
        gamma: f64,
    },
    /// SNR γ/(SNR + γ), the smooth form of min-SNR (Crowson et al. 2024, arXiv:2401.11605).
    SoftMinSnr {
        /// γ.
        gamma: f64,
    },
    /// SNR/(k + SNR)^γ: less for levels that are almost clean (Choi et al. 2022, arXiv:2204.00227, whose 1/(k + SNR)^γ
    /// stands on the error of ε).
    P2 {
        /// k, 1 in the paper.
        k: f64,
        /// γ, 0.5 or 1 in the paper.
        gamma: f64,
    },
    /// (σ̂² + σ_d²)/(σ̂ σ_d)² with σ̂ = σ/α: weight 1 on the network's own output (Karras et al. 2022, arXiv:2206.00364,
    /// Table 1).
    Edm {
        /// Standard deviation of the data, σ_d.
        sigma_data: f64,
    },
    /// e^b S(ln SNR − b) = SNR · S(b − ln SNR) with the logistic S (Kingma & Gao 2023, arXiv:2303.00848; Hoogeboom et al.
    /// 2024, arXiv:2410.19324).
    Sigmoid {
        /// b, in units of ln SNR = 2λ.
        bias: f64,
    },
    /// −dSNR/dt = g² α²/σ⁴: half of it, integrated over time, is the variational bound (Song et al. 2021,
    /// arXiv:2101.09258; Kingma et al. 2021, arXiv:2107.00630, Eq. 17).
    Likelihood,
}

impl Weighting {
    /// The weight at a level. Infinite at σ = 0 where the formula is: `Snr`, `P2` with γ < 1, `Edm`, `Likelihood`.
    #[must_use]
    pub fn weight(self, at: NoiseLevel) -> f64 {
        let snr = at.snr();
        let noise = 1.0 / snr;
        match self {
            Self::Uniform => 1.0,
            Self::Snr => snr,
            Self::MinSnr { gamma } => snr.min(gamma),
            Self::SoftMinSnr { gamma } => 1.0 / (noise + 1.0 / gamma),
            Self::P2 { k, gamma } => (k + snr).powf(1.0 - gamma) * signal_share(k, snr),
            Self::Edm { sigma_data } => snr + 1.0 / (sigma_data * sigma_data),
            Self::Sigmoid { bias } => 1.0 / (noise + (-bias).exp()),
            Self::Likelihood => likelihood(at),
        }
    }

    /// Refuses parameters that make no weight.
    ///
    /// # Errors
    ///
    /// When γ of min-SNR or `sigma_data` is not positive and finite, k of P2 is outside [1e-6, 1e6], its γ outside [0, 10],
    /// or the bias outside [-100, 100].
    pub fn check(self) -> Result<()> {
        const POSITIVE: &str = "positive and finite";
        let positive = |name, value: f64| {
            check(
                "a weighting",
                name,
                value,
                POSITIVE,
                value > 0.0 && value.is_finite(),
            )
        };
        match self {
            Self::Uniform | Self::Snr | Self::Likelihood => Ok(()),
            Self::MinSnr { gamma } | Self::SoftMinSnr { gamma } => positive("gamma", gamma),
            Self::P2 { k, gamma } => {
                check("a weighting", "k", k, "in [1e-6, 1e6]", (1e-6..=1e6).contains(&k))?;
                check(
                    "a weighting",
                    "gamma",
                    gamma,
                    "in [0, 10]",
                    (0.0..=10.0).contains(&gamma),
                )
            }
            Self::Edm { sigma_data } => positive("sigma_data", sigma_data),
            Self::Sigmoid { bias } => {
                check("a weighting", "bias", bias, "in [-100, 100]", bias.abs() <= 100.0)
            }
        }
    }
}

/// SNR/(k + SNR), 1 where SNR is infinite.
fn signal_share(k: f64, snr: f64) -> f64 {
    if snr.is_infinite() { 1.0 } else { snr / (k + snr) }
}

/// g² α²/σ⁴ = 2 SNR (σ̇/σ − α̇/α), multiplied out so that α = 0 is harmless.
fn likelihood(at: NoiseLevel) -> f64 {
    if at.sigma == 0.0 {
        return f64::INFINITY;
    }
    2.0 * at.alpha * (at.alpha * at.sigma_dot - at.sigma * at.alpha_dot) / at.sigma.powi(3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Prediction, RectifiedFlow, Schedule, Trigonometric, Ve, VpLinear};

    fn levels() -> Vec<NoiseLevel> {
        let vp = VpLinear::default();
        let mut levels: Vec<_> = [1e-3, 0.1, 0.4, 0.9].map(|t| vp.level(t)).into();
        levels.extend([0.2, 0.7].map(|t| RectifiedFlow::default().level(t)));
        levels.push(Ve::default().level(3.0));
        levels
    }

    fn near(got: f64, want: f64) {
        assert!((got - want).abs() <= 1e-12 * want.abs(), "{got}, not {want}");
    }

    #[test]
    fn times_the_squared_gain_they_are_the_published_weights_of_other_targets() {
        for at in levels() {
            let on = |weighting: Weighting, prediction: Prediction| {
                weighting.weight(at) * prediction.gain(at).powi(2)
            };
            let snr = at.snr();
            near(on(Weighting::Snr, Prediction::Noise), 1.0);
            near(
                on(Weighting::MinSnr { gamma: 5.0 }, Prediction::Noise),
                snr.min(5.0) / snr,
            );
            near(
                on(Weighting::P2 { k: 1.0, gamma: 0.5 }, Prediction::Noise),
                (1.0 + snr).powf(-0.5),
            );
            near(
                on(Weighting::Sigmoid { bias: 1.0 }, Prediction::Noise),
                1.0 / (1.0 + snr * (-1.0_f64).exp()),
            );
            if at.alpha == 1.0 {
                near(
                    on(
                        Weighting::Edm { sigma_data: 0.5 },
                        Prediction::Edm { sigma_data: 0.5 },
                    ),
                    1.0,
                );
            }
        }
    }

    #[test]
    fn likelihood_is_the_fall_of_the_signal_to_noise_ratio() {
        let path = VpLinear::default();
        for t in [0.05, 0.4, 0.9] {
            let h = 1e-6;
            let fall = (path.level(t - h).snr() - path.level(t + h).snr()) / (2.0 * h);
            let weight = Weighting::Likelihood.weight(path.level(t));
            assert!((weight / fall - 1.0).abs() < 1e-6, "{weight} at {t}, not {fall}");
        }
    }

    #[test]
    fn bounded_weights_stay_below_their_bound_and_meet_it_in_clean_data() {
        for at in levels() {
            assert!(
                Weighting::SoftMinSnr { gamma: 5.0 }.weight(at) < Weighting::MinSnr { gamma: 5.0 }.weight(at)
            );
        }
        let (clean, noise) = (Trigonometric.level(0.0), Trigonometric.level(1.0));
        for (weighting, bound) in [
            (Weighting::MinSnr { gamma: 5.0 }, 5.0),
            (Weighting::SoftMinSnr { gamma: 5.0 }, 5.0),
            (Weighting::Sigmoid { bias: 0.0 }, 1.0),
            (Weighting::P2 { k: 1.0, gamma: 1.0 }, 1.0),
        ] {
            near(weighting.weight(clean), bound);
            assert_eq!(weighting.weight(noise), 0.0);
        }
        assert_eq!(Weighting::Likelihood.weight(noise), 0.0);
    }

    #[test]
    fn parameters_that_make_no_weight_are_refused() {
        for weighting in [
            Weighting::MinSnr { gamma: 0.0 },
            Weighting::SoftMinSnr { gamma: f64::NAN },
            Weighting::P2 { k: -1.0, gamma: 1.0 },
            Weighting::P2 {
                k: 1.0,
                gamma: f64::INFINITY,
            },
            Weighting::Edm { sigma_data: 0.0 },
            Weighting::Sigmoid { bias: f64::NAN },
        ] {
            assert!(weighting.check().is_err(), "{weighting:?}");
        }
        assert!(Weighting::default().check().is_ok());
    }
}
