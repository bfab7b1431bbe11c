//! One tensor added to a larger one in one pass on the host, and the sums that are its gradient.

use candle_core::{CpuStorage, CustomOp2, DType, Layout, Result, Shape, Tensor};
use tallow_kernels::{channel_sums, shift_each, shift_rows, sum_of_rows};

use crate::slices::{Element, values, with_values};

/// x + shift, both contiguous.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ShiftOp {
    /// x has as many rows as the shift has values: each row is shifted by its own.
    Rows,
    /// x has rows of the length of the shift, which is added to each.
    Each,
}

impl ShiftOp {
    fn forward<T: Element>(
        self,
        x: (&CpuStorage, &Layout),
        shift: (&CpuStorage, &Layout),
    ) -> Result<CpuStorage> {
        let (x, shift) = (values::<T>(x.0, x.1)?, values::<T>(shift.0, shift.1)?);
        let y = match self {
            Self::Rows => shift_rows(x, shift),
            Self::Each => shift_each(x, shift),
        };
        Ok(T::to_cpu_storage_owned(y.map_err(candle_core::Error::wrap)?))
    }

    fn sums<T: Element>(self, dy: &Tensor, shift: &Tensor) -> Result<Tensor> {
        let sums = with_values::<T, _>(dy, |dy| {
            let sums = match self {
                Self::Rows => channel_sums(dy, shift.elem_count()),
                Self::Each => sum_of_rows(dy, shift.elem_count()),
            };
            sums.map_err(candle_core::Error::wrap)
        })?;
        Tensor::from_vec(sums, shift.shape(), dy.device())
    }
}

impl CustomOp2 for ShiftOp {
    fn name(&self) -> &'static str {
        "shift"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        shift: &CpuStorage,
        shift_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (at, by) = ((x, x_layout), (shift, shift_layout));
        let y = match x {
            CpuStorage::F64(_) => self.forward::<f64>(at, by)?,
            _ => self.forward::<f32>(at, by)?,
        };
        Ok((y, x_layout.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        shift: &Tensor,
        _y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let dy = dy.contiguous()?;
        let sums = match (shift.track_op(), dy.dtype()) {
            (false, _) => None,
            (true, DType::F64) => Some(self.sums::<f64>(&dy, shift)?),
            (true, _) => Some(self.sums::<f32>(&dy, shift)?),
        };
        Ok((x.track_op().then_some(dy), sums))
    }
}
