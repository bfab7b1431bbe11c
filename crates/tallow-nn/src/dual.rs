//! A tensor with its derivative along one direction: forward-mode differentiation.
//!
//! ```text
//! (x, ẋ):   ẋ = dx/ds along some curve x(s)
//! L (x, ẋ) = (L x, L ẋ)      (a, ȧ) + (b, ḃ) = (a + b, ȧ + ḃ)      (a, ȧ)(b, ḃ) = (a b, ȧ b + a ḃ)
//! ```
//!
//! A network's derivative along a direction costs one more forward pass this way, where central differences cost two and
//! are not exact. MeanFlow (arXiv:2505.13447) and continuous consistency models (arXiv:2410.11081) train on it.
//!
//! Values keep their graph. Tangents have none: they are targets, and what a network's slope does to a loss is not
//! differentiated a second time.

use candle_core::{Shape, Tensor};

use crate::error::{Error, Result};

/// A tensor with its derivative along one direction, or a constant.
#[derive(Clone, Debug)]
pub struct Dual {
    value: Tensor,
    tangent: Option<Tensor>,
}

impl Dual {
    /// A value that moves along `tangent`, which has its shape; the tangent is cut off from its graph.
    ///
    /// # Errors
    ///
    /// When shapes, types or devices differ.
    pub fn new(value: Tensor, tangent: Tensor) -> Result<Self> {
        let layer = || "a dual number".to_string();
        if value.shape() != tangent.shape() {
            return Err(Error::Input {
                layer: layer(),
                wanted: format!("a tangent of the value's shape {:?}", value.shape()),
                got: tangent.shape().clone(),
            });
        }
        if value.dtype() != tangent.dtype() {
            let (wanted, got) = (value.dtype(), tangent.dtype());
            return Err(Error::Type {
                layer: layer(),
                wanted,
                got,
            });
        }
        if !value.device().same_device(tangent.device()) {
            let (wanted, got) = (value.device().clone(), tangent.device().clone());
            return Err(Error::Place {
                layer: layer(),
                wanted,
                got,
            });
        }
        Ok(Self::of(value, Some(tangent)))
    }

    /// A value that does not move.
    #[must_use]
    pub fn constant(value: Tensor) -> Self {
        Self::of(value, None)
    }

    /// The value.
    #[must_use]
    pub fn value(&self) -> &Tensor {
        &self.value
    }

    /// The derivative, without a graph; `None` for a constant.
    #[must_use]
    pub fn tangent(&self) -> Option<&Tensor> {
        self.tangent.as_ref()
    }

    /// The derivative, zeros for a constant.
    ///
    /// # Errors
    ///
    /// When zeros cannot be made on the value's device.
    pub fn tangent_or_zeros(&self) -> Result<Tensor> {
        match &self.tangent {
            Some(tangent) => Ok(tangent.clone()),
            None => Ok(self.value.zeros_like()?),
        }
    }

    /// The image under a linear map: reshapes, transposes, sums, products with a constant; never a bias.
    ///
    /// # Errors
    ///
    /// Those of `map`.
    pub fn linear(&self, map: impl Fn(&Tensor) -> candle_core::Result<Tensor>) -> Result<Self> {
        let tangent = self.tangent.as_ref().map(&map).transpose()?;
        Ok(Self::of(map(&self.value)?, tangent))
    }

    /// The sum; shapes broadcast.
    ///
    /// # Errors
    ///
    /// When the shapes do not broadcast together, or types or devices differ.
    pub fn add(&self, other: &Self) -> Result<Self> {
        let value = self.value.broadcast_add(&other.value)?;
        let tangent = match (&self.tangent, &other.tangent) {
            (Some(a), Some(b)) => Some(a.broadcast_add(b)?),
            (Some(only), None) | (None, Some(only)) => Some(broadcast(only, value.shape())?),
            (None, None) => None,
        };
        Ok(Self::of(value, tangent))
    }

    /// The difference; shapes broadcast.
    ///
    /// # Errors
    ///
    /// Those of [`add`](Self::add).
    pub fn sub(&self, other: &Self) -> Result<Self> {
        let value = self.value.broadcast_sub(&other.value)?;
        let tangent = match (&self.tangent, &other.tangent) {
            (Some(a), Some(b)) => Some(a.broadcast_sub(b)?),
            (Some(a), None) => Some(broadcast(a, value.shape())?),
            (None, Some(b)) => Some(broadcast(&b.neg()?, value.shape())?),
            (None, None) => None,
        };
        Ok(Self::of(value, tangent))
    }

    /// The product; shapes broadcast.
    ///
    /// # Errors
    ///
    /// Those of [`add`](Self::add).
    pub fn mul(&self, other: &Self) -> Result<Self> {
        let (a, b) = (self.value.detach(), other.value.detach());
        let left = self.tangent.as_ref().map(|slope| slope.broadcast_mul(&b));
        let right = other.tangent.as_ref().map(|slope| a.broadcast_mul(slope));
        let tangent = match (left.transpose()?, right.transpose()?) {
            (Some(left), Some(right)) => Some((left + right)?),
            (left, right) => left.or(right),
        };
        Ok(Self::of(self.value.broadcast_mul(&other.value)?, tangent))
    }

