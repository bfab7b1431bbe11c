//! A folder of checkpoints that keeps the newest.
//!
//! A checkpoint is written aside, made durable, read back and verified, renamed, and its name made durable; then it is
//! acknowledged, and only then do older ones go. At any instant the newest acknowledged one is there, whole.

use std::collections::BTreeSet;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use super::storage::{Disk, LOCK, Lock, Storage};
use super::{Checkpoint, Unreadable, decode, encode};
use crate::{Error, Result};

/// A folder of checkpoints, taken by this process for as long as the value lives.
///
/// ```
/// use tallow_train::{Checkpoint, Checkpoints, Part};
///
/// let folder = tempfile::tempdir()?;
/// let mut checkpoints = Checkpoints::open(folder.path())?.keep(2)?;
/// for step in [100, 200, 300] {
///     let mut checkpoint = Checkpoint::new(step);
///     checkpoint.insert("noise", Part::of_count("position", u128::from(step) * 512))?;
///     checkpoints.save(&checkpoint)?;
/// }
/// assert_eq!(checkpoints.steps()?, [200, 300]);
/// let latest = checkpoints.latest()?.ok_or("there are two")?;
/// assert_eq!(latest.checkpoint.part("noise")?.counts["position"], 300 * 512);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Checkpoints {
    folder: PathBuf,
    keep: usize,
    storage: Box<dyn Storage>,
    /// Found damaged: neither counted nor removed.
    damaged: BTreeSet<u64>,
    written: u64,
    _lock: Lock,
}

/// The newest checkpoint that could be read.
#[derive(Debug)]
#[must_use = "newer checkpoints may have been damaged: see `skipped`"]
pub struct Latest {
    /// Its content.
    pub checkpoint: Checkpoint,
    /// Its file.
    pub path: PathBuf,
    /// Newer files whose content is damaged, the newest first: they had been written and verified, so a disk or another
    /// program is at fault. They stay where they are.
    pub skipped: Vec<Skipped>,
}

/// A checkpoint that was damaged after it had been written.
#[derive(Debug)]
pub struct Skipped {
    /// The file.
    pub path: PathBuf,
    /// The damage.
    pub reason: Unreadable,
}

impl std::fmt::Display for Skipped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "skipped the damaged checkpoint {}: {}",
            self.path.display(),
            self.reason
        )
    }
}

/// A checkpoint that is safe.
#[derive(Debug)]
pub struct Saved {
    /// Its file.
    pub path: PathBuf,
    /// How many bytes it has.
    pub bytes: u64,
    /// Older checkpoints that should have gone and could not be removed, and why.
    pub not_removed: Vec<Error>,
}

