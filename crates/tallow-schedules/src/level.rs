//! One moment of a path: four numbers and what follows from them.

/// One moment of a Gaussian path: time, the two scales and their slopes. `Copy`, so it travels by value.
///
/// ```text
/// x_t = α x_0 + σ ε        λ = ln(α/σ)        dx = (α̇/α) x dt + g dw        g² = 2σ (σ̇ − σ α̇/α)
/// ```
///
/// The ends of a path are legal: at σ = 0 the log-signal-to-noise ratio is +∞, at α = 0 it is −∞, never NaN.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct NoiseLevel {
    /// Time, from 0 (data) to the path's `t_max` (noise).
    pub t: f64,
    /// Signal scale α.
    pub alpha: f64,
    /// Noise scale σ, in units of the data.
    pub sigma: f64,
    /// dα/dt.
    pub alpha_dot: f64,
    /// dσ/dt; infinite where a path's σ rises from 0 like √t.
    pub sigma_dot: f64,
}

impl NoiseLevel {
    /// Half the log of the signal-to-noise ratio, ln(α/σ): DPM-Solver's λ. (VDM's log-SNR is 2λ, its γ is −2λ.)
    #[must_use]
    pub fn lambda(&self) -> f64 {
        self.alpha.ln() - self.sigma.ln()
    }

    /// dλ/dt = α̇/α − σ̇/σ; −∞ where α or σ is 0.
    #[must_use]
    pub fn lambda_dot(&self) -> f64 {
        if self.alpha == 0.0 || self.sigma == 0.0 {
            f64::NEG_INFINITY
        } else {
            self.alpha_dot / self.alpha - self.sigma_dot / self.sigma
        }
    }

    /// Signal-to-noise ratio α²/σ² = e^{2λ}.
    #[must_use]
    pub fn snr(&self) -> f64 {
        (self.alpha / self.sigma).powi(2)
    }

    /// σ/α: the noise level of the rescaled state x/α, which EDM calls σ.
    #[must_use]
    pub fn noise_to_signal(&self) -> f64 {
        self.sigma / self.alpha
    }

    /// f of the forward SDE `dx = f x dt + g dw`: α̇/α; −∞ at α = 0.
    #[must_use]
    pub fn drift(&self) -> f64 {
        if self.alpha == 0.0 {
            f64::NEG_INFINITY
        } else {
            self.alpha_dot / self.alpha
        }
    }

    /// g² of the forward SDE: 2σ(σ̇ − σ α̇/α) = −2σ²λ̇; +∞ at α = 0.
    ///
    /// Where σ rises from 0 like √t the product σσ̇ is 0·∞; there the path is taken to keep α² + σ² = 1, so that
    /// σσ̇ = −αα̇ and g² = −2α̇/α = β. All paths of this crate with such a start do.
    #[must_use]
    pub fn diffusion_squared(&self) -> f64 {
        if self.alpha == 0.0 {
            f64::INFINITY
        } else if self.sigma == 0.0 && self.sigma_dot.is_infinite() {
            -2.0 * self.drift()
        } else {
            2.0 * self.sigma * (self.sigma_dot - self.sigma * self.drift())
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{Polynomial, RectifiedFlow, Schedule, Trigonometric, Ve, VpLinear, VpSigmoid};

    #[test]
    fn the_diffusion_of_the_vp_path_is_its_beta_also_at_the_clean_end() {
        let path = VpLinear::default();
        for t in [0.0, 1e-5, 0.3, 1.0] {
            let g2 = path.level(t).diffusion_squared();
            assert!((g2 / path.beta(t) - 1.0).abs() < 1e-9, "g² {g2} at {t}");
        }
        assert_eq!(Ve::default().level(3.0).diffusion_squared(), 6.0);
    }

    #[test]
    fn nothing_is_nan_at_the_ends() {
        let paths: [&dyn Schedule; 5] = [
            &RectifiedFlow::default(),
            &Trigonometric,
            &VpSigmoid::default(),
            &Polynomial::new(2.0).unwrap(),
            &Ve::default(),
        ];
        for path in paths {
            for t in [0.0, path.t_max()] {
                let level = path.level(t);
                let all = [
                    level.lambda(),
                    level.lambda_dot(),
                    level.snr(),
                    level.noise_to_signal(),
                    level.drift(),
                ];
                assert!(
                    !all.iter().any(|value| value.is_nan()),
                    "{path:?} at {t}: {all:?}"
                );
                assert!(!level.diffusion_squared().is_nan(), "{path:?} at {t}");
            }
        }
    }
}
