//! Which source goes with which datum.
//!
//! ```text
//! (x_0, x_1) ~ π(x_0, x_1)        π's marginals: the data and the source
//! ```
//!
//! A coupling stands between a data set and an objective: it completes a batch by its source x_1, or reorders the source
//! it has. Whatever the pairing, the marginals stay, so the flow that is learned still ends in the data; how straight it is
//! depends on the pairing.

mod cost;
mod immiscible;
mod optimal_transport;
mod sinkhorn;

use candle_core::{Device, Tensor};
use rand::RngCore;
use tallow_denoisers::{Batch, Error as DenoiserError, normal_like};

pub use cost::{ConditionCost, ConditionDistance};
pub use immiscible::ImmiscibleNoise;
pub use optimal_transport::OptimalTransport;
pub use sinkhorn::{Draw, Regularization, SinkhornCoupling};
pub use tallow_kernels::Marginals;

use crate::Result;

/// Pairs the data of a batch with sources.
///
/// A coupling sees the whole batch, its condition included: one that pairs without looking at the labels skews what a
/// conditional model learns (Cheng & Schwing 2025, arXiv:2503.10636).
pub trait Coupling: std::fmt::Debug + Send + Sync {
    /// The batch with an x_1 for each x_0, shaped like it; Gaussian noise where the batch came without a source.
    ///
    /// # Errors
    ///
    /// When the batch is empty, or cannot be paired.
    fn pair(&self, batch: Batch, rng: &mut dyn RngCore) -> Result<Batch>;
}

/// Pairs data and source as they come: π is the product of the two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Independent;

impl Coupling for Independent {
    fn pair(&self, batch: Batch, rng: &mut dyn RngCore) -> Result<Batch> {
        if batch.rows()? == 0 {
            return Err(DenoiserError::EmptyBatch { what: "a coupling" }.into());
        }
        if batch.x1.is_some() {
            return Ok(batch);
        }
        let noise = normal_like(&batch.x0, rng)?;
        Ok(batch.with_source(noise)?)
    }
}

/// The rows of a tensor in another order.
fn reordered(tensor: &Tensor, rows: &[usize]) -> Result<Tensor> {
    Ok(tensor
        .contiguous()?
        .index_select(&index(rows, tensor.device())?, 0)?)
}

fn index(rows: &[usize], device: &Device) -> Result<Tensor> {
    let count = rows.len();
    let rows: Vec<i64> = rows.iter().map(|&row| row as i64).collect();
    Ok(Tensor::from_vec(rows, count, device)?)
}

impl<C: Coupling + ?Sized> Coupling for Box<C> {
    fn pair(&self, batch: Batch, rng: &mut dyn RngCore) -> Result<Batch> {
        (**self).pair(batch, rng)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device, Tensor};
    use tallow_denoisers::{Condition, Seeded};

    use super::*;

    #[test]
    fn a_source_of_its_own_is_kept_and_a_missing_one_is_the_noise_an_objective_would_draw() {
        let x0 = Tensor::zeros((3, 2), DType::F64, &Device::Cpu).unwrap();
        let labels = Condition::labels(Tensor::new(&[0u32, 1, 2], &Device::Cpu).unwrap());
        let batch = Batch::new(x0.clone()).with_condition(labels).unwrap();
        let paired = Independent.pair(batch, &mut Seeded::new(4)).unwrap();
        let noise = normal_like(&x0, &mut Seeded::new(4)).unwrap();
        let drawn = paired.x1.clone().unwrap();
        assert_eq!(drawn.to_vec2::<f64>().unwrap(), noise.to_vec2::<f64>().unwrap());
        assert!(!paired.condition.is_empty());

        let again = Independent.pair(paired, &mut Seeded::new(5)).unwrap();
        assert_eq!(
            again.x1.unwrap().to_vec2::<f64>().unwrap(),
            noise.to_vec2::<f64>().unwrap()
        );
    }

    #[test]
    fn an_empty_batch_cannot_be_paired() {
        let empty = Batch::new(Tensor::zeros((0, 2), DType::F32, &Device::Cpu).unwrap());
        let error = Independent
            .pair(empty, &mut Seeded::new(0))
            .unwrap_err()
            .to_string();
        assert!(error.contains("a coupling needs at least one row"), "{error}");
    }
}
