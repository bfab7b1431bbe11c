//! Label dropout: the training half of classifier-free guidance.
//!
//! ```text
//! y ← null with probability p        one network learns p(x | y) and p(x)
//! ```
//!
//! The null label is one more class, commonly the number of classes: its embedding is learned like any other.
//!
//! Source: Ho & Salimans 2022, arXiv:2207.12598, Algorithm 1; p = 0.1 to 0.2 there.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};
use rand::RngCore;
use tallow_denoisers::{Batch, LABELS, Network, uniforms};

use crate::{Error, Loss, Objective, Result};

/// An objective whose batches lose some of their labels first.
///
/// Source: Ho & Salimans 2022, arXiv:2207.12598, Algorithm 1; p = 0.1 to 0.2 there.
///
/// ```
/// use std::sync::Arc;
/// use tallow_denoisers::Parameterization;
/// use tallow_objectives::{LabelDropout, Regression};
/// use tallow_schedules::RectifiedFlow;
///
/// // Ten classes: labels 0 to 9, and 10 for none.
/// let regression = Regression::new(Arc::new(RectifiedFlow::default()), Parameterization::flow_matching());
/// let objective = LabelDropout::new(regression, 0.1, 10)?;
/// # let _ = objective;
/// # Ok::<(), tallow_objectives::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct LabelDropout<O> {
    objective: O,
    probability: f64,
    null: u32,
}

impl<O: Objective> LabelDropout<O> {
    /// Drops labels of the batches of `objective` with a probability, to the label `null`.
    ///
    /// # Errors
    ///
    /// When the probability is outside [0, 1].
    pub fn new(objective: O, probability: f64, null: u32) -> Result<Self> {
        if (0.0..=1.0).contains(&probability) {
            return Ok(Self {
                objective,
                probability,
                null,
            });
        }
        Err(Error::Parameter {
            owner: "LabelDropout",
            name: "probability",
            value: probability,
            allowed: "in [0, 1]",
        })
    }

    /// The batch with some of its labels dropped.
    ///
    /// # Errors
    ///
    /// When it has no labels, (B,) of an integer type that holds the null label.
    pub fn drop_labels(&self, batch: &Batch, rng: &mut dyn RngCore) -> Result<Batch> {
        let labels = batch.condition.tensor(LABELS)?;
        let most = match labels.dtype() {
            DType::U8 => u64::from(u8::MAX),
            DType::I16 => i16::MAX as u64,
            DType::I32 => i32::MAX as u64,
            DType::U32 | DType::I64 => u64::from(u32::MAX),
            dtype => return Err(Error::Labels { dtype }),
        };
        if u64::from(self.null) > most {
            return Err(Error::Parameter {
                owner: "LabelDropout",
                name: "the null label",
                value: f64::from(self.null),
                allowed: "within the type of the batch's labels",
            });
        }
        let dropped: Vec<u8> = uniforms(batch.rows()?, rng)
            .into_iter()
            .map(|u| u8::from(u < self.probability))
            .collect();
        let count = dropped.len();
        let dropped = Tensor::from_vec(dropped, count, &Device::Cpu)?.to_device(labels.device())?;
        let null = Tensor::full(self.null, count, &Device::Cpu)?
            .to_dtype(labels.dtype())?
            .to_device(labels.device())?;
        let labels = dropped.where_cond(&null, &labels.contiguous()?)?;
        let condition = batch.condition.clone().with(LABELS, labels);
        Ok(batch.clone().with_condition(condition)?)
    }
}

impl<O: Objective> Objective for LabelDropout<O> {
    fn loss(&self, network: &dyn Network, batch: &Batch, rng: &mut dyn RngCore) -> Result<Loss> {
        let batch = self.drop_labels(batch, rng)?;
        self.objective.loss(network, &batch, rng)
    }

    fn observe(&self, loss: &Loss) -> Result<()> {
        self.objective.observe(loss)
    }

    fn state(&self) -> Result<BTreeMap<String, Tensor>> {
        self.objective.state()
    }

