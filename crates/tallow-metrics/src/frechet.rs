//! The Fréchet distance of two Gaussians: what "FID" is, with the features named.
//!
//! ```text
//! d² = |μ_x − μ_y|² + tr C_x + tr C_y − 2 tr (C_x^{1/2} C_y C_x^{1/2})^{1/2}
//! ```
//!
//! The last trace is Σ √λ over the eigenvalues λ of Bᵀ C_y B for any B with B Bᵀ = C_x: the factor of Cholesky, or the root
//! where C_x has no inverse. That matrix is symmetric; the product C_x C_y that is often rooted instead is not, and answers in
//! complex numbers where points are few.
//!
//! It is "FID" only on the pool features of Inception-v3; call it by its features else. It falls with the number of points
//! by an amount that depends on the model (Chong & Forsyth 2020, arXiv:1911.07023): report n, and compare equal n.
//!
//! Source: Dowson & Landau 1982, doi:10.1016/0047-259X(82)90077-X; Heusel et al. 2017, arXiv:1706.08500, equation 6.

use std::fmt;

use faer::{Mat, Side};

use crate::{Error, Moments, Points, Result};

/// A Fréchet distance with what it takes to compare it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Frechet {
    /// d², which is what is reported as FID.
    pub distance_squared: f64,
    /// Features of a point.
    pub dimension: usize,
    /// Points on each side, where known.
    pub counts: [Option<usize>; 2],
    /// Whether a covariance has no inverse, because a side has no more points than features or because features depend on
    /// one another: the distance is of little use then.
    pub rank_deficient: bool,
}

impl fmt::Display for Frechet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count =
            |count: Option<usize>| count.map_or_else(|| "unknown".to_owned(), |count| count.to_string());
        let [x, y] = self.counts.map(count);
        write!(
            f,
            "Fréchet distance squared = {} ({} features, {x} and {y} points",
            self.distance_squared, self.dimension
        )?;
        if self.rank_deficient {
            write!(
                f,
                "; a singular covariance: too few points or features that depend on one another"
            )?;
        }
        write!(f, ")")
    }
}

/// The squared Fréchet distance between the Gaussians of two sets of moments.
///
/// Source: Dowson & Landau 1982, doi:10.1016/0047-259X(82)90077-X; Heusel et al. 2017, arXiv:1706.08500, equation 6.
///
/// # Errors
///
/// When the dimensions differ, a side has fewer than two points, or a covariance has a negative eigenvalue (beyond rounding).
pub fn frechet_distance(x: &Moments, y: &Moments) -> Result<Frechet> {
    let dimension = x.dimension();
    if y.dimension() != dimension {
        return Err(Error::Dimension {
            x: dimension,
            y: y.dimension(),
        });
    }
    let (cov_x, cov_y) = (x.covariance_matrix()?, y.covariance_matrix()?);
    let (factor_x, factor_y) = (factor(&cov_x), factor(&cov_y));
    let shared = match (&factor_x, &factor_y) {
        (Some(factor), _) => shared(&cov_y, factor)?,
        (_, Some(factor)) => shared(&cov_x, factor)?,
        (None, None) => {
            non_negative(&eigenvalues(&cov_y)?)?;
            shared(&cov_y, &root(&cov_x)?)?
        }
    };
    let means = x.mean().iter().zip(y.mean());
    let apart: f64 = means.map(|(a, b)| (a - b).powi(2)).sum();
    let trace = |of: &Mat<f64>| (0..dimension).map(|i| of[(i, i)]).sum::<f64>();
    Ok(Frechet {
        distance_squared: apart + trace(&cov_x) + trace(&cov_y) - 2.0 * shared,
        dimension,
        counts: [x.count(), y.count()],
        rank_deficient: x.rank_deficient() || y.rank_deficient() || factor_x.is_none() || factor_y.is_none(),
    })
}

/// The squared Fréchet distance between the Gaussians that fit two clouds of features.
///
/// Source: Dowson & Landau 1982, doi:10.1016/0047-259X(82)90077-X; Heusel et al. 2017, arXiv:1706.08500, equation 6.
///
/// # Errors
///
/// Those of [`frechet_distance`].
pub fn frechet_distance_of(x: &Points<'_>, y: &Points<'_>) -> Result<Frechet> {
    frechet_distance(&Moments::of(x)?, &Moments::of(y)?)
}

/// L with L Lᵀ = C; `None` where C has no inverse, to rounding, or is no covariance.
fn factor(covariance: &Mat<f64>) -> Option<Mat<f64>> {
    let factor = covariance.llt(Side::Lower).ok()?.L().to_owned();
    let squares = (0..factor.nrows()).map(|i| factor[(i, i)].powi(2));
    let (least, largest) = squares.fold((f64::INFINITY, 0.0), |(a, b): (f64, f64), x| (a.min(x), b.max(x)));
    (least > factor.nrows() as f64 * f64::EPSILON * largest).then_some(factor)
}

/// Σ √λ over the eigenvalues of Bᵀ C B.
fn shared(covariance: &Mat<f64>, factor: &Mat<f64>) -> Result<f64> {
    let values = eigenvalues(&(factor.transpose() * (covariance * factor)))?;
    // Where B has an inverse, C has as many negative eigenvalues as this (Sylvester); C's own make the better words.
    if non_negative(&values).is_err() {
        non_negative(&eigenvalues(covariance)?)?;
    }
    Ok(values.iter().map(|value| value.max(0.0).sqrt()).sum())
}

