//! The disk with a fault at one call: for tests.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::storage::{Disk, Durable, Lock, Storage};

/// What a call to the file system does in place of its work.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Fault {
    /// It fails, once.
    Error(i32),
    /// It writes half of its bytes and fails.
    Short,
    /// It writes with one bit wrong, and says nothing.
    Garbled,
    /// It does nothing, nor does any call after it: the process is dead.
    Dead,
    /// It works, and the process is dead after it.
    DeadAfter,
}

/// The disk with a fault at one call.
#[derive(Clone, Debug)]
pub(super) struct Faulty {
    pub(super) calls: Arc<AtomicU64>,
    pub(super) at: u64,
    pub(super) fault: Fault,
}

impl Faulty {
    fn call<R>(&self, work: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        let failure = |number| Err(io::Error::from_raw_os_error(number));
        match (call.cmp(&self.at), self.fault) {
            (std::cmp::Ordering::Equal, Fault::Error(number)) => failure(number),
            (std::cmp::Ordering::Equal, Fault::Short) => failure(28),
            (std::cmp::Ordering::Equal, Fault::Dead) => failure(5),
            (std::cmp::Ordering::Equal, Fault::DeadAfter) => work(),
            (std::cmp::Ordering::Greater, Fault::Dead | Fault::DeadAfter) => failure(5),
            _ => work(),
        }
    }
}

impl Storage for Faulty {
    fn take(&self, folder: &Path) -> io::Result<Lock> {
        self.call(|| {
            fs::create_dir_all(folder)?;
            Disk.take(folder)
        })
    }

    fn names(&self, folder: &Path) -> io::Result<Vec<OsString>> {
        self.call(|| Disk.names(folder))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn Durable>> {
        let faulty = self.clone();
        self.call(|| {
            let file = Disk.create(path)?;
            Ok(Box::new(FaultyFile { file, faulty }) as Box<dyn Durable>)
        })
    }

    fn open(&self, path: &Path) -> io::Result<(Box<dyn Read>, u64)> {
        let faulty = self.clone();
        self.call(|| {
            let (file, length) = Disk.open(path)?;
            Ok((Box::new(FaultyFile { file, faulty }) as Box<dyn Read>, length))
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call(|| Disk.rename(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.call(|| Disk.remove(path))
    }

    fn sync_folder(&self, _: &Path) -> io::Result<()> {
        self.call(|| Ok(()))
    }
}

struct FaultyFile<F> {
    file: F,
    faulty: Faulty,
}

impl Write for FaultyFile<Box<dyn Durable>> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.faulty.fault == Fault::Short && self.faulty.calls.load(Ordering::SeqCst) + 1 == self.faulty.at
        {
            self.file.write_all(&bytes[..bytes.len() / 2])?;
        }
        let mut bytes = bytes.to_vec();
        if self.faulty.fault == Fault::Garbled
            && self.faulty.calls.load(Ordering::SeqCst) + 1 == self.faulty.at
        {
            bytes[0] ^= 1;
        }
        let file = &mut self.file;
        self.faulty.call(|| file.write(&bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Durable for FaultyFile<Box<dyn Durable>> {
    fn sync(&mut self) -> io::Result<()> {
        // Durability is the matter of the model of a loss of power; here the real call would only cost time.
        self.faulty.call(|| Ok(()))
    }
}

impl Read for FaultyFile<Box<dyn Read>> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let file = &mut self.file;
        self.faulty.call(|| file.read(buffer))
    }
}
