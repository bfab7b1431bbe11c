//! Named tensors in a safetensors file: deterministic bytes, written aside and renamed.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use candle_core::safetensors::Load;
use candle_core::{Device, Shape, Tensor};
use safetensors::tensor::Metadata;
use safetensors::{SafeTensorError, SafeTensors};
use serde_json::Value;

use crate::error::{Error, Result};

/// One key only: the file's map of metadata has no order, and the bytes shall not depend on one.
const METADATA: &str = "tallow";

/// Writes `tensors` and the text `metadata` to a safetensors file; the same content gives the same bytes.
///
/// # Errors
///
/// When a tensor's type has no place in the format, or the file cannot be written; an older file is then still there.
pub fn write_tensors(
    path: impl AsRef<Path>,
    tensors: &BTreeMap<String, Tensor>,
    metadata: &str,
) -> Result<()> {
    write(path.as_ref(), tensors, METADATA, metadata)
}

/// Writes `tensors` as PyTorch's libraries do, marked `format: pt`, which some of them ask for.
///
/// # Errors
///
/// Those of [`write_tensors`].
pub fn write_pytorch_tensors(path: impl AsRef<Path>, tensors: &BTreeMap<String, Tensor>) -> Result<()> {
    write(path.as_ref(), tensors, "format", "pt")
}

fn write(path: &Path, tensors: &BTreeMap<String, Tensor>, key: &str, metadata: &str) -> Result<()> {
    let metadata = HashMap::from([(key.to_string(), metadata.to_string())]);
    let contiguous: candle_core::Result<Vec<_>> = tensors
        .iter()
        .map(|(name, tensor)| Ok((name, tensor.contiguous()?)))
        .collect();
    let bytes = safetensors::serialize(contiguous?, Some(metadata)).map_err(|source| Error::Format {
        path: path.to_path_buf(),
        source,
    })?;
    let aside = aside(path);
    let write = || {
        let mut file = File::create(&aside)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(&aside, path)
    };
    write().map_err(|source| {
        // Nothing can be done about a file that cannot be removed either.
        let _ = fs::remove_file(&aside);
        Error::File {
            path: path.to_path_buf(),
            source,
        }
    })
}

/// Reads every tensor of a safetensors file to the host, and the text that [`write_tensors`] put beside them (empty if
/// there is none).
///
/// # Errors
///
/// When the file cannot be read or is not safetensors.
pub fn read_tensors(path: impl AsRef<Path>) -> Result<(BTreeMap<String, Tensor>, String)> {
    let path = path.as_ref();
    let format = |source| Error::Format {
        path: path.to_path_buf(),
        source,
    };
    let bytes = fs::read(path).map_err(|source| Error::File {
        path: path.to_path_buf(),
        source,
    })?;
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(format)?;
    let metadata = header
        .metadata()
        .as_ref()
        .and_then(|map| map.get(METADATA))
        .cloned()
        .unwrap_or_default();
    let content = SafeTensors::deserialize(&bytes).map_err(format)?;
    let mut tensors = BTreeMap::new();
    for (name, view) in content.iter() {
        tensors.insert(name.to_string(), view.load(&Device::Cpu)?);
    }
    Ok((tensors, metadata))
}

/// The shapes of a safetensors file's tensors by name; reads the header only, and no more of it than there is.
///
/// A header whose tensors would not fill the file exactly is refused, so the shapes say how large the file is.
///
/// # Errors
///
/// When the file cannot be read or its header is not that of safetensors.
pub fn read_shapes(path: impl AsRef<Path>) -> Result<BTreeMap<String, Shape>> {
    let path = path.as_ref();
    let format = |source| Error::Format {
        path: path.to_path_buf(),
        source,
    };
    let (length, header) = read_header(path)?;
    let metadata: Metadata = serde_json::from_slice(&header)
        .map_err(|source| format(SafeTensorError::InvalidHeaderDeserialization(source)))?;
    let start = header.len() as u64 + 8;
    if length.checked_sub(start) != Some(metadata.data_len() as u64) {
        return Err(format(SafeTensorError::MetadataIncompleteBuffer));
    }
    let tensors = metadata.tensors().into_iter();
    Ok(tensors
        .map(|(name, info)| (name, Shape::from(info.shape.as_slice())))
        .collect())
}

