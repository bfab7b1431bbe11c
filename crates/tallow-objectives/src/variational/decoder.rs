//! The last step's density: of a datum among 256 values, or of a point.
//!
//! ```text
//! p(x) = Φ((x + h − μ)/σ) − Φ((x − h − μ)/σ)        h: half the distance of two values; the outer bins reach to ±∞
//! ```
//!
//! The logarithm is taken in the tail that is nearer, so that it stays finite, and its gradient right, however far a datum
//! is from the mean. In the graph stands ln p + g_μ (μ − sg μ) + g_v (v − sg v): the same value and the same gradient.
//!
//! Source: Ho et al. 2020, arXiv:2006.11239, Eq. 13.

use std::f64::consts::PI;

use candle_core::{DType, Device, Tensor};
use tallow_denoisers::check_like;

use crate::{Error, Result, normal};

/// The density of a datum given the mean and variance of the last step.
///
/// Source: Ho et al. 2020, arXiv:2006.11239, Eq. 13.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Decoder {
    /// Of a value among equally many on [−1, 1]: images of bytes have 256.
    Values {
        /// How many values there are.
        count: usize,
        /// Which normal distribution function.
        cdf: Cdf,
    },
    /// Of a point: data that is not discrete. Its "bits" are those of a density, and may be negative.
    Point,
}

/// A distribution function of the unit normal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cdf {
    /// Φ itself.
    #[default]
    Exact,
    /// ½(1 + tanh(√(2/π)(z + 0.044715 z³))) and probabilities of at least 1e-12, as published figures were computed (the
    /// released code of Nichol & Dhariwal 2021).
    Tanh,
}

impl Decoder {
    /// For images of bytes, scaled to [−1, 1].
    #[must_use]
    pub fn bytes() -> Self {
        Self::Values {
            count: 256,
            cdf: Cdf::Exact,
        }
    }

    /// Refuses a number of values that makes no decoder.
    ///
    /// # Errors
    ///
    /// When `count` of [`Decoder::Values`] is below 2 or above 65536.
    pub fn check(self) -> Result<()> {
        match self {
            Self::Values { count, .. } if !(2..=65_536).contains(&count) => Err(Error::Parameter {
                owner: "Decoder::Values",
                name: "count",
                value: count as f64,
                allowed: "between 2 and 65536",
            }),
            _ => Ok(()),
        }
    }

    /// −ln p of each element of `x0` under N(mean, e^{log_variance}), all of one shape, in nats.
    ///
    /// # Errors
    ///
    /// When shapes, types or devices differ.
    pub fn nats(self, x0: &Tensor, mean: &Tensor, log_variance: &Tensor) -> Result<Tensor> {
        check_like("the mean of the last step", mean, x0)?;
        check_like("the variance of the last step", log_variance, x0)?;
        match self {
            Self::Point => {
                let square = ((x0 - mean)?.sqr()? * log_variance.neg()?.exp()?)?;
                Ok(((square + log_variance)? + std::f64::consts::TAU.ln())?.affine(0.5, 0.0)?)
            }
            Self::Values { count, cdf } => values(x0, mean, log_variance, count, cdf),
        }
    }
}

fn values(x0: &Tensor, mean: &Tensor, log_variance: &Tensor, count: usize, cdf: Cdf) -> Result<Tensor> {
    let host = |tensor: &Tensor| -> Result<Vec<f64>> {
        let tensor = tensor.detach().to_device(&Device::Cpu)?.to_dtype(DType::F64)?;
        Ok(tensor.flatten_all()?.to_vec1::<f64>()?)
    };
    let (data, means, logs) = (host(x0)?, host(mean)?, host(log_variance)?);
    let half = 1.0 / (count as f64 - 1.0);
    let mut parts = [(); 3].map(|()| Vec::with_capacity(data.len()));
    for ((x, mean), log) in data.iter().zip(&means).zip(&logs) {
        let scale = (-0.5 * log).exp();
        let low = if *x < -1.0 + half {
            f64::NEG_INFINITY
        } else {
            (x - half - mean) * scale
        };
        let high = if *x > 1.0 - half {
            f64::INFINITY
        } else {
            (x + half - mean) * scale
        };
        let bin = cdf.bin(low, high);
        // dz/dμ = −1/σ, dz/dv = −z/2.
        let terms = [
            -bin.log,
            (bin.of_high - bin.of_low) * scale,
            0.5 * (times(high, bin.of_high) - times(low, bin.of_low)),
        ];
        for (part, term) in parts.iter_mut().zip(terms) {
            part.push(term);
        }
    }
    let like = |values: Vec<f64>| -> Result<Tensor> {
        Ok(Tensor::from_vec(values, x0.shape(), &Device::Cpu)?
            .to_dtype(x0.dtype())?
            .to_device(x0.device())?)
    };
    let [nats, of_mean, of_log] = parts;
    let moved = |tensor: &Tensor, slope: Vec<f64>| -> Result<Tensor> {
        Ok(((tensor - tensor.detach())? * like(slope)?)?)
    };
    Ok(((like(nats)? + moved(mean, of_mean)?)? + moved(log_variance, of_log)?)?)
}

