//! The bodies of the fuzz targets: what must hold of any bytes at all. For tests; no part of the interface.
//!
//! Each returns the bytes of pixels and labels that were read.

#![allow(
    clippy::panic_in_result_fn,
    reason = "a refusal is expected, a broken law is not"
)]

use std::path::Path;

use crate::declared::Declared;
use crate::picture::{Colour, Fit, Wanted};
use crate::{Cifar100Labels, Error, Images, Limits, cifar, digits, idx};

/// What the bodies let a file of many images declare: more than a short one can hold.
pub const LIMITS: Limits = Limits { max_bytes: 1 << 24 };

/// What they let a picture declare.
pub const PICTURE_LIMITS: Limits = Limits { max_bytes: 1 << 18 };

/// Two IDX files, raw or gzip, are refused, or read; and what is read is written and read again as the same.
///
/// The first two bytes say how many of the others are the first file.
///
/// # Errors
///
/// Why the bytes were refused.
///
/// # Panics
///
/// When that does not hold.
pub fn idx(bytes: &[u8]) -> Result<usize, Error> {
    let (length, files) = bytes.split_at(bytes.len().min(2));
    let length = length
        .iter()
        .fold(0, |length, byte| length << 8 | usize::from(*byte));
    let (images, labels) = files.split_at(length.min(files.len()));
    let read = idx_files(images, labels)?;
    let [_, height, width] = read.shape();
    let header = |numbers: &[usize]| -> Vec<u8> {
        numbers
            .iter()
            .flat_map(|number| (*number as u32).to_be_bytes())
            .collect()
    };
    let mut images = header(&[0x803, read.rows(), height, width]);
    images.extend_from_slice(read.pixels());
    let mut labels = header(&[0x801, read.rows()]);
    labels.extend(read.labels().iter().map(|label| *label as u8));
    let again = idx_files(&images, &labels);
    assert!(
        again
            .as_ref()
            .is_ok_and(|again| again.checksum() == read.checksum()),
        "{read:?} became {again:?}"
    );
    Ok(size(&read))
}

fn idx_files(images: &[u8], labels: &[u8]) -> Result<Images, Error> {
    let images = Declared::new(Path::new("images"), images, images.len() as u64)?;
    let labels = Declared::new(Path::new("labels"), labels, labels.len() as u64)?;
    idx::read(images, labels, &digits::names(), LIMITS)
}

/// Records of CIFAR-100 are refused, or read with both labels; and what is read is what was there.
///
/// # Errors
///
/// Why the bytes were refused.
///
/// # Panics
///
/// When that does not hold.
pub fn cifar(bytes: &[u8]) -> Result<usize, Error> {
    let read = |labels: Cifar100Labels| {
        let files = vec![(Path::new("records"), bytes, bytes.len() as u64)];
        cifar::read(files, labels.format(), LIMITS)
    };
    let coarse = read(Cifar100Labels::Coarse)?;
    let fine = read(Cifar100Labels::Fine)?;
    for (row, record) in bytes.chunks_exact(3074).enumerate() {
        let labels = [coarse.labels()[row], fine.labels()[row]];
        assert_eq!(labels, [u32::from(record[0]), u32::from(record[1])]);
        for images in [&coarse, &fine] {
            assert_eq!(images.pixels()[row * 3072..(row + 1) * 3072], record[2..]);
        }
    }
    Ok(size(&coarse) + size(&fine))
}

/// A PNG or JPEG file is refused, or read as an image of the size that was asked for, each time the same.
///
/// # Errors
///
/// Why the bytes were refused.
///
/// # Panics
///
/// When that does not hold.
pub fn picture(bytes: &[u8]) -> Result<usize, Error> {
    let read = |colour, fit| {
        let wanted = Wanted {
            size: [5, 7],
            colour,
            fit,
        };
        wanted.read(Path::new("picture"), bytes, PICTURE_LIMITS)
    };
    let colours = read(Colour::Rgb, Fit::CentreCrop)?;
    assert_eq!(colours.len(), 3 * 5 * 7);
    let grey = read(Colour::Grey, Fit::Stretch)?;
    assert_eq!(grey.len(), 5 * 7);
    Ok(colours.len() + grey.len())
}

/// The same of a PNG whose chunks have the right checksums, where mutations of whole files end.
///
/// # Errors
///
/// Why the bytes were refused.
///
/// # Panics
///
/// When that does not hold.
pub fn sealed_picture(bytes: &[u8]) -> Result<usize, Error> {
    let mut bytes = bytes.to_vec();
    let mut start = 8;
    while let Some(chunk) = bytes.get_mut(start..).filter(|chunk| chunk.len() >= 12) {
        let length = chunk[..4]
            .iter()
            .fold(0, |length, byte| length << 8 | usize::from(*byte));
        let Some(end) = length.checked_add(8).filter(|end| *end + 4 <= chunk.len()) else {
            break;
        };
        let mut crc = flate2::Crc::new();
        crc.update(&chunk[4..end]);
        chunk[end..end + 4].copy_from_slice(&crc.sum().to_be_bytes());
        start += end + 4;
    }
    picture(&bytes)
}

fn size(images: &Images) -> usize {
    images.pixels().len() + 4 * images.rows()
}
