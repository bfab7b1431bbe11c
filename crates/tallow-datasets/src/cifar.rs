//! CIFAR-10 and CIFAR-100 in their binary version.
//!
//! ```text
//! CIFAR-10:          label   1024 red   1024 green   1024 blue       one byte each, 32 × 32 line by line
//! CIFAR-100: coarse  fine    1024 red   1024 green   1024 blue
//! ```
//!
//! A file has no header: it is as many of these records as it is long.
//!
//! Source: Krizhevsky, "Learning multiple layers of features from tiny images", technical report, Toronto 2009.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use crate::cifar_names::{COARSE, FINE, TEN};
use crate::{Error, Images, Limits, Result, Split};

const PIXELS: usize = 3 * 32 * 32;

/// Which of CIFAR-100's two labels an image gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cifar100Labels {
    /// Twenty groups.
    Coarse,
    /// A hundred classes.
    Fine,
}

/// What stands before the pixels of a record.
#[derive(Clone, Copy)]
pub(crate) struct Format {
    /// The names of each label byte.
    pub(crate) labels: &'static [&'static [&'static str]],
    /// Which of them is kept.
    pub(crate) kept: usize,
}

pub(crate) const CIFAR10: Format = Format {
    labels: &[&TEN],
    kept: 0,
};

impl Cifar100Labels {
    pub(crate) fn format(self) -> Format {
        Format {
            labels: &[&COARSE, &FINE],
            kept: usize::from(self == Self::Fine),
        }
    }
}

impl Images {
    /// CIFAR-10, (3, 32, 32) in ten classes, from a folder that holds `data_batch_1.bin` to `data_batch_5.bin` or
    /// `test_batch.bin`, or holds the archive's folder `cifar-10-batches-bin`.
    ///
    /// # Errors
    ///
    /// When a file is absent, is not whole records, has a label outside of the classes, or all together are larger than
    /// `limits` allows.
    pub fn cifar10(folder: impl AsRef<Path>, split: Split, limits: Limits) -> Result<Self> {
        let train = [1, 2, 3, 4, 5].map(|batch| format!("data_batch_{batch}.bin"));
        let names = match split {
            Split::Train => train.to_vec(),
            Split::Test => vec!["test_batch.bin".to_owned()],
        };
        let paths = files(folder.as_ref(), "cifar-10-batches-bin", &names)?;
        read_files(&paths, CIFAR10, limits)
    }

