//! Numbers of each row, as tensors (B, 1, …) that broadcast over it; sums of half-precision tensors are made in f32.

use candle_core::{DType, Tensor};

use crate::{Error, Result};

/// ⟨a, b⟩ of each row.
pub(super) fn dot(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    sum(&(wide(a)? * wide(b)?)?)
}

/// The standard deviation of each row.
pub(super) fn std(a: &Tensor) -> Result<Tensor> {
    let a = wide(a)?;
    let count = (a.elem_count() / a.dim(0)?.max(1)).max(1) as f64;
    let centred = a.broadcast_sub(&(sum(&a)? / count)?)?;
    Ok((dot(&centred, &centred)? / count)?.sqrt()?)
}

/// `over/under` of each row, and `without` where `under` is 0.
pub(super) fn ratio(over: &Tensor, under: &Tensor, without: f64) -> Result<Tensor> {
    let zero = under.eq(0.0)?;
    let safe = zero.where_cond(&under.ones_like()?, under)?;
    Ok(zero.where_cond(&over.affine(0.0, without)?, &(over / safe)?)?)
}

/// Each row of `a` times its factor.
pub(super) fn scaled(a: &Tensor, factors: &Tensor) -> Result<Tensor> {
    Ok(a.broadcast_mul(&factors.to_dtype(a.dtype())?)?)
}

fn sum(a: &Tensor) -> Result<Tensor> {
    let rows = a
        .dims()
        .first()
        .copied()
        .ok_or_else(|| Error::NoRows { what: "x".to_owned() })?;
    let mut shape = vec![1; a.rank()];
    shape[0] = rows;
    let flat = a.reshape((rows, a.elem_count() / rows.max(1)))?;
    Ok(flat.sum_keepdim(1)?.reshape(shape)?)
}

fn wide(a: &Tensor) -> Result<Tensor> {
    match a.dtype() {
        DType::F16 | DType::BF16 => Ok(a.to_dtype(DType::F32)?),
        _ => Ok(a.clone()),
    }
}
