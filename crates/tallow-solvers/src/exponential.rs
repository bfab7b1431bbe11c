//! The probability-flow ODE with its linear part solved: what methods in exponential form have in common.
//!
//! ```text
//! data form     x_s = (σ_s/σ_t) x_t + α_s ∫ e^{λ − λ_s} x̂₀ dλ
//! noise form    x_s = (α_s/α_t) x_t − σ_s ∫ e^{λ_s − λ} ε̂ dλ      = α_s (x_t/α_t + ∫ ε̂ dρ),  ρ = σ/α
//! ```
//!
//! over λ from λ_t to λ_s. What is left to approximate is x̂₀ or ε̂ along the step, by a polynomial in λ or in ρ.
//!
//! Source: Lu et al. 2022, arXiv:2206.00927, Prop. 3.1; Lu et al. 2022, arXiv:2211.01095, Prop. 4.1.

use candle_core::Tensor;
use tallow_denoisers::{Estimate, combine};
use tallow_schedules::{MAX_GAIN, NoiseLevel, Prediction, Step};

use crate::Result;
use crate::phi::{self, MAX_NODES, Moments};

/// Which of the model's estimates a method in exponential form takes to be smooth along a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// x̂_0: the form of the ++ methods, and the steadier one under guidance and at few steps.
    #[default]
    Data,
    /// ε̂: the form of DPM-Solver and DEIS.
    Noise,
}

/// How the slope of a prediction enters a second-order step, and how the inner stages enter a third-order one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Variant {
    /// The prediction in the middle of the step stands for all of it (second order); the last stage alone gives the slope
    /// (third order).
    #[default]
    Midpoint,
    /// The polynomial through the predictions is integrated exactly. Also known as heun.
    Taylor,
}

/// What is interpolated by a polynomial, and in which variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interpolated {
    DataInLambda,
    NoiseInLambda,
    NoiseInRatio,
}

impl From<Form> for Interpolated {
    fn from(form: Form) -> Self {
        match form {
            Form::Data => Self::DataInLambda,
            Form::Noise => Self::NoiseInLambda,
        }
    }
}

/// A step's coefficients: `x_s = kept x_t + scale Σ w_k m_k`, with weights `w_k` made from the moments.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kernel {
    kept: f64,
    scale: f64,
    /// ∫ of the step's weight against 1, s, s², s³, with s from 0 to 1 along the step.
    pub(crate) moments: Moments,
    /// What a weight of 1 is in the scaling of the moments.
    pub(crate) unit: f64,
}

impl Interpolated {
    /// The prediction that is interpolated.
    pub(crate) fn of(self, estimate: &Estimate) -> Result<Tensor> {
        Ok(match self {
            Self::DataInLambda => estimate.x0()?,
            Self::NoiseInLambda | Self::NoiseInRatio => estimate.noise()?,
        })
    }

    /// The estimate of a prediction at a state that may differ from the one at which the model was asked.
    pub(crate) fn estimate(self, x: &Tensor, prediction: &Tensor, at: NoiseLevel) -> Result<Estimate> {
        let kind = match self {
            Self::DataInLambda => Prediction::Data,
            Self::NoiseInLambda | Self::NoiseInRatio => Prediction::Noise,
        };
        Ok(Estimate::new(x, prediction.clone(), kind, at.into())?)
    }

    /// The estimate in which a starter or a stage is computed.
    pub(crate) fn form(self) -> Form {
        match self {
            Self::DataInLambda => Form::Data,
            Self::NoiseInLambda | Self::NoiseInRatio => Form::Noise,
        }
    }

    /// The variable of the polynomial.
    pub(crate) fn coordinate(self, at: NoiseLevel) -> f64 {
        match self {
            Self::DataInLambda | Self::NoiseInLambda => at.lambda(),
            Self::NoiseInRatio => at.noise_to_signal(),
        }
    }

    /// Where a level lies in units of the step, 0 at its start and 1 at its end.
    pub(crate) fn fraction(self, at: NoiseLevel, from: NoiseLevel, to: NoiseLevel) -> f64 {
        let origin = self.coordinate(from);
        (self.coordinate(at) - origin) / (self.coordinate(to) - origin)
    }

    /// Whether a step can be of an order above 1: it does not touch an end of the path (but ρ = 0 is none), nor is it of length 0.
    pub(crate) fn is_regular(self, from: NoiseLevel, to: NoiseLevel) -> bool {
        let reaches = match self {
            Self::DataInLambda | Self::NoiseInLambda => is_inner(to),
            Self::NoiseInRatio => to.sigma <= MAX_GAIN * to.alpha,
        };
        is_inner(from) && reaches && self.coordinate(to) != self.coordinate(from)
    }