    fn restore(&self, state: &BTreeMap<String, Tensor>) -> Result<()> {
        self.objective.restore(state)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tallow_denoisers::{Condition, Parameterization, Seeded, network};
    use tallow_schedules::RectifiedFlow;

    use super::*;
    use crate::{Regression, TimeSampling, time_sampling::LossAware};

    fn objective(probability: f64, null: u32) -> LabelDropout<Regression> {
        let path = Arc::new(RectifiedFlow::default());
        let regression = Regression::new(path, Parameterization::flow_matching());
        LabelDropout::new(regression, probability, null).unwrap()
    }

    fn batch(count: usize, dtype: DType) -> Batch {
        let labels: Vec<u32> = (0..count as u32).map(|row| row % 7).collect();
        let labels = Tensor::new(labels, &Device::Cpu)
            .unwrap()
            .to_dtype(dtype)
            .unwrap();
        Batch::new(Tensor::zeros((count, 2), DType::F32, &Device::Cpu).unwrap())
            .with_condition(Condition::labels(labels))
            .unwrap()
    }

    #[test]
    fn the_share_of_null_labels_is_the_probability_and_the_rest_stay() {
        let count = 100_000;
        let dropped = objective(0.1, 7)
            .drop_labels(&batch(count, DType::I64), &mut Seeded::new(1))
            .unwrap();
        let labels = dropped
            .condition
            .tensor(LABELS)
            .unwrap()
            .to_vec1::<i64>()
            .unwrap();
        let mut nulls = 0;
        for (row, label) in labels.iter().enumerate() {
            assert!(*label == 7 || *label == row as i64 % 7);
            nulls += usize::from(*label == 7);
        }
        let share = nulls as f64 / count as f64;
        assert!(
            (share - 0.1).abs() < 6.1 * (0.09 / count as f64).sqrt(),
            "{share}"
        );
    }

    #[test]
    fn probability_0_drops_none_and_1_all() {
        for (probability, want) in [(0.0, vec![0u32, 1, 2]), (1.0, vec![9; 3])] {
            let dropped = objective(probability, 9)
                .drop_labels(&batch(3, DType::U32), &mut Seeded::new(1))
                .unwrap();
            let labels = dropped
                .condition
                .tensor(LABELS)
                .unwrap()
                .to_vec1::<u32>()
                .unwrap();
            assert_eq!(labels, want);
        }
    }

    #[test]
    fn the_network_sees_the_dropped_labels() {
        let blind = network(|call| {
            let labels = call.condition.tensor(LABELS)?.to_vec1::<u32>()?;
            assert_eq!(labels, [9; 3]);
            Ok(call.x.clone())
        });
        objective(1.0, 9)
            .loss(&blind, &batch(3, DType::U32), &mut Seeded::new(0))
            .unwrap();
    }

    #[test]
    fn what_the_inner_objective_learns_is_kept_and_restored() {
        let sampling = LossAware::new(4).unwrap();
        let path = Arc::new(RectifiedFlow::default());
        let regression = Regression::new(path, Parameterization::flow_matching())
            .with_times(TimeSampling::loss_aware(sampling));
        let outer = LabelDropout::new(regression.clone(), 0.1, 7).unwrap();
        let same = network(|call| Ok(call.x.clone()));
        let loss = outer
            .loss(&same, &batch(5, DType::U32), &mut Seeded::new(0))
            .unwrap();
        outer.observe(&loss).unwrap();
        let state = outer.state().unwrap();
        assert!(!state.is_empty());
        let fresh = LabelDropout::new(regression, 0.1, 7).unwrap();
        fresh.restore(&state).unwrap();
        for (name, tensor) in fresh.state().unwrap() {
            let (got, want) = (
                tensor.to_dtype(DType::F64).unwrap(),
                state[&name].to_dtype(DType::F64).unwrap(),
            );
            assert_eq!(
                got.flatten_all().unwrap().to_vec1::<f64>().unwrap(),
                want.flatten_all().unwrap().to_vec1::<f64>().unwrap()
            );
        }
    }

    #[test]
    fn missing_labels_labels_of_another_type_and_a_null_that_does_not_fit_are_refused() {
        let plain = Batch::new(Tensor::zeros((3, 2), DType::F32, &Device::Cpu).unwrap());
        for (batch, null, word) in [
            (plain, 9, "labels"),
            (batch(3, DType::F32), 9, "integer"),
            (batch(3, DType::U8), 256, "null label"),
        ] {
            let message = objective(0.5, null)
                .drop_labels(&batch, &mut Seeded::new(0))
                .unwrap_err()
                .to_string();
            assert!(message.contains(word), "{message}");
        }
        let path = Arc::new(RectifiedFlow::default());
        let regression = Regression::new(path, Parameterization::flow_matching());
        assert!(LabelDropout::new(regression, 1.5, 0).is_err());
    }
}