impl Checkpoints {
    /// Takes a folder, made where it is missing, and removes what a writer that was killed had left unfinished in it. The last
    /// three checkpoints are kept.
    ///
    /// # Errors
    ///
    /// When another process has the folder, or it cannot be made, locked, listed or cleaned.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self> {
        Self::open_in(folder.into(), Box::new(Disk))
    }

    pub(super) fn open_in(folder: PathBuf, storage: Box<dyn Storage>) -> Result<Self> {
        let lock = storage.take(&folder).map_err(|source| match source.kind() {
            std::io::ErrorKind::WouldBlock => Error::Locked {
                folder: folder.clone(),
            },
            _ => Error::io("taking the folder", &folder, source),
        })?;
        let checkpoints = Self {
            folder,
            keep: 3,
            storage,
            damaged: BTreeSet::new(),
            written: 0,
            _lock: lock,
        };
        checkpoints.remove_unfinished()?;
        Ok(checkpoints)
    }

    /// The same that keeps the last `count` checkpoints. With one, damage to its file is the loss of the run.
    ///
    /// # Errors
    ///
    /// When `count` is 0.
    pub fn keep(mut self, count: usize) -> Result<Self> {
        if count == 0 {
            return Err(Error::Parameter {
                owner: "Checkpoints::keep",
                name: "count",
                value: 0.0,
                allowed: "at least 1",
            });
        }
        self.keep = count;
        Ok(self)
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The steps of which there are checkpoints, in order.
    ///
    /// # Errors
    ///
    /// When the folder cannot be listed.
    pub fn steps(&self) -> Result<Vec<u64>> {
        let names = self.storage.names(&self.folder);
        let names = names.map_err(|source| Error::io("listing", &self.folder, source))?;
        let mut steps: Vec<u64> = names.iter().filter_map(|name| step_of(name.to_str()?)).collect();
        steps.sort_unstable();
        Ok(steps)
    }

    /// The newest checkpoint that is whole; nothing where the folder has none.
    ///
    /// # Errors
    ///
    /// When the folder or a file cannot be read at all (permissions, a failing disk, memory), a file has a version that this
    /// release does not know, or no checkpoint is whole: a run never starts anew by mistake.
    pub fn latest(&mut self) -> Result<Option<Latest>> {
        let mut skipped = Vec::new();
        for step in self.steps()?.into_iter().rev() {
            let path = self.path(step);
            match read(self.storage.as_ref(), &path) {
                Ok(checkpoint) if checkpoint.step() == step => {
                    return Ok(Some(Latest {
                        checkpoint,
                        path,
                        skipped,
                    }));
                }
                Ok(checkpoint) => {
                    let found = checkpoint.step();
                    return Err(Error::StepOfFile { path, found });
                }
                Err(Error::Unreadable { reason, .. }) if reason.is_damage() => {
                    self.damaged.insert(step);
                    skipped.push(Skipped {
                        path,
                        reason: *reason,
                    });
                }
                Err(error) => return Err(error),
            }
        }
        if skipped.is_empty() {
            return Ok(None);
        }
        Err(Error::AllDamaged {
            folder: self.folder.clone(),
            reasons: skipped.iter().map(ToString::to_string).collect(),
        })
    }

    /// The checkpoint of a step.
    ///
    /// # Errors
    ///
    /// When there is none, or it cannot be read or is damaged.
    pub fn load(&self, step: u64) -> Result<Checkpoint> {
        read(self.storage.as_ref(), &self.path(step))
    }

    /// Writes a checkpoint; once this returns, it survives a kill and a loss of power. Older ones beyond those to keep then
    /// go.
    ///
    /// # Errors
    ///
    /// When a newer checkpoint is there that was not found damaged, a tensor is not finite, or a call to the file system
    /// fails. The checkpoint is then not acknowledged, and all older ones are as they were.
    pub fn save(&mut self, checkpoint: &Checkpoint) -> Result<Saved> {
        let step = checkpoint.step();
        self.check_order(step)?;
        let (path, aside) = (self.path(step), self.aside(step));
        let written = self.write_and_verify(checkpoint, &aside);
        let renamed = written.and_then(|bytes| {
            let renamed = self.storage.rename(&aside, &path);
            renamed.map_err(|source| Error::io("renaming", &aside, source))?;
            Ok(bytes)
        });
        let bytes = renamed.inspect_err(|_| {
            // What cannot be removed now goes when the folder is next opened.
            let _ = self.storage.remove(&aside);
        })?;
        let synced = self.storage.sync_folder(&self.folder);
        synced.map_err(|source| Error::io("making durable the names of", &self.folder, source))?;
        self.damaged.remove(&step);
        Ok(Saved {
            path,
            bytes,
            not_removed: self.remove_old()?,
        })
    }

    /// Refuses to write behind a newer checkpoint, which would then count as the newest.
    pub(crate) fn check_order(&self, step: u64) -> Result<()> {
        let newest = self.steps()?.into_iter().rev();
        match newest.into_iter().find(|step| !self.damaged.contains(step)) {
            Some(newest) if newest > step => Err(Error::Order {
                step,
                newest,
                folder: self.folder.clone(),
            }),
            _ => Ok(()),
        }
    }

    fn write_and_verify(&mut self, checkpoint: &Checkpoint, aside: &Path) -> Result<u64> {
        let io = |action| move |source| Error::io(action, aside, source);
        let mut file = self.storage.create(aside).map_err(io("creating"))?;
        let mut buffered = BufWriter::with_capacity(1 << 16, file.as_mut());
        let bytes = encode::encode(checkpoint, &mut buffered).map_err(|error| match error {
            Error::Write(source) => Error::io("writing", aside, source),
            other => other,
        })?;
        buffered.flush().map_err(io("writing"))?;
        drop(buffered);
        file.sync().map_err(io("making durable"))?;
        drop(file);
        let (mut source, length) = self.storage.open(aside).map_err(io("opening"))?;
        let reason = if length == bytes {
            decode::verify(source.as_mut(), length).err()
        } else {
            Some(Unreadable::Length {
                claimed: bytes,
                found: length,
            })
        };
        self.written += 1;
        match reason {
            None => Ok(bytes),
            Some(reason) => Err(Error::Unreadable {
                path: aside.to_owned(),
                reason: Box::new(reason),
            }),
        }
    }

    fn remove_old(&self) -> Result<Vec<Error>> {
        let whole = self.steps()?.into_iter().rev();
        let old = whole.filter(|step| !self.damaged.contains(step)).skip(self.keep);
        let mut failures = Vec::new();
        for path in old.map(|step| self.path(step)) {
            if let Err(source) = self.storage.remove(&path) {
                failures.push(Error::io("removing", &path, source));
            }
        }
        Ok(failures)
    }

    fn remove_unfinished(&self) -> Result<()> {
        let names = self.storage.names(&self.folder);
        for name in names.map_err(|source| Error::io("listing", &self.folder, source))? {
            if name.to_str().is_some_and(is_unfinished) {
                let path = self.folder.join(name);
                let removed = self.storage.remove(&path);
                removed.map_err(|source| Error::io("removing", &path, source))?;
            }
        }
        Ok(())
    }

    fn path(&self, step: u64) -> PathBuf {
        self.folder.join(name_of(step))
    }

    /// A name that no other writer uses: the lock keeps other processes out, the number other writes of this one.
    fn aside(&self, step: u64) -> PathBuf {
        let (process, number) = (std::process::id(), self.written);
        self.folder
            .join(format!("{}.{process}-{number}{UNFINISHED}", name_of(step)))
    }
}

/// Reads one file, whole and verified.
pub(super) fn read(storage: &dyn Storage, path: &Path) -> Result<Checkpoint> {
    let unreadable = |reason| Error::Unreadable {
        path: path.to_owned(),
        reason: Box::new(reason),
    };
    let (mut source, length) = storage.open(path).map_err(|error| unreadable(error.into()))?;
    decode::decode(source.as_mut(), length).map_err(unreadable)
}

const ENDING: &str = ".safetensors";
const UNFINISHED: &str = ".unfinished";

fn name_of(step: u64) -> String {
    format!("step-{step:012}{ENDING}")
}

fn step_of(name: &str) -> Option<u64> {
    let step = name.strip_prefix("step-")?.strip_suffix(ENDING)?.parse().ok()?;
    (name_of(step) == name).then_some(step)
}

fn is_unfinished(name: &str) -> bool {
    let whole = name
        .strip_suffix(UNFINISHED)
        .and_then(|name| name.rsplit_once('.'));
    name != LOCK && whole.is_some_and(|(name, _)| step_of(name).is_some())
}

#[cfg(test)]
#[path = "folder_tests.rs"]
mod tests;