/// The text beside the tensors of a file, empty if there is none; reads the header only.
pub(crate) fn read_note(path: &Path) -> Result<String> {
    let (_, header) = read_header(path)?;
    let header: Value = serde_json::from_slice(&header).map_err(|source| Error::Format {
        path: path.to_path_buf(),
        source: SafeTensorError::InvalidHeaderDeserialization(source),
    })?;
    let note = header.get("__metadata__").and_then(|map| map.get(METADATA));
    Ok(note.and_then(Value::as_str).unwrap_or_default().to_string())
}

/// The length of a file and the header at its start.
fn read_header(path: &Path) -> Result<(u64, Vec<u8>)> {
    let read = || {
        let mut opened = File::open(path)?;
        let size = opened.metadata()?.len();
        let mut length = [0; 8];
        opened.read_exact(&mut length)?;
        // A length that is none does not make the machine run out of memory: no more is read than there is.
        let mut header = Vec::new();
        opened.take(u64::from_le_bytes(length)).read_to_end(&mut header)?;
        Ok((size, header))
    };
    read().map_err(|source| Error::File {
        path: path.to_path_buf(),
        source,
    })
}

/// The file beside `path` that is written first.
fn aside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}.tmp", std::process::id()));
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_none_is_refused_with_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("text.safetensors");
        assert!(matches!(read_tensors(&path), Err(Error::File { .. })));
        fs::write(&path, "not tensors").unwrap();
        let error = read_tensors(&path).unwrap_err();
        assert!(matches!(error, Error::Format { .. }) && error.to_string().contains("text.safetensors"));
    }

    #[test]
    fn a_folder_that_is_not_there_is_an_error_that_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let error = write_tensors(folder.path().join("none/model.safetensors"), &BTreeMap::new(), "");
        assert!(matches!(error, Err(Error::File { .. })));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn shapes_are_read_without_the_numbers_and_a_file_cut_short_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shapes.safetensors");
        let tensors = BTreeMap::from([
            (
                "a".to_string(),
                Tensor::zeros((2, 3), candle_core::DType::F32, &Device::Cpu).unwrap(),
            ),
            (
                "b".to_string(),
                Tensor::zeros(4, candle_core::DType::F16, &Device::Cpu).unwrap(),
            ),
        ]);
        write_pytorch_tensors(&path, &tensors).unwrap();
        let shapes = read_shapes(&path).unwrap();
        assert_eq!((shapes["a"].dims(), shapes["b"].dims()), (&[2, 3][..], &[4][..]));
        let (read, note) = read_tensors(&path).unwrap();
        assert_eq!((read.len(), note.as_str()), (2, ""));
        let mut bytes = fs::read(&path).unwrap();
        bytes.pop();
        fs::write(&path, &bytes).unwrap();
        assert!(matches!(read_shapes(&path), Err(Error::Format { .. })));
        bytes[..8].copy_from_slice(&u64::MAX.to_le_bytes());
        fs::write(&path, &bytes).unwrap();
        assert!(matches!(read_shapes(&path), Err(Error::Format { .. })));
    }

    #[test]
    fn views_that_are_not_contiguous_and_empty_tensors_are_written_as_they_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("views.safetensors");
        let tensor = Tensor::arange(0f64, 6.0, &Device::Cpu)
            .unwrap()
            .reshape((2, 3))
            .unwrap();
        let empty = Tensor::zeros((0, 3), candle_core::DType::F32, &Device::Cpu).unwrap();
        let tensors = BTreeMap::from([("a".to_string(), tensor.t().unwrap()), ("b".to_string(), empty)]);
        write_tensors(&path, &tensors, "note").unwrap();
        let (read, note) = read_tensors(&path).unwrap();
        assert_eq!(
            read["a"].to_vec2::<f64>().unwrap(),
            [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]]
        );
        assert_eq!((read["b"].dims(), note.as_str()), (&[0, 3][..], "note"));
    }
}
