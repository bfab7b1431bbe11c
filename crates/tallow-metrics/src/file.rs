//! A whole file in memory, if it is not too large.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::{Error, Result};

/// The bytes of a file of at most `most` bytes; its length is looked at before memory is taken.
pub(crate) fn whole_file(path: &Path, most: u64) -> Result<Vec<u8>> {
    let failed = |source| Error::file(path, source);
    let mut file = File::open(path).map_err(failed)?;
    let too_large = |bytes| Error::FileSize {
        path: path.to_owned(),
        bytes,
        most,
    };
    let bytes = file.metadata().map_err(failed)?.len();
    if bytes > most {
        return Err(too_large(bytes));
    }
    let mut content = Vec::with_capacity(bytes as usize);
    // A device has no length, and a file may grow.
    let read = file
        .by_ref()
        .take(most + 1)
        .read_to_end(&mut content)
        .map_err(failed)? as u64;
    if read > most {
        return Err(too_large(read));
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_up_to_the_limit_and_a_larger_one_refused() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        let content = whole_file(&path, 1 << 20).unwrap();
        assert!(content.starts_with(b"[package]"));
        assert!(matches!(
            whole_file(&path, 10),
            Err(Error::FileSize { most: 10, .. })
        ));
        assert_eq!(whole_file(&path, content.len() as u64).unwrap(), content);
        assert!(matches!(
            whole_file(Path::new("no/such/file"), 1),
            Err(Error::File { .. })
        ));
    }

    #[cfg(unix)]
    #[test]
    fn a_device_without_end_is_refused() {
        assert!(matches!(
            whole_file(Path::new("/dev/zero"), 1000),
            Err(Error::FileSize { bytes: 1001, .. })
        ));
    }
}
