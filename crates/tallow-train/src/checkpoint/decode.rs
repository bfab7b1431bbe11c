//! Reading a checkpoint: every claim is checked against the length of the file before memory is taken for it.

use std::collections::BTreeMap;
use std::io::Read;

use candle_core::{DType, Device, Tensor};

use super::format::{
    BEFORE_CHECKSUM, MAX_HEADER, MAX_NAME, MAX_RANK, OPENING, TYPES, VERSION, header_checksum,
};
use super::header::{Header, Place};
use super::{Checkpoint, Part, Unreadable};
use crate::Configuration;

type Result<T> = std::result::Result<T, Unreadable>;

/// Reads a checkpoint of `length` bytes: all of it, or nothing.
pub(super) fn decode(source: &mut dyn Read, length: u64) -> Result<Checkpoint> {
    let mut tensors = Vec::new();
    let mut checkpoint = walk(source, length, &mut |name, dtype, shape, bytes| {
        let tensor = Tensor::from_raw_buffer(bytes, dtype, shape, &Device::Cpu)?;
        if !is_finite(&tensor)? {
            return Err(Unreadable::NotFinite {
                name: name.to_owned(),
            });
        }
        tensors.push((name.to_owned(), tensor));
        Ok(())
    })?;
    for (name, tensor) in tensors {
        let (part, name) = split(&name)?;
        checkpoint
            .parts
            .entry(part.to_owned())
            .or_default()
            .tensors
            .insert(name.to_owned(), tensor);
    }
    Ok(checkpoint)
}

/// Checks every byte of a checkpoint without keeping the tensors.
pub(super) fn verify(source: &mut dyn Read, length: u64) -> Result<()> {
    walk(source, length, &mut |_, _, _, _| Ok(())).map(drop)
}

/// What is done with a tensor: its name, type, shape and bytes.
type Visit<'a> = &'a mut dyn FnMut(&str, DType, &[usize], &[u8]) -> Result<()>;

/// The checkpoint without its tensors, which are handed to `visit` once their checksum is found right.
fn walk(source: &mut dyn Read, length: u64, visit: Visit<'_>) -> Result<Checkpoint> {
    let (bytes, room) = read_header(source, length)?;
    let header: Header = serde_json::from_slice(&bytes)?;
    drop(bytes);
    let layouts = layouts(&header.tensors, room)?;
    let Metadata {
        checkpoint,
        checksums,
    } = metadata(header.metadata)?;
    if checksums.len() != layouts.len() {
        return Err(entry(
            "__metadata__",
            "has not one checksum for each tensor".to_owned(),
        ));
    }
    for Layout {
        name,
        dtype,
        shape,
        bytes,
    } in layouts
    {
        let Some(checksum) = checksums.get(name) else {
            return Err(entry(name, "has no checksum".to_owned()));
        };
        let buffer = read_exactly(source, bytes, name)?;
        if format!("{:08x}", crc32fast::hash(&buffer)) != *checksum {
            return Err(Unreadable::TensorChecksum {
                name: name.to_owned(),
            });
        }
        visit(name, dtype, &shape, &buffer)?;
    }
    Ok(checkpoint)
}

/// The header, its checksum found right, and how many bytes are left for the tensors.
fn read_header(source: &mut dyn Read, length: u64) -> Result<(Vec<u8>, u64)> {
    let Some(room) = length.checked_sub(8) else {
        return Err(Unreadable::Short { length });
    };
    let mut prefix = [0; 8];
    source.read_exact(&mut prefix)?;
    let (claimed, allowed) = (u64::from_le_bytes(prefix), room.min(MAX_HEADER));
    if claimed > allowed {
        return Err(Unreadable::HeaderLength { claimed, allowed });
    }
    let header = read_exactly(source, claimed, "the header")?;
    let Some(rest) = header.strip_prefix(OPENING.as_bytes()) else {
        return Err(Unreadable::NotACheckpoint);
    };
    let found: Vec<u8> = rest
        .iter()
        .copied()
        .take_while(|byte| *byte != b'"')
        .take(20)
        .collect();
    let found = String::from_utf8_lossy(&found).into_owned();
    if found != VERSION.to_string() {
        return Err(Unreadable::Version {
            found,
            allowed: VERSION,
        });
    }
    let digits = OPENING.len() + found.len() + BEFORE_CHECKSUM.len();
    let expected = format!("{:08x}", header_checksum(&header, digits));
    if header.get(digits..digits + 8) != Some(expected.as_bytes()) {
        return Err(Unreadable::HeaderChecksum);
    }
    Ok((header, room - claimed))
}

/// A tensor's place, found possible.
struct Layout<'a> {
    name: &'a str,
    dtype: DType,
    shape: Vec<usize>,
    bytes: u64,
}

