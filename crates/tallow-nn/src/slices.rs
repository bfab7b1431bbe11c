//! From candle's storages to the slices that kernels take.

use candle_core::{CpuStorage, DType, Layout, Result, Storage, Tensor, WithDType, bail};
use tallow_kernels::Float;

/// The element types that the kernels take and candle knows.
pub(crate) trait Element: Float + WithDType {}

impl Element for f32 {}
impl Element for f64 {}

/// Whether the kernels can work on this tensor; other devices and types take candle's operations.
pub(crate) fn kernels_take(tensor: &Tensor) -> bool {
    tensor.device().is_cpu() && matches!(tensor.dtype(), DType::F32 | DType::F64)
}

/// The values of a contiguous layout in a storage of the host.
pub(crate) fn values<'a, T: Element>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [T]> {
    let Some((start, end)) = layout.contiguous_offsets() else {
        bail!(
            "a kernel was given a tensor that is not contiguous, of shape {:?}",
            layout.shape()
        );
    };
    let all = T::cpu_storage_as_slice(storage)?;
    all.get(start..end)
        .ok_or_else(|| candle_core::Error::Msg("a layout reaches beyond its storage".to_string()))
}

/// Calls `f` with the values of a contiguous tensor on the host.
pub(crate) fn with_values<T: Element, R>(tensor: &Tensor, f: impl FnOnce(&[T]) -> Result<R>) -> Result<R> {
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cpu(storage) => f(values(storage, layout)?),
        _ => bail!("a kernel of the host was given a tensor on {:?}", tensor.device()),
    }
}

/// The values of a matrix whose rows are contiguous, from its first to its last, and the distance between rows.
pub(crate) fn rows<'a, T: Element>(storage: &'a CpuStorage, layout: &Layout) -> Result<(&'a [T], usize)> {
    let ([rows, columns], [stride, 1]) = (layout.dims(), layout.stride()) else {
        bail!(
            "a kernel was given a matrix without contiguous rows, of shape {:?} and strides {:?}",
            layout.shape(),
            layout.stride()
        );
    };
    let all = T::cpu_storage_as_slice(storage)?;
    let values = match rows.checked_sub(1) {
        Some(last) if *columns > 0 => {
            let start = layout.start_offset();
            all.get(start..start + last * stride + columns)
        }
        _ => Some(&[][..]),
    };
    let beyond = || candle_core::Error::Msg("a layout reaches beyond its storage".to_string());
    Ok((values.ok_or_else(beyond)?, *stride))
}

/// Calls `f` with the [`rows`] of a matrix on the host.
pub(crate) fn with_rows<T: Element, R>(
    tensor: &Tensor,
    f: impl FnOnce((&[T], usize)) -> Result<R>,
) -> Result<R> {
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cpu(storage) => f(rows(storage, layout)?),
        _ => bail!("a kernel of the host was given a tensor on {:?}", tensor.device()),
    }
}
