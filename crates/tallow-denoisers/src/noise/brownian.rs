//! One Brownian path under every grid: 20 and 40 steps of an SDE see the same noise.
//!
//! ```text
//! τ(λ) = 1/(1 + e^{−λ/4})          z = (W(τ_to) − W(τ_from)) / √|τ_to − τ_from|
//! W(mid) = ½ (W(a) + W(b)) + ½ √(b − a) z'          z' drawn from the node's own key
//! ```
//!
//! W is bisected on demand (Lévy's construction); nothing is stored but a seed. The clock τ is finite at both ends of a path
//! and smooth between, so refined grids converge to one trajectory.
//!
//! Source: Li et al. 2020, arXiv:2001.01328, section 4 (virtual Brownian tree).

use candle_core::Tensor;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::per_sample::row_count;
use super::{Noise, like_of, normals};
use crate::{Error, Result};

/// How often an interval is halved: cells of 2⁻³² of the clock, far below any step.
const DEPTH: u32 = 32;

/// A Brownian path for each row, fixed by a seed; `increment` over the same interval gives the same noise, over halves of
/// an interval noise that adds up to the whole's.
///
/// Costs 64 normal numbers for each element and step, so it is for comparing step counts, not for bulk sampling.
/// `fresh` is not part of the path: it draws from a stream of its own for each row.
///
/// Source: Li et al. 2020, arXiv:2001.01328, section 4 (virtual Brownian tree).
#[derive(Clone, Debug)]
pub struct BrownianPath {
    seed: u64,
    first: u64,
    fresh: Vec<ChaCha8Rng>,
}

impl BrownianPath {
    /// The paths of samples 0 to `rows` − 1 of a seed.
    #[must_use]
    pub fn new(seed: u64, rows: usize) -> Self {
        Self::starting_at(seed, 0, rows)
    }

    /// The paths of the samples `first` to `first + rows − 1` of a seed.
    #[must_use]
    pub fn starting_at(seed: u64, first: u64, rows: usize) -> Self {
        // Key 0 is no node of the tree: its nodes are numbered from 1.
        let fresh = (0..rows as u64)
            .map(|row| generator(seed, first.wrapping_add(row), 0))
            .collect();
        Self { seed, first, fresh }
    }

    /// W at a time of the clock in [0, 1], for all elements of all rows.
    fn at(&self, tau: f64, count: usize) -> Vec<f64> {
        let draw = |node: u64| -> Vec<f64> {
            (0..self.fresh.len() as u64)
                .flat_map(|row| {
                    normals(
                        count,
                        &mut generator(self.seed, self.first.wrapping_add(row), node),
                    )
                })
                .collect()
        };
        let (mut low, mut high) = (0.0, 1.0);
        let mut at_high = draw(1);
        let mut at_low = vec![0.0; at_high.len()];
        let mut node = 2;
        for _ in 0..DEPTH {
            if tau <= low || tau >= high {
                break;
            }
            let middle: f64 = 0.5 * (low + high);
            let spread = 0.5 * f64::sqrt(high - low);
            let at_middle: Vec<f64> = draw(node)
                .into_iter()
                .zip(at_low.iter().zip(&at_high))
                .map(|(z, (a, b))| 0.5 * (a + b) + spread * z)
                .collect();
            let right = tau >= middle;
            if right {
                (low, at_low) = (middle, at_middle);
            } else {
                (high, at_high) = (middle, at_middle);
            }
            node = 2 * node + u64::from(right);
        }
        // Linear within the last cell.
        let share = (tau - low) / (high - low);
        at_low
            .into_iter()
            .zip(at_high)
            .map(|(a, b)| a + share * (b - a))
            .collect()
    }
}