    /// CIFAR-100, (3, 32, 32) in twenty or a hundred classes, from a folder that holds `train.bin` or `test.bin`, or holds
    /// the archive's folder `cifar-100-binary`.
    ///
    /// # Errors
    ///
    /// Those of [`Images::cifar10`].
    pub fn cifar100(
        folder: impl AsRef<Path>,
        split: Split,
        labels: Cifar100Labels,
        limits: Limits,
    ) -> Result<Self> {
        let name = match split {
            Split::Train => "train.bin",
            Split::Test => "test.bin",
        };
        let paths = files(folder.as_ref(), "cifar-100-binary", &[name.to_owned()])?;
        read_files(&paths, labels.format(), limits)
    }
}

/// The files of some names in a folder, or in a folder inside of it.
fn files(folder: &Path, inside: &str, names: &[String]) -> Result<Vec<PathBuf>> {
    let inner = folder.join(inside);
    let folder = if inner.is_dir() { inner } else { folder.to_owned() };
    let path = |name: &String| {
        let path = folder.join(name);
        path.is_file().then_some(path).ok_or_else(|| Error::Missing {
            folder: folder.clone(),
            names: name.clone(),
        })
    };
    names.iter().map(path).collect()
}

fn read_files(paths: &[PathBuf], format: Format, limits: Limits) -> Result<Images> {
    let mut opened = Vec::new();
    for path in paths {
        let failed = |source| Error::file(path, source);
        let file = File::open(path).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        opened.push((path.as_path(), file, length));
    }
    read(opened, format, limits)
}

/// The records of some readers, whose lengths are known, one after the other.
pub(crate) fn read<R: Read>(files: Vec<(&Path, R, u64)>, format: Format, limits: Limits) -> Result<Images> {
    let record = (format.labels.len() + PIXELS) as u64;
    let mut rows = 0;
    for (path, _, length) in &files {
        if *length == 0 || length % record != 0 {
            let allowed = format!("a multiple of {record}, the bytes of an image with its labels");
            return Err(malformed(path, "the length", length.to_string(), allowed));
        }
        rows += u128::from(length / record);
        limits.check(path, rows * (PIXELS as u128 + 4))?;
    }
    let mut pixels = Vec::new();
    let mut labels = Vec::new();
    for (path, reader, length) in files {
        let count = (length / record) as usize;
        pixels.reserve_exact(count * PIXELS);
        labels.reserve_exact(count);
        let mut reader = BufReader::with_capacity(1 << 16, reader);
        for row in 0..count {
            labels.push(label(path, &mut reader, format, row)?);
            let start = pixels.len();
            pixels.resize(start + PIXELS, 0);
            reader
                .read_exact(&mut pixels[start..])
                .map_err(|source| Error::file(path, source))?;
        }
    }
    Images::new(pixels, [3, 32, 32])?.with_labels(labels, format.labels[format.kept])
}

/// The label of the next record that is kept; all of them are checked.
fn label(path: &Path, reader: &mut impl Read, format: Format, row: usize) -> Result<u32> {
    let mut bytes = [0; 2];
    let bytes = &mut bytes[..format.labels.len()];
    reader
        .read_exact(bytes)
        .map_err(|source| Error::file(path, source))?;
    for (byte, names) in bytes.iter().zip(format.labels) {
        if usize::from(*byte) >= names.len() {
            let allowed = format!("below {}, the number of classes (row {row})", names.len());
            return Err(malformed(path, "a label", byte.to_string(), allowed));
        }
    }
    Ok(u32::from(bytes[format.kept]))
}

fn malformed(path: &Path, what: &'static str, value: String, allowed: String) -> Error {
    Error::Malformed {
        path: path.to_owned(),
        what,
        value,
        allowed,
        way_out: "fetch the binary version again",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of some labels, each with the same pixels but for the first.
    fn file(labels: &[&[u8]]) -> Vec<u8> {
        let record = |(row, labels): (usize, &&[u8])| {
            let mut record = labels.to_vec();
            record.extend((0..PIXELS).map(|pixel| (pixel / 1024 * 100) as u8));
            record[labels.len()] = row as u8;
            record
        };
        labels.iter().enumerate().flat_map(record).collect()
    }

    fn written(files: &[(&str, Vec<u8>)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
        folder
    }

    #[test]
    fn five_batches_are_one_set_in_their_order_and_planes_are_channels() {
        let batches =
            [1_u8, 2, 3, 4, 5].map(|batch| (format!("data_batch_{batch}.bin"), file(&[&[batch], &[9]])));
        let batches = batches
            .each_ref()
            .map(|(name, bytes)| (name.as_str(), bytes.clone()));
        let folder = written(&batches);
        let images = Images::cifar10(folder.path(), Split::Train, Limits::default()).unwrap();
        assert_eq!((images.rows(), images.shape()), (10, [3, 32, 32]));
        assert_eq!(images.labels(), [1, 9, 2, 9, 3, 9, 4, 9, 5, 9]);
        assert_eq!(
            (images.classes()[9].as_str(), images.classes().len()),
            ("truck", 10)
        );
        let second = &images.pixels()[PIXELS..2 * PIXELS];
        assert_eq!(
            [second[0], second[1], second[1024], second[3071]],
            [1, 0, 100, 200]
        );
        let missing = Images::cifar10(folder.path(), Split::Test, Limits::default()).unwrap_err();
        assert!(missing.to_string().contains("test_batch.bin"), "{missing}");
    }

    #[test]
    fn either_label_of_the_hundred_classes_can_be_kept_and_the_archives_folder_is_entered() {
        let folder = written(&[("cifar-100-binary/test.bin", file(&[&[19, 99], &[4, 0]]))]);
        let read = |labels| Images::cifar100(folder.path(), Split::Test, labels, Limits::default()).unwrap();
        let (coarse, fine) = (read(Cifar100Labels::Coarse), read(Cifar100Labels::Fine));
        assert_eq!((coarse.labels(), fine.labels()), (&[19, 4][..], &[99, 0][..]));
        assert_eq!((coarse.classes().len(), fine.classes().len()), (20, 100));
        assert_eq!(coarse.pixels(), fine.pixels());
        // The published order of either is that of the alphabet.
        assert!(coarse.classes().is_sorted() && fine.classes().is_sorted());
    }

    #[test]
    fn lengths_labels_and_limits_are_checked() {
        let refused = |bytes: &[u8], limits| {
            let path = Path::new("here.bin");
            let files = vec![(path, bytes, bytes.len() as u64)];
            read(files, Cifar100Labels::Coarse.format(), limits)
                .unwrap_err()
                .to_string()
        };
        let whole = file(&[&[3, 4], &[5, 6]]);
        let limits = Limits::default();
        assert!(
            refused(&whole[1..], limits)
                .contains("here.bin: the length is 6147, it must be a multiple of 3074")
        );
        assert!(refused(&[whole.clone(), vec![0]].concat(), limits).contains("the length is 6149"));
        assert!(refused(&[], limits).contains("the length is 0"));
        for (labels, said) in [([20, 0], "a label is 20"), ([0, 100], "a label is 100")] {
            let message = refused(&file(&[&[0, 0], &labels]), limits);
            assert!(message.contains(said) && message.contains("row 1"), "{message}");
        }
        let least = 2 * (PIXELS as u64 + 4);
        assert!(refused(&whole, Limits { max_bytes: least - 1 }).contains("raise Limits::max_bytes"));
        // A file that became shorter while it was read.
        let files = vec![(Path::new("here.bin"), &whole[..4000], whole.len() as u64)];
        let read = read(
            files,
            Cifar100Labels::Coarse.format(),
            Limits { max_bytes: least },
        );
        assert!(matches!(read, Err(Error::File { .. })));
    }
}
