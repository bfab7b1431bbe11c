//! Finding and reading reference files.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{Fields, Obstacle};

/// A file of cases of one family.
#[derive(Clone, Debug)]
pub struct File {
    /// Where it was read; further files of a case lie beside it.
    pub path: PathBuf,
    /// What its cases are about.
    pub family: String,
    /// β of the tables that its cases name: an object of lists, or null.
    pub tables: Value,
    /// The cases.
    pub cases: Vec<Value>,
}

impl File {
    /// β of a table.
    ///
    /// # Errors
    ///
    /// When the file has no table of this name.
    pub fn table(&self, name: &str) -> Result<Vec<f64>, Obstacle> {
        Fields::of_tables(&self.tables).numbers(name)
    }
}

/// What a path holds.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Reference files, in the order of their names.
    pub(super) files: Vec<File>,
    /// JSON files of a folder that are something else.
    pub(super) skipped: Vec<PathBuf>,
    /// Files and folders that could not be read.
    pub(super) unreadable: Vec<Unreadable>,
}

/// A file or folder that could not be read, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unreadable {
    path: PathBuf,
    why: String,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.why)
    }
}

impl Unreadable {
    fn new(path: &Path, why: impl fmt::Display) -> Self {
        Self {
            path: path.to_owned(),
            why: why.to_string(),
        }
    }
}

/// How deep folders are searched.
const MAX_DEPTH: usize = 32;

/// Reads a file, or all reference files of a folder and of the folders in it.
///
/// # Errors
///
/// When the path cannot be read, is a file of another format, or a folder without any reference file.
pub(super) fn find(path: &Path) -> Result<Found, Unreadable> {
    let mut found = Found::default();
    let kind = fs::metadata(path).map_err(|error| Unreadable::new(path, error))?;
    if !kind.is_dir() {
        let file = read(path)?.ok_or_else(|| {
            Unreadable::new(
                path,
                "is not a reference file: its \"format\" should be \"diffusion-reference\"",
            )
        })?;
        found.files.push(file);
        return Ok(found);
    }
    search(path, 0, &mut found);
    if found.files.is_empty() && found.unreadable.is_empty() {
        return Err(Unreadable::new(
            path,
            "holds no reference file (*.json with \"format\": \"diffusion-reference\")",
        ));
    }
    Ok(found)
}

fn search(folder: &Path, depth: usize, found: &mut Found) {
    if depth > MAX_DEPTH {
        found
            .unreadable
            .push(Unreadable::new(folder, "is nested too deeply"));
        return;
    }
    let entries = fs::read_dir(folder).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let mut entries = match entries {
        Ok(entries) => entries,
        Err(error) => return found.unreadable.push(Unreadable::new(folder, error)),
    };
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        // Links to folders are not followed: they may lead back here.
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            search(&path, depth + 1, found);
        } else if is_candidate(&path) {
            match read(&path) {
                Ok(Some(file)) => found.files.push(file),
                Ok(None) => found.skipped.push(path),
                Err(unreadable) => found.unreadable.push(unreadable),
            }
        }
    }
}

fn is_candidate(path: &Path) -> bool {
    let listed = path
        .file_name()
        .is_some_and(|name| name == "MANIFEST.json" || name == "config.json");
    path.extension().is_some_and(|extension| extension == "json") && !listed && path.is_file()
}

/// The file, or nothing if it is JSON of another format.
fn read(path: &Path) -> Result<Option<File>, Unreadable> {
    let bytes = fs::read(path).map_err(|error| Unreadable::new(path, error))?;
    let value: Value = serde_json::from_slice(&bytes)
        .map_err(|error| Unreadable::new(path, format!("is not JSON: {error}")))?;
    if value.get("format").and_then(Value::as_str) != Some("diffusion-reference") {
        return Ok(None);
    }
    match value.get("format_version") {
        Some(version) if version.as_u64() == Some(1) => {}
        version => {
            let version = version.map_or("none".to_owned(), Value::to_string);
            return Err(Unreadable::new(
                path,
                format!("is of format version {version}: this program reads version 1"),
            ));
        }
    }
    parse(path, &value).map(Some).map_err(|obstacle| match obstacle {
        Obstacle::Wrong(why) | Obstacle::Unsupported(why) => Unreadable::new(path, why),
    })
}

fn parse(path: &Path, value: &Value) -> Result<File, Obstacle> {
    let head = Fields::of_case(value, 0);
    let cases = value.get("cases").and_then(Value::as_array);
    let cases = cases.ok_or_else(|| Obstacle::Wrong("has no list \"cases\"".to_owned()))?;
    let family = value.get("family").and_then(Value::as_str);
    let family = family.ok_or_else(|| Obstacle::Wrong("names no \"family\"".to_owned()))?;
    if let Some(tables) = head.optional("tables")? {
        for name in tables
            .value()
            .as_object()
            .into_iter()
            .flat_map(serde_json::Map::keys)
        {
            tables.numbers(name)?;
        }
    }
    let tables = value.get("tables").cloned().unwrap_or_default();
    Ok(File {
        path: path.to_owned(),
        family: family.to_owned(),
        tables,
        cases: cases.clone(),
    })
}
