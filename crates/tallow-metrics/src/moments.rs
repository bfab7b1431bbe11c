//! Mean and covariance of features, from a stream of batches or from a file.
//!
//! ```text
//! μ = 1/n Σ x_i        C = 1/(n − 1) Σ (x_i − μ)(x_i − μ)ᵀ
//! ```
//!
//! Batches are centred by their own mean and then joined, so a large mean costs no digits and memory does not grow with
//! the number of points.
//!
//! Source: Chan, Golub & LeVeque 1983, doi:10.1080/00031305.1983.10483115, equation 2.1.

use std::path::Path;

use faer::{Mat, MatRef};

use crate::file::whole_file;
use crate::{Error, Points, Result, npz};

/// The most bytes that statistics may take, as a file and as numbers: 11,585 features.
pub(crate) const MOST_BYTES: u64 = 1 << 30;

/// Mean and covariance of points, gathered batch by batch.
///
/// Source: Chan, Golub & LeVeque 1983, doi:10.1080/00031305.1983.10483115, equation 2.1.
///
/// ```
/// use tallow_metrics::{Moments, Points};
///
/// let mut moments = Moments::new(2);
/// moments.push(&Points::new(&[0.0, 1.0, 2.0, 1.0], 2)?)?;
/// moments.push(&Points::new(&[4.0, 1.0], 2)?)?;
/// assert_eq!((moments.mean(), moments.count()), (&[2.0, 1.0][..], Some(3)));
/// assert_eq!(moments.covariance()?, [4.0, 0.0, 0.0, 0.0]);
/// # Ok::<(), tallow_metrics::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Moments {
    /// How many points there were; not known where the moments came from a file.
    count: Option<usize>,
    mean: Vec<f64>,
    /// Σ (x − μ)(x − μ)ᵀ; the covariance itself where the count is not known.
    scatter: Vec<f64>,
}

impl Moments {
    /// Of no points yet, of `dimension` coordinates.
    #[must_use]
    pub fn new(dimension: usize) -> Self {
        Self {
            count: Some(0),
            mean: vec![0.0; dimension],
            scatter: vec![0.0; dimension * dimension],
        }
    }

    /// Of all points of a cloud.
    ///
    /// # Errors
    ///
    /// None that a checked cloud can have.
    pub fn of(points: &Points<'_>) -> Result<Self> {
        let mut moments = Self::new(points.dimension());
        moments.push(points)?;
        Ok(moments)
    }

    /// Of a known mean, (d), and covariance, (d, d) row by row.
    ///
    /// # Errors
    ///
    /// When the covariance is not d × d, not symmetric (beyond 1e-8 of its largest entry), has a negative variance, or a
    /// number is not finite.
    pub fn known(mean: Vec<f64>, covariance: Vec<f64>) -> Result<Self> {
        Self::checked(mean, covariance, None, 1e-8)
    }

    /// The same with the number of points, if it is known, and the asymmetry that is allowed.
    pub(crate) fn checked(
        mean: Vec<f64>,
        mut covariance: Vec<f64>,
        count: Option<usize>,
        tolerance: f64,
    ) -> Result<Self> {
        check(&mean, &covariance, tolerance).map_err(|problem| Error::Moments { problem })?;
        if let Some(count) = count {
            let scale = count as f64 - 1.0;
            covariance.iter_mut().for_each(|value| *value *= scale);
        }
        Ok(Self {
            count,
            mean,
            scatter: covariance,
        })
    }

    /// Reads `mu` and `sigma` of an `npz` file, as pytorch-fid and clean-fid save them, or [`write_npz`](Self::write_npz).
    ///
    /// # Errors
    ///
    /// When the file cannot be read or claims more than 1 GiB, lacks one of the two, or holds moments that
    /// [`known`](Self::known) refuses.
    pub fn read_npz(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let bytes = whole_file(path, MOST_BYTES)?;
        npz::read(&bytes, MOST_BYTES).map_err(|problem| Error::Statistics {
            path: path.to_owned(),
            problem,
        })
    }

    /// Writes an `npz` file that pytorch-fid, clean-fid and NumPy read: `mu`, `sigma` and, where it is known, `count`.
    ///
    /// # Errors
    ///
    /// When there are fewer than two points, or the file cannot be written.
    pub fn write_npz(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let bytes = npz::write(self)?;
        std::fs::write(path, bytes).map_err(|source| Error::file(path, source))
    }

    /// Adds points.
    ///
    /// # Errors
    ///
    /// When they have another dimension, or these moments came without a count.
    pub fn push(&mut self, points: &Points<'_>) -> Result<()> {
        let dimension = self.mean.len();
        if points.dimension() != dimension {
            return Err(Error::Dimension {
                x: dimension,
                y: points.dimension(),
            });
        }
        let Some(before) = self.count else {
            let problem = "points cannot be added to moments whose number of points is not known".to_owned();
            return Err(Error::Moments { problem });
        };
        let (old, new) = (before as f64, points.count() as f64);
        let mut mean = vec![0.0; dimension];
        for point in points.iter() {
            mean.iter_mut()
                .zip(point)
                .for_each(|(mean, value)| *mean += value / new);
        }
        let mut centred = points.values().to_vec();
        for point in centred.chunks_exact_mut(dimension) {
            point
                .iter_mut()
                .zip(&mean)
                .for_each(|(value, mean)| *value -= mean);
        }
        let centred = MatRef::from_row_major_slice(&centred, points.count(), dimension);
        let scatter = centred.transpose() * centred;
        let apart: Vec<f64> = mean.iter().zip(&self.mean).map(|(new, old)| new - old).collect();
        let (share, joint) = (new / (old + new), old * new / (old + new));
        for i in 0..dimension {
            for j in 0..dimension {
                self.scatter[i * dimension + j] += scatter[(i, j)] + joint * apart[i] * apart[j];
            }
        }
        self.mean
            .iter_mut()
            .zip(apart)
            .for_each(|(mean, apart)| *mean += share * apart);
        self.count = Some(before + points.count());
        Ok(())
    }