    /// The product with a number.
    ///
    /// # Errors
    ///
    /// When the type of the tensor has no such product.
    pub fn scale(&self, factor: f64) -> Result<Self> {
        self.linear(|x| x * factor)
    }

    /// The parts side by side along `dim`; constants among moving parts get tangents of zeros.
    ///
    /// # Errors
    ///
    /// When there is no part, or shapes, types or devices do not fit each other.
    pub fn cat(parts: &[Self], dim: usize) -> Result<Self> {
        let values: Vec<_> = parts.iter().map(Self::value).collect();
        let value = Tensor::cat(&values, dim)?;
        if parts.iter().all(|part| part.tangent.is_none()) {
            return Ok(Self::constant(value));
        }
        let tangents = parts
            .iter()
            .map(Self::tangent_or_zeros)
            .collect::<Result<Vec<_>>>()?;
        Ok(Self::of(value, Some(Tensor::cat(&tangents, dim)?)))
    }

    /// The only constructor: here tangents lose their graph.
    fn of(value: Tensor, tangent: Option<Tensor>) -> Self {
        let tangent = tangent.map(|tangent| tangent.detach());
        Self { value, tangent }
    }
}

fn broadcast(tensor: &Tensor, shape: &Shape) -> candle_core::Result<Tensor> {
    if tensor.shape() == shape {
        Ok(tensor.clone())
    } else {
        tensor.broadcast_as(shape)?.contiguous()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{check_dual, random};
    use candle_core::{DType, Var};

    #[test]
    fn sums_and_products_follow_the_rules_with_and_without_broadcasting() {
        let row = random((1, 4), 1);
        for x in [random((3, 4), 2), random((3, 1), 3), random((1, 4), 4)] {
            let constant = Dual::constant(row.clone());
            check_dual(&x, |x| x.add(&constant), |x| Ok(x.broadcast_add(&row)?));
            check_dual(&x, |x| constant.add(x), |x| Ok(row.broadcast_add(x)?));
            check_dual(&x, |x| x.sub(&constant), |x| Ok(x.broadcast_sub(&row)?));
            check_dual(&x, |x| constant.sub(x), |x| Ok(row.broadcast_sub(x)?));
            check_dual(&x, |x| constant.mul(x), |x| Ok(row.broadcast_mul(x)?));
            check_dual(&x, |x| x.mul(x), |x| Ok(x.sqr()?));
            check_dual(&x, |x| x.mul(x)?.mul(x)?.sub(x), |x| Ok((x.powf(3.0)? - x)?));
            check_dual(&x, |x| x.add(x)?.scale(0.5), |x| Ok(x.clone()));
        }
    }

    #[test]
    fn both_factors_may_have_shapes_of_their_own() {
        let x = random((3, 4), 5);
        let column = |x: &Tensor| x.sum_keepdim(1);
        check_dual(
            &x,
            |x| x.mul(&x.linear(column)?)?.sub(&x.linear(column)?),
            |x| {
                let column = column(x)?;
                Ok(x.broadcast_mul(&column)?.broadcast_sub(&column)?)
            },
        );
    }

    #[test]
    fn joined_parts_keep_their_tangents_and_constants_get_zeros() {
        let fixed = random((3, 2), 6);
        check_dual(
            &random((3, 4), 7),
            |x| Dual::cat(&[x.clone(), Dual::constant(fixed.clone()), x.scale(2.0)?], 1),
            |x| Ok(Tensor::cat(&[x, &fixed, &(x * 2.0)?], 1)?),
        );
        let constants = [Dual::constant(fixed.clone()), Dual::constant(fixed)];
        assert!(Dual::cat(&constants, 0).unwrap().tangent().is_none());
        assert!(Dual::cat(&[], 0).is_err());
    }

    #[test]
    fn values_keep_their_graph_and_tangents_have_none() {
        let variable = Var::from_tensor(&random((2, 2), 8)).unwrap();
        let x = Dual::new(
            variable.as_tensor().clone(),
            (variable.as_tensor() * 2.0).unwrap(),
        )
        .unwrap();
        let y = x.mul(&x).unwrap().linear(|x| x.matmul(&variable)).unwrap();
        assert!(y.value().track_op());
        for part in [&x, &y] {
            assert!(!part.tangent().unwrap().track_op());
        }
    }

    #[test]
    fn tangents_that_do_not_fit_are_named_on_both_sides() {
        let x = random((2, 3), 9);
        let message = Dual::new(x.clone(), x.t().unwrap()).unwrap_err().to_string();
        assert!(
            message.contains("[2, 3]") && message.contains("[3, 2]"),
            "{message}"
        );
        let single = x.to_dtype(DType::F32).unwrap();
        let message = Dual::new(x, single).unwrap_err().to_string();
        assert!(message.contains("F64") && message.contains("F32"), "{message}");
    }
}
