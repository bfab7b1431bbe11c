//! Writing a checkpoint: once over the tensors for their checksums, once for their bytes.

use std::fmt::Write as _;
use std::io::{self, Write};

use candle_core::{DType, Device, Tensor, WithDType};

use super::Checkpoint;
use super::format::{MAX_HEADER, TYPES, before_checksum, header_checksum};
use super::header::Place;
use crate::{Error, Result};

/// Writes a checkpoint; returns how many bytes it has.
pub(super) fn encode(checkpoint: &Checkpoint, sink: &mut dyn Write) -> Result<u64> {
    let tensors = in_order(checkpoint)?;
    let header = header(checkpoint, &tensors)?;
    let length = header.len() as u64;
    let write = |sink: &mut dyn Write| -> Result<u64> {
        sink.write_all(&length.to_le_bytes())?;
        sink.write_all(&header)?;
        let mut written = 8 + length;
        for (_, _, tensor) in &tensors {
            written += feed(tensor, &mut |bytes| sink.write_all(bytes))?.bytes;
        }
        Ok(written)
    };
    write(sink)
}

/// Name, type and tensor, the widest types first so that each stands at a multiple of its width.
fn in_order(checkpoint: &Checkpoint) -> Result<Vec<(String, &'static str, Tensor)>> {
    let mut ordered = Vec::new();
    for (part, content) in &checkpoint.parts {
        for (name, tensor) in &content.tensors {
            let name = format!("{part}/{name}");
            let Some(rank) = TYPES.iter().position(|(_, dtype)| *dtype == tensor.dtype()) else {
                return Err(Error::TensorType {
                    name,
                    dtype: tensor.dtype(),
                });
            };
            ordered.push((rank, name, tensor.to_device(&Device::Cpu)?));
        }
    }
    ordered.sort_by(|(rank, name, _), (other_rank, other_name, _)| {
        (rank, name.as_str()).cmp(&(other_rank, other_name.as_str()))
    });
    Ok(ordered
        .into_iter()
        .map(|(rank, name, tensor)| (name, TYPES.get(rank).map_or("", |(text, _)| *text), tensor))
        .collect())
}

fn header(checkpoint: &Checkpoint, tensors: &[(String, &'static str, Tensor)]) -> Result<Vec<u8>> {
    let mut text = before_checksum();
    let digits = text.len();
    text.push_str("00000000\"");
    let mut entry = |key: &str, value: &str| -> Result<()> {
        let (key, value) = (serde_json::to_string(key)?, serde_json::to_string(value)?);
        // Writing to a string cannot fail.
        let _ = write!(text, ",{key}:{value}");
        Ok(())
    };
    entry("step", &checkpoint.step.to_string())?;
    entry("configuration", &checkpoint.configuration.to_string())?;
    for (part, content) in &checkpoint.parts {
        for (name, count) in &content.counts {
            entry(&format!("count {part}/{name}"), &count.to_string())?;
        }
    }
    let mut places = Vec::with_capacity(tensors.len());
    let mut end: u64 = 0;
    for (name, dtype, tensor) in tensors {
        let mut crc = crc32fast::Hasher::new();
        let fed = feed(tensor, &mut |bytes| {
            crc.update(bytes);
            Ok(())
        })?;
        if !fed.finite {
            return Err(Error::NotFiniteTensor { name: name.clone() });
        }
        entry(&format!("crc32 {name}"), &format!("{:08x}", crc.finalize()))?;
        let begin = end;
        end += fed.bytes;
        places.push((
            name,
            Place {
                dtype: (*dtype).to_owned(),
                shape: tensor.dims().iter().map(|size| *size as u64).collect(),
                data_offsets: [begin, end],
            },
        ));
    }
    text.push('}');
    for (name, place) in places {
        let (name, place) = (serde_json::to_string(name)?, serde_json::to_string(&place)?);
        let _ = write!(text, ",{name}:{place}");
    }
    text.push('}');
    // The tensors start at a multiple of eight.
    text.push_str(&" ".repeat(text.len().next_multiple_of(8) - text.len()));
    if text.len() as u64 > MAX_HEADER {
        return Err(Error::HeaderSize {
            bytes: text.len() as u64,
            allowed: MAX_HEADER,
        });
    }
    let mut header = text.into_bytes();
    let checksum = format!("{:08x}", header_checksum(&header, digits));
    header.splice(digits..digits + 8, checksum.bytes());
    Ok(header)
}

/// What [`feed`] saw.
struct Fed {
    bytes: u64,
    finite: bool,
}

/// Hands the little-endian bytes of a tensor on, piece by piece.
fn feed(tensor: &Tensor, sink: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> Result<Fed> {
    let always = |_: u8| true;
    match tensor.dtype() {
        DType::F64 => pieces(tensor, f64::to_le_bytes, f64::is_finite, sink),
        DType::F32 => pieces(tensor, f32::to_le_bytes, f32::is_finite, sink),
        DType::F16 => pieces(tensor, half::f16::to_le_bytes, half::f16::is_finite, sink),
        DType::BF16 => pieces(tensor, half::bf16::to_le_bytes, half::bf16::is_finite, sink),
        DType::I64 => pieces(tensor, i64::to_le_bytes, |_| true, sink),
        DType::U32 => pieces(tensor, u32::to_le_bytes, |_| true, sink),
        DType::U8 => pieces(tensor, u8::to_le_bytes, always, sink),
        dtype => Err(Error::TensorType {
            name: String::new(),
            dtype,
        }),
    }
}

fn pieces<T: WithDType, const N: usize>(
    tensor: &Tensor,
    to_bytes: impl Fn(T) -> [u8; N],
    finite: impl Fn(T) -> bool,
    sink: &mut dyn FnMut(&[u8]) -> io::Result<()>,
) -> Result<Fed> {
    let values = tensor.flatten_all()?.to_vec1::<T>()?;
    let mut buffer = Vec::with_capacity(values.len().min(4096) * N);
    for piece in values.chunks(4096) {
        buffer.clear();
        for value in piece {
            buffer.extend_from_slice(&to_bytes(*value));
        }
        sink(&buffer)?;
    }
    Ok(Fed {
        bytes: (values.len() * N) as u64,
        finite: values.into_iter().all(finite),
    })
}
