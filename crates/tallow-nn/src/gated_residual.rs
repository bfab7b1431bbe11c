//! The gated residual step of a DiT block: y = x + gate h.
//!
//! Source: Peebles & Xie 2023, arXiv:2212.09748 (adaLN-Zero).

use candle_core::{CpuStorage, CustomOp3, DType, Layout, Result, Shape, Tensor};
use tallow_kernels::GatedResidual;

use crate::dual::Dual;
use crate::error::Error;
use crate::norm::same_place;
use crate::norm_op::with_contiguous_rows;
use crate::slices::{Element, kernels_take, rows, values, with_rows, with_values};

/// x + gate h: x and h are (B, …, width), the gate is (B, width), which may be a slice of a wider tensor.
///
/// # Errors
///
/// When shapes, types or devices do not fit each other.
pub fn gated_residual(x: &Tensor, gate: &Tensor, h: &Tensor) -> crate::Result<Tensor> {
    check(x, gate, h)?;
    if !kernels_take(x) {
        let mut along = vec![1; x.rank()];
        along[0] = x.dims()[0];
        along[x.rank() - 1] = gate.dims()[1];
        let gate = gate.contiguous()?.reshape(along)?;
        return Ok((x + h.broadcast_mul(&gate)?)?);
    }
    let dims = x.dims();
    let gate = with_contiguous_rows(gate)?;
    let sizes = GatedResidual {
        batch: dims[0],
        tokens: dims[1..dims.len() - 1].iter().product(),
        width: dims[dims.len() - 1],
        stride: gate.stride()[0],
    };
    Ok(x.contiguous()?
        .apply_op3(&gate, &h.contiguous()?, GatedResidualOp(sizes))?)
}

/// [`gated_residual`] with its derivative along the tangents of all three: ẋ + ġ h + g ḣ.
///
/// # Errors
///
/// Those of [`gated_residual`].
pub fn gated_residual_dual(x: &Dual, gate: &Dual, h: &Dual) -> crate::Result<Dual> {
    let y = gated_residual(x.value(), gate.value(), h.value())?;
    if x.tangent().is_none() && gate.tangent().is_none() && h.tangent().is_none() {
        return Ok(Dual::constant(y));
    }
    let mut tangent = x.tangent_or_zeros()?;
    if let Some(moving) = gate.tangent() {
        tangent = gated_residual(&tangent, moving, &h.value().detach())?;
    }
    if let Some(moving) = h.tangent() {
        tangent = gated_residual(&tangent, &gate.value().detach(), moving)?;
    }
    Dual::new(y, tangent)
}

fn check(x: &Tensor, gate: &Tensor, h: &Tensor) -> crate::Result<()> {
    let refuse = |wanted: String, got: &Tensor| {
        let (layer, got) = ("a gated residual".to_string(), got.shape().clone());
        Err(Error::Input { layer, wanted, got })
    };
    let (Some(&batch), Some(&width), true) = (x.dims().first(), x.dims().last(), x.rank() >= 2) else {
        return refuse("x of (batch, …, width)".to_string(), x);
    };
    if h.dims() != x.dims() {
        return refuse(format!("h of the shape of x, {:?}", x.shape()), h);
    }
    if gate.dims() != [batch, width] {
        return refuse(format!("a gate of [{batch}, {width}]"), gate);
    }
    same_place("a gated residual", x, gate)?;
    same_place("a gated residual", x, h)
}

/// x, gate and h; the rows of the gate are contiguous, the others as a whole.
struct GatedResidualOp(GatedResidual);

/// Gradients of x, gate and h.
type Gradients = (Option<Tensor>, Option<Tensor>, Option<Tensor>);

impl GatedResidualOp {
    fn forward<T: Element>(&self, x: &[T], (gate, _): (&[T], usize), h: &[T]) -> Result<CpuStorage> {
        let y = self.0.forward(x, gate, h).map_err(candle_core::Error::wrap)?;
        Ok(T::to_cpu_storage_owned(y))
    }

    fn backward<T: Element>(&self, [x, gate, h]: [&Tensor; 3], dy: &Tensor) -> Result<Gradients> {
        let dx = x.track_op().then(|| dy.clone());
        if !gate.track_op() && !h.track_op() {
            return Ok((dx, None, None));
        }
        let (dh, dgate) = with_rows::<T, _>(gate, |(gate, _)| {
            with_values::<T, _>(h, |h| {
                with_values::<T, _>(dy, |dy| {
                    let result = self.0.backward(gate, h, dy);
                    result.map_err(candle_core::Error::wrap)
                })
            })
        })?;
        let tensor = |values: Vec<T>, like: &Tensor| {
            let made = || Tensor::from_vec(values, like.shape(), like.device());
            like.track_op().then(made).transpose()
        };
        Ok((dx, tensor(dgate, gate)?, tensor(dh, h)?))
    }
}

