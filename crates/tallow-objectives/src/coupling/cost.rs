//! What pairing a datum with a source costs: their distance, and what the condition says of the pair.
//!
//! ```text
//! C_ij = |x0_i − x1_j|² + w d(c_i, c_j)        c_j: the condition that x1_j came with
//! ```
//!
//! Minibatch transport that does not look at the condition pairs each class with the part of the source that is near to it,
//! so a conditional model meets in training another source than in sampling. With the condition in the cost it does not.
//!
//! Source: Cheng & Schwing 2025, arXiv:2503.10636 (C²OT), sections 4.1 and 4.2.

use std::collections::BTreeMap;

use candle_core::{DType, Tensor};
use tallow_denoisers::{Batch, Condition, Error as DenoiserError, normal_like};
use tallow_kernels::squared_distances;

use crate::{Error, Result};

/// What a condition has to say about pairing the datum of one row with the source of another.
///
/// Source: Cheng & Schwing 2025, arXiv:2503.10636 (C²OT), sections 4.1 and 4.2.
#[derive(Clone, Debug, PartialEq)]
pub enum ConditionCost {
    /// Only rows whose tensor of this name is equal may be paired: for labels.
    Same {
        /// The name of the tensor, such as [`LABELS`](tallow_denoisers::LABELS).
        name: String,
    },
    /// Rows pay `weight` times the distance of their tensors of this name: for continuous conditions.
    Distance {
        /// The name of the tensor, (B, …).
        name: String,
        /// w ≥ 0, in units of squared data per unit of the distance.
        weight: f64,
        /// How far two conditions are apart.
        distance: ConditionDistance,
    },
}

/// How far two conditions are apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConditionDistance {
    /// |c − c′|².
    SquaredEuclidean,
    /// 1 − c·c′/(|c| |c′|); 1 where a condition is zero.
    Cosine,
}

impl ConditionCost {
    pub(super) fn check(&self) -> Result<()> {
        match self {
            Self::Same { .. } => Ok(()),
            Self::Distance { weight, .. } if *weight >= 0.0 && weight.is_finite() => Ok(()),
            Self::Distance { weight, .. } => Err(Error::Parameter {
                owner: "ConditionCost::Distance",
                name: "weight",
                value: *weight,
                allowed: "of 0 or more",
            }),
        }
    }
}

/// Rows that are paired among themselves, and what each pair costs.
pub(super) struct Problem {
    pub(super) rows: Vec<usize>,
    /// (rows, rows): the datum's row, the source's column.
    pub(super) costs: Vec<f64>,
}

/// The independent problems that pairing the rows of a batch comes down to.
pub(super) fn problems(
    term: Option<&ConditionCost>,
    x0: &Tensor,
    x1: &Tensor,
    condition: &Condition,
) -> Result<Vec<Problem>> {
    let (data, source) = (Rows::of("x0", x0)?, Rows::of("the source x1", x1)?);
    let groups = match term {
        Some(ConditionCost::Same { name }) => groups(&Rows::of(name, condition.tensor(name)?)?),
        _ => vec![(0..data.count).collect()],
    };
    let extra = match term {
        Some(ConditionCost::Distance {
            name,
            weight,
            distance,
        }) => Some((Rows::of(name, condition.tensor(name)?)?, *weight, *distance)),
        _ => None,
    };
    groups
        .into_iter()
        .map(|rows| {
            let mut costs = data.distances(&source, &rows)?;
            if let Some((conditions, weight, distance)) = &extra {
                let apart = match distance {
                    ConditionDistance::SquaredEuclidean => conditions.distances(conditions, &rows)?,
                    ConditionDistance::Cosine => conditions.cosines(&rows),
                };
                costs
                    .iter_mut()
                    .zip(apart)
                    .for_each(|(cost, apart)| *cost += weight * apart);
            }
            Ok(Problem { rows, costs })
        })
        .collect()
}

/// The batch with a source, drawn if it came without one; refused when there is nothing to pair.
pub(super) fn with_source(batch: Batch, rng: &mut dyn rand::RngCore) -> Result<(Batch, Tensor)> {
    if batch.rows()? == 0 {
        return Err(DenoiserError::EmptyBatch { what: "a coupling" }.into());
    }
    let x1 = match &batch.x1 {
        Some(x1) => x1.clone(),
        None => normal_like(&batch.x0, rng)?,
    };
    Ok((batch, x1))
}

/// The rows of a tensor, (count, features), on the host.
struct Rows {
    values: Vec<f64>,
    count: usize,
    features: usize,
}

impl Rows {
    fn of(what: &str, tensor: &Tensor) -> Result<Self> {
        let Some(&count) = tensor.dims().first() else {
            return Err(DenoiserError::NoRows {
                what: what.to_owned(),
            }
            .into());
        };
        let values = tensor.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?;
        if let Some(value) = values.iter().find(|value| !value.is_finite()) {
            return Err(Error::NotFinite {
                what: what.to_owned(),
                value: *value,
            });
        }
        let features = values.len().checked_div(count).unwrap_or(0);
        Ok(Self {
            values,
            count,
            features,
        })
    }

    fn row(&self, row: usize) -> &[f64] {
        &self.values[row * self.features..][..self.features]
    }

    fn gathered(&self, rows: &[usize]) -> Vec<f64> {
        rows.iter()
            .flat_map(|&row| self.row(row).iter().copied())
            .collect()
    }

    fn distances(&self, other: &Self, rows: &[usize]) -> Result<Vec<f64>> {
        let (x, y) = (self.gathered(rows), other.gathered(rows));
        squared_distances(&x, &y, rows.len(), rows.len(), self.features).map_err(Error::from)
    }

    fn cosines(&self, rows: &[usize]) -> Vec<f64> {
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let norms: Vec<f64> = rows
            .iter()
            .map(|&row| dot(self.row(row), self.row(row)).sqrt())
            .collect();
        let mut distances = Vec::with_capacity(rows.len() * rows.len());
        for (&i, &a) in rows.iter().zip(&norms) {
            for (&j, &b) in rows.iter().zip(&norms) {
                let cosine = if a * b > 0.0 {
                    dot(self.row(i), self.row(j)) / (a * b)
                } else {
                    0.0
                };
                distances.push(1.0 - cosine);
            }
        }
        distances
    }
}

/// Rows with equal conditions, in the order of the conditions.
fn groups(conditions: &Rows) -> Vec<Vec<usize>> {
    let mut groups: BTreeMap<Vec<u64>, Vec<usize>> = BTreeMap::new();
    for row in 0..conditions.count {
        // Zero has two signs, which are equal.
        let key = conditions
            .row(row)
            .iter()
            .map(|value| (value + 0.0).to_bits())
            .collect();
        groups.entry(key).or_default().push(row);
    }
    groups.into_values().collect()
}
