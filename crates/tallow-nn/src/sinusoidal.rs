//! Sinusoidal embeddings of times.
//!
//! ```text
//! ω_k = scale · max_period^(−k/(n − shift)),  k = 0 … n − 1,  n = outputs/2;   y = (cos tω, sin tω) in the order asked for
//! ```
//!
//! Sources: Vaswani et al. 2017, arXiv:1706.03762 §3.5; Ho et al. 2020, arXiv:2006.11239 (DDPM); Dhariwal & Nichol 2021,
//! arXiv:2105.05233 (ADM).

use candle_core::Tensor;

use crate::dual::Dual;
use crate::error::{Error, Result};
use crate::fourier_features::{FourierFeatures, WaveOrder};

/// The conventions of a [`SinusoidalEmbedding`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SinusoidalConfig {
    /// Sines or cosines first (diffusers' `flip_sin_to_cos` is cosines first).
    pub order: WaveOrder,
    /// 2π times this is the longest period, in units of the scaled time.
    pub max_period: f64,
    /// What is subtracted from the number of frequencies in the exponent (diffusers' `downscale_freq_shift`).
    pub frequency_shift: f64,
    /// What times are multiplied by first: 1000 for times in [0, 1].
    pub scale: f64,
}

impl Default for SinusoidalConfig {
    /// ADM's and DiT's: cosines first, period 10 000, no shift, times as they are.
    fn default() -> Self {
        Self {
            order: WaveOrder::CosinesFirst,
            max_period: 10_000.0,
            frequency_shift: 0.0,
            scale: 1.0,
        }
    }
}

impl SinusoidalConfig {
    /// DDPM's, the default of diffusers' `Timesteps`: sines first and a shift of 1.
    #[must_use]
    pub fn ddpm() -> Self {
        Self {
            order: WaveOrder::SinesFirst,
            frequency_shift: 1.0,
            ..Self::default()
        }
    }
}

/// The embedding of times: (B,) to (B, outputs).
///
/// Sources: Vaswani et al. 2017, arXiv:1706.03762 §3.5; Ho et al. 2020, arXiv:2006.11239 (DDPM); Dhariwal & Nichol
/// 2021, arXiv:2105.05233 (ADM).
#[derive(Clone, Debug, PartialEq)]
pub struct SinusoidalEmbedding(FourierFeatures);

impl SinusoidalEmbedding {
    /// An embedding with `outputs` values under the given conventions.
    ///
    /// # Errors
    ///
    /// When `outputs` is odd or too small for the shift, or a number of the configuration is out of range.
    pub fn new(outputs: usize, config: SinusoidalConfig) -> Result<Self> {
        if outputs == 0 || !outputs.is_multiple_of(2) {
            let allowed = "even and positive: a sine and a cosine for each frequency";
            return Err(Error::Setting {
                name: "outputs of a sinusoidal embedding",
                value: outputs as f64,
                allowed,
            });
        }
        let waves = outputs / 2;
        let span = waves as f64 - config.frequency_shift;
        if span.is_nan() || span <= 0.0 {
            let allowed = "less than half of the outputs";
            return Err(Error::Setting {
                name: "frequency_shift",
                value: config.frequency_shift,
                allowed,
            });
        }
        if config.max_period.is_nan() || config.max_period <= 0.0 {
            let value = config.max_period;
            return Err(Error::Setting {
                name: "max_period",
                value,
                allowed: "a positive number",
            });
        }
        let frequency = |k: usize| config.scale * (-config.max_period.ln() * k as f64 / span).exp();
        Ok(Self(FourierFeatures::new(
            1,
            (0..waves).map(frequency).collect(),
            config.order,
        )?))
    }

    /// Values of an output row.
    #[must_use]
    pub fn outputs(&self) -> usize {
        self.0.outputs()
    }

