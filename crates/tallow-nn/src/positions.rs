//! Embeddings of positions, added to the tokens of every entry of a batch: y[b, t, j] = x[b, t, j] + p[t, j].
//!
//! candle's broadcast addition of this size wakes a thread pool of its own beside rayon's and leaves it spinning; this is
//! one pass on ours.
//!
//! Source: Vaswani et al. 2017, arXiv:1706.03762, section 3.5; Dosovitskiy et al. 2021, arXiv:2010.11929 (learned).

use candle_core::Tensor;

use crate::dual::Dual;
use crate::error::{Error, Result};
use crate::norm::same_place;
use crate::shift_op::ShiftOp;
use crate::slices::kernels_take;

/// x + positions: x is (B, …), the positions have the shape of one entry, (…) or (1, …).
///
/// # Errors
///
/// When shapes, types or devices do not fit each other.
pub fn add_positions(x: &Tensor, positions: &Tensor) -> Result<Tensor> {
    check(x, positions)?;
    if !kernels_take(x) || positions.elem_count() == 0 {
        return Ok(x.broadcast_add(positions)?);
    }
    let positions = positions.contiguous()?;
    Ok(x.contiguous()?.apply_op2(&positions, ShiftOp::Each)?)
}

/// [`add_positions`] with its derivative along the tangents of both: ẋ + ṗ.
///
/// # Errors
///
/// Those of [`add_positions`].
pub fn add_positions_dual(x: &Dual, positions: &Dual) -> Result<Dual> {
    let y = add_positions(x.value(), positions.value())?;
    match (x.tangent(), positions.tangent()) {
        (None, None) => Ok(Dual::constant(y)),
        (Some(tangent), None) => Dual::new(y, tangent.clone()),
        (_, Some(moving)) => Dual::new(y, add_positions(&x.tangent_or_zeros()?, moving)?),
    }
}

fn check(x: &Tensor, positions: &Tensor) -> Result<()> {
    let entry = x.dims().get(1..).unwrap_or_default();
    let fits = positions.dims() == entry || positions.dims().split_first() == Some((&1, entry));
    if x.rank() < 2 || !fits {
        return Err(Error::Input {
            layer: "embeddings of positions".to_string(),
            wanted: format!("x of (batch, …) and positions of one entry, {entry:?} or [1, …]"),
            got: positions.shape().clone(),
        });
    }
    same_place("embeddings of positions", x, positions)
}

#[cfg(test)]
mod tests {
    use candle_core::DType;

    use super::*;
    use crate::testing::{check_dual, check_gradients, distance, random};

    #[test]
    fn outputs_gradients_and_tangents_are_those_of_the_definition() {
        for (shape, entry) in [
            (vec![3, 5, 4], vec![5, 4]),
            (vec![2, 5, 4], vec![1, 5, 4]),
            (vec![1, 7], vec![7]),
            (vec![0, 5, 4], vec![5, 4]),
            (vec![2, 0, 4], vec![0, 4]),
            (vec![2, 70, 130], vec![70, 130]),
        ] {
            let (x, p) = (random(shape, 1), random(entry, 2));
            let y = add_positions(&x, &p).unwrap();
            assert_eq!(distance(&y, &x.broadcast_add(&p).unwrap()), 0.0);
            if x.elem_count() == 0 || x.elem_count() > 1000 {
                continue;
            }
            check_gradients(&[x.clone(), p.clone()], |t| add_positions(&t[0], &t[1]));
            let plain = |x: &Tensor, p: &Tensor| -> Result<Tensor> { Ok(x.broadcast_add(p)?) };
            let (fixed_x, fixed_p) = (Dual::constant(x.clone()), Dual::constant(p.clone()));
            check_dual(&x, |x| add_positions_dual(x, &fixed_p), |x| plain(x, &p));
            check_dual(&p, |p| add_positions_dual(&fixed_x, p), |p| plain(&x, p));
        }
    }

    #[test]
    fn views_and_half_precision_give_the_same() {
        let (x, p) = (random((4, 3, 5), 1), random((5, 3), 2));
        let y = add_positions(&x, &p.t().unwrap()).unwrap();
        assert_eq!(distance(&y, &x.broadcast_add(&p.t().unwrap()).unwrap()), 0.0);
        let half = |t: &Tensor| t.to_dtype(DType::F16).unwrap();
        let rough = add_positions(&half(&x), &half(&p.t().unwrap())).unwrap();
        assert!(distance(&rough, &y) < 0.02);
    }

    #[test]
    fn misfits_are_named_on_both_sides() {
        let message = add_positions(&random((2, 3, 4), 1), &random((4, 3), 2))
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("[3, 4]") && message.contains("[4, 3]"),
            "{message}"
        );
        assert!(add_positions(&random(4, 1), &random(4, 2)).is_err());
    }
}
