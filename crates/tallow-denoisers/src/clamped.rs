//! Thresholding: x̂_0 is held within the range of the data, and ε̂ re-derived from it.
//!
//! ```text
//! static    x̂_0 ← clip(x̂_0, −r, r)
//! dynamic   s = quantile_p |x̂_0| of each sample, s ← max(s, 1);  x̂_0 ← clip(x̂_0, −s, s)/s
//! then      ε̂ = (x − α x̂_0)/σ
//! ```
//!
//! For data in pixel space. Source: Saharia et al. 2022 (Imagen), arXiv:2205.11487, section 2.3.

use candle_core::{DType, Device, Tensor};
use tallow_schedules::NoiseLevel;

use crate::{Denoiser, Error, Estimate, Levels, Result, combine_rows};

/// A model whose x̂_0 is held within a range; ε̂ follows it.
///
/// Source: Saharia et al. 2022 (Imagen), arXiv:2205.11487, section 2.3.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use tallow_denoisers::{Clamped, Denoiser, ExactGaussian, Threshold};
/// use tallow_schedules::{RectifiedFlow, Schedule};
///
/// let model = Clamped::new(ExactGaussian::new(vec![3.0], vec![0.1])?, Threshold::Static { range: 1.0 })?;
/// let x = Tensor::new(&[[0.5]], &Device::Cpu)?;
/// let estimate = model.estimate(&x, RectifiedFlow::default().level(0.5).into())?;
/// assert_eq!(estimate.x0()?.to_vec2::<f64>()?, [[1.0]]);
/// assert_eq!(estimate.noise()?.to_vec2::<f64>()?, [[0.0]]);
/// # Ok::<(), tallow_denoisers::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Clamped<D> {
    model: D,
    threshold: Threshold,
}

/// How far from 0 the data may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Threshold {
    /// Values are clipped to [−range, range].
    Static {
        /// The largest absolute value of the data.
        range: f64,
    },
    /// Values are clipped to a quantile of each sample's own absolute values, and divided by it.
    Dynamic {
        /// p in [0, 1]: 0.995 in Imagen.
        quantile: f64,
        /// What the quantile is held to.
        limit: Limit,
    },
}

/// What the quantile of a sample is held to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Limit {
    /// At least this: samples within the range are left alone. Imagen's is 1.
    AtLeast(f64),
    /// Between 1 and this, as diffusers' `sample_max_value`.
    OneTo(f64),
}

impl<D: Denoiser> Clamped<D> {
    /// Holds a model to a threshold.
    ///
    /// # Errors
    ///
    /// When the range is not positive, the quantile is outside [0, 1], or the limit leaves no room.
    pub fn new(model: D, threshold: Threshold) -> Result<Self> {
        threshold.check()?;
        Ok(Self { model, threshold })
    }
}

impl<D: Denoiser> Denoiser for Clamped<D> {
    fn estimate(&self, x: &Tensor, at: Levels<'_>) -> Result<Estimate> {
        let estimate = self.model.estimate(x, at)?;
        let x0 = self.threshold.apply(&estimate.x0()?)?;
        Ok(Estimate::from_x0(x, x0, at)?.with_range(estimate.range().cloned()))
    }

    fn cost(&self, at: NoiseLevel) -> usize {
        self.model.cost(at)
    }

    fn begin<'s>(&'s self) -> Option<Box<dyn Denoiser + 's>> {
        let model = self.model.begin()?;
        Some(Box::new(Clamped {
            model,
            threshold: self.threshold,
        }))
    }
}

impl Threshold {
    /// The data, (B, …), held within the threshold. The threshold itself counts as a constant of the gradient.
    ///
    /// # Errors
    ///
    /// When a value is not finite, or a tensor operation fails.
    pub fn apply(&self, x0: &Tensor) -> Result<Tensor> {
        match self {
            Self::Static { range } => Ok(x0.clamp(-range, *range)?),
            Self::Dynamic { .. } => {
                let inverse: Vec<f64> = self.of_rows(x0)?.into_iter().map(f64::recip).collect();
                // Clipping at s and dividing by s is dividing by s and clipping at 1.
                Ok(combine_rows(&[(&inverse, x0)])?.clamp(-1.0, 1.0)?)
            }
        }
    }

    /// The threshold of each row of `x0`, (B, …).
    ///
    /// # Errors
    ///
    /// When a value is not finite, or the device refuses to hand them over.
    pub fn of_rows(&self, x0: &Tensor) -> Result<Vec<f64>> {
        let rows = x0.dims().first().copied().ok_or_else(|| Error::NoRows {
            what: "x0".to_owned(),
        })?;
        match *self {
            Self::Static { range } => Ok(vec![range; rows]),
            Self::Dynamic { quantile, limit } => {
                let values = x0
                    .detach()
                    .to_device(&Device::Cpu)?
                    .to_dtype(DType::F64)?
                    .flatten_all()?
                    .to_vec1::<f64>()?;
                let per_row = (values.len() / rows.max(1)).max(1);
                values
                    .chunks(per_row)
                    .map(|row| Ok(limit.hold(quantile_of_absolutes(row, quantile)?)))
                    .collect()
            }
        }
    }

