//! Which of the two methods computes a convolution: the direct one in f32 where it applies, else matrix products.

#[cfg(target_arch = "x86_64")]
use std::any::TypeId;
use std::mem::MaybeUninit;

#[cfg(target_arch = "x86_64")]
use super::direct;
use super::fused::{Epilogue, Prologue, applied, times_slope};
use super::general;
#[cfg(target_arch = "x86_64")]
use super::outer;
use super::shape::Shape;
#[cfg(target_arch = "x86_64")]
use super::write_back::{Add, Slope};
use crate::buffer::assume_written;
use crate::dispatch::Path;
use crate::error::Result;
use crate::float::Float;

/// Writes all of y.
pub(super) fn forward<T: Float>(
    path: Path,
    shape: &Shape,
    x: &[T],
    weight: &[T],
    around: (Option<&Prologue<'_, T>>, &Epilogue<'_, T>),
    y: &mut [MaybeUninit<T>],
) -> Result<()> {
    let (prologue, epilogue) = around;
    #[cfg(target_arch = "x86_64")]
    if direct::suits(path, shape)
        && let (Some(x), Some(weight)) = (same(x), same(weight))
        && let Some(y) = same_mut(y)
    {
        let prologue = prologue.and_then(same_prologue);
        let finish = Add {
            outputs: shape.sizes.outputs,
            epilogue: Epilogue {
                bias: epilogue.bias.and_then(same),
                shift: epilogue.shift.and_then(same),
                residual: epilogue.residual.and_then(same),
            },
        };
        return direct::forward(path, shape, (x, prologue), weight, &finish, y);
    }
    let applied = prologue.map(|prologue| applied(path, shape, prologue, x));
    general::forward(path, shape, applied.as_deref().unwrap_or(x), weight, epilogue, y)
}

/// Writes all of dx, or of dz where x goes through a prologue.
pub(super) fn input_gradient<T: Float>(
    path: Path,
    shape: &Shape,
    dy: &[T],
    weight: &[T],
    prologue: Option<(&Prologue<'_, T>, &[T])>,
    dx: &mut [MaybeUninit<T>],
) -> Result<()> {
    #[cfg(target_arch = "x86_64")]
    if direct::suits(path, shape)
        && let (Some(dy), Some(weight)) = (same(dy), same(weight))
        && let Some(dx) = same_mut(dx)
    {
        let prologue = prologue
            .and_then(|(prologue, x)| same_prologue(prologue).zip(same(x)))
            .map(|(prologue, x)| (prologue, x, shape.sizes.inputs));
        return direct::input_gradient(path, shape, dy, weight, &Slope(prologue), dx);
    }
    general::input_gradient(path, shape, dy, weight, dx)?;
    if let Some((prologue, x)) = prologue {
        // SAFETY: the line above has written all of dx.
        times_slope(path, shape, prologue, x, unsafe { assume_written(dx) });
    }
    Ok(())
}

/// dw.
pub(super) fn weight_gradient<T: Float>(
    path: Path,
    shape: &Shape,
    x: &[T],
    prologue: Option<&Prologue<'_, T>>,
    dy: &[T],
) -> Result<Vec<T>> {
    #[cfg(target_arch = "x86_64")]
    if direct::suits(path, shape)
        && let (Some(x), Some(dy)) = (same(x), same(dy))
    {
        let x = (x, prologue.and_then(same_prologue));
        let mut weight = Some(outer::weight_gradient(path, shape, x, dy)?);
        let same: &mut dyn std::any::Any = &mut weight;
        if let Some(weight) = same.downcast_mut::<Option<Vec<T>>>().and_then(Option::take) {
            return Ok(weight);
        }
    }
    let applied = prologue.map(|prologue| applied(path, shape, prologue, x));
    general::weight_gradient(path, shape, applied.as_deref().unwrap_or(x), dy)
}

/// The prologue, if `T` is `U`.
#[cfg(target_arch = "x86_64")]
fn same_prologue<'a, T: 'static, U: 'static>(prologue: &Prologue<'a, T>) -> Option<Prologue<'a, U>> {
    Some(Prologue {
        scale: same(prologue.scale)?,
        shift: same(prologue.shift)?,
        activation: prologue.activation,
    })
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
fn same_mut<T: 'static, U: 'static>(values: &mut [MaybeUninit<T>]) -> Option<&mut [MaybeUninit<U>]> {
    // SAFETY: the types are the same.
    (TypeId::of::<T>() == TypeId::of::<U>())
        .then(|| unsafe { std::slice::from_raw_parts_mut(values.as_mut_ptr().cast(), values.len()) })
}
