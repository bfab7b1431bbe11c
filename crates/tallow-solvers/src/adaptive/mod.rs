//! Step control for methods that choose their own steps: every row of a batch has its own.
//!
//! ```text
//! E = √mean((err / (atol + rtol max(|x|, |x_new|)))²)  of a row        accepted if E ≤ 1        h ← h clip(s E^(−1/q), f₋, f₊)
//! ```
//!
//! A row's steps, evaluations and result depend on nothing but itself: not on the batch that it is in. The model is asked for
//! the whole batch with one level for each row, so conditions keep their rows; a row that has arrived is asked about where it
//! stands. The cost of a batch is that of its slowest row.
//!
//! Source: Hairer, Nørsett & Wanner, Solving Ordinary Differential Equations I, section II.4.

mod journey;
mod travel;

pub(crate) use journey::{Ends, Running, journey};
pub(crate) use travel::{Attempt, Failure, Method, travel};

use candle_core::{DType, Device, Tensor};

use crate::{Error, Result};

/// How closely an adaptive method follows the solution, and when it gives up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Control {
    /// Relative tolerance, of a step.
    pub rtol: f64,
    /// Absolute tolerance, of a step, in units of x.
    pub atol: f64,
    /// The largest number of attempted steps.
    pub max_steps: usize,
    /// The largest number of attempts at one step of one row.
    pub max_rejections: usize,
    /// The shortest step, as a share of the whole way.
    pub min_step: f64,
}

impl Control {
    /// Tolerances, with up to 10,000 steps, 30 rejections in a row and steps down to 1e-12 of the way.
    ///
    /// # Errors
    ///
    /// When a tolerance is not positive and finite.
    pub fn new(rtol: f64, atol: f64) -> Result<Self> {
        let control = Self {
            rtol,
            atol,
            max_steps: 10_000,
            max_rejections: 30,
            min_step: 1e-12,
        };
        control.check()?;
        Ok(control)
    }

    /// Refuses what no run can use.
    pub(crate) fn check(&self) -> Result<()> {
        let positive = |value: f64| value.is_finite() && value > 0.0;
        let refused = |name, value, allowed| {
            Err(Error::Parameter {
                owner: "Control",
                name,
                value,
                allowed,
            })
        };
        if !positive(self.rtol) {
            return refused("rtol", self.rtol, "positive and finite");
        }
        if !positive(self.atol) {
            return refused("atol", self.atol, "positive and finite");
        }
        if self.max_steps == 0 {
            return refused("max_steps", 0.0, "at least 1");
        }
        if !(0.0..1.0).contains(&self.min_step) {
            return refused("min_step", self.min_step, "in [0, 1)");
        }
        Ok(())
    }

    /// E of each row, from an error and the two states it is measured against, all (B, …).
    pub(crate) fn errors(&self, error: &Tensor, x: &Tensor, next: &Tensor) -> Result<Vec<f64>> {
        let scale = x.abs()?.maximum(&next.abs()?)?.affine(self.rtol, self.atol)?;
        root_mean_squares(&(error / scale)?)
    }
}

/// The root of the mean square of each row.
pub(crate) fn root_mean_squares(x: &Tensor) -> Result<Vec<f64>> {
    let rows = x.dim(0)?;
    let flat = x
        .to_dtype(DType::F64)?
        .reshape((rows, x.elem_count() / rows.max(1)))?;
    Ok(flat.sqr()?.mean(1)?.sqrt()?.to_device(&Device::Cpu)?.to_vec1()?)
}

#[cfg(test)]
mod tests;
