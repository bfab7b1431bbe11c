//! The bodies of the fuzz targets: what must hold of any bytes at all. For tests; no part of the interface.

#![allow(
    clippy::panic_in_result_fn,
    reason = "a refusal is expected, a broken law is not"
)]

use crate::checkpoint::{Checkpoint, reseal};
use crate::{Configuration, Unreadable};

/// A checkpoint is refused, or read; and what is read is written and read again as the same.
///
/// # Errors
///
/// Why the bytes were refused.
///
/// # Panics
///
/// When that does not hold.
pub fn checkpoint(bytes: &[u8]) -> Result<(), Unreadable> {
    let read = Checkpoint::from_bytes(bytes)?;
    let written = read.to_bytes().map_err(|error| error.to_string());
    assert!(written.is_ok(), "read and not written: {written:?}");
    let again = written.and_then(|bytes| {
        let read = Checkpoint::from_bytes(&bytes).map_err(|error| error.to_string())?;
        Ok((read.to_bytes().map_err(|error| error.to_string())?, bytes))
    });
    assert!(
        again.as_ref().is_ok_and(|(again, bytes)| again == bytes),
        "written and read otherwise: {again:?}"
    );
    Ok(())
}

/// The same behind a header's checksum that is right, where mutations of whole files end.
///
/// # Errors
///
/// Why the bytes were refused.
///
/// # Panics
///
/// When that does not hold.
pub fn sealed_checkpoint(bytes: &[u8]) -> Result<(), Unreadable> {
    let mut bytes = bytes.to_vec();
    reseal(&mut bytes);
    checkpoint(&bytes)
}

/// A configuration is refused, or read; and what is read is written and read again as the same.
///
/// # Errors
///
/// Why the bytes were refused.
///
/// # Panics
///
/// When that does not hold.
pub fn configuration(bytes: &[u8]) -> Result<(), Unreadable> {
    let refused = |problem: String| Unreadable::Configuration(problem);
    let text = std::str::from_utf8(bytes).map_err(|error| refused(error.to_string()))?;
    let read = Configuration::parse(text).map_err(|error| refused(error.to_string()))?;
    let again = Configuration::parse(&read.to_string());
    // A text of the greatest length may be written longer, with other escapes, than may be read.
    assert!(
        again.as_ref().is_ok_and(|again| *again == read) || read.to_string().len() > 1 << 20,
        "{read} became {again:?}"
    );
    assert!(read.differences(&read).is_empty());
    Ok(())
}