impl CustomOp3 for GatedResidualOp {
    fn name(&self) -> &'static str {
        "gated residual"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        gate: &CpuStorage,
        gate_layout: &Layout,
        h: &CpuStorage,
        h_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let y = match x {
            CpuStorage::F64(_) => self.forward::<f64>(
                values(x, x_layout)?,
                rows(gate, gate_layout)?,
                values(h, h_layout)?,
            )?,
            _ => self.forward::<f32>(
                values(x, x_layout)?,
                rows(gate, gate_layout)?,
                values(h, h_layout)?,
            )?,
        };
        Ok((y, x_layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, gate: &Tensor, h: &Tensor, _y: &Tensor, dy: &Tensor) -> Result<Gradients> {
        let dy = dy.contiguous()?;
        match dy.dtype() {
            DType::F64 => self.backward::<f64>([x, gate, h], &dy),
            _ => self.backward::<f32>([x, gate, h], &dy),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{check_dual, check_gradients, distance, random};

    #[test]
    fn outputs_gradients_and_tangents_are_those_of_the_definition() {
        for shape in [
            vec![3, 4],
            vec![3, 5, 4],
            vec![1, 2, 3, 7],
            vec![0, 5, 4],
            vec![2, 0, 4],
        ] {
            let width = shape[shape.len() - 1];
            let (x, h) = (random(shape.clone(), 1), random(shape.clone(), 2));
            let wide = random((shape[0], 3 * width), 3);
            let gate = |wide: &Tensor| wide.narrow(1, width, width);
            let y = gated_residual(&x, &gate(&wide).unwrap(), &h).unwrap();
            let mut along = vec![1; shape.len()];
            (along[0], along[shape.len() - 1]) = (shape[0], width);
            let product = |x: &Tensor, wide: &Tensor, h: &Tensor| -> crate::Result<Tensor> {
                let gate = gate(wide)?.contiguous()?.reshape(along.clone())?;
                Ok((x + h.broadcast_mul(&gate)?)?)
            };
            assert!(distance(&y, &product(&x, &wide, &h).unwrap()) < 1e-15);
            if x.elem_count() == 0 {
                continue;
            }
            check_gradients(&[x.clone(), wide.clone(), h.clone()], |t| {
                gated_residual(&t[0], &gate(&t[1])?, &t[2])
            });
            let joined = |x: &Dual| gated_residual_dual(x, &Dual::constant(gate(&wide)?), &x.scale(2.0)?);
            check_dual(&x, joined, |x| product(x, &wide, &(x * 2.0)?));
            let (x, h) = (Dual::constant(x.clone()), Dual::constant(h.clone()));
            check_dual(
                &wide,
                |wide| gated_residual_dual(&x, &wide.linear(gate)?, &h),
                |wide| product(x.value(), wide, h.value()),
            );
        }
    }

    #[test]
    fn views_and_half_precision_give_the_same() {
        let (x, h, gate) = (random((4, 3, 5), 1), random((4, 3, 5), 2), random((5, 4), 3));
        let y = gated_residual(&x, &gate.t().unwrap(), &h).unwrap();
        let turned = gated_residual(
            &x.transpose(0, 1)
                .unwrap()
                .contiguous()
                .unwrap()
                .transpose(0, 1)
                .unwrap(),
            &gate.t().unwrap().contiguous().unwrap(),
            &h,
        );
        assert_eq!(distance(&y, &turned.unwrap()), 0.0);
        let one = random((1, 5), 4);
        let repeated = gated_residual(&x, &one.broadcast_as((4, 5)).unwrap(), &h).unwrap();
        let copied = one.broadcast_as((4, 5)).unwrap().contiguous().unwrap();
        assert_eq!(
            distance(&repeated, &gated_residual(&x, &copied, &h).unwrap()),
            0.0
        );
        let half = |t: &Tensor| t.to_dtype(DType::F16).unwrap();
        let rough = gated_residual(&half(&x), &half(&gate.t().unwrap()), &half(&h)).unwrap();
        assert!(distance(&rough, &y) < 0.02);
    }

    #[test]
    fn misfits_are_named_on_both_sides() {
        let (x, gate) = (random((2, 3, 4), 1), random((2, 4), 2));
        let message = gated_residual(&x, &gate, &random((2, 4), 3))
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("[2, 3, 4]") && message.contains("[2, 4]"),
            "{message}"
        );
        let message = gated_residual(&x, &random((3, 4), 3), &x)
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("[2, 4]") && message.contains("[3, 4]"),
            "{message}"
        );
        assert!(gated_residual(&random(4, 1), &gate, &random(4, 1)).is_err());
        let single = gate.to_dtype(DType::F32).unwrap();
        let message = gated_residual(&x, &single, &x).unwrap_err().to_string();
        assert!(message.contains("F64") && message.contains("F32"), "{message}");
    }
}
