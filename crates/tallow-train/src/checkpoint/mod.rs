//! Checkpoints: all that a run needs to go on as if it had never stopped, in one file that tells of every damage.
//!
//! [`Checkpoint`] is the content, [`Checkpoints`] a folder of them that keeps the newest. The format and the guarantees are
//! told in `docs/checkpoints.md`.

mod decode;
mod encode;
#[cfg(test)]
mod faulty;
mod folder;
mod format;
mod header;
mod part;
#[cfg(test)]
mod power_loss;
mod storage;
mod unreadable;

use std::collections::BTreeMap;
use std::path::Path;

pub use folder::{Checkpoints, Latest, Saved, Skipped};
#[cfg(feature = "fuzzing")]
pub(crate) use format::reseal;
pub use part::Part;
pub use unreadable::Unreadable;

use crate::{Configuration, Error, Result};

/// The state of a run after a number of steps: named parts, and the configuration that the run was started with.
///
/// ```
/// use std::collections::BTreeMap;
///
/// use candle_core::{Device, Tensor};
/// use tallow_train::{Checkpoint, Part};
///
/// let weights = BTreeMap::from([("w".to_owned(), Tensor::new(&[1f32, 2.0], &Device::Cpu)?)]);
/// let mut saved = Checkpoint::new(100);
/// saved.insert("weights", Part::of_tensors(weights))?;
/// saved.insert("noise", Part::of_count("position", 1 << 70))?;
///
/// let read = Checkpoint::from_bytes(&saved.to_bytes()?)?;
/// assert_eq!(read.step(), 100);
/// assert_eq!(read.part("weights")?.tensors["w"].to_vec1::<f32>()?, [1.0, 2.0]);
/// assert_eq!(read.part("noise")?.counts["position"], 1 << 70);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Checkpoint {
    step: u64,
    configuration: Configuration,
    parts: BTreeMap<String, Part>,
}

impl Checkpoint {
    /// Nothing yet, after `step` steps.
    #[must_use]
    pub fn new(step: u64) -> Self {
        Self {
            step,
            configuration: Configuration::default(),
            parts: BTreeMap::new(),
        }
    }

    /// The same of a run with a configuration.
    #[must_use]
    pub fn with_configuration(mut self, configuration: Configuration) -> Self {
        self.configuration = configuration;
        self
    }

    /// Adds a part, or replaces the one of that name.
    ///
    /// # Errors
    ///
    /// When a name is empty or longer than 512 bytes, or the part's contains a slash.
    pub fn insert(&mut self, name: &str, part: Part) -> Result<()> {
        if name.contains('/') {
            return Err(Error::PartName {
                name: name.to_owned(),
            });
        }
        let inner = part.tensors.keys().chain(part.counts.keys());
        for name in std::iter::once(name).chain(inner.map(String::as_str)) {
            if name.is_empty() || name.len() > format::MAX_NAME {
                return Err(Error::PartName {
                    name: name.to_owned(),
                });
            }
        }
        self.parts.insert(name.to_owned(), part);
        Ok(())
    }

    /// How many steps were made.
    #[must_use]
    pub fn step(&self) -> u64 {
        self.step
    }

    /// What the run was started with.
    #[must_use]
    pub fn configuration(&self) -> &Configuration {
        &self.configuration
    }

