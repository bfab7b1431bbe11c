//! IDX, the format of MNIST and of the sets that took its place.
//!
//! ```text
//! 00 00 08 03   count   height   width   pixels…      big-endian numbers of 32 bits, one byte a pixel
//! 00 00 08 01   count   labels…
//! ```
//!
//! Either file may be compressed with gzip.
//!
//! Sources: LeCun, Cortes & Burges, "The MNIST database of handwritten digits", 1998; Xiao, Rasul & Vollgraf 2017,
//! arXiv:1708.07747 (Fashion-MNIST).

use std::path::{Path, PathBuf};

use crate::declared::Declared;
use crate::{Error, Images, Limits, Result};

const IMAGES: u32 = 0x0000_0803;
const LABELS: u32 = 0x0000_0801;

/// The names of Fashion-MNIST's labels.
const FASHION: [&str; 10] = [
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
];

/// Which part of a published data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// What models are trained on.
    Train,
    /// What they are judged by.
    Test,
}

impl Images {
    /// MNIST's handwritten digits, (1, 28, 28), from a folder that holds its two files for the split, under any of their
    /// usual names (`train-images-idx3-ubyte`, `train-images.idx3-ubyte`), with or without `.gz`.
    ///
    /// # Errors
    ///
    /// When a file is absent, is not what its name says, or declares more than `limits` allows.
    pub fn mnist(folder: impl AsRef<Path>, split: Split, limits: Limits) -> Result<Self> {
        let [images, labels] = files(folder.as_ref(), split)?;
        Self::idx(images, labels, &crate::digits::names(), limits)
    }

    /// Fashion-MNIST's clothes, in files that are named like MNIST's.
    ///
    /// # Errors
    ///
    /// Those of [`Images::mnist`].
    pub fn fashion_mnist(folder: impl AsRef<Path>, split: Split, limits: Limits) -> Result<Self> {
        let [images, labels] = files(folder.as_ref(), split)?;
        Self::idx(images, labels, &FASHION, limits)
    }

    /// Images of one channel and their labels from two IDX files of bytes, raw or gzip; `classes` names the labels.
    ///
    /// # Errors
    ///
    /// When a file cannot be read, is not IDX of bytes in three dimensions (images) or one (labels), is shorter or longer
    /// than it declares, declares more than `limits` allows; when the two do not have the same number of rows, or a label
    /// has no class.
    pub fn idx(
        images: impl AsRef<Path>,
        labels: impl AsRef<Path>,
        classes: &[&str],
        limits: Limits,
    ) -> Result<Self> {
        read(
            Declared::open(images.as_ref())?,
            Declared::open(labels.as_ref())?,
            classes,
            limits,
        )
    }
}

/// Both headers, what they declare together, and then both bodies.
pub(crate) fn read(
    mut images: Declared<'_>,
    mut labels: Declared<'_>,
    classes: &[&str],
    limits: Limits,
) -> Result<Images> {
    magic(&mut images, IMAGES, "three dimensions of bytes")?;
    let [count, height, width] = [images.number()?, images.number()?, images.number()?];
    for (what, value) in [
        ("the number of images", count),
        ("the height", height),
        ("the width", width),
    ] {
        if value == 0 {
            return Err(malformed(
                &images,
                what,
                value.to_string(),
                "at least 1".to_owned(),
            ));
        }
    }
    let pixels = u128::from(count) * u128::from(height) * u128::from(width);
    magic(&mut labels, LABELS, "one dimension of bytes")?;
    let labelled = labels.number()?;
    if labelled != count {
        let allowed = format!("{count}, one for each image of {}", images.path().display());
        return Err(malformed(
            &labels,
            "the number of labels",
            labelled.to_string(),
            allowed,
        ));
    }
    limits.check(images.path(), pixels + 4 * u128::from(count))?;
    let pixels = images.body("the pixels", limits.check(images.path(), pixels)?)?;
    let bytes = labels.body("the labels", limits.check(labels.path(), u128::from(count))?)?;
    for (row, label) in bytes.iter().enumerate() {
        if usize::from(*label) >= classes.len() {
            let allowed = format!("below {}, the number of classes (row {row})", classes.len());
            return Err(malformed(&labels, "a label", label.to_string(), allowed));
        }
    }
    images.end()?;
    labels.end()?;
    Images::new(pixels, [1, height as usize, width as usize])?
        .with_labels(bytes.into_iter().map(u32::from).collect(), classes)
}

fn magic(file: &mut Declared<'_>, expected: u32, meaning: &str) -> Result<()> {
    let found = file.number()?;
    if found == expected {
        return Ok(());
    }
    let allowed = format!("{expected:#010x}: {meaning}");
    Err(malformed(
        file,
        "the magic number",
        format!("{found:#010x}"),
        allowed,
    ))
}

fn malformed(file: &Declared<'_>, what: &'static str, value: String, allowed: String) -> Error {
    Error::Malformed {
        path: file.path().to_owned(),
        what,
        value,
        allowed,
        way_out: "fetch the file again, or check that images and labels are not mixed up",
    }
}

/// The files of a split in a folder.
fn files(folder: &Path, split: Split) -> Result<[PathBuf; 2]> {
    let prefix = match split {
        Split::Train => "train",
        Split::Test => "t10k",
    };
    let file = |content: &str| {
        let names = ["-", "."].map(|separator| format!("{prefix}-{content}{separator}"));
        let dimensions = if content == "images" { 3 } else { 1 };
        let names = names.map(|name| format!("{name}idx{dimensions}-ubyte"));
        let all = names.iter().flat_map(|name| [name.clone(), format!("{name}.gz")]);
        let all: Vec<String> = all.collect();
        let found = all
            .iter()
            .map(|name| folder.join(name))
            .find(|path| path.is_file());
        found.ok_or_else(|| Error::Missing {
            folder: folder.to_owned(),
            names: all.join(", "),
        })
    };
    Ok([file("images")?, file("labels")?])
}

#[cfg(test)]
#[path = "idx_tests.rs"]
mod tests;
