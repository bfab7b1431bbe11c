//! What an error costs: squared, absolute, pseudo-Huber, or squared with a weight of its own.
//!
//! With e the error of a row and d its number of elements:
//!
//! ```text
//! Squared        |e|²/d
//! Absolute       Σ|eᵢ|/d
//! PseudoHuber    √(|e|² + c²) − c               |e|²/2c for small errors, |e| for large ones
//! Adaptive       |e|² / sg(|e|² + c)^p          sg: a constant of the gradient
//! ```
//!
//! Sources: Song & Dhariwal 2023 (iCT), arXiv:2310.14189, Eq. 8 (pseudo-Huber); Geng et al. 2025 (MeanFlow),
//! arXiv:2505.13447, Eq. 22 (adaptive).

use candle_core::{D, Device, Tensor};
use tallow_denoisers::{Error as DenoiserError, combine_rows};

use crate::{Error, Result};

/// How a row's error becomes its loss.
///
/// Sources: Song & Dhariwal 2023 (iCT), arXiv:2310.14189, Eq. 8 (pseudo-Huber); Geng et al. 2025 (MeanFlow),
/// arXiv:2505.13447, Eq. 22 (adaptive).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum Penalty {
    /// The mean of the squares: the minimum is at the conditional mean, which is what samplers need.
    #[default]
    Squared,
    /// The mean of the absolute values: the minimum is at the conditional median.
    Absolute,
    /// √(|e|² + c²) − c over the row: outliers pull with a constant force.
    PseudoHuber {
        /// c, 0.00054 √d in iCT ([`Penalty::ict`]).
        c: f64,
    },
    /// The sum of the squares over a power of itself: every row pulls alike, however large its error.
    Adaptive {
        /// p: 1 and 0.75 in MeanFlow.
        power: f64,
        /// c, which keeps rows without an error finite; 1e-3 in MeanFlow.
        floor: f64,
    },
}

impl Penalty {
    /// iCT's pseudo-Huber penalty for rows of `elements` elements, c = 0.00054 √d.
    #[must_use]
    pub fn ict(elements: usize) -> Self {
        Self::PseudoHuber {
            c: 0.00054 * (elements as f64).sqrt(),
        }
    }

    /// Refuses parameters that make no penalty.
    ///
    /// # Errors
    ///
    /// When c of either is not positive and finite, or the power outside [0, 1]: above it, larger errors would cost less.
    pub fn check(self) -> Result<()> {
        let positive = |owner, name, value: f64| {
            let fits = value > 0.0 && value.is_finite();
            check(owner, name, value, "positive and finite", fits)
        };
        match self {
            Self::Squared | Self::Absolute => Ok(()),
            Self::PseudoHuber { c } => positive("Penalty::PseudoHuber", "c", c),
            Self::Adaptive { power, floor } => {
                let fits = (0.0..=1.0).contains(&power);
                check("Penalty::Adaptive", "power", power, "in [0, 1]", fits)?;
                positive("Penalty::Adaptive", "floor", floor)
            }
        }
    }

    /// The loss of each row, (B,), of errors (B, …).
    ///
    /// # Errors
    ///
    /// When the errors are a scalar.
    pub fn rows(self, error: &Tensor) -> Result<Tensor> {
        if error.rank() == 0 {
            return Err(DenoiserError::NoRows {
                what: "the error".to_owned(),
            }
            .into());
        }
        let flat = error.flatten_from(1.min(error.rank() - 1))?;
        let flat = if flat.rank() == 1 {
            flat.unsqueeze(1)?
        } else {
            flat
        };
        let squares = || flat.sqr()?.sum(D::Minus1);
        Ok(match self {
            Self::Squared => flat.sqr()?.mean(D::Minus1)?,
            // |e| as e times its sign: candle's own |e| has the slope 1 at 0.
            Self::Absolute => (&flat * flat.detach().sign()?)?.mean(D::Minus1)?,
            Self::PseudoHuber { c } => {
                let squares = squares()?;
                // |e|²/(√(|e|² + c²) + c): the same without a difference of two large numbers.
                let root = squares.affine(1.0, c * c)?.sqrt()?;
                (squares / root.affine(1.0, c)?)?
            }
            Self::Adaptive { power, floor } => {
                let squares = squares()?;
                let weight = squares.detach().affine(1.0, floor)?.powf(-power)?;
                (squares * weight)?
            }
        })
    }

    /// `weights[row] ·` the loss of an error that is `gains[row]` times as large.
    pub(crate) fn weighted_rows(self, error: &Tensor, gains: &[f64], weights: &[f64]) -> Result<Tensor> {
        let rows = self.rows(&combine_rows(&[(gains, error)])?)?;
        let weights = Tensor::new(weights, &Device::Cpu)?
            .to_dtype(rows.dtype())?
            .to_device(rows.device())?;
        Ok((rows * weights)?)
    }
}

fn check(
    owner: &'static str,
    name: &'static str,
    value: f64,
    allowed: &'static str,
    fits: bool,
) -> Result<()> {
    if fits {
        return Ok(());
    }
    Err(Error::Parameter {
        owner,
        name,
        value,
        allowed,
    })
}

#[cfg(test)]
mod tests {
    use candle_core::Var;

    use super::*;

