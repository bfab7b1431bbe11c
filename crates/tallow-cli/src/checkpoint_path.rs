//! Which file is meant: a checkpoint, the newest of a run, or a folder of diffusers. Reading takes no lock.

use std::path::{Path, PathBuf};

use tallow::train::Checkpoint;

use crate::error::{Error, Result};
use crate::recipe::Recipe;

/// What a path leads to.
#[derive(Debug)]
pub(crate) enum Place {
    Checkpoint(PathBuf),
    Diffusers(PathBuf),
}

/// The folder of a run's checkpoints.
pub(crate) const FOLDER: &str = "checkpoints";

impl Place {
    pub(crate) fn find(path: &Path) -> Result<Self> {
        if path.is_file() {
            return Ok(Self::Checkpoint(path.to_owned()));
        }
        if !path.is_dir() {
            return Err(Error::input(format!(
                "there is no {}: name a checkpoint, the output folder of a run, or a folder of diffusers",
                path.display()
            )));
        }
        let folders = [path.to_owned(), path.join(FOLDER)];
        let newest = folders.iter().find_map(|folder| steps(folder).pop());
        if let Some((_, file)) = newest {
            return Ok(Self::Checkpoint(file));
        }
        let marks = [
            "model_index.json",
            "config.json",
            "scheduler_config.json",
            "unet/config.json",
            "transformer/config.json",
        ];
        if marks.iter().any(|mark| path.join(mark).is_file()) {
            return Ok(Self::Diffusers(path.to_owned()));
        }
        Err(Error::input(format!(
            "{} holds neither checkpoints (step-*.safetensors, in it or in its folder {FOLDER}) nor a model of diffusers (model_index.json or config.json)",
            path.display()
        )))
    }
}

/// The checkpoints of a folder by step, the newest last.
pub(crate) fn steps(folder: &Path) -> Vec<(u64, PathBuf)> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut steps: Vec<(u64, PathBuf)> = entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let name = path.file_name()?.to_str()?;
            let step = name.strip_prefix("step-")?.strip_suffix(".safetensors")?;
            let digits = step.bytes().all(|byte| byte.is_ascii_digit());
            let step = step.parse().ok().filter(|_| digits && path.is_file())?;
            Some((step, path))
        })
        .collect();
    steps.sort();
    steps
}

/// Reads a checkpoint, whole; where it is damaged, tells which others there are.
pub(crate) fn read(path: &Path) -> Result<Checkpoint> {
    Checkpoint::read(path).map_err(|error| {
        let error = match error {
            tallow::train::Error::Unreadable { path, reason } if reason.is_damage() => format!(
                "{} is damaged or cut, or no checkpoint ({reason}): take another one, or restore it from a backup",
                path.display()
            ),
            other => other.to_string(),
        };
        let others: Vec<String> = steps(path.parent().unwrap_or(Path::new("")))
            .into_iter()
            .filter(|(_, other)| other != path)
            .map(|(_, other)| other.display().to_string())
            .collect();
        match others.as_slice() {
            [] => Error::input(error),
            others => Error::input(format!(
                "{error}\nother checkpoints of the run: {}",
                others.join(", ")
            )),
        }
    })
}

/// A checkpoint of `tallow train` and its recipe.
pub(crate) fn read_run(path: &Path) -> Result<(Checkpoint, Recipe)> {
    let checkpoint = read(path)?;
    let recipe = Recipe::of(&checkpoint, path)?;
    Ok((checkpoint, recipe))
}
