//! From numbers in f64 to a batch in f32: what the sets with a formula share.

use candle_core::{Device, Tensor};
use rand::RngCore;
use tallow_denoisers::{Batch, Condition, Error, Result, normals, uniforms};

/// Uniform numbers for the position of each point, and then its noise.
pub(crate) struct Draws {
    uniforms: Vec<f64>,
    normals: Vec<f64>,
    per_point: (usize, usize),
}

impl Draws {
    /// Draws `uniforms` and `normals` numbers for each of `count` points; `what` is drawn from names itself in the error.
    pub(crate) fn new(
        what: &'static str,
        count: usize,
        per_point: (usize, usize),
        rng: &mut dyn RngCore,
    ) -> Result<Self> {
        if count == 0 {
            return Err(Error::EmptyBatch { what });
        }
        let uniforms = uniforms(count * per_point.0, rng);
        let normals = normals(count * per_point.1, rng);
        Ok(Self {
            uniforms,
            normals,
            per_point,
        })
    }

    /// One point and its label from each point's numbers.
    pub(crate) fn map<const D: usize>(
        &self,
        mut point: impl FnMut(&[f64], &[f64]) -> ([f64; D], u32),
    ) -> Points<D> {
        let (u, z) = self.per_point;
        let count = self.uniforms.len() / u;
        let own = |i: usize| {
            (
                &self.uniforms[i * u..(i + 1) * u],
                &self.normals[i * z..(i + 1) * z],
            )
        };
        let (points, labels) = (0..count).map(own).map(|(u, z)| point(u, z)).unzip();
        Points { points, labels }
    }
}

/// Points with a label each.
pub(crate) struct Points<const D: usize> {
    points: Vec<[f64; D]>,
    labels: Vec<u32>,
}

impl<const D: usize> Points<D> {
    /// A batch of (count, D) in f32 without its labels.
    pub(crate) fn batch(self) -> Result<Batch> {
        let count = self.points.len();
        let values: Vec<f32> = self
            .points
            .into_iter()
            .flatten()
            .map(|value| value as f32)
            .collect();
        Ok(Batch::new(Tensor::from_vec(values, (count, D), &Device::Cpu)?))
    }

    /// The same with them.
    pub(crate) fn labelled(mut self) -> Result<Batch> {
        let labels = std::mem::take(&mut self.labels);
        let count = labels.len();
        self.batch()?
            .with_condition(Condition::labels(Tensor::from_vec(labels, count, &Device::Cpu)?))
    }
}

impl Points<3> {
    /// The first and third coordinate.
    pub(crate) fn side(self) -> Points<2> {
        let points = self.points.into_iter().map(|[x, _, z]| [x, z]).collect();
        Points {
            points,
            labels: self.labels,
        }
    }
}

/// The integer below `count` that a uniform number stands for.
pub(crate) fn choice(uniform: f64, count: usize) -> usize {
    ((uniform * count as f64) as usize).min(count - 1)
}

#[cfg(test)]
pub(crate) mod testing {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use tallow_denoisers::{Dataset, LABELS};

    use super::*;

    /// Points and labels (0 where there are none) of a seeded draw, after the checks that every set must pass.
    pub(crate) fn draw<const D: usize>(data: &dyn Dataset, count: usize, seed: u64) -> Vec<([f64; D], u32)> {
        let batch = |count, seed| data.draw(count, &mut ChaCha8Rng::seed_from_u64(seed));
        let bits = |batch: &Batch| {
            let values: Vec<f32> = batch.x0.flatten_all().unwrap().to_vec1().unwrap();
            values.into_iter().map(f32::to_bits).collect::<Vec<_>>()
        };
        assert!(
            matches!(batch(0, seed), Err(Error::EmptyBatch { .. })),
            "an empty draw must be refused"
        );
        assert_eq!(
            bits(&batch(33, seed).unwrap()),
            bits(&batch(33, seed).unwrap()),
            "one seed, one draw"
        );
        assert_ne!(
            bits(&batch(33, seed).unwrap()),
            bits(&batch(33, seed + 1).unwrap()),
            "two seeds, two draws"
        );
        let drawn = batch(count, seed).unwrap();
        assert_eq!(data.item_shape(), [D]);
        assert_eq!(drawn.x0.dims(), [count, D]);
        assert_eq!(drawn.x0.dtype(), candle_core::DType::F32);
        let labels = match drawn.condition.tensor(LABELS) {
            Ok(labels) => labels.to_vec1().unwrap(),
            Err(_) => vec![0; count],
        };
        let values: Vec<f32> = drawn.x0.flatten_all().unwrap().to_vec1().unwrap();
        let point = |chunk: &[f32]| std::array::from_fn(|k| f64::from(chunk[k]));
        values.chunks_exact(D).map(point).zip(labels).collect()
    }

    /// The mean of a function of the points.
    pub(crate) fn mean<const D: usize>(points: &[([f64; D], u32)], f: impl Fn([f64; D], u32) -> f64) -> f64 {
        points.iter().map(|(point, label)| f(*point, *label)).sum::<f64>() / points.len() as f64
    }

    /// Checks that each of `classes` labels has its share, to five standard errors.
    pub(crate) fn check_balance<const D: usize>(points: &[([f64; D], u32)], classes: u32) {
        let (n, p) = (points.len() as f64, 1.0 / f64::from(classes));
        for class in 0..classes {
            let share = mean(points, |_, label| f64::from(u8::from(label == class)));
            assert!(
                (share - p).abs() < 5.0 * (p * (1.0 - p) / n).sqrt(),
                "label {class} has {share}"
            );
        }
        assert!(points.iter().all(|(_, label)| *label < classes));
    }
}
