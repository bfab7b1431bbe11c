//! The bodies of the fuzz targets: what must hold of any bytes at all. For tests; no part of the interface.

#![allow(
    clippy::panic_in_result_fn,
    reason = "a refusal is expected, a broken law is not"
)]

use rawzip::CompressionMethod;

use crate::npz;

/// What the bodies let the arrays of a file take.
pub const MOST_BYTES: u64 = 1 << 20;

/// Statistics are refused, or read; and what is read is written and read again as the same.
///
/// # Errors
///
/// Why the bytes were refused.
///
/// # Panics
///
/// When that does not hold.
pub fn statistics(bytes: &[u8]) -> Result<usize, String> {
    let read = npz::read(bytes, MOST_BYTES)?;
    let written = npz::write(&read).map_err(|error| error.to_string())?;
    let again = npz::read(&written, MOST_BYTES);
    // Scatter and covariance differ by a rounding where the count is known.
    let close = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1e-14 * a.abs());
    let same = again.as_ref().is_ok_and(|again| {
        let covariances = (read.covariance(), again.covariance());
        again.mean() == read.mean()
            && again.count() == read.count()
            && matches!(covariances, (Ok(a), Ok(b)) if close(&a, &b))
    });
    assert!(same, "{read:?} became {again:?}");
    Ok(read.dimension())
}

/// The same behind right checksums: the first byte says how the arrays are compressed, the next two how many of the other
/// bytes are the mean.
///
/// # Errors
///
/// Why the bytes were refused.
///
/// # Panics
///
/// When that does not hold.
pub fn sealed_statistics(bytes: &[u8]) -> Result<usize, String> {
    let (head, arrays) = bytes.split_at(bytes.len().min(3));
    let length = head
        .iter()
        .skip(1)
        .fold(0, |length, byte| length << 8 | usize::from(*byte));
    let (mean, covariance) = arrays.split_at(length.min(arrays.len()));
    let method = match head.first() {
        Some(0) => CompressionMethod::STORE,
        _ => CompressionMethod::DEFLATE,
    };
    let contents = [("mu.npy", mean.to_vec()), ("sigma.npy", covariance.to_vec())];
    statistics(&npz::pack(&contents, method)?)
}
