//! Channels of images: one shift for each, and two sets of them side by side.
//!
//! ```text
//! shifted  y[b, c, i, j] = x[b, c, i, j] + s[b, c]          ds = Σ_ij dy
//! joined   y = [a | b] along the channels                    da, db: the parts of dy
//! ```
//!
//! On the host each is one pass over the data with a backward pass of its own; elsewhere they are candle's operations, whose
//! gradients are right but cost several passes on one thread.

use candle_core::{CpuStorage, CustomOp2, DType, Layout, Shape, Tensor};
use tallow_kernels::{join_rows, split_rows};

use crate::dual::Dual;
use crate::error::{Error, Result};
use crate::norm::same_place;
use crate::shift_op::ShiftOp;
use crate::slices::{Element, kernels_take, values, with_values};

/// x, (B, C, …), with one number added to each channel of each image: `shift` is (B, C).
///
/// # Errors
///
/// When `shift` is not (B, C), or types or devices differ.
pub fn shift_channels(x: &Tensor, shift: &Tensor) -> Result<Tensor> {
    let layer = "a shift of channels";
    let Some((&[batch, channels], _)) = x.dims().split_first_chunk::<2>() else {
        return Err(input(layer, "(batch, channels, …)", x));
    };
    if shift.dims() != [batch, channels] {
        return Err(input(layer, &format!("({batch}, {channels})"), shift));
    }
    same_place(layer, x, shift)?;
    if kernels_take(x) {
        return Ok(x.contiguous()?.apply_op2(&shift.contiguous()?, ShiftOp::Rows)?);
    }
    let mut shape = vec![1; x.rank()];
    shape[..2].copy_from_slice(&[batch, channels]);
    Ok(x.broadcast_add(&shift.reshape(shape)?)?)
}

/// [`shift_channels`] with its derivative along the tangents of both.
///
/// # Errors
///
/// Those of [`shift_channels`].
pub fn shift_channels_dual(x: &Dual, shift: &Dual) -> Result<Dual> {
    let value = shift_channels(x.value(), shift.value())?;
    let tangent = match (x.tangent(), shift.tangent()) {
        (None, None) => return Ok(Dual::constant(value)),
        (Some(dx), None) => dx.clone(),
        (Some(dx), Some(ds)) => shift_channels(dx, ds)?,
        (None, Some(ds)) => shift_channels(&x.value().zeros_like()?, ds)?,
    };
    Dual::new(value, tangent)
}

/// The channels of `a`, (B, C, …), followed by those of `b`, (B, C′, …): (B, C + C′, …).
///
/// # Errors
///
/// When they differ in anything but the number of channels.
pub fn join_channels(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let layer = "joined channels";
    let (dims, other) = (a.dims(), b.dims());
    if dims.len() < 2 || other.len() != dims.len() || dims[0] != other[0] || dims[2..] != other[2..] {
        let wanted = match dims {
            [batch, _, rest @ ..] => format!("({batch}, channels, {rest:?})"),
            _ => "(batch, channels, …)".to_owned(),
        };
        return Err(input(layer, &wanted, b));
    }
    same_place(layer, a, b)?;
    if kernels_take(a) {
        return Ok(a.contiguous()?.apply_op2(&b.contiguous()?, JoinOp)?);
    }
    Ok(Tensor::cat(&[a, b], 1)?)
}

/// [`join_channels`] with its derivative along the tangents of both.
///
/// # Errors
///
/// Those of [`join_channels`].
pub fn join_channels_dual(a: &Dual, b: &Dual) -> Result<Dual> {
    let value = join_channels(a.value(), b.value())?;
    if a.tangent().is_none() && b.tangent().is_none() {
        return Ok(Dual::constant(value));
    }
    Dual::new(
        value,
        join_channels(&a.tangent_or_zeros()?, &b.tangent_or_zeros()?)?,
    )
}

fn input(layer: &str, wanted: &str, got: &Tensor) -> Error {
    Error::Input {
        layer: layer.to_owned(),
        wanted: wanted.to_owned(),
        got: got.shape().clone(),
    }
}

struct JoinOp;

impl JoinOp {
    /// Values of an image on each side.
    fn sizes(a: &Layout, b: &Layout) -> (usize, usize, usize) {
        let batch = a.dims()[0];
        let size = |layout: &Layout| layout.dims()[1..].iter().product();
        (batch, size(a), size(b))
    }

    fn forward<T: Element>(
        a: (&CpuStorage, &Layout),
        b: (&CpuStorage, &Layout),
    ) -> candle_core::Result<CpuStorage> {
        let (batch, _, _) = Self::sizes(a.1, b.1);
        let (a, b) = (values::<T>(a.0, a.1)?, values::<T>(b.0, b.1)?);
        let y = join_rows(batch, a, b).map_err(candle_core::Error::wrap)?;
        Ok(T::to_cpu_storage_owned(y))
    }

    fn parts<T: Element>(a: &Tensor, b: &Tensor, dy: &Tensor) -> candle_core::Result<(Tensor, Tensor)> {
        let (batch, width, _) = Self::sizes(a.layout(), b.layout());
        let (da, db) = with_values::<T, _>(dy, |dy| {
            split_rows(batch, width, dy).map_err(candle_core::Error::wrap)
        })?;
        let tensor = |values: Vec<T>, like: &Tensor| Tensor::from_vec(values, like.shape(), like.device());
        Ok((tensor(da, a)?, tensor(db, b)?))
    }
}

