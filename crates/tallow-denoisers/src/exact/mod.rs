//! Denoisers with a formula: documentation, tests and orders need no training.

mod gaussian;
mod mixture;

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp1, DType, Device, Layout, Shape, Tensor};
use tallow_schedules::{NoiseLevel, Prediction};

pub use gaussian::ExactGaussian;
pub use mixture::ExactMixture;

use crate::levels::OwnedLevels;
use crate::tensor::slice_of;
use crate::{Error, Estimate, Levels, Result};

/// One row's estimate in f64, as `v = α ε̂ − σ x̂_0`: of the six forms the one that is well-conditioned on every path and at
/// both ends.
trait RowModel: std::fmt::Debug + Send + Sync {
    /// The number of elements of a row.
    fn dim(&self) -> usize;

    /// v at `x`.
    fn v(&self, x: &[f64], at: NoiseLevel, v: &mut [f64]);

    /// gᵀ ∂v/∂x.
    fn pullback(&self, x: &[f64], at: NoiseLevel, g: &[f64], out: &mut [f64]);
}

/// The estimate of a model that answers row by row; differentiable in `x`.
fn estimate(model: Arc<dyn RowModel>, x: &Tensor, at: Levels<'_>) -> Result<Estimate> {
    let rows = x
        .dims()
        .first()
        .copied()
        .ok_or_else(|| Error::NoRows { what: "x".to_owned() })?;
    at.check_rows(rows)?;
    let per_row: usize = x.dims()[1..].iter().product();
    if per_row != model.dim() {
        let mut expected = x.dims().to_vec();
        expected.truncate(1);
        expected.push(model.dim());
        let what = "x of an exact denoiser".to_owned();
        return Err(Error::Shape {
            what,
            expected: expected.into(),
            got: x.shape().clone(),
        });
    }
    let op = VOp {
        model,
        levels: at.to_owned(),
    };
    let wide = x.to_device(&Device::Cpu)?.to_dtype(DType::F64)?.contiguous()?;
    let v = wide.apply_op1(op)?.to_dtype(x.dtype())?.to_device(x.device())?;
    Estimate::new(x, v, Prediction::V, at)
}

/// What `f` makes of each row of `x`, as a tensor of (B,) f64.
fn per_row(x: &Tensor, at: NoiseLevel, dim: usize, f: impl Fn(&[f64], NoiseLevel) -> f64) -> Result<Tensor> {
    let flat = x
        .to_device(&Device::Cpu)?
        .to_dtype(DType::F64)?
        .flatten_all()?
        .to_vec1::<f64>()?;
    if dim == 0 || !flat.len().is_multiple_of(dim) {
        let what = "x of an exact denoiser".to_owned();
        return Err(Error::Shape {
            what,
            expected: Shape::from(dim),
            got: x.shape().clone(),
        });
    }
    let values: Vec<f64> = flat.chunks_exact(dim).map(|row| f(row, at)).collect();
    Ok(Tensor::new(values, x.device())?)
}

struct VOp {
    model: Arc<dyn RowModel>,
    levels: OwnedLevels,
}

impl VOp {
    fn rows(&self, x: &[f64], mut f: impl FnMut(usize, &[f64], NoiseLevel)) {
        let levels = self.levels.borrow();
        for (index, row) in x.chunks_exact(self.model.dim()).enumerate() {
            if let Some(level) = levels.row(index) {
                f(index, row, level);
            }
        }
    }
}

impl CustomOp1 for VOp {
    fn name(&self) -> &'static str {
        "exact-denoiser"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let x = slice_of::<f64>(storage, layout)?;
        let mut out = vec![0.0; x.len()];
        let dim = self.model.dim();
        self.rows(x, |index, row, level| {
            self.model.v(row, level, &mut out[index * dim..(index + 1) * dim]);
        });
        Ok((CpuStorage::F64(out), layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _v: &Tensor, grad: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let (flat, g) = (
            x.flatten_all()?.to_vec1::<f64>()?,
            grad.flatten_all()?.to_vec1::<f64>()?,
        );
        let mut out = vec![0.0; flat.len()];
        let dim = self.model.dim();
        self.rows(&flat, |index, row, level| {
            let span = index * dim..(index + 1) * dim;
            self.model.pullback(row, level, &g[span.clone()], &mut out[span]);
        });
        Ok(Some(Tensor::from_vec(out, x.shape(), x.device())?))
    }
}

/// Refuses a parameter that is not finite.
fn finite(owner: &'static str, name: &'static str, values: &[f64]) -> Result<()> {
    match values.iter().find(|value| !value.is_finite()) {
        Some(&value) => Err(Error::Parameter {
            owner,
            name,
            value,
            allowed: "finite",
        }),
        None => Ok(()),
    }
}

/// Refuses a parameter that is negative or not finite.
fn spread(owner: &'static str, name: &'static str, values: &[f64]) -> Result<()> {
    match values.iter().find(|value| !(value.is_finite() && **value >= 0.0)) {
        Some(&value) => Err(Error::Parameter {
            owner,
            name,
            value,
            allowed: "at least 0 and finite",
        }),
        None => Ok(()),
    }
}
