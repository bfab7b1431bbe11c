//! The kernel distance: MMD² with the cubic kernel, which has no bias from the number of points.
//!
//! ```text
//! k(x, y) = (x·y/d + 1)³        KID = E k(x, x′) + E k(y, y′) − 2 E k(x, y),  x ≠ x′, y ≠ y′
//! ```
//!
//! It is "KID" only on the pool features of Inception-v3. It may be negative between samples that agree.
//!
//! Source: Bińkowski et al. 2018, arXiv:1801.01401, section 4.

use faer::MatRef;
use rand::RngCore;

use crate::points::check_dimensions;
use crate::{Error, Points, Result};

/// Rows whose products are kept together.
const BAND: usize = 256;

/// A kernel distance over subsets of two clouds.
#[derive(Clone, Debug, PartialEq)]
pub struct KernelDistance {
    /// The mean over subsets.
    pub mean: f64,
    /// The standard deviation over subsets, with their number in the denominator.
    pub deviation: f64,
    /// The distance of each pair of subsets.
    pub subsets: Vec<f64>,
}

/// The unbiased kernel distance over all points. Time O(n² d).
///
/// Source: Bińkowski et al. 2018, arXiv:1801.01401, section 4.
///
/// # Errors
///
/// When the dimensions differ or a cloud has fewer than two points.
pub fn kernel_distance(x: &Points<'_>, y: &Points<'_>) -> Result<f64> {
    check_dimensions(x, y)?;
    for cloud in [x, y] {
        if cloud.count() < 2 {
            return Err(Error::TooFew { count: cloud.count() });
        }
    }
    let (n, m) = (x.count() as f64, y.count() as f64);
    let within = |cloud: &Points<'_>, count: f64| (sum(cloud, cloud) - own(cloud)) / (count * (count - 1.0));
    Ok(within(x, n) + within(y, m) - 2.0 * sum(x, y) / (n * m))
}

/// The same as the mean over `subsets` random subsets of `size` points of each cloud, as it is usually reported.
///
/// Source: Bińkowski et al. 2018, arXiv:1801.01401, section 4.
///
/// # Errors
///
/// When there are no subsets, or a subset has fewer than two points or more than a cloud has.
pub fn kernel_distance_of_subsets(
    x: &Points<'_>,
    y: &Points<'_>,
    subsets: usize,
    size: usize,
    rng: &mut dyn RngCore,
) -> Result<KernelDistance> {
    let owner = "kernel_distance_of_subsets";
    let refuse = |name, value: usize, allowed| {
        Err(Error::Parameter {
            owner,
            name,
            value: value as f64,
            allowed,
        })
    };
    if subsets == 0 {
        return refuse("subsets", subsets, "of at least 1");
    }
    if size > x.count().min(y.count()) {
        return refuse("size", size, "of at most the points of the smaller cloud");
    }
    let mut found = Vec::with_capacity(subsets);
    for _ in 0..subsets {
        let (a, b) = (chosen(x, size, rng), chosen(y, size, rng));
        found.push(kernel_distance(
            &Points::new(&a, x.dimension())?,
            &Points::new(&b, y.dimension())?,
        )?);
    }
    let mean = found.iter().sum::<f64>() / subsets as f64;
    let variance = found.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / subsets as f64;
    Ok(KernelDistance {
        mean,
        deviation: variance.sqrt(),
        subsets: found,
    })
}

/// `size` different points, by the first steps of a Fisher-Yates shuffle.
fn chosen(points: &Points<'_>, size: usize, rng: &mut dyn RngCore) -> Vec<f64> {
    let mut order: Vec<usize> = (0..points.count()).collect();
    let mut values = Vec::with_capacity(size * points.dimension());
    for k in 0..size {
        // The bias of the remainder is below 2⁻³².
        let other = k + (rng.next_u64() % (order.len() - k) as u64) as usize;
        order.swap(k, other);
        let start = order[k] * points.dimension();
        values.extend_from_slice(&points.values()[start..start + points.dimension()]);
    }
    values
}

