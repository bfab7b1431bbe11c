//! Resizing of images, by matrices that weigh pixels.
//!
//! ```text
//! y = R_h x R_wᵀ        R[i, j] = w((j − c_i)/s) / Σ_j w(…)        c_i = (i + ½) from/to − ½
//! ```
//!
//! The triangle's w is 1 − |u| on two neighbours (s = 1); the cubic's is that of Keys 1981 with a = −½, stretched by
//! s = from/to where pixels become fewer.
//!
//! Sources: `torch.nn.functional.interpolate` without `align_corners`, bilinear, and bicubic with `antialias`.

use candle_core::{Device, Tensor};

use crate::Result;

/// How the pixels of the larger grid are weighed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Filter {
    /// Two neighbours, however many pixels there were.
    Bilinear,
    /// Cubic over all pixels that a new one covers.
    #[cfg(feature = "clip")]
    BicubicAntialiased,
}

/// Images (N, C, H, W) on `height` × `width` pixels.
pub(crate) fn resize(images: &Tensor, [height, width]: [usize; 2], filter: Filter) -> Result<Tensor> {
    let (_, _, from_height, from_width) = images.dims4()?;
    let across = along_rows(images, filter.matrix(from_width, width), width)?;
    let turned = across.transpose(2, 3)?.contiguous()?;
    Ok(along_rows(&turned, filter.matrix(from_height, height), height)?
        .transpose(2, 3)?
        .contiguous()?)
}

/// Weighs the last dimension by a matrix (to, from).
fn along_rows(images: &Tensor, matrix: Vec<f32>, to: usize) -> Result<Tensor> {
    let (count, channels, rows, from) = images.dims4()?;
    let matrix = Tensor::from_vec(matrix, (to, from), &Device::Cpu)?.to_device(images.device())?;
    let flat = images.contiguous()?.reshape((count * channels * rows, from))?;
    Ok(flat.matmul(&matrix.t()?)?.reshape((count, channels, rows, to))?)
}

impl Filter {
    /// What each of `to` pixels takes from each of `from`, row by row.
    fn matrix(self, from: usize, to: usize) -> Vec<f32> {
        let mut matrix = vec![0.0; to * from];
        let ratio = from as f64 / to as f64;
        for (index, row) in matrix.chunks_exact_mut(from).enumerate() {
            let centre = (index as f64 + 0.5) * ratio - 0.5;
            let weights = match self {
                Self::Bilinear => neighbours(centre, from),
                #[cfg(feature = "clip")]
                Self::BicubicAntialiased => cubic(centre, ratio.max(1.0), from),
            };
            for (pixel, weight) in weights {
                row[pixel] += weight as f32;
            }
        }
        matrix
    }
}

/// The two pixels next to a place; beyond the border the outermost.
fn neighbours(centre: f64, from: usize) -> Vec<(usize, f64)> {
    let place = centre.clamp(0.0, from as f64 - 1.0);
    let first = place.floor() as usize;
    let share = place - first as f64;
    vec![(first, 1.0 - share), ((first + 1).min(from - 1), share)]
}

/// The pixels within two widths of a place, their weights made to sum to 1.
#[cfg(feature = "clip")]
fn cubic(centre: f64, stretch: f64, from: usize) -> Vec<(usize, f64)> {
    const A: f64 = -0.5;
    let weigh = |u: f64| {
        let u = u.abs();
        if u < 1.0 {
            ((A + 2.0) * u - (A + 3.0)) * u * u + 1.0
        } else if u < 2.0 {
            (((u - 5.0) * u + 8.0) * u - 4.0) * A
        } else {
            0.0
        }
    };
    let reach = 2.0 * stretch;
    let first = (centre + 0.5 - reach + 0.5).floor().max(0.0) as usize;
    let last = ((centre + 0.5 + reach + 0.5).floor() as usize).min(from);
    let weights: Vec<f64> = (first..last)
        .map(|pixel| weigh((pixel as f64 - centre) / stretch))
        .collect();
    let total: f64 = weights.iter().sum();
    (first..last)
        .zip(weights.into_iter().map(|weight| weight / total))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(tensor: &Tensor) -> Vec<f32> {
        tensor.flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn an_image_of_its_own_size_stays_and_a_plane_stays_a_plane() {
        let image = Tensor::arange(0f32, 24.0, &Device::Cpu)
            .unwrap()
            .reshape((1, 2, 3, 4))
            .unwrap();
        assert_eq!(
            values(&resize(&image, [3, 4], Filter::Bilinear).unwrap()),
            values(&image)
        );
        // Two pixels, 0 and 4, on four: centres at −¼, ¼, ¾ and 1¼ of them.
        let two = Tensor::new(&[[[[0f32, 4.0]]]], &Device::Cpu).unwrap();
        assert_eq!(
            values(&resize(&two, [1, 4], Filter::Bilinear).unwrap()),
            [0.0, 1.0, 3.0, 4.0]
        );
        // Half as many: the two neighbours of the middle, not all that are covered.
        let line = Tensor::new(&[[[[0f32, 1.0, 2.0, 3.0, 9.0, 9.0, 9.0, 9.0]]]], &Device::Cpu).unwrap();
        assert_eq!(
            values(&resize(&line, [1, 2], Filter::Bilinear).unwrap()),
            [1.5, 9.0]
        );
    }

    #[cfg(feature = "clip")]
    #[test]
    fn the_cubic_keeps_straight_lines_away_from_borders_and_its_size() {
        let line = Tensor::arange(0f32, 64.0, &Device::Cpu)
            .unwrap()
            .reshape((1, 1, 1, 64))
            .unwrap();
        assert_eq!(
            values(&resize(&line, [1, 64], Filter::BicubicAntialiased).unwrap()),
            values(&line)
        );
        let half = values(&resize(&line, [1, 32], Filter::BicubicAntialiased).unwrap());
        for (index, value) in half.iter().enumerate().take(29).skip(3) {
            assert!(
                (value - (2.0 * index as f32 + 0.5)).abs() < 1e-4,
                "{index}: {value}"
            );
        }
    }
}
