//! The bytes of a checkpoint: a safetensors file whose header carries checksums of all the rest and of itself.
//!
//! ```text
//! 8 bytes    n, little-endian: the length of the header
//! n bytes    {"__metadata__":{"tallow checkpoint":"1","header crc32":"89abcdef","step":…,"configuration":…,
//!             "count PART/NAME":…,"crc32 PART/NAME":…},"PART/NAME":{"dtype":…,"shape":…,"data_offsets":…},…}
//! the rest   the tensors, one after the other in the header's order, without a gap
//! ```
//!
//! The header's checksum goes over the length and the header without its own eight digits. Whatever bit flips is under one
//! of the checksums, or is one.

use candle_core::DType;

/// What the header starts with, up to the version.
pub(super) const OPENING: &str = r#"{"__metadata__":{"tallow checkpoint":""#;
/// The version that is written and read.
pub(super) const VERSION: u32 = 1;
/// What stands between the version and the checksum of the header.
pub(super) const BEFORE_CHECKSUM: &str = r#"","header crc32":""#;
/// The longest header: some hundred thousand tensors.
pub(super) const MAX_HEADER: u64 = 16 << 20;
/// The longest name.
pub(super) const MAX_NAME: usize = 512;
/// The most dimensions of a tensor.
pub(super) const MAX_RANK: usize = 8;

/// The header's bytes up to its checksum.
pub(super) fn before_checksum() -> String {
    format!("{OPENING}{VERSION}{BEFORE_CHECKSUM}")
}

/// The checksum of a header: of its length and all of its bytes but the eight digits from `digits` on.
pub(super) fn header_checksum(header: &[u8], digits: usize) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&(header.len() as u64).to_le_bytes());
    crc.update(header.get(..digits).unwrap_or_default());
    crc.update(header.get(digits + 8..).unwrap_or_default());
    crc.finalize()
}

/// The types that may be written, by their names in a safetensors file, the widest first.
pub(super) const TYPES: [(&str, DType); 7] = [
    ("F64", DType::F64),
    ("I64", DType::I64),
    ("F32", DType::F32),
    ("U32", DType::U32),
    ("BF16", DType::BF16),
    ("F16", DType::F16),
    ("U8", DType::U8),
];

/// Makes the checksum of a header right again after its bytes were changed: tests reach what lies behind it.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn reseal(bytes: &mut [u8]) {
    let Some((prefix, rest)) = bytes.split_first_chunk::<8>() else {
        return;
    };
    let length = usize::try_from(u64::from_le_bytes(*prefix)).unwrap_or(usize::MAX);
    let digits = before_checksum().len();
    if let Some(header) = rest.get(..length).filter(|header| header.len() >= digits + 8) {
        let checksum = format!("{:08x}", header_checksum(header, digits));
        if let Some(place) = bytes.get_mut(8 + digits..16 + digits) {
            place.copy_from_slice(checksum.as_bytes());
        }
    }
}