    /// The coefficients of a regular step.
    pub(crate) fn kernel(self, from: NoiseLevel, to: NoiseLevel) -> Kernel {
        let h = self.coordinate(to) - self.coordinate(from);
        if self == Self::NoiseInRatio {
            return Kernel {
                kept: to.alpha / from.alpha,
                scale: to.alpha * h,
                moments: phi::UNIFORM,
                unit: 1.0,
            };
        }
        // The factor before the integral of e^{(1−s)z}, and the same times e^z.
        let (kept, z, plain, rescaled) = match self.form() {
            Form::Data => {
                let kept = to.sigma / from.sigma;
                (kept, -h, to.alpha, kept * from.alpha)
            }
            Form::Noise => {
                let kept = to.alpha / from.alpha;
                (kept, h, -to.sigma, -kept * from.sigma)
            }
        };
        Kernel {
            kept,
            scale: h * if phi::is_rescaled(z) { rescaled } else { plain },
            moments: phi::exponential_moments(z),
            unit: phi::unit(z),
        }
    }
}

impl Kernel {
    /// The state at the step's end: from the one at its start and predictions with their weights.
    pub(crate) fn apply(&self, x: &Tensor, predictions: &[(f64, &Tensor)]) -> Result<Tensor> {
        let mut terms = Vec::with_capacity(1 + MAX_NODES);
        terms.push((self.kept, x));
        terms.extend(
            predictions
                .iter()
                .map(|(weight, tensor)| (self.scale * weight, *tensor)),
        );
        Ok(combine(&terms)?)
    }

    /// The weights of the polynomial through predictions at the nodes, integrated exactly.
    pub(crate) fn lagrange(&self, nodes: &[f64]) -> [f64; MAX_NODES] {
        phi::lagrange(nodes, &self.moments)
    }

    /// The weights of the prediction at the step's start and of one at the fraction `node`, for a second-order step.
    pub(crate) fn second_order(&self, variant: Variant, node: f64) -> [f64; MAX_NODES] {
        match variant {
            Variant::Midpoint => {
                let other = 0.5 * self.moments[0] / node;
                [self.moments[0] - other, other, 0.0, 0.0]
            }
            Variant::Taylor => self.lagrange(&[0.0, node]),
        }
    }
}

/// Whether predictions at a level can be interpolated: it is neither an end of the path nor so close to one that noise hides
/// the data, or the data the noise, a million times. Polynomials in λ make nothing of steps that long.
pub(crate) fn is_inner(at: NoiseLevel) -> bool {
    at.sigma > 0.0 && at.sigma <= MAX_GAIN * at.alpha && at.alpha <= MAX_GAIN * at.sigma
}

/// Whether a step of a method in λ can be of an order above 1.
pub(crate) fn is_regular(step: &Step<'_>) -> bool {
    Interpolated::DataInLambda.is_regular(step.from, step.to)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;
    use tallow_schedules::{RectifiedFlow, Schedule, Ve, VpLinear};

    fn scalar(x: &Tensor) -> f64 {
        x.to_vec1::<f64>().unwrap()[0]
    }

    #[test]
    fn a_constant_prediction_is_carried_exactly_in_every_form_and_both_directions() {
        let paths: [&dyn Schedule; 3] = [&VpLinear::default(), &RectifiedFlow::default(), &Ve::default()];
        let (x0, noise) = (0.7, -1.3);
        for path in paths {
            for (from, to) in [(0.9, 0.3), (0.2, 0.8), (0.99, 1e-9), (0.5, 0.5 - 1e-9)] {
                let (from, to) = (path.level(from), path.level(to));
                let at = |level: NoiseLevel| level.alpha * x0 + level.sigma * noise;
                let x = Tensor::new(&[at(from)], &Device::Cpu).unwrap();
                for way in [
                    Interpolated::DataInLambda,
                    Interpolated::NoiseInLambda,
                    Interpolated::NoiseInRatio,
                ] {
                    let constant = if way.form() == Form::Data { x0 } else { noise };
                    let m = Tensor::new(&[constant], &Device::Cpu).unwrap();
                    let kernel = way.kernel(from, to);
                    let got = scalar(&kernel.apply(&x, &[(kernel.moments[0], &m)]).unwrap());
                    let scale = 1.0 + (to.alpha / from.alpha).max(to.sigma / from.sigma);
                    assert!(
                        (got - at(to)).abs() < 1e-13 * scale,
                        "{path:?} {way:?} {from:?} {to:?}: {got}"
                    );
                }
            }
        }
    }

    #[test]
    fn the_ends_of_a_path_are_not_interpolated() {
        let path = RectifiedFlow::default();
        let way = Interpolated::NoiseInRatio;
        let [noisy, inner, clean] = [1.0, 0.5, 0.0].map(|t| path.level(t));
        assert!(!is_inner(noisy) && is_inner(inner) && !is_inner(clean));
        assert!(way.is_regular(inner, clean), "the integral over ρ ends at 0");
        assert!(!Interpolated::DataInLambda.is_regular(inner, clean));
        assert!(!way.is_regular(noisy, inner) && !way.is_regular(inner, noisy));
        assert!(!way.is_regular(inner, inner) && !way.is_regular(clean, inner));
    }
}
