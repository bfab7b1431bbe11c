//! Immiscible noise: each datum gets noise that is near to it, so that noise far away belongs to other data.
//!
//! ```text
//! assignment:  π = argmin Σ_i |x0_i − ε_π(i)|          nearest of k:  ε_i = argmin_{ε ∈ {ε¹, …, εᵏ}} |x0_i − ε|
//! ```
//!
//! The assignment keeps the noise Gaussian over batches; the nearest of k does not quite (its distribution given the
//! datum leans towards the datum, by less the higher the dimension), which is what its authors accept for its speed.
//! As with any coupling, noise is no longer independent of the data: follow the velocity when sampling.
//!
//! Sources: Li et al. 2024, arXiv:2406.12303, algorithm 1; Li et al. 2025, arXiv:2505.18521 (nearest of k).

use candle_core::{DType, Tensor};
use rand::RngCore;
use tallow_denoisers::{Batch, Condition, choose_rows, normal_like};
use tallow_kernels::assign;

use super::cost::{problems, with_source};
use super::{Coupling, reordered};
use crate::{Error, Result};

/// Gives each datum noise near to it.
///
/// Sources: Li et al. 2024, arXiv:2406.12303, algorithm 1; Li et al. 2025, arXiv:2505.18521 (nearest of k).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImmiscibleNoise(Choice);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Choice {
    Assignment,
    Nearest(usize),
}

impl ImmiscibleNoise {
    /// Shares the noise of the batch out so that the sum of distances is smallest. Time O(B³) at worst.
    #[must_use]
    pub fn assignment() -> Self {
        Self(Choice::Assignment)
    }

    /// Draws `candidates` for each datum and keeps the nearest. Time O(B × candidates).
    ///
    /// # Errors
    ///
    /// When there are no candidates.
    pub fn nearest(candidates: usize) -> Result<Self> {
        if candidates == 0 {
            let (owner, name) = ("ImmiscibleNoise::nearest", "candidates");
            return Err(Error::Parameter {
                owner,
                name,
                value: 0.0,
                allowed: "of at least 1",
            });
        }
        Ok(Self(Choice::Nearest(candidates)))
    }
}

impl Coupling for ImmiscibleNoise {
    fn pair(&self, batch: Batch, rng: &mut dyn RngCore) -> Result<Batch> {
        if batch.x1.is_some() {
            return Err(Error::OwnSource {
                coupling: "ImmiscibleNoise",
            });
        }
        let (batch, noise) = with_source(batch, rng)?;
        let noise = match self.0 {
            Choice::Assignment => assigned(&batch.x0, &noise)?,
            Choice::Nearest(candidates) => nearest(&batch.x0, noise, candidates, rng)?,
        };
        Ok(batch.with_source(noise)?)
    }
}

fn assigned(x0: &Tensor, noise: &Tensor) -> Result<Tensor> {
    let mut partners = vec![0; x0.dims().first().copied().unwrap_or(0)];
    for mut problem in problems(None, x0, noise, &Condition::none())? {
        problem.costs.iter_mut().for_each(|cost| *cost = cost.sqrt());
        let count = problem.rows.len();
        for (&row, column) in problem
            .rows
            .iter()
            .zip(assign(&problem.costs, count, count)?.columns)
        {
            partners[row] = problem.rows[column];
        }
    }
    reordered(noise, &partners)
}

fn nearest(x0: &Tensor, first: Tensor, candidates: usize, rng: &mut dyn RngCore) -> Result<Tensor> {
    let mut best = first;
    let mut least = squared(x0, &best)?;
    for _ in 1..candidates {
        let other = normal_like(x0, rng)?;
        let distances = squared(x0, &other)?;
        let closer: Vec<bool> = distances.iter().zip(&least).map(|(new, old)| new < old).collect();
        best = choose_rows(&closer, &other, &best)?;
        least
            .iter_mut()
            .zip(distances)
            .for_each(|(least, new)| *least = least.min(new));
    }
    Ok(best)
}

/// |x0 − noise|² of each row.
fn squared(x0: &Tensor, noise: &Tensor) -> Result<Vec<f64>> {
    let apart = (x0 - noise)?.sqr()?;
    let rows = apart.reshape((apart.dims()[0], ()))?.sum(1)?;
    Ok(rows.to_dtype(DType::F64)?.to_vec1()?)
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor};
    use tallow_denoisers::Seeded;

    use super::*;

    fn data(count: usize) -> Tensor {
        normal_like(
            &Tensor::zeros((count, 3), DType::F64, &Device::Cpu).unwrap(),
            &mut Seeded::new(1),
        )
        .unwrap()
    }

    fn mean_distance(x0: &Tensor, coupling: ImmiscibleNoise) -> f64 {
        let paired = coupling
            .pair(Batch::new(x0.clone()), &mut Seeded::new(9))
            .unwrap();
        let distances = squared(x0, &paired.x1.unwrap()).unwrap();
        distances.iter().map(|d| d.sqrt()).sum::<f64>() / distances.len() as f64
    }

    #[test]
    fn noise_comes_nearer_with_every_candidate_and_by_assignment() {
        let x0 = data(256);
        let one = mean_distance(&x0, ImmiscibleNoise::nearest(1).unwrap());
        let four = mean_distance(&x0, ImmiscibleNoise::nearest(4).unwrap());
        let sixteen = mean_distance(&x0, ImmiscibleNoise::nearest(16).unwrap());
        let assigned = mean_distance(&x0, ImmiscibleNoise::assignment());
        assert!(
            one > four && four > sixteen && one > 2.0 * assigned,
            "{one} {four} {sixteen} {assigned}"
        );
    }

    #[test]
    fn an_assignment_keeps_the_noise_of_the_batch() {
        let x0 = data(50);
        let noise = normal_like(&x0, &mut Seeded::new(9)).unwrap();
        let paired = ImmiscibleNoise::assignment()
            .pair(Batch::new(x0), &mut Seeded::new(9))
            .unwrap();
        let sorted = |tensor: &Tensor| {
            let mut rows = tensor.to_vec2::<f64>().unwrap();
            rows.sort_by(|a, b| a[0].total_cmp(&b[0]));
            rows
        };
        assert_eq!(sorted(&noise), sorted(&paired.x1.unwrap()));
    }

    #[test]
    fn a_batch_with_a_source_of_its_own_and_no_candidates_are_refused() {
        let batch = Batch::new(data(3)).with_source(data(3)).unwrap();
        let error = ImmiscibleNoise::assignment()
            .pair(batch, &mut Seeded::new(0))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("ImmiscibleNoise") && error.contains("OptimalTransport"),
            "{error}"
        );
        assert!(
            ImmiscibleNoise::nearest(0)
                .unwrap_err()
                .to_string()
                .contains("candidates")
        );
    }
}
