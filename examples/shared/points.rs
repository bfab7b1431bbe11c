//! Tensors of points in the plane as arrays.

use candle_core::{DType, Device, Tensor};
use tallow::metrics::{Points, Statistic, energy_distance};

use crate::Failure;

/// The rows of a tensor (N, 2).
///
/// # Errors
///
/// When it has another shape.
pub fn points(tensor: &Tensor) -> candle_core::Result<Vec<[f32; 2]>> {
    let rows = tensor
        .to_device(&Device::Cpu)?
        .to_dtype(DType::F32)?
        .to_vec2::<f32>()?;
    rows.into_iter()
        .map(|row| match row.as_slice() {
            [x, y] => Ok([*x, *y]),
            _ => candle_core::bail!("expected points in the plane, (N, 2), got {:?}", tensor.shape()),
        })
        .collect()
}

/// A square lattice of `count` × `count` points over [−extent, extent]², as a tensor (count², 2).
///
/// # Errors
///
/// When the tensor cannot be made.
pub fn lattice(count: usize, extent: f32) -> candle_core::Result<Tensor> {
    let at = |index: usize| extent * (2.0 * (index as f32 + 0.5) / count as f32 - 1.0);
    let flat: Vec<f32> = (0..count * count)
        .flat_map(|index| [at(index % count), at(index / count)])
        .collect();
    Tensor::from_vec(flat, (count * count, 2), &Device::Cpu)
}

/// The energy distance between the rows of two tensors, (N, D) and (M, D), as the V-statistic.
///
/// # Errors
///
/// When a tensor has another shape or values that are not finite.
pub fn energy(x: &Tensor, y: &Tensor) -> Result<f64, Failure> {
    let (x, y) = (Points::from_tensor(x)?, Points::from_tensor(y)?);
    Ok(energy_distance(&x, &y, Statistic::V)?)
}
