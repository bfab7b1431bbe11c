//! `--out DIR`: found to be writable before any work is done.

use std::path::{Path, PathBuf};

/// A folder that files can be written to.
#[derive(Clone, Debug)]
pub struct OutputFolder {
    path: PathBuf,
}

impl OutputFolder {
    /// Makes the folder if need be, and tries out whether a file can be written to it.
    ///
    /// # Errors
    ///
    /// When it cannot be made or written to; names it and the reason.
    pub fn create(path: &Path) -> Result<Self, String> {
        let refuse = |error: std::io::Error| {
            format!(
                "cannot write to the output folder {}: {error}; choose another with --out DIR",
                path.display()
            )
        };
        std::fs::create_dir_all(path).map_err(refuse)?;
        let probe = path.join(".writable.tmp");
        std::fs::write(&probe, b"").map_err(refuse)?;
        std::fs::remove_file(&probe).map_err(refuse)?;
        Ok(Self {
            path: path.to_owned(),
        })
    }

    /// The path of a file in the folder; says on standard output that it is written.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        let path = self.path.join(name);
        println!("wrote {}", path.display());
        path
    }
}