    fn check(&self) -> Result<()> {
        let refused = |name, value, allowed| {
            Err(Error::Parameter {
                owner: "Threshold",
                name,
                value,
                allowed,
            })
        };
        match *self {
            Self::Static { range } if !(range.is_finite() && range > 0.0) => {
                refused("range", range, "positive and finite")
            }
            Self::Dynamic { quantile, .. } if !(0.0..=1.0).contains(&quantile) => {
                refused("quantile", quantile, "in [0, 1]")
            }
            Self::Dynamic {
                limit: Limit::AtLeast(least),
                ..
            } if !(least.is_finite() && least > 0.0) => refused("limit", least, "positive and finite"),
            Self::Dynamic {
                limit: Limit::OneTo(most),
                ..
            } if !(most.is_finite() && most >= 1.0) => refused("limit", most, "at least 1 and finite"),
            _ => Ok(()),
        }
    }
}

impl Limit {
    fn hold(self, quantile: f64) -> f64 {
        match self {
            Self::AtLeast(least) => quantile.max(least),
            Self::OneTo(most) => quantile.clamp(1.0, most),
        }
    }
}

/// The p-quantile of |x|, with linear interpolation between order statistics.
fn quantile_of_absolutes(row: &[f64], p: f64) -> Result<f64> {
    let mut sorted: Vec<f64> = row.iter().map(|value| value.abs()).collect();
    if let Some(&value) = sorted.iter().find(|value| !value.is_finite()) {
        return Err(Error::Parameter {
            owner: "Threshold",
            name: "x0",
            value,
            allowed: "finite",
        });
    }
    let place = p * (sorted.len() - 1) as f64;
    let below = place.floor() as usize;
    // Selection, not sorting: linear in the number of pixels.
    let (_, &mut low, above) = sorted.select_nth_unstable_by(below, f64::total_cmp);
    let high = above.iter().copied().fold(f64::INFINITY, f64::min);
    Ok(if high.is_finite() {
        low + (place - below as f64) * (high - low)
    } else {
        low
    })
}

#[cfg(test)]
mod tests {
    use tallow_schedules::{RectifiedFlow, Schedule};

    use super::*;
    use crate::{ExactGaussian, lincomb};

    #[test]
    fn a_quantile_lies_between_order_statistics() {
        let row = [-3.0, 1.0, 2.0, 0.0, -4.0];
        assert_eq!(quantile_of_absolutes(&row, 0.5).unwrap(), 2.0);
        assert_eq!(quantile_of_absolutes(&row, 0.625).unwrap(), 2.5);
        assert_eq!(quantile_of_absolutes(&row, 1.0).unwrap(), 4.0);
        assert_eq!(quantile_of_absolutes(&row, 0.0).unwrap(), 0.0);
        assert!(quantile_of_absolutes(&[1.0, f64::NAN], 0.5).is_err());
    }

    #[test]
    fn the_noise_is_what_remains_of_x() {
        let threshold = Threshold::Dynamic {
            quantile: 0.5,
            limit: Limit::AtLeast(1.0),
        };
        let model = Clamped::new(
            ExactGaussian::new(vec![3.0, 0.1], vec![0.1; 2]).unwrap(),
            threshold,
        )
        .unwrap();
        let x = Tensor::new(&[[0.5f64, -2.0], [9.0, 0.2]], &Device::Cpu).unwrap();
        let level = RectifiedFlow::default().level(0.3);
        let estimate = model.estimate(&x, level.into()).unwrap();
        let sum = lincomb([
            (level.alpha, &estimate.x0().unwrap()),
            (level.sigma, &estimate.noise().unwrap()),
        ])
        .unwrap();
        let off = (sum - &x)
            .unwrap()
            .abs()
            .unwrap()
            .max_all()
            .unwrap()
            .to_scalar::<f64>()
            .unwrap();
        assert!(off < 1e-14, "{off}");
        assert!(
            estimate
                .x0()
                .unwrap()
                .abs()
                .unwrap()
                .max_all()
                .unwrap()
                .to_scalar::<f64>()
                .unwrap()
                <= 1.0
        );
    }

    #[test]
    fn a_sample_is_thresholded_alone() {
        let threshold = Threshold::Dynamic {
            quantile: 0.9,
            limit: Limit::AtLeast(1.0),
        };
        let x0 = Tensor::new(&[[0.5f64, -20.0, 3.0], [0.1, 0.2, 0.3]], &Device::Cpu).unwrap();
        let together = threshold.apply(&x0).unwrap();
        for row in 0..2 {
            let alone = threshold.apply(&x0.narrow(0, row, 1).unwrap()).unwrap();
            let together = together.narrow(0, row, 1).unwrap();
            assert_eq!(
                alone.to_vec2::<f64>().unwrap(),
                together.to_vec2::<f64>().unwrap()
            );
        }
    }

    #[test]
    fn thresholds_without_room_are_refused() {
        let model = || ExactGaussian::new(vec![0.0], vec![1.0]).unwrap();
        for threshold in [
            Threshold::Static { range: 0.0 },
            Threshold::Static { range: f64::NAN },
            Threshold::Dynamic {
                quantile: 1.1,
                limit: Limit::AtLeast(1.0),
            },
            Threshold::Dynamic {
                quantile: 0.9,
                limit: Limit::AtLeast(-1.0),
            },
            Threshold::Dynamic {
                quantile: 0.9,
                limit: Limit::OneTo(0.5),
            },
        ] {
            assert!(Clamped::new(model(), threshold).is_err(), "{threshold:?}");
        }
    }
}
