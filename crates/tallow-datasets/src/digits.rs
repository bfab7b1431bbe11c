//! Handwritten digits of 8 × 8 pixels, inside of the crate: image models can be tried without fetching anything.
//!
//! Source: Alpaydin & Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository, 1998,
//! doi:10.24432/C50P49, CC BY 4.0: its test set. Each of the 16 levels counts the dark pixels of a block of 4 × 4.

use std::path::Path;

use crate::declared::Declared;
use crate::{Images, Limits, Result, idx};

const IMAGES: &[u8] = include_bytes!("../data/digits-images.gz");
const LABELS: &[u8] = include_bytes!("../data/digits-labels.gz");

/// The names of the labels of digits.
pub(crate) fn names() -> [&'static str; 10] {
    ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]
}

impl Images {
    /// The 1,797 handwritten digits of 8 × 8 pixels that the crate carries, (1, 8, 8), their 16 levels spread over a byte.
    ///
    /// ```
    /// use tallow_datasets::{Images, Shuffled};
    ///
    /// let digits = Images::digits()?;
    /// assert_eq!((digits.rows(), digits.classes().len()), (1797, 10));
    /// let mut batches = Shuffled::new(digits, 64, 1)?;
    /// let batch = batches.next_batch()?;
    /// assert_eq!(batch.x0.dims(), [64, 1, 8, 8]);
    /// assert_eq!(batch.condition.tensor("labels")?.dims(), [64]);
    /// # Ok::<(), tallow_datasets::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// When the embedded file was damaged before the crate was compiled.
    pub fn digits() -> Result<Self> {
        let file =
            |name: &str, bytes: &'static [u8]| Declared::new(Path::new(name), bytes, bytes.len() as u64);
        let (images, labels) = (
            file("digits-images.gz", IMAGES)?,
            file("digits-labels.gz", LABELS)?,
        );
        let read = idx::read(images, labels, &names(), Limits::default())?;
        let spread = |level: &u8| ((u16::from(*level) * 255 + 8) / 16) as u8;
        let pixels = read.pixels().iter().map(spread).collect();
        Self::new(pixels, read.shape())?.with_labels(read.labels().to_vec(), &names())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digits_are_those_of_the_repository() {
        let digits = Images::digits().unwrap();
        assert_eq!((digits.rows(), digits.shape()), (1797, [1, 8, 8]));
        let mut counts = [0; 10];
        digits
            .labels()
            .iter()
            .for_each(|label| counts[*label as usize] += 1);
        // The counts of optdigits.names for the test set.
        assert_eq!(counts, [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]);
        // The first row of optdigits.tes: 0,0,5,13,9,1,0,0 … 0.
        let first = [0, 0, 5, 13, 9, 1, 0, 0].map(|level: u16| ((level * 255 + 8) / 16) as u8);
        assert_eq!((&digits.pixels()[..8], digits.labels()[0]), (&first[..], 0));
        let (low, high) = (digits.pixels().iter().min(), digits.pixels().iter().max());
        assert_eq!((low, high), (Some(&0), Some(&255)));
    }
}