    /// (B, outputs) of the times t, (B,), in their type.
    ///
    /// # Errors
    ///
    /// When `t` is not of rank 1.
    pub fn forward(&self, t: &Tensor) -> Result<Tensor> {
        Self::check_input(t)?;
        self.0.forward(&t.unsqueeze(1)?)
    }

    /// The embedding with its derivative along the tangent of the times.
    ///
    /// # Errors
    ///
    /// Those of [`forward`](Self::forward).
    pub fn forward_dual(&self, t: &Dual) -> Result<Dual> {
        Self::check_input(t.value())?;
        self.0.forward_dual(&t.linear(|t| t.unsqueeze(1))?)
    }

    fn check_input(t: &Tensor) -> Result<()> {
        if t.rank() != 1 {
            let (layer, wanted) = ("a sinusoidal embedding".to_string(), "(batch,)".to_string());
            return Err(Error::Input {
                layer,
                wanted,
                got: t.shape().clone(),
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{check_dual, random};
    use candle_core::{DType, Device};

    #[test]
    fn conventions_are_those_of_adm_and_of_ddpm() {
        let t = Tensor::new(&[0.0f64, 7.0, 999.0], &Device::Cpu).unwrap();
        let adm = SinusoidalEmbedding::new(8, SinusoidalConfig::default())
            .unwrap()
            .forward(&t)
            .unwrap();
        let ddpm = SinusoidalEmbedding::new(8, SinusoidalConfig::ddpm())
            .unwrap()
            .forward(&t)
            .unwrap();
        let (adm, ddpm) = (adm.to_vec2::<f64>().unwrap(), ddpm.to_vec2::<f64>().unwrap());
        for (row, t) in [0.0f64, 7.0, 999.0].into_iter().enumerate() {
            for k in 0..4 {
                // 10000^(−k/4) = 10^−k, and with a shift of 1, 10^(−4k/3).
                let angle = t * 0.1f64.powi(k);
                assert!((adm[row][k as usize] - angle.cos()).abs() < 1e-12);
                assert!((adm[row][k as usize + 4] - angle.sin()).abs() < 1e-12);
                let angle = t * 10f64.powf(-4.0 * f64::from(k) / 3.0);
                assert!((ddpm[row][k as usize] - angle.sin()).abs() < 1e-12);
                assert!((ddpm[row][k as usize + 4] - angle.cos()).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn tangents_are_central_differences() {
        for config in [SinusoidalConfig::default(), SinusoidalConfig::ddpm()] {
            let embedding = SinusoidalEmbedding::new(
                10,
                SinusoidalConfig {
                    scale: 30.0,
                    ..config
                },
            )
            .unwrap();
            let t = random(5, 3);
            check_dual(&t, |t| embedding.forward_dual(t), |t| embedding.forward(t));
        }
        let embedding = SinusoidalEmbedding::new(4, SinusoidalConfig::default()).unwrap();
        assert!(
            embedding
                .forward_dual(&Dual::constant(random((3, 2), 1)))
                .is_err()
        );
    }

    #[test]
    fn sizes_and_shapes_that_do_not_fit_are_refused() {
        assert!(SinusoidalEmbedding::new(7, SinusoidalConfig::default()).is_err());
        assert!(SinusoidalEmbedding::new(2, SinusoidalConfig::ddpm()).is_err());
        let endless = SinusoidalConfig {
            max_period: f64::INFINITY,
            ..SinusoidalConfig::default()
        };
        assert!(SinusoidalEmbedding::new(8, endless).is_err());
        let embedding = SinusoidalEmbedding::new(4, SinusoidalConfig::default()).unwrap();
        let table = Tensor::zeros((3, 2), DType::F32, &Device::Cpu).unwrap();
        assert!(embedding.forward(&table).is_err());
        assert_eq!(
            embedding
                .forward(&table.narrow(0, 0, 0).unwrap().flatten_all().unwrap())
                .unwrap()
                .dims(),
            [0, 4]
        );
    }
}
