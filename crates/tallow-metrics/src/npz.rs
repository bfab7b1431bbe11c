//! Mean and covariance in a file: the `npz` of pytorch-fid and clean-fid, a ZIP archive of arrays.
//!
//! `mu` is (d) and `sigma` (d, d), in single or double precision, by rows or columns, stored or deflated. We write a third
//! array beside them, the number of points, which other programs do not look at and without which nobody can tell whether
//! points were enough.
//!
//! What an archive declares is held against a limit, against its own bytes (Deflate makes at most 1032 of one: RFC 1951) and
//! against the other entries, which must not share bytes; memory is taken only then.

use std::io::{Read, Write};

use flate2::bufread::DeflateDecoder;
use rawzip::{CompressionMethod, ZipArchive, ZipArchiveWriter, ZipSliceArchive, ZipSliceEntry};

use crate::{Moments, npy};

/// Entries of an archive that are looked at.
const MOST_ENTRIES: usize = 64;
/// Bytes that Deflate can make of one.
const MOST_PER_BYTE: u64 = 1032;
/// The name of the array that holds the number of points.
const COUNT: &str = "count.npy";

/// The moments in an archive's bytes; its arrays may take `most` bytes in double precision.
pub(crate) fn read(bytes: &[u8], most: u64) -> Result<Moments, String> {
    let archive = ZipArchive::from_slice(bytes).map_err(|error| format!("it is no archive: {error}"))?;
    let entries = entries(&archive)?;
    let array = |name: &str| -> Result<Option<npy::Array>, String> {
        let found = entries.iter().find(|entry| entry.name == name.as_bytes());
        let read = |entry| array_of(entry, most).map_err(|problem| format!("`{name}`: {problem}"));
        found.map(read).transpose()
    };
    let missing = |name: &str| format!("there is no array `{name}`: it needs mu and sigma");
    let mean = array("mu.npy")?.ok_or_else(|| missing("mu"))?;
    let covariance = array("sigma.npy")?.ok_or_else(|| missing("sigma"))?;
    let dimension = mean.values.len();
    if mean.shape != [dimension] || covariance.shape != [dimension, dimension] {
        return Err(format!(
            "mu has shape {:?} and sigma {:?}: they need (d) and (d, d)",
            mean.shape, covariance.shape
        ));
    }
    let count = array(COUNT)?.map(|array| whole(&array)).transpose()?;
    // A covariance that was rounded to single precision is symmetric to single precision.
    let tolerance = (8.0 * covariance.precision).max(1e-8);
    Moments::checked(mean.values, covariance.values, count, tolerance).map_err(|error| error.to_string())
}

/// A number of points of 2 or more.
fn whole(array: &npy::Array) -> Result<usize, String> {
    match array.values[..] {
        [count] if count.fract() == 0.0 && (2.0..9e15).contains(&count) => Ok(count as usize),
        _ => Err(format!(
            "the number of points is {:?}, it needs one of 2 or more",
            array.values
        )),
    }
}

/// An entry that shares no byte with another.
struct Entry<'a> {
    name: Vec<u8>,
    method: CompressionMethod,
    declared: u64,
    content: ZipSliceEntry<'a>,
}

fn entries<'a>(archive: &'a ZipSliceArchive<&[u8]>) -> Result<Vec<Entry<'a>>, String> {
    let broken = |error: rawzip::Error| format!("the archive is broken: {error}");
    let mut records = archive.entries();
    let mut entries: Vec<Entry<'_>> = Vec::new();
    let mut ranges = Vec::new();
    while let Some(record) = records.next_entry().map_err(broken)? {
        if entries.len() == MOST_ENTRIES {
            return Err(format!("it has more than {MOST_ENTRIES} entries"));
        }
        let name = record.file_path().as_ref().to_vec();
        if entries.iter().any(|entry| entry.name == name) {
            return Err(format!("it has two entries `{}`", String::from_utf8_lossy(&name)));
        }
        let content = archive.get_entry(record.wayfinder()).map_err(broken)?;
        ranges.push((record.local_header_offset(), content.compressed_data_range().1));
        entries.push(Entry {
            name,
            method: record.compression_method(),
            declared: record.uncompressed_size_hint(),
            content,
        });
    }
    ranges.sort_unstable();
    if ranges.windows(2).any(|pair| pair[1].0 < pair[0].1) {
        return Err("its entries overlap".to_owned());
    }
    Ok(entries)
}