/// z f, 0 where z is infinite: the density there is 0.
fn times(z: f64, f: f64) -> f64 {
    if z.is_infinite() { 0.0 } else { z * f }
}

/// The probability of an interval, and the density at its ends over it.
#[derive(Clone, Copy, Debug)]
struct Bin {
    log: f64,
    of_low: f64,
    of_high: f64,
}

impl Cdf {
    fn bin(self, low: f64, high: f64) -> Bin {
        match self {
            Self::Exact => {
                let log = log_interval(low, high);
                let share = |z: f64| {
                    if z.is_infinite() {
                        0.0
                    } else {
                        (normal::log_density(z) - log).exp()
                    }
                };
                Bin {
                    log,
                    of_low: share(low),
                    of_high: share(high),
                }
            }
            Self::Tanh => {
                let p = if low.is_infinite() {
                    tanh_cumulative(high)
                } else if high.is_infinite() {
                    1.0 - tanh_cumulative(low)
                } else {
                    tanh_cumulative(high) - tanh_cumulative(low)
                };
                let held = p.max(1e-12);
                // A probability that is held does not move.
                let share = |z: f64| {
                    if z.is_infinite() || p < held {
                        0.0
                    } else {
                        tanh_density(z) / held
                    }
                };
                Bin {
                    log: held.ln(),
                    of_low: share(low),
                    of_high: share(high),
                }
            }
        }
    }
}

/// ln(Φ(high) − Φ(low)).
fn log_interval(low: f64, high: f64) -> f64 {
    // Φ is odd about ½: look at the upper tail.
    let (low, high) = if low + high < 0.0 {
        (-high, -low)
    } else {
        (low, high)
    };
    if low < 0.0 {
        return (0.5
            * (libm::erf(high / std::f64::consts::SQRT_2) - libm::erf(low / std::f64::consts::SQRT_2)))
        .ln();
    }
    let tail = normal::log_tail(low);
    if high.is_infinite() {
        return tail;
    }
    tail + (-(normal::log_tail(high) - tail).exp_m1()).ln()
}

fn tanh_cumulative(z: f64) -> f64 {
    0.5 * (1.0 + tanh_argument(z).tanh())
}

fn tanh_density(z: f64) -> f64 {
    let steep = (2.0 / PI).sqrt() * (1.0 + 3.0 * 0.044_715 * z * z);
    0.5 * steep / tanh_argument(z).cosh().powi(2)
}

fn tanh_argument(z: f64) -> f64 {
    (2.0 / PI).sqrt() * (z + 0.044_715 * z.powi(3))
}

#[cfg(test)]
mod tests {
    use candle_core::Var;

    use super::*;

    fn column(values: &[f64]) -> Tensor {
        Tensor::new(values, &Device::Cpu).unwrap().unsqueeze(1).unwrap()
    }

    fn bytes() -> Vec<f64> {
        (0..256).map(|value| f64::from(value) / 127.5 - 1.0).collect()
    }

    #[test]
    fn the_256_values_have_probabilities_that_sum_to_1() {
        for cdf in [Cdf::Exact, Cdf::Tanh] {
            for (mean, std) in [(0.1, 0.4), (-0.8, 0.03), (1.7, 0.2), (0.0, 0.002)] {
                let x0 = column(&bytes());
                let mean = (x0.zeros_like().unwrap() + mean).unwrap();
                let log = (x0.zeros_like().unwrap() + 2.0 * f64::ln(std)).unwrap();
                let decoder = Decoder::Values { count: 256, cdf };
                let nats = decoder.nats(&x0, &mean, &log).unwrap();
                let total = nats.neg().unwrap().exp().unwrap().sum_all().unwrap();
                let off = (total.to_scalar::<f64>().unwrap() - 1.0).abs();
                // The tanh form holds each of 256 at 1e-12 or more.
                let bound = if cdf == Cdf::Exact { 1e-13 } else { 3e-10 };
                assert!(off < bound, "{cdf:?} {std}: {off}");
            }
        }
    }

