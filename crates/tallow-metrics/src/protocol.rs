//! How a number over images came about: without it, two of them cannot be compared.

use std::fmt;

use candle_core::Tensor;
use sha2::{Digest, Sha256};

use crate::{Error, ImageRange, Result};

/// What turned images into features. Two protocols that differ give distances that must not be compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protocol {
    /// The network: "Inception-v3 of pytorch-fid", for instance.
    pub extractor: String,
    /// Which of its outputs: "pool, 2048", for instance.
    pub features: String,
    /// SHA-256 of the file of its weights, in hexadecimal digits.
    pub file_sha256: String,
    /// How images were brought to the network's size.
    pub resize: String,
}

impl Protocol {
    /// Refuses to compare what was not made alike.
    pub(crate) fn check(&self, other: &Self) -> Result<()> {
        if self == other {
            return Ok(());
        }
        let problem = format!("one side is of {self}, the other of {other}");
        Err(Error::Protocol { problem })
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            extractor,
            features,
            file_sha256,
            resize,
        } = self;
        write!(f, "{extractor} ({features}), weights {file_sha256}, {resize}")
    }
}

/// A network that turns images into features.
pub trait Extractor {
    /// What must be reported with every number that comes of these features.
    fn protocol(&self) -> &Protocol;

    /// Features (N, d) in single precision of images (N, 3, H, W), or (N, 1, H, W) whose grey is repeated.
    ///
    /// On a CPU an image's features have the same bytes in every batch.
    ///
    /// # Errors
    ///
    /// When the tensor has another shape, or a pixel is not finite or outside of the range.
    fn features(&self, images: &Tensor, range: ImageRange) -> Result<Tensor>;
}

/// The images of one side of a comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Side {
    /// How many there were; `None` where statistics came from a file that does not say.
    pub count: Option<usize>,
    /// The range of their values; `None` where statistics came from a file.
    pub range: Option<ImageRange>,
    /// SHA-256 of the file of statistics, where they came from one.
    pub statistics_sha256: Option<String>,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.count {
            Some(count) => write!(f, "n = {count}")?,
            None => write!(f, "n unknown")?,
        }
        if let Some(range) = self.range {
            write!(f, " in {range}")?;
        }
        if let Some(sha256) = &self.statistics_sha256 {
            write!(f, " from statistics {sha256}")?;
        }
        Ok(())
    }
}

/// A number over images with all that it takes to repeat it.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged<T> {
    /// The distance or score.
    pub value: T,
    /// What turned images into features.
    pub protocol: Protocol,
    /// The samples, and for a distance the reference.
    pub sides: Vec<Side>,
}

impl<T: fmt::Display> fmt::Display for Judged<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} by {}", self.value, self.protocol)?;
        self.sides.iter().try_for_each(|side| write!(f, "; {side}"))
    }
}

/// SHA-256 in hexadecimal digits.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_that_of_the_standard() {
        // FIPS 180-4, the message "abc".
        assert_eq!(
            sha256(b"abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