impl Noise for BrownianPath {
    fn increment(&mut self, like: &Tensor, from_lambda: f64, to_lambda: f64) -> Result<Tensor> {
        let count = row_count("BrownianPath noise", like, self.fresh.len())?;
        let (from, to) = (clock(from_lambda), clock(to_lambda));
        let length = to - from;
        if !(length.abs() > 1e-9) {
            return Err(Error::Parameter {
                owner: "BrownianPath::increment",
                name: "the step in lambda",
                value: to_lambda - from_lambda,
                allowed: "that its clock can tell apart (about 1e-8 near lambda = 0): take fewer steps",
            });
        }
        let scale = 1.0 / length.abs().sqrt();
        let values = self
            .at(to, count)
            .into_iter()
            .zip(self.at(from, count))
            .map(|(b, a)| scale * (b - a))
            .collect();
        like_of(values, like)
    }

    fn fresh(&mut self, like: &Tensor) -> Result<Tensor> {
        let count = row_count("BrownianPath noise", like, self.fresh.len())?;
        let values = self
            .fresh
            .iter_mut()
            .flat_map(|rng| normals(count, rng))
            .collect::<Vec<_>>();
        like_of(values, like)
    }
}

/// λ to [0, 1].
fn clock(lambda: f64) -> f64 {
    1.0 / (1.0 + (-lambda / 4.0).exp())
}

/// The generator of a node of a row's tree.
fn generator(seed: u64, row: u64, node: u64) -> ChaCha8Rng {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(&row.to_le_bytes());
    key[16..24].copy_from_slice(&node.to_le_bytes());
    ChaCha8Rng::from_seed(key)
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::*;

    fn like() -> Tensor {
        Tensor::zeros((2, 500), DType::F64, &Device::Cpu).unwrap()
    }

    fn increment(path: &mut BrownianPath, from: f64, to: f64) -> Vec<f64> {
        path.increment(&like(), from, to)
            .unwrap()
            .flatten_all()
            .unwrap()
            .to_vec1()
            .unwrap()
    }

    #[test]
    fn the_halves_of_a_step_add_up_to_the_whole() {
        let mut path = BrownianPath::new(4, 2);
        let (from, middle, to) = (-3.0, -1.1, 0.7);
        let whole = increment(&mut path, from, to);
        let first = increment(&mut path, from, middle);
        let second = increment(&mut path, middle, to);
        let scale = |a: f64, b: f64| (clock(b) - clock(a)).sqrt();
        for ((w, a), b) in whole.iter().zip(&first).zip(&second) {
            let sum = a * scale(from, middle) + b * scale(middle, to);
            assert!((w * scale(from, to) - sum).abs() < 1e-12);
        }
    }

    #[test]
    fn increments_are_unit_normal_and_uncorrelated() {
        let mut path = BrownianPath::new(11, 2);
        let first = increment(&mut path, f64::NEG_INFINITY, -0.3);
        let second = increment(&mut path, -0.3, 2.0);
        let n = first.len() as f64;
        let bound = 6.1 / n.sqrt();
        for values in [&first, &second] {
            let square = values.iter().map(|v| v * v).sum::<f64>() / n;
            assert!((square - 1.0).abs() < bound * 2f64.sqrt(), "variance {square}");
        }
        let product = first.iter().zip(&second).map(|(a, b)| a * b).sum::<f64>() / n;
        assert!(product.abs() < bound, "correlation {product}");
    }

    #[test]
    fn a_row_does_not_depend_on_its_batch() {
        let like = Tensor::zeros((1, 3), DType::F64, &Device::Cpu).unwrap();
        let alone = BrownianPath::starting_at(2, 1, 1)
            .increment(&like, -1.0, 1.0)
            .unwrap();
        let like = Tensor::zeros((2, 3), DType::F64, &Device::Cpu).unwrap();
        let both = BrownianPath::new(2, 2).increment(&like, -1.0, 1.0).unwrap();
        assert_eq!(
            alone.to_vec2::<f64>().unwrap()[0],
            both.to_vec2::<f64>().unwrap()[1]
        );
    }
}
