//! A file, raw or compressed with gzip, that says at its beginning how long it is.
//!
//! What it declares is held against the caller's limit and against what its bytes can hold at all (Deflate makes at most
//! 1032 bytes of one: RFC 1951, 258 bytes for two bits), and memory is taken only then. Reading stops where the declared
//! content does: a bomb behind it is found by its first byte.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

use crate::{Error, Result};

/// Bytes that Deflate can make of one.
const MOST_PER_BYTE: u64 = 1032;

pub(crate) struct Declared<'a> {
    path: PathBuf,
    reader: Box<dyn Read + 'a>,
    /// The most bytes that are still to come.
    possible: u64,
}

impl Declared<'static> {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let failed = |source| Error::file(path, source);
        let file = File::open(path).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        Self::new(path, file, length)
    }
}

impl<'a> Declared<'a> {
    /// The `length` bytes of a reader; `path` names them in errors.
    pub(crate) fn new(path: &Path, reader: impl Read + 'a, length: u64) -> Result<Self> {
        let mut reader = BufReader::with_capacity(1 << 16, reader);
        let start = reader.fill_buf().map_err(|source| Error::file(path, source))?;
        let (reader, possible): (Box<dyn Read + 'a>, _) = if start.starts_with(&[0x1f, 0x8b]) {
            let most = length.saturating_mul(MOST_PER_BYTE);
            (Box::new(MultiGzDecoder::new(reader)), most)
        } else {
            (Box::new(reader), length)
        };
        Ok(Self {
            path: path.to_owned(),
            reader,
            possible,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The next four bytes as a number, the highest first.
    pub(crate) fn number(&mut self) -> Result<u32> {
        let mut bytes = [0; 4];
        let read = self.fill(&mut bytes)?;
        if read < 4 {
            return Err(self.truncated("the header", 4, read as u64));
        }
        self.possible = self.possible.saturating_sub(4);
        Ok(u32::from_be_bytes(bytes))
    }

    /// The next `length` bytes, which the limit has passed; `what` names them.
    pub(crate) fn body(&mut self, what: &'static str, length: usize) -> Result<Vec<u8>> {
        if length as u64 > self.possible {
            return Err(self.truncated(what, length as u64, self.possible));
        }
        let mut bytes = Vec::new();
        bytes
            .try_reserve_exact(length)
            .map_err(|_| Error::file(&self.path, std::io::ErrorKind::OutOfMemory.into()))?;
        bytes.resize(length, 0);
        let read = self.fill(&mut bytes)?;
        if read < length {
            return Err(self.truncated(what, length as u64, read as u64));
        }
        self.possible -= length as u64;
        Ok(bytes)
    }

    /// Refuses bytes behind the declared ones; a gzip's checksum is checked here.
    pub(crate) fn end(mut self) -> Result<()> {
        match self.fill(&mut [0])? {
            0 => Ok(()),
            _ => Err(Error::Malformed {
                path: self.path,
                what: "the file",
                value: "longer".to_owned(),
                allowed: "as long as its header declares".to_owned(),
                way_out: "fetch it again, or check that it is the file that was meant",
            }),
        }
    }

    /// Reads until `bytes` is full or the file ends; returns how many were read.
    fn fill(&mut self, bytes: &mut [u8]) -> Result<usize> {
        let mut read = 0;
        while read < bytes.len() {
            match self.reader.read(&mut bytes[read..]) {
                Ok(0) => break,
                Ok(more) => read += more,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(source) => return Err(Error::file(&self.path, source)),
            }
        }
        Ok(read)
    }

    fn truncated(&self, what: &'static str, declared: u64, found: u64) -> Error {
        Error::Truncated {
            path: self.path.clone(),
            what,
            declared,
            found,
        }
    }
}
