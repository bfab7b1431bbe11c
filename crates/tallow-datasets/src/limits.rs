//! How much a file may claim.

use std::path::Path;

use crate::{Error, Result};

/// The most memory that reading may take; checked against what a file declares, before any is taken.
///
/// ```
/// use tallow_datasets::Limits;
///
/// assert_eq!(Limits::default().max_bytes, 1 << 30);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all pixels (one byte each) and labels (four bytes each) together; and of a picture while it is decoded (eight
    /// bytes for each of its pixels).
    pub max_bytes: u64,
}

impl Default for Limits {
    /// 1 GiB: five times CIFAR.
    fn default() -> Self {
        Self { max_bytes: 1 << 30 }
    }
}

impl Limits {
    /// Passes on a number of bytes that may be taken, or refuses it.
    pub(crate) fn check(self, path: &Path, bytes: u128) -> Result<usize> {
        let refused = || Error::AboveLimit {
            path: path.to_owned(),
            bytes,
            max_bytes: self.max_bytes,
        };
        if bytes > u128::from(self.max_bytes) {
            return Err(refused());
        }
        usize::try_from(bytes).map_err(|_| refused())
    }
}
