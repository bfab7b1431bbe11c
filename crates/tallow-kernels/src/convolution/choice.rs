//! Which of the two methods computes a convolution: the direct one in f32 where it applies, else matrix products.

#[cfg(target_arch = "x86_64")]
use std::any::TypeId;
use std::mem::MaybeUninit;

#[cfg(target_arch = "x86_64")]
use super::direct;
use super::general;
#[cfg(target_arch = "x86_64")]
use super::outer;
use super::shape::Shape;
use crate::dispatch::Path;
use crate::error::Result;
use crate::float::Float;

/// Writes all of y.
pub(super) fn forward<T: Float>(
    path: Path,
    shape: &Shape,
    x: &[T],
    weight: &[T],
    bias: Option<&[T]>,
    y: &mut [MaybeUninit<T>],
) -> Result<()> {
    #[cfg(target_arch = "x86_64")]
    if direct::suits(path, shape)
        && let (Some(x), Some(weight)) = (same(x), same(weight))
        && let Some(y) = same_mut(y)
    {
        let finish = direct::AddBias(bias.and_then(same));
        return direct::forward(path, shape, x, weight, &finish, y);
    }
    general::forward(path, shape, x, weight, bias, y)
}

/// Writes all of dx.
pub(super) fn input_gradient<T: Float>(
    path: Path,
    shape: &Shape,
    dy: &[T],
    weight: &[T],
    dx: &mut [MaybeUninit<T>],
) -> Result<()> {
    #[cfg(target_arch = "x86_64")]
    if direct::suits(path, shape)
        && let (Some(dy), Some(weight)) = (same(dy), same(weight))
        && let Some(dx) = same_mut(dx)
    {
        return direct::input_gradient(path, shape, dy, weight, &direct::AddBias(None), dx);
    }
    general::input_gradient(path, shape, dy, weight, dx)
}

/// dw.
pub(super) fn weight_gradient<T: Float>(path: Path, shape: &Shape, x: &[T], dy: &[T]) -> Result<Vec<T>> {
    #[cfg(target_arch = "x86_64")]
    if direct::suits(path, shape)
        && let (Some(x), Some(dy)) = (same(x), same(dy))
    {
        let mut weight = Some(outer::weight_gradient(path, shape, x, dy)?);
        let same: &mut dyn std::any::Any = &mut weight;
        if let Some(weight) = same.downcast_mut::<Option<Vec<T>>>().and_then(Option::take) {
            return Ok(weight);
        }
    }
    general::weight_gradient(path, shape, x, dy)
}

/// The values, if `T` is `U`.
#[cfg(target_arch = "x86_64")]
fn same<T: 'static, U: 'static>(values: &[T]) -> Option<&[U]> {
    // SAFETY: the types are the same.
    (TypeId::of::<T>() == TypeId::of::<U>())
        .then(|| unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), values.len()) })
}

/// The place for values, if `T` is `U`.
#[cfg(target_arch = "x86_64")]
fn same_mut<T: 'static, U: 'static>(values: &mut [T]) -> Option<&mut [U]> {
    // SAFETY: the types are the same.
    (TypeId::of::<T>() == TypeId::of::<U>())
        .then(|| unsafe { std::slice::from_raw_parts_mut(values.as_mut_ptr().cast(), values.len()) })
}