    const ALL: [Penalty; 4] = [
        Penalty::Squared,
        Penalty::Absolute,
        Penalty::PseudoHuber { c: 0.3 },
        Penalty::Adaptive {
            power: 0.75,
            floor: 0.01,
        },
    ];

    fn error() -> Tensor {
        Tensor::new(
            &[[[0.3f64, -0.4], [0.0, 1.2]], [[2.0, 0.1], [-0.7, 0.5]]],
            &Device::Cpu,
        )
        .unwrap()
    }

    #[test]
    fn rows_are_what_the_formulas_say() {
        let squares = [0.09 + 0.16 + 1.44, 4.0 + 0.01 + 0.49 + 0.25];
        let sums = [1.9, 3.3];
        for penalty in ALL {
            let rows = penalty.rows(&error()).unwrap().to_vec1::<f64>().unwrap();
            for row in 0..2 {
                let want: f64 = match penalty {
                    Penalty::Squared => squares[row] / 4.0,
                    Penalty::Absolute => sums[row] / 4.0,
                    Penalty::PseudoHuber { c } => f64::hypot(squares[row].sqrt(), c) - c,
                    Penalty::Adaptive { power, floor } => squares[row] / (squares[row] + floor).powf(power),
                };
                assert!(
                    (rows[row] - want).abs() < 1e-14,
                    "{penalty:?}: {} not {want}",
                    rows[row]
                );
            }
        }
    }

    #[test]
    fn the_gradient_is_the_slope_and_of_adaptive_rows_that_at_a_fixed_weight() {
        for penalty in ALL {
            let variable = Var::from_tensor(&error()).unwrap();
            let sum = penalty.rows(&variable).unwrap().sum_all().unwrap();
            let gradient = sum.backward().unwrap().remove(&variable).unwrap();
            let gradient = gradient.flatten_all().unwrap().to_vec1::<f64>().unwrap();
            let at = |index: usize, shift: f64| {
                let mut values = error().flatten_all().unwrap().to_vec1::<f64>().unwrap();
                values[index] += shift;
                let moved = Tensor::from_vec(values, (2, 2, 2), &Device::Cpu).unwrap();
                let rows = match penalty {
                    Penalty::Adaptive { power, floor } => {
                        let squares = Penalty::Squared.rows(&moved).unwrap().to_vec1::<f64>().unwrap();
                        let fixed = Penalty::Squared.rows(&error()).unwrap().to_vec1::<f64>().unwrap();
                        let terms = squares.iter().zip(&fixed);
                        return terms
                            .map(|(s, f)| 4.0 * s / (4.0 * f + floor).powf(power))
                            .sum::<f64>();
                    }
                    penalty => penalty.rows(&moved).unwrap(),
                };
                rows.sum_all().unwrap().to_scalar::<f64>().unwrap()
            };
            for (index, gradient) in gradient.iter().enumerate() {
                // |x| has no slope at 0, where the third element is.
                if penalty == Penalty::Absolute && index == 2 {
                    continue;
                }
                let slope = (at(index, 1e-6) - at(index, -1e-6)) / 2e-6;
                assert!(
                    (gradient - slope).abs() < 1e-8,
                    "{penalty:?} {index}: {gradient}, {slope}"
                );
            }
        }
    }

    #[test]
    fn rows_without_an_error_cost_nothing_and_have_no_gradient() {
        for penalty in ALL {
            let variable = Var::zeros((2, 3), candle_core::DType::F32, &Device::Cpu).unwrap();
            let rows = penalty.rows(&variable).unwrap();
            assert_eq!(rows.to_vec1::<f32>().unwrap(), [0.0, 0.0], "{penalty:?}");
            let gradient = rows
                .sum_all()
                .unwrap()
                .backward()
                .unwrap()
                .remove(&variable)
                .unwrap();
            let largest = gradient
                .abs()
                .unwrap()
                .max_all()
                .unwrap()
                .to_scalar::<f32>()
                .unwrap();
            assert_eq!(largest, 0.0, "{penalty:?}");
        }
    }

    #[test]
    fn a_pseudo_huber_of_a_tiny_error_is_not_lost_in_rounding() {
        let error = Tensor::new(&[[1e-6f32]], &Device::Cpu).unwrap();
        let row = Penalty::PseudoHuber { c: 1.0 }.rows(&error).unwrap();
        let row = f64::from(row.to_vec1::<f32>().unwrap()[0]);
        assert!((row / 5e-13 - 1.0).abs() < 1e-6, "{row}");
    }

    #[test]
    fn impossible_penalties_and_scalars_are_refused() {
        for penalty in [
            Penalty::PseudoHuber { c: 0.0 },
            Penalty::PseudoHuber { c: f64::NAN },
            Penalty::Adaptive {
                power: 1.1,
                floor: 1.0,
            },
            Penalty::Adaptive {
                power: 1.0,
                floor: 0.0,
            },
        ] {
            let message = penalty.check().unwrap_err().to_string();
            assert!(message.contains("Penalty::"), "{message}");
        }
        assert!(Penalty::ict(12).check().is_ok());
        let scalar = Tensor::new(1.0f64, &Device::Cpu).unwrap();
        assert!(Penalty::Squared.rows(&scalar).is_err());
    }
}
