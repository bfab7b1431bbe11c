//! Files that are whole or not there: what stood in a file's place survives a write that fails.

use std::error::Error as StdError;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Writes a text to a file; its folder is made.
pub(crate) fn write(path: &Path, text: &str) -> Result<()> {
    replace(path, |place| std::fs::write(place, text))
}

/// Makes the folder that a file is to lie in.
pub(crate) fn make_folder_of(path: &Path) -> Result<()> {
    match path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        Some(folder) => std::fs::create_dir_all(folder).map_err(|error| unwritten(folder, &error)),
        None => Ok(()),
    }
}

/// Lets `write` make a file beside the place of `path`, and moves it there when it is whole. A device is written to as it is,
/// and a link leads to the file that is replaced.
pub(crate) fn replace<E: StdError + 'static>(
    path: &Path,
    write: impl FnOnce(&Path) -> std::result::Result<(), E>,
) -> Result<()> {
    make_folder_of(path)?;
    let target = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    if target.exists() && !target.is_file() {
        return write(&target).map_err(|error| unwritten(path, &error));
    }
    let beside = beside(&target);
    let written = write(&beside).map_err(|error| unwritten(path, &error));
    let moved =
        written.and_then(|()| std::fs::rename(&beside, &target).map_err(|error| unwritten(path, &error)));
    if moved.is_err() {
        // There may be none; the error that is told is the first one.
        let _ = std::fs::remove_file(&beside);
    }
    moved
}

fn beside(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}.unfinished", std::process::id()));
    path.with_file_name(name)
}

/// A file that could not be written: the input's fault where its place is wrong, the run's where the disk is.
pub(crate) fn unwritten(path: &Path, error: &(dyn StdError + 'static)) -> Error {
    let message = format!("{}: {error}", path.display());
    match io_error(error).map(io::Error::kind) {
        None
        | Some(
            ErrorKind::NotFound
            | ErrorKind::NotADirectory
            | ErrorKind::IsADirectory
            | ErrorKind::PermissionDenied
            | ErrorKind::ReadOnlyFilesystem
            | ErrorKind::AlreadyExists,
        ) => Error::Input(message),
        Some(_) => Error::Run(message),
    }
}

/// The error of the file system behind an error of a library.
fn io_error<'e>(error: &'e (dyn StdError + 'static)) -> Option<&'e io::Error> {
    let of_candle = error.downcast_ref::<candle_core::Error>().and_then(of_candle);
    let own = error.downcast_ref::<io::Error>().or(of_candle);
    own.or_else(|| error.source().and_then(io_error))
}

fn of_candle(error: &candle_core::Error) -> Option<&io::Error> {
    use candle_core::Error as Candle;
    match error {
        Candle::Io(error) => Some(error),
        Candle::WithPath { inner, .. }
        | Candle::WithBacktrace { inner, .. }
        | Candle::Context { inner, .. } => of_candle(inner),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_that_fails_leaves_what_was_there_and_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/samples.csv");
        write(&path, "old").unwrap();
        let full = |place: &Path| {
            std::fs::write(place, "half").unwrap();
            Err(io::Error::from(ErrorKind::StorageFull))
        };
        assert_eq!(replace(&path, full).unwrap_err().exit_code(), 1);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "old");
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        write(&path, "new").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "new");
    }

    #[test]
    fn a_place_that_cannot_be_is_the_inputs_fault() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        write(&file, "").unwrap();
        assert_eq!(write(&file.join("below"), "").unwrap_err().exit_code(), 2);
        assert_eq!(write(folder.path(), "").unwrap_err().exit_code(), 2);
        let candle = candle_core::Error::from(io::Error::from(ErrorKind::StorageFull)).with_path("x");
        assert_eq!(unwritten(&file, &candle).exit_code(), 1);
    }
}