    /// The names of the parts that hold anything.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.parts.keys().map(String::as_str)
    }

    /// A part.
    ///
    /// # Errors
    ///
    /// When there is none of that name.
    pub fn part(&self, name: &str) -> Result<&Part> {
        self.parts.get(name).ok_or_else(|| Error::NoPart {
            name: name.to_owned(),
            known: self.parts.keys().cloned().collect::<Vec<_>>().join(", "),
        })
    }

    /// The file as bytes; the same content gives the same bytes.
    ///
    /// # Errors
    ///
    /// When a tensor holds a number that is not finite, or has a type that the format does not know.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        encode::encode(self, &mut bytes)?;
        Ok(bytes)
    }

    /// Reads what [`to_bytes`](Self::to_bytes) gave.
    ///
    /// # Errors
    ///
    /// When a single bit is not as it was written, or the bytes are no checkpoint.
    pub fn from_bytes(bytes: &[u8]) -> std::result::Result<Self, Unreadable> {
        decode::decode(&mut &*bytes, bytes.len() as u64)
    }

    /// Reads one file, whole and verified; to sample with, say. A folder is read through [`Checkpoints`].
    ///
    /// # Errors
    ///
    /// When the file cannot be read, is damaged or no checkpoint.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        folder::read(&storage::Disk, path.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device, Tensor};

    use super::*;

    /// Every type and shape that the format knows, in about a thousand bytes.
    pub(super) fn small() -> Checkpoint {
        let values = Tensor::arange(0f64, 6.0, &Device::Cpu).unwrap();
        let types = [
            DType::F64,
            DType::F32,
            DType::F16,
            DType::BF16,
            DType::U8,
            DType::U32,
            DType::I64,
        ];
        let mut tensors: BTreeMap<String, Tensor> = types
            .iter()
            .map(|dtype| (format!("of \"{dtype:?}\""), values.to_dtype(*dtype).unwrap()))
            .collect();
        tensors.insert("scalar".into(), Tensor::new(0.1f64, &Device::Cpu).unwrap());
        tensors.insert(
            "empty".into(),
            Tensor::zeros((0, 3), DType::F32, &Device::Cpu).unwrap(),
        );
        tensors.insert("turned".into(), values.reshape((2, 3)).unwrap().t().unwrap());
        let mut checkpoint = Checkpoint::new(7)
            .with_configuration(Configuration::parse(r#"{"width": 16, "rate": 0.1}"#).unwrap());
        checkpoint
            .insert("weights", Part::of_tensors(tensors).with_count("a/b", u128::MAX))
            .unwrap();
        checkpoint
            .insert("noise", Part::of_count("position", 12))
            .unwrap();
        checkpoint
    }

    fn bits(tensor: &Tensor) -> (DType, Vec<usize>, Vec<u64>) {
        let values = tensor.flatten_all().unwrap().to_dtype(DType::F64).unwrap();
        let bits = values.to_vec1::<f64>().unwrap().into_iter().map(f64::to_bits);
        (tensor.dtype(), tensor.dims().to_vec(), bits.collect())
    }

    #[test]
    fn what_is_read_is_what_was_written() {
        let (saved, bytes) = (small(), small().to_bytes().unwrap());
        let read = Checkpoint::from_bytes(&bytes).unwrap();
        assert_eq!(read.step(), 7);
        assert_eq!(read.configuration(), saved.configuration());
        for name in ["weights", "noise"] {
            let (a, b) = (saved.part(name).unwrap(), read.part(name).unwrap());
            assert_eq!(a.counts, b.counts);
            assert_eq!(
                a.tensors.keys().collect::<Vec<_>>(),
                b.tensors.keys().collect::<Vec<_>>()
            );
            assert!(
                a.tensors
                    .values()
                    .zip(b.tensors.values())
                    .all(|(a, b)| bits(a) == bits(b))
            );
        }
        assert_eq!(read.to_bytes().unwrap(), bytes);
    }

    #[test]
    fn every_truncation_is_detected() {
        let bytes = small().to_bytes().unwrap();
        for length in 0..bytes.len() {
            assert!(
                Checkpoint::from_bytes(&bytes[..length]).is_err(),
                "{length} bytes"
            );
        }
        let longer = [bytes.as_slice(), &[0]].concat();
        assert!(Checkpoint::from_bytes(&longer).is_err());
    }

    #[test]
    fn every_flip_of_one_bit_is_detected() {
        let mut bytes = small().to_bytes().unwrap();
        assert!(bytes.len() < 4096, "{}", bytes.len());
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(Checkpoint::from_bytes(&bytes).is_err(), "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        assert!(Checkpoint::from_bytes(&bytes).is_ok());
    }

    #[test]
    fn damage_in_a_tensor_is_told_by_its_name() {
        let mut bytes = small().to_bytes().unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        let error = Checkpoint::from_bytes(&bytes).unwrap_err();
        assert!(
            matches!(&error, Unreadable::TensorChecksum { name } if name == "weights/of \"U8\""),
            "{error}"
        );
    }

    #[test]
    fn other_tools_read_the_file() {
        let bytes = small().to_bytes().unwrap();
        let path = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(path.path(), bytes).unwrap();
        let (tensors, _) = tallow_nn::read_tensors(path.path()).unwrap();
        assert_eq!(tensors.len(), 10);
        assert_eq!(
            bits(&tensors["weights/turned"]),
            bits(&small().parts["weights"].tensors["turned"])
        );
    }

    #[test]
    fn numbers_that_are_not_finite_and_names_of_nothing_are_refused() {
        let nan = Tensor::new(&[1f32, f32::NAN], &Device::Cpu).unwrap();
        let mut checkpoint = Checkpoint::new(1);
        let part = Part::of_tensors(BTreeMap::from([("w".to_owned(), nan)]));
        assert!(matches!(
            checkpoint.insert("a/b", part.clone()),
            Err(Error::PartName { .. })
        ));
        assert!(matches!(
            checkpoint.insert("", part.clone()),
            Err(Error::PartName { .. })
        ));
        checkpoint.insert("weights", part).unwrap();
        let error = checkpoint.to_bytes().unwrap_err();
        assert!(
            matches!(&error, Error::NotFiniteTensor { name } if name == "weights/w"),
            "{error}"
        );
    }
}