impl CustomOp2 for JoinOp {
    fn name(&self) -> &'static str {
        "join-channels"
    }

    fn cpu_fwd(
        &self,
        a: &CpuStorage,
        a_layout: &Layout,
        b: &CpuStorage,
        b_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let (first, second) = ((a, a_layout), (b, b_layout));
        let y = match a {
            CpuStorage::F64(_) => Self::forward::<f64>(first, second)?,
            _ => Self::forward::<f32>(first, second)?,
        };
        let mut dims = a_layout.dims().to_vec();
        dims[1] += b_layout.dims()[1];
        Ok((y, dims.into()))
    }

    fn bwd(
        &self,
        a: &Tensor,
        b: &Tensor,
        _y: &Tensor,
        dy: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let dy = dy.contiguous()?;
        let (da, db) = match dy.dtype() {
            DType::F64 => Self::parts::<f64>(a, b, &dy)?,
            _ => Self::parts::<f32>(a, b, &dy)?,
        };
        Ok((a.track_op().then_some(da), b.track_op().then_some(db)))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;
    use crate::testing::{check_dual, check_gradients};

    fn ramp(shape: &[usize], start: f64) -> Tensor {
        let count: usize = shape.iter().product();
        let values: Vec<f64> = (0..count).map(|i| start + ((i * 37) % 23) as f64 / 7.0).collect();
        Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
    }

    fn flat(tensor: &Tensor) -> Vec<f64> {
        tensor.flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn shifting_is_the_broadcast_sum_of_candle() {
        for shape in [
            vec![1, 1, 1, 1],
            vec![2, 3, 5, 4],
            vec![3, 2, 7],
            vec![0, 3, 2, 2],
        ] {
            let (x, shift) = (ramp(&shape, 0.0), ramp(&shape[..2], 1.0));
            let mut wide = vec![1; shape.len()];
            wide[..2].copy_from_slice(&shape[..2]);
            let expected = x.broadcast_add(&shift.reshape(wide).unwrap()).unwrap();
            assert_eq!(flat(&shift_channels(&x, &shift).unwrap()), flat(&expected));
        }
    }

    #[test]
    fn joining_is_the_concatenation_of_candle() {
        for (a, b) in [
            ([2, 3, 5, 4], [2, 1, 5, 4]),
            ([1, 1, 1, 1], [1, 4, 1, 1]),
            ([0, 3, 2, 2], [0, 1, 2, 2]),
        ] {
            let (a, b) = (ramp(&a, 0.0), ramp(&b, 1.0));
            let expected = Tensor::cat(&[&a, &b], 1).unwrap();
            assert_eq!(flat(&join_channels(&a, &b).unwrap()), flat(&expected));
        }
    }

    #[test]
    fn gradients_and_tangents_are_those_of_central_differences() {
        let (x, shift, other) = (
            ramp(&[2, 3, 3, 4], 0.0),
            ramp(&[2, 3], 1.0),
            ramp(&[2, 2, 3, 4], 2.0),
        );
        check_gradients(&[x.clone(), shift.clone()], |t| shift_channels(&t[0], &t[1]));
        check_gradients(&[x.clone(), other.clone()], |t| join_channels(&t[0], &t[1]));
        // A transposed input, and one that is used twice.
        check_gradients(std::slice::from_ref(&x), |t| {
            let turned = t[0].transpose(2, 3)?;
            join_channels(&turned, &turned)
        });
        let constant = Dual::constant(shift.clone());
        check_dual(
            &x,
            |x| shift_channels_dual(x, &constant),
            |x| shift_channels(x, &shift),
        );
        let fixed = Dual::constant(x.clone());
        check_dual(
            &shift,
            |s| shift_channels_dual(&fixed, s),
            |s| shift_channels(&x, s),
        );
        check_dual(
            &x,
            |x| join_channels_dual(x, &Dual::constant(other.clone())),
            |x| join_channels(x, &other),
        );
    }

    #[test]
    fn nothing_is_computed_for_what_is_not_trained() {
        let (x, shift) = (
            ramp(&[2, 3, 2, 2], 0.0),
            Var::from_tensor(&ramp(&[2, 3], 1.0)).unwrap(),
        );
        let y = shift_channels(&x, shift.as_tensor()).unwrap();
        let gradients = y.sum_all().unwrap().backward().unwrap();
        assert!(gradients.get(&x).is_none());
        assert_eq!(flat(gradients.get(&shift).unwrap()), [4.0; 6]);
    }

    #[test]
    fn shapes_and_types_that_do_not_fit_are_refused_in_words() {
        let x = ramp(&[2, 3, 2, 2], 0.0);
        let refused = |result: Result<Tensor>| result.unwrap_err().to_string();
        assert!(refused(shift_channels(&x, &ramp(&[3, 2], 0.0))).contains("(2, 3)"));
        assert!(refused(shift_channels(&ramp(&[4], 0.0), &ramp(&[4], 0.0))).contains("channels"));
        assert!(refused(join_channels(&x, &ramp(&[2, 3, 2, 3], 0.0))).contains("[2, 2]"));
        let single = ramp(&[2, 3], 0.0).to_dtype(DType::F32).unwrap();
        assert!(refused(shift_channels(&x, &single)).contains("F32"));
    }
}
