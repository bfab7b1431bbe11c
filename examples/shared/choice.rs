//! Images of given classes, for sheets of the data.

use candle_core::Tensor;
use tallow::datasets::Images;

use crate::Failure;

/// An image of each label, (n, C, H, W): the first of its class for the first time that it is named, then the second.
///
/// # Errors
///
/// When a class has fewer images than it is named.
pub fn images_of(images: &Images, labels: &[u32]) -> Result<Tensor, Failure> {
    let classes = images.classes().len() as u32;
    let mut of_class: Vec<_> = (0..classes)
        .map(|class| {
            let rows = images.labels().iter().enumerate();
            rows.filter(move |(_, label)| **label == class)
                .map(|(row, _)| row as u32)
        })
        .collect();
    let rows: Option<Vec<u32>> = labels
        .iter()
        .map(|label| of_class.get_mut(*label as usize)?.next())
        .collect();
    let rows = rows.ok_or("there are not so many images of each class: ask for fewer")?;
    Ok(images.select(&rows)?.x0)
}