fn kernel(product: f64, dimension: usize) -> f64 {
    (product / dimension as f64 + 1.0).powi(3)
}

/// Σ_i k(x_i, x_i).
fn own(x: &Points<'_>) -> f64 {
    x.iter()
        .map(|point| kernel(point.iter().map(|v| v * v).sum(), x.dimension()))
        .sum()
}

/// Σ_i Σ_j k(x_i, y_j), band by band, in order.
fn sum(x: &Points<'_>, y: &Points<'_>) -> f64 {
    let dimension = x.dimension();
    let right = MatRef::from_row_major_slice(y.values(), y.count(), dimension);
    let bands = x.values().chunks(BAND * dimension).map(|band| {
        let products =
            MatRef::from_row_major_slice(band, band.len() / dimension, dimension) * right.transpose();
        let mut total = 0.0;
        for j in 0..products.ncols() {
            total += products
                .col(j)
                .iter()
                .map(|product| kernel(*product, dimension))
                .sum::<f64>();
        }
        total
    });
    bands.sum()
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::SeedableRng;

    use super::*;

    fn cloud(count: usize, shift: f64) -> Vec<f64> {
        (0..count * 3)
            .map(|i| shift + ((i * 7919) % 1013) as f64 / 1013.0)
            .collect()
    }

    #[test]
    fn on_a_line_it_is_the_difference_of_the_first_three_moments() {
        // (xy + 1)³ = 1 + 3xy + 3x²y² + x³y³, so the V-statistic is 3 Δm₁² + 3 Δm₂² + Δm₃²; the U-statistic takes the
        // diagonal out.
        let (a, b) = ([0.3, -1.0, 2.0, 0.5], [1.0, 0.1, -0.7]);
        let power = |xs: &[f64], k: i32| xs.iter().map(|x| x.powi(k)).sum::<f64>();
        let own = |xs: &[f64]| {
            let n = xs.len() as f64;
            let pair = |k: i32| (power(xs, k).powi(2) - power(xs, 2 * k)) / (n * (n - 1.0));
            1.0 + 3.0 * pair(1) + 3.0 * pair(2) + pair(3)
        };
        let cross = |k: i32| power(&a, k) * power(&b, k) / 12.0;
        let exact = own(&a) + own(&b) - 2.0 * (1.0 + 3.0 * cross(1) + 3.0 * cross(2) + cross(3));
        let found = kernel_distance(&Points::new(&a, 1).unwrap(), &Points::new(&b, 1).unwrap()).unwrap();
        assert!((found - exact).abs() < 1e-12, "{found} for {exact}");
    }

    #[test]
    fn a_shift_is_found_and_subsets_of_all_points_are_the_whole() {
        let (a, b) = (cloud(600, 0.0), cloud(600, 0.5));
        let (x, y) = (Points::new(&a, 3).unwrap(), Points::new(&b, 3).unwrap());
        let whole = kernel_distance(&x, &y).unwrap();
        assert!(whole > 100.0 * kernel_distance(&x, &x).unwrap().abs());
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let subsets = kernel_distance_of_subsets(&x, &y, 3, 600, &mut rng).unwrap();
        assert!((subsets.mean - whole).abs() < 1e-12 && subsets.deviation < 1e-12);
        let subsets = kernel_distance_of_subsets(&x, &y, 50, 100, &mut rng).unwrap();
        assert!((subsets.mean - whole).abs() < 4.0 * subsets.deviation / 50_f64.sqrt());
        assert!(kernel_distance_of_subsets(&x, &y, 0, 10, &mut rng).is_err());
        assert!(
            kernel_distance_of_subsets(&x, &y, 1, 601, &mut rng)
                .unwrap_err()
                .to_string()
                .contains("601")
        );
        assert!(kernel_distance_of_subsets(&x, &y, 1, 1, &mut rng).is_err());
    }
}