/// The places of all tensors: one after the other without a gap, `room` bytes together.
fn layouts(tensors: &[(String, Place)], room: u64) -> Result<Vec<Layout<'_>>> {
    let mut end: u64 = 0;
    let mut layouts = Vec::with_capacity(tensors.len());
    for (name, place) in tensors {
        split(name)?;
        let Some((_, dtype)) = TYPES.iter().find(|(text, _)| *text == place.dtype) else {
            return Err(entry(name, format!("has the type {:?}", place.dtype)));
        };
        let Some((shape, bytes)) = size(&place.shape, *dtype) else {
            return Err(entry(name, format!("has the shape {:?}", place.shape)));
        };
        let begin = end;
        end = match begin.checked_add(bytes) {
            Some(end) if end <= room && place.data_offsets == [begin, end] => end,
            _ => {
                let problem = format!(
                    "of {bytes} bytes is said to be at {:?}, it would start at {begin} of {room}",
                    place.data_offsets
                );
                return Err(entry(name, problem));
            }
        };
        layouts.push(Layout {
            name,
            dtype: *dtype,
            shape,
            bytes,
        });
    }
    if end != room {
        return Err(Unreadable::Length {
            claimed: end,
            found: room,
        });
    }
    Ok(layouts)
}

/// The shape and how many bytes it takes; nothing where candle's arithmetic could not follow.
fn size(shape: &[u64], dtype: DType) -> Option<(Vec<usize>, u64)> {
    if shape.len() > MAX_RANK {
        return None;
    }
    // Strides are products, too, even of a tensor that is empty.
    let mut stride = dtype.size_in_bytes() as u64;
    for size in shape {
        stride = stride.checked_mul((*size).max(1))?;
    }
    i64::try_from(stride).ok()?;
    let bytes = if shape.contains(&0) { 0 } else { stride };
    let shape: std::result::Result<_, _> = shape.iter().map(|size| usize::try_from(*size)).collect();
    Some((shape.ok()?, bytes))
}

/// What the metadata say: a checkpoint without tensors, and the checksums of those.
struct Metadata {
    checkpoint: Checkpoint,
    checksums: BTreeMap<String, String>,
}

fn metadata(texts: BTreeMap<String, String>) -> Result<Metadata> {
    let (mut step, mut configuration) = (None, None);
    let mut checksums = BTreeMap::new();
    let mut parts = BTreeMap::<String, Part>::new();
    for (key, text) in texts {
        if let Some(name) = key.strip_prefix("crc32 ") {
            checksums.insert(name.to_owned(), text);
        } else if let Some(name) = key.strip_prefix("count ") {
            let (part, name) = split(name)?;
            let count = whole(&key, &text)?;
            parts
                .entry(part.to_owned())
                .or_default()
                .counts
                .insert(name.to_owned(), count);
        } else {
            match key.as_str() {
                "step" => step = Some(whole(&key, &text)?),
                "configuration" => {
                    let parsed = Configuration::parse(&text);
                    configuration =
                        Some(parsed.map_err(|error| Unreadable::Configuration(error.to_string()))?);
                }
                "tallow checkpoint" | "header crc32" => {}
                _ => return Err(entry(&key, "is not known".to_owned())),
            }
        }
    }
    let missing = |name| move || entry(name, "is missing".to_owned());
    let checkpoint = Checkpoint {
        step: step.ok_or_else(missing("step"))?,
        configuration: configuration.ok_or_else(missing("configuration"))?,
        parts,
    };
    Ok(Metadata {
        checkpoint,
        checksums,
    })
}

/// A whole number as it is written: its digits alone.
fn whole<T: std::str::FromStr + ToString>(name: &str, text: &str) -> Result<T> {
    match text.parse::<T>() {
        Ok(number) if number.to_string() == text => Ok(number),
        _ => Err(entry(name, format!("is {text:?}, not a whole number"))),
    }
}

/// The part and the name within it.
fn split(name: &str) -> Result<(&str, &str)> {
    match name.split_once('/') {
        Some((part, name))
            if !part.is_empty() && !name.is_empty() && part.len().max(name.len()) <= MAX_NAME =>
        {
            Ok((part, name))
        }
        _ => Err(entry(name, "is not of the form PART/NAME".to_owned())),
    }
}

fn entry(name: &str, problem: String) -> Unreadable {
    Unreadable::Entry {
        name: name.chars().take(MAX_NAME).collect(),
        problem,
    }
}

fn read_exactly(source: &mut dyn Read, bytes: u64, name: &str) -> Result<Vec<u8>> {
    let memory = || Unreadable::Memory {
        name: name.to_owned(),
        bytes,
    };
    let length = usize::try_from(bytes).map_err(|_| memory())?;
    let mut buffer = Vec::new();
    buffer.try_reserve_exact(length).map_err(|_| memory())?;
    buffer.resize(length, 0);
    source.read_exact(&mut buffer)?;
    Ok(buffer)
}

fn is_finite(tensor: &Tensor) -> Result<bool> {
    Ok(match tensor.dtype() {
        DType::F64 => tensor
            .flatten_all()?
            .to_vec1::<f64>()?
            .into_iter()
            .all(f64::is_finite),
        DType::F32 | DType::F16 | DType::BF16 => {
            let values = tensor.flatten_all()?.to_dtype(DType::F32)?.to_vec1::<f32>()?;
            values.into_iter().all(f32::is_finite)
        }
        _ => true,
    })
}

#[cfg(test)]
#[path = "hostile_tests.rs"]
mod tests;
