//! The softmax over the last dimension, differentiable (candle-nn's own fused one is not).
//!
//! ```text
//! y_j = e^(x_j − max x)/Σ_k e^(x_k − max x)        dx = y (dy − Σ_k y_k dy_k)
//! ```

use candle_core::{CpuStorage, CustomOp1, D, DType, Layout, Result, Shape, Tensor};
use tallow_kernels::Softmax;

use crate::dual::Dual;
use crate::error::Error;
use crate::slices::{Element, kernels_take, values, with_values};

/// The softmax of every row of `x` (…, width); values of −∞ get 0.
///
/// # Errors
///
/// When `x` has no dimension.
pub fn softmax(x: &Tensor) -> crate::Result<Tensor> {
    let Some((&width, rows)) = x.dims().split_last() else {
        return Err(Error::Input {
            layer: "a softmax".to_string(),
            wanted: "(…, width)".to_string(),
            got: x.shape().clone(),
        });
    };
    if kernels_take(x) {
        let rows = rows.iter().product();
        return Ok(x.contiguous()?.apply_op1(SoftmaxOp(Softmax { rows, width }))?);
    }
    if x.elem_count() == 0 {
        return Ok(x.clone());
    }
    let top = x.max_keepdim(D::Minus1)?.detach();
    let e = x.broadcast_sub(&top)?.exp()?;
    Ok(e.broadcast_div(&e.sum_keepdim(D::Minus1)?)?)
}

/// [`softmax`] with its derivative along the tangent of `x`: ẏ = y (ẋ − Σ y ẋ).
///
/// # Errors
///
/// Those of [`softmax`].
pub fn softmax_dual(x: &Dual) -> crate::Result<Dual> {
    let y = softmax(x.value())?;
    let Some(tangent) = x.tangent() else {
        return Ok(Dual::constant(y));
    };
    let detached = y.detach();
    let tangent = if let (true, Some(&width)) = (kernels_take(&y), y.dims().last()) {
        let rows = y.dims()[..y.rank() - 1].iter().product();
        SoftmaxOp(Softmax { rows, width }).pulled(&detached, tangent)?
    } else if y.elem_count() == 0 {
        tangent.clone()
    } else {
        let mean = (&detached * tangent)?.sum_keepdim(D::Minus1)?;
        (&detached * tangent.broadcast_sub(&mean)?)?
    };
    Dual::new(y, tangent)
}

struct SoftmaxOp(Softmax);

impl SoftmaxOp {
    fn forward<T: Element>(&self, x: &[T]) -> Result<CpuStorage> {
        let y = self.0.forward(x).map_err(candle_core::Error::wrap)?;
        Ok(T::to_cpu_storage_owned(y))
    }

    fn pulled_as<T: Element>(&self, y: &Tensor, dy: &Tensor) -> Result<Tensor> {
        let dx = with_values::<T, _>(y, |y| {
            with_values::<T, _>(dy, |dy| self.0.backward(y, dy).map_err(candle_core::Error::wrap))
        })?;
        Tensor::from_vec(dx, y.shape(), y.device())
    }

    /// y (dy − Σ y dy).
    fn pulled(&self, y: &Tensor, dy: &Tensor) -> Result<Tensor> {
        let dy = dy.contiguous()?;
        match y.dtype() {
            DType::F64 => self.pulled_as::<f64>(y, &dy),
            _ => self.pulled_as::<f32>(y, &dy),
        }
    }
}

impl CustomOp1 for SoftmaxOp {
    fn name(&self) -> &'static str {
        "softmax"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let y = match x {
            CpuStorage::F64(_) => self.forward::<f64>(values(x, layout)?)?,
            _ => self.forward::<f32>(values(x, layout)?)?,
        };
        Ok((y, layout.shape().clone()))
    }

    fn bwd(&self, _x: &Tensor, y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        self.pulled(y, dy).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{check_dual, check_gradients, distance, random};

    fn exact(x: &Tensor) -> crate::Result<Tensor> {
        let e = x.exp()?;
        Ok(e.broadcast_div(&e.sum_keepdim(D::Minus1)?)?)
    }

    #[test]
    fn outputs_gradients_and_tangents_are_those_of_the_definition() {
        for shape in [vec![1], vec![7], vec![3, 5], vec![2, 3, 33]] {
            let x = random(shape, 1);
            assert!(distance(&softmax(&x).unwrap(), &exact(&x).unwrap()) < 1e-15);
            check_gradients(std::slice::from_ref(&x), |t| softmax(&t[0]));
            check_dual(&x, softmax_dual, exact);
        }
    }

    #[test]
    fn views_and_half_precision_give_the_same() {
        let x = random((4, 6), 1);
        let turned = softmax(&x.t().unwrap()).unwrap();
        let copied = softmax(&x.t().unwrap().contiguous().unwrap()).unwrap();
        assert_eq!(distance(&turned, &copied), 0.0);
        let half = Dual::new(x.to_dtype(DType::F16).unwrap(), x.to_dtype(DType::F16).unwrap()).unwrap();
        let (rough, fine) = (
            softmax_dual(&half).unwrap(),
            softmax_dual(&Dual::new(x.clone(), x).unwrap()),
        );
        let fine = fine.unwrap();
        assert!(distance(rough.value(), fine.value()) < 2e-3);
        assert!(distance(rough.tangent().unwrap(), fine.tangent().unwrap()) < 5e-3);
    }

    #[test]
    fn empty_tensors_stay_empty_and_a_number_is_refused() {
        assert_eq!(softmax(&random((0, 3), 1)).unwrap().dims(), [0, 3]);
        assert_eq!(softmax(&random((3, 0), 1)).unwrap().dims(), [3, 0]);
        assert!(softmax(&random((), 1)).is_err());
    }
}