    /// How many points there were; `None` where the moments came from a file.
    #[must_use]
    pub fn count(&self) -> Option<usize> {
        self.count
    }

    /// How many coordinates a point has.
    #[must_use]
    pub fn dimension(&self) -> usize {
        self.mean.len()
    }

    /// μ.
    #[must_use]
    pub fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// C, (d, d) row by row, with n − 1 in the denominator.
    ///
    /// # Errors
    ///
    /// When there are fewer than two points.
    pub fn covariance(&self) -> Result<Vec<f64>> {
        let scale = match self.count {
            None => 1.0,
            Some(count) if count < 2 => return Err(Error::TooFew { count }),
            Some(count) => 1.0 / (count as f64 - 1.0),
        };
        Ok(self.scatter.iter().map(|value| value * scale).collect())
    }

    /// Whether the points are too few to span their space, so that the covariance has no inverse.
    #[must_use]
    pub fn rank_deficient(&self) -> bool {
        self.count.is_some_and(|count| count <= self.dimension())
    }

    pub(crate) fn covariance_matrix(&self) -> Result<Mat<f64>> {
        let (covariance, dimension) = (self.covariance()?, self.dimension());
        Ok(Mat::from_fn(dimension, dimension, |i, j| {
            covariance[i * dimension + j]
        }))
    }
}

/// Refuses what are no moments, in words.
fn check(mean: &[f64], covariance: &[f64], tolerance: f64) -> std::result::Result<(), String> {
    let dimension = mean.len();
    if dimension == 0 || covariance.len() != dimension * dimension {
        return Err(format!(
            "a mean of {dimension} and a covariance of {} numbers do not fit",
            covariance.len()
        ));
    }
    if let Some(value) = mean.iter().chain(covariance).find(|value| !value.is_finite()) {
        return Err(format!("they hold {value}"));
    }
    let largest = covariance.iter().fold(0.0, |a: f64, b| a.max(b.abs()));
    for i in 0..dimension {
        for j in 0..i {
            let (lower, upper) = (covariance[i * dimension + j], covariance[j * dimension + i]);
            if (lower - upper).abs() > tolerance * largest {
                return Err(format!(
                    "the covariance has {lower} at ({i}, {j}) and {upper} across the diagonal"
                ));
            }
        }
        let variance = covariance[i * dimension + i];
        if variance < 0.0 {
            return Err(format!("the variance of feature {i} is {variance}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cloud(count: usize, dimension: usize, shift: f64) -> Vec<f64> {
        (0..count * dimension)
            .map(|i| shift + ((i * 7919) % 1013) as f64 / 1013.0)
            .collect()
    }

    #[test]
    fn batches_of_any_size_give_the_moments_of_the_whole_even_far_from_the_origin() {
        let (count, dimension) = (60, 4);
        for shift in [0.0, 1e7] {
            let values = cloud(count, dimension, shift);
            let whole = Moments::of(&Points::new(&values, dimension).unwrap()).unwrap();
            let mut parts = Moments::new(dimension);
            for batch in [&values[..4], &values[4..100], &values[100..]] {
                parts.push(&Points::new(batch, dimension).unwrap()).unwrap();
            }
            // Against the points without the shift, whose covariance is the same.
            let plain = cloud(count, dimension, 0.0);
            let mean = |k: usize| plain.iter().skip(k).step_by(dimension).sum::<f64>() / count as f64;
            for (i, j) in (0..dimension * dimension).map(|k| (k / dimension, k % dimension)) {
                let pairs = plain
                    .chunks(dimension)
                    .map(|x| (x[i] - mean(i)) * (x[j] - mean(j)));
                let exact = pairs.sum::<f64>() / (count as f64 - 1.0);
                for moments in [&whole, &parts] {
                    let got = moments.covariance().unwrap()[i * dimension + j];
                    assert!(
                        (got - exact).abs() < 1e-14 + 1e-8 * (shift / 1e7),
                        "{shift} {i} {j}: {got} {exact}"
                    );
                }
            }
            assert_eq!(parts.count(), Some(count));
        }
    }

    #[test]
    fn moments_that_are_none_are_refused_in_words() {
        let refused = |mean: &[f64], covariance: &[f64]| {
            Moments::known(mean.to_vec(), covariance.to_vec())
                .unwrap_err()
                .to_string()
        };
        assert!(refused(&[0.0], &[1.0, 2.0]).contains("a covariance of 2 numbers"));
        assert!(refused(&[f64::NAN], &[1.0]).contains("NaN"));
        assert!(refused(&[0.0, 0.0], &[1.0, 0.5, 0.2, 1.0]).contains("(1, 0)"));
        let mut known = Moments::known(vec![0.0], vec![1.0]).unwrap();
        assert!(known.push(&Points::new(&[1.0], 1).unwrap()).is_err());
        assert!(Moments::new(3).covariance().is_err());
        assert!(
            Moments::read_npz("no/such/file.npz")
                .unwrap_err()
                .to_string()
                .contains("no/such/file.npz")
        );
    }
}