    #[test]
    fn a_bins_probability_is_the_integral_of_the_density() {
        for (low, high) in [(-0.3, 0.4), (1.0, 1.2), (-7.5, -7.0), (9.0, 9.01), (-2.0, 5.0)] {
            let count = 20_000;
            let width = (high - low) / f64::from(count);
            let simpson: f64 = (0..=count)
                .map(|i| {
                    let weight = match i {
                        0 => 1.0,
                        i if i == count => 1.0,
                        i if i % 2 == 1 => 4.0,
                        _ => 2.0,
                    };
                    weight * normal::density(low + width * f64::from(i))
                })
                .sum();
            let want = (simpson * width / 3.0).ln();
            let got = log_interval(low, high);
            assert!((got - want).abs() < 1e-10, "{low} {high}: {got}, not {want}");
        }
        // Far out: ln Q(50) to its leading terms.
        assert!((log_interval(50.0, 51.0) - normal::log_tail(50.0)).abs() < 1e-12);
    }

    #[test]
    fn the_gradient_is_the_slope_also_far_from_the_mean() {
        for decoder in [
            Decoder::bytes(),
            Decoder::Values {
                count: 256,
                cdf: Cdf::Tanh,
            },
            Decoder::Point,
        ] {
            let x0 = column(&[-1.0, -0.2, 9.0 / 51.0, 1.0]);
            // The last is 12 deviations away: the tanh form is held there.
            let (mean, log) = (
                column(&[-0.9, -0.25, 0.3, 0.4]),
                column(&[-4.0, -3.0, -5.0, -6.0]),
            );
            let (means, logs) = (Var::from_tensor(&mean).unwrap(), Var::from_tensor(&log).unwrap());
            let sum = decoder.nats(&x0, &means, &logs).unwrap().sum_all().unwrap();
            let gradients = sum.backward().unwrap();
            for (variable, which) in [(&means, 0), (&logs, 1)] {
                let gradient = gradients.get(variable).unwrap().flatten_all().unwrap();
                for (row, gradient) in gradient.to_vec1::<f64>().unwrap().into_iter().enumerate() {
                    let at = |shift: f64| {
                        let mut moved = [0.0; 4];
                        moved[row] = shift;
                        let (m, l) = if which == 0 {
                            ((&mean + column(&moved)).unwrap(), log.clone())
                        } else {
                            (mean.clone(), (&log + column(&moved)).unwrap())
                        };
                        let nats = decoder.nats(&x0, &m, &l).unwrap();
                        nats.flatten_all().unwrap().to_vec1::<f64>().unwrap()[row]
                    };
                    let slope = (at(1e-6) - at(-1e-6)) / 2e-6;
                    assert!(
                        (gradient - slope).abs() < 1e-6 * (1.0 + slope.abs()),
                        "{decoder:?} {which} {row}: {gradient}, {slope}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_datum_without_hope_still_pulls_the_mean() {
        let x0 = Tensor::new(&[[0.5f32]], &Device::Cpu).unwrap();
        let mean = Var::new(&[[-0.9f32]], &Device::Cpu).unwrap();
        let log = Tensor::new(&[[-12.0f32]], &Device::Cpu).unwrap();
        let nats = Decoder::bytes().nats(&x0, &mean, &log).unwrap();
        // 560 deviations: −z²/2.
        let value = nats.to_vec2::<f32>().unwrap()[0][0];
        assert!(value.is_finite() && value > 1e5, "{value}");
        let gradient = nats
            .backward()
            .unwrap()
            .remove(&mean)
            .unwrap()
            .to_vec2::<f32>()
            .unwrap()[0][0];
        assert!(gradient < -1e4, "{gradient}");
    }

    #[test]
    fn decoders_that_are_none_are_refused() {
        for count in [0, 1, 65_537] {
            assert!(
                Decoder::Values {
                    count,
                    cdf: Cdf::Exact
                }
                .check()
                .is_err()
            );
        }
        let x0 = column(&[0.0]);
        assert!(Decoder::bytes().nats(&x0, &column(&[0.0, 1.0]), &x0).is_err());
    }
}
