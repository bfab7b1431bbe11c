//! The file system as the writer of checkpoints sees it: few calls, so that tests can make each of them fail.

use std::ffi::OsString;
use std::fmt::Debug;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::Path;

/// The calls that writing and reading checkpoints are made of.
pub(super) trait Storage: Debug + Send + Sync {
    /// Makes the folder where it is missing, durably, and takes it for this process until the lock is dropped.
    fn take(&self, folder: &Path) -> io::Result<Lock>;

    /// The names in a folder.
    fn names(&self, folder: &Path) -> io::Result<Vec<OsString>>;

    /// A file that was not there.
    fn create(&self, path: &Path) -> io::Result<Box<dyn Durable>>;

    /// A file to read, and its length.
    fn open(&self, path: &Path) -> io::Result<(Box<dyn Read>, u64)>;

    /// Gives a file another name in its folder, in place of what has that name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Takes a file away.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in a folder durable.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;
}

/// A file that can be made durable.
pub(super) trait Durable: Write {
    /// Returns once the content survives a loss of power.
    fn sync(&mut self) -> io::Result<()>;
}

/// What keeps other processes out while it lives.
pub(super) type Lock = Box<dyn Debug + Send + Sync>;

/// The name of the file that is locked.
pub(super) const LOCK: &str = "lock";

/// The file system of the machine.
#[derive(Clone, Copy, Debug)]
pub(super) struct Disk;

impl Storage for Disk {
    fn take(&self, folder: &Path) -> io::Result<Lock> {
        if !folder.is_dir() {
            fs::create_dir_all(folder)?;
            if let Some(parent) = folder.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                self.sync_folder(parent)?;
            }
        }
        let path = folder.join(LOCK);
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Box::new(file)),
            Err(TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn names(&self, folder: &Path) -> io::Result<Vec<OsString>> {
        fs::read_dir(folder)?
            .map(|entry| Ok(entry?.file_name()))
            .collect()
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn Durable>> {
        Ok(Box::new(File::create_new(path)?))
    }

    fn open(&self, path: &Path) -> io::Result<(Box<dyn Read>, u64)> {
        // A pipe would wait for a writer when it is opened, a device never end.
        let metadata = fs::metadata(path)?;
        if !metadata.is_file() {
            let kind = io::ErrorKind::InvalidInput;
            return Err(io::Error::new(kind, "not a regular file"));
        }
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        Ok((Box::new(file), length))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    #[cfg(unix)]
    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        File::open(folder)?.sync_all()
    }

    /// Other systems have no such call: their file systems log the renaming itself.
    #[cfg(not(unix))]
    fn sync_folder(&self, _folder: &Path) -> io::Result<()> {
        Ok(())
    }
}

impl Durable for File {
    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }
}