fn array_of(entry: &Entry<'_>, most: u64) -> Result<npy::Array, String> {
    let data = entry.content.data();
    let possible = match entry.method {
        CompressionMethod::STORE => data.len() as u64,
        CompressionMethod::DEFLATE => (data.len() as u64).saturating_mul(MOST_PER_BYTE),
        other => {
            return Err(format!(
                "it is compressed by {other:?}, allowed are none and Deflate"
            ));
        }
    };
    if entry.declared > possible {
        return Err(format!(
            "it declares {} bytes, its {} bytes make {possible} at most",
            entry.declared,
            data.len()
        ));
    }
    let reader: Box<dyn Read> = if entry.method == CompressionMethod::STORE {
        Box::new(data)
    } else {
        Box::new(DeflateDecoder::new(data))
    };
    // The checksum is compared where the content ends, which is why one more read must find nothing.
    let mut reader = entry.content.verifying_reader(reader);
    let array = npy::read(&mut reader, entry.declared, most)?;
    match reader.read(&mut [0]) {
        Ok(0) => Ok(array),
        Ok(_) => Err("it is longer than it declares".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// The bytes of an archive that holds these moments, its arrays stored as they are.
pub(crate) fn write(moments: &Moments) -> crate::Result<Vec<u8>> {
    let dimension = moments.dimension();
    let covariance = moments.covariance()?;
    let mut arrays = vec![
        ("mu.npy", npy::write(&[dimension], moments.mean())),
        ("sigma.npy", npy::write(&[dimension, dimension], &covariance)),
    ];
    if let Some(count) = moments.count() {
        arrays.push((COUNT, npy::write(&[1], &[count as f64])));
    }
    pack(&arrays, CompressionMethod::STORE).map_err(|problem| crate::Error::Moments { problem })
}

/// An archive of named contents.
pub(crate) fn pack(contents: &[(&str, Vec<u8>)], method: CompressionMethod) -> Result<Vec<u8>, String> {
    let failed = |error: rawzip::Error| error.to_string();
    let mut archive = ZipArchiveWriter::new(Vec::new());
    for (name, content) in contents {
        let (mut entry, configuration) = archive
            .new_file(*name)
            .compression_method(method)
            .start()
            .map_err(failed)?;
        let output = if method == CompressionMethod::DEFLATE {
            let encoder = flate2::write::DeflateEncoder::new(&mut entry, flate2::Compression::default());
            let mut writer = configuration.wrap(encoder);
            writer.write_all(content).map_err(|error| error.to_string())?;
            let (encoder, output) = writer.finish().map_err(failed)?;
            encoder.finish().map_err(|error| error.to_string())?;
            output
        } else {
            let mut writer = configuration.wrap(&mut entry);
            writer.write_all(content).map_err(|error| error.to_string())?;
            writer.finish().map_err(failed)?.1
        };
        entry.finish(output).map_err(failed)?;
    }
    archive.finish().map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments() -> Moments {
        Moments::known(vec![0.5, -1.0], vec![2.0, 0.25, 0.25, 1.0]).unwrap()
    }

    fn arrays() -> Vec<(&'static str, Vec<u8>)> {
        vec![
            ("mu.npy", npy::write(&[2], &[0.5, -1.0])),
            ("sigma.npy", npy::write(&[2, 2], &[2.0, 0.25, 0.25, 1.0])),
        ]
    }

    fn refused(arrays: &[(&str, Vec<u8>)]) -> String {
        read(&pack(arrays, CompressionMethod::DEFLATE).unwrap(), 1 << 20).unwrap_err()
    }

    #[test]
    fn what_is_written_is_read_again_stored_or_deflated_with_its_count() {
        assert_eq!(read(&write(&moments()).unwrap(), 1 << 20).unwrap(), moments());
        let deflated = pack(&arrays(), CompressionMethod::DEFLATE).unwrap();
        assert_eq!(read(&deflated, 1 << 20).unwrap(), moments());
        let counted = Moments::of(&crate::Points::new(&[0.0, 1.0, 4.0, -2.0, 3.0, 5.0], 2).unwrap()).unwrap();
        let again = read(&write(&counted).unwrap(), 1 << 20).unwrap();
        assert_eq!((again.count(), again.mean()), (Some(3), counted.mean()));
        assert_eq!(again.covariance().unwrap(), counted.covariance().unwrap());
    }

    #[test]
    fn arrays_that_do_not_fit_and_numbers_that_are_none_are_refused() {
        let with = |name: &'static str, array: Vec<u8>| {
            let mut arrays = arrays();
            arrays.retain(|(known, _)| *known != name);
            arrays.push((name, array));
            refused(&arrays)
        };
        assert!(refused(&arrays()[..1]).contains("no array `sigma`"));
        assert!(with("sigma.npy", npy::write(&[3, 3], &[0.0; 9])).contains("(d, d)"));
        assert!(with("sigma.npy", npy::write(&[4], &[0.0; 4])).contains("(d, d)"));
        assert!(with("mu.npy", npy::write(&[1, 2], &[0.0; 2])).contains("(d, d)"));
        assert!(with("mu.npy", npy::write(&[2], &[f64::NAN, 0.0])).contains("NaN"));
        assert!(
            with("sigma.npy", npy::write(&[2, 2], &[1.0, 0.5, 0.2, 1.0])).contains("across the diagonal")
        );
        assert!(with("count.npy", npy::write(&[1], &[1.0])).contains("2 or more"));
        let twice = [arrays(), arrays()].concat();
        assert!(refused(&twice).contains("two entries `mu.npy`"));
        assert!(
            read(&write(&moments()).unwrap(), 16)
                .unwrap_err()
                .contains("more than 16 bytes")
        );
    }

    #[test]
    fn a_flipped_number_is_found_by_the_checksum_and_entries_that_share_bytes_are_refused() {
        let bytes = write(&moments()).unwrap();
        let number = 0.25_f64.to_le_bytes();
        let place = bytes.windows(8).position(|window| window == number).unwrap();
        let mut flipped = bytes.clone();
        flipped[place] ^= 1;
        assert!(read(&flipped, 1 << 20).is_err());
        // The second entry of the directory is made to begin where the first does.
        let mut shared = bytes.clone();
        let record = bytes
            .windows(4)
            .enumerate()
            .filter(|(_, window)| *window == b"PK\x01\x02")
            .nth(1);
        let offset = record.unwrap().0 + 42;
        shared[offset..offset + 4].fill(0);
        assert!(read(&shared, 1 << 20).unwrap_err().contains("overlap"));
    }
}
