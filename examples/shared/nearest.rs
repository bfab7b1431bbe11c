//! Which digit a drawing of 8x8 pixels is: that of the nearest of the 1,797 that tallow carries.

use candle_core::Tensor;
use tallow::datasets::Images;

use crate::Failure;
use crate::image_model::values;

/// The share of samples, (n, 1, 8, 8), whose nearest image of the data is of the class that was asked for.
///
/// # Errors
///
/// When the samples hold other numbers than f32.
pub fn nearest_of_class(samples: &Tensor, labels: &[u32]) -> Result<f64, Failure> {
    let images = Images::digits()?;
    let rows: Vec<u32> = (0..images.rows() as u32).collect();
    let (data, samples) = (values(&images.select(&rows)?.x0)?, values(samples)?);
    let size = data.len() / images.rows();
    let square = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f32>();
    let right = samples.chunks_exact(size).zip(labels).filter(|(sample, label)| {
        let distances = data.chunks_exact(size).map(|image| square(sample, image));
        let nearest = distances
            .zip(images.labels())
            .min_by(|(a, _), (b, _)| a.total_cmp(b));
        nearest.is_some_and(|(_, class)| class == *label)
    });
    Ok(right.count() as f64 / labels.len() as f64)
}