/// C^{1/2}, symmetric.
fn root(covariance: &Mat<f64>) -> Result<Mat<f64>> {
    let found = covariance
        .self_adjoint_eigen(Side::Lower)
        .map_err(|_| unfound())?;
    let values: Vec<f64> = found.S().column_vector().iter().copied().collect();
    non_negative(&values)?;
    let vectors = found.U();
    let scaled = Mat::from_fn(vectors.nrows(), vectors.ncols(), |i, j| {
        vectors[(i, j)] * values[j].max(0.0).sqrt()
    });
    Ok(&scaled * vectors.transpose())
}

fn eigenvalues(matrix: &Mat<f64>) -> Result<Vec<f64>> {
    matrix
        .self_adjoint_eigenvalues(Side::Lower)
        .map_err(|_| unfound())
}

fn unfound() -> Error {
    Error::Moments {
        problem: "the eigenvalues of a covariance were not found: are its entries of sound size?".to_owned(),
    }
}

/// Refuses what no covariance has.
fn non_negative(values: &[f64]) -> Result<()> {
    let largest = values.iter().fold(0.0, |a: f64, b| a.max(b.abs()));
    match values.iter().find(|value| **value < -1e-8 * largest) {
        None => Ok(()),
        Some(value) => Err(Error::Moments {
            problem: format!("a covariance has the eigenvalue {value}"),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gaussian(mean: &[f64], covariance: &[f64]) -> Moments {
        Moments::known(mean.to_vec(), covariance.to_vec()).unwrap()
    }

    #[test]
    fn diagonal_gaussians_differ_by_means_and_deviations() {
        let x = gaussian(&[1.0, -2.0, 0.0], &[4.0, 0.0, 0.0, 0.0, 9.0, 0.0, 0.0, 0.0, 0.0]);
        let y = gaussian(&[0.0, 0.0, 0.5], &[1.0, 0.0, 0.0, 0.0, 16.0, 0.0, 0.0, 0.0, 0.25]);
        let exact = 1.0 + 4.0 + 0.25 + (2.0_f64 - 1.0).powi(2) + 1.0 + 0.25;
        let found = frechet_distance(&x, &y).unwrap();
        assert!((found.distance_squared - exact).abs() < 1e-12 * exact, "{found}");
        assert!(frechet_distance(&x, &x).unwrap().distance_squared.abs() < 1e-12);
    }

    #[test]
    fn two_by_two_matrices_that_do_not_commute_have_a_closed_form() {
        // tr √M = √(tr M + 2 √det M) for the 2×2 product M = C_x C_y.
        let (a, b) = ([2.0, 0.7, 0.7, 1.0], [1.0, -0.4, -0.4, 3.0]);
        let trace = a[0] * b[0] + a[1] * b[2] + a[2] * b[1] + a[3] * b[3];
        let determinant = (a[0] * a[3] - a[1] * a[2]) * (b[0] * b[3] - b[1] * b[2]);
        let exact = a[0] + a[3] + b[0] + b[3] - 2.0 * f64::sqrt(trace + 2.0 * f64::sqrt(determinant));
        let found = frechet_distance(&gaussian(&[0.0; 2], &a), &gaussian(&[0.0; 2], &b)).unwrap();
        assert!(
            (found.distance_squared - exact).abs() < 1e-12,
            "{found} for {exact}"
        );
    }

    #[test]
    fn features_that_depend_on_one_another_are_told_and_still_have_the_closed_form() {
        // Both along (1, 1): variances 2 and 8 there, 0 across it. One singular side alone is found, too.
        let (x, y) = (gaussian(&[0.0; 2], &[1.0; 4]), gaussian(&[0.0; 2], &[4.0; 4]));
        let found = frechet_distance(&x, &y).unwrap();
        assert!((found.distance_squared - 2.0).abs() < 1e-7, "{found}");
        let whole = gaussian(&[0.0; 2], &[1.0, 0.0, 0.0, 1.0]);
        for (a, b) in [(&x, &whole), (&whole, &x)] {
            let found = frechet_distance(a, b).unwrap();
            assert!(
                found.rank_deficient && found.to_string().contains("singular"),
                "{found}"
            );
            // tr √C_x = √2.
            assert!(
                (found.distance_squared - (4.0 - 2.0 * 2.0_f64.sqrt())).abs() < 1e-7,
                "{found}"
            );
        }
        assert!(!frechet_distance(&whole, &whole).unwrap().rank_deficient);
    }

    #[test]
    fn few_points_say_so_and_what_is_no_covariance_is_refused() {
        let values: Vec<f64> = (0..6).map(|i| f64::from(i * i)).collect();
        let few = Points::new(&values, 3).unwrap();
        let found = frechet_distance_of(&few, &few).unwrap();
        assert!(
            found.rank_deficient && found.to_string().contains("too few points"),
            "{found}"
        );
        assert!(
            frechet_distance_of(
                &Points::new(&values, 6).unwrap(),
                &Points::new(&values, 6).unwrap()
            )
            .is_err()
        );
        let bad = gaussian(&[0.0, 0.0], &[1.0, 2.0, 2.0, 1.0]);
        let good = gaussian(&[0.0, 0.0], &[1.0, 0.0, 0.0, 1.0]);
        for (x, y) in [(&bad, &good), (&good, &bad)] {
            assert!(
                frechet_distance(x, y)
                    .unwrap_err()
                    .to_string()
                    .contains("eigenvalue -1")
            );
        }
        assert!(frechet_distance(&good, &gaussian(&[0.0], &[1.0])).is_err());
    }
}
