//! Checkpoints on a disk whose power fails: a model of what may then be left, and the law that nothing acknowledged is lost.
//!
//! What was not made durable may be on the disk or not: every change of names since the folder was last synced, alone or
//! with others; and of a file since it was last synced, nothing, half of it, zeros, or all.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Cursor, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::storage::{Durable, Lock, Storage};
use super::{Checkpoint, Checkpoints, Part};

type Names = BTreeMap<OsString, usize>;

#[derive(Clone, Debug)]
enum Change {
    Link(OsString, usize),
    Unlink(OsString),
    Rename(OsString, OsString, usize),
}

#[derive(Clone, Debug, Default)]
struct State {
    /// What each file holds, and what of it is durable.
    files: Vec<(Vec<u8>, Vec<u8>)>,
    names: Names,
    durable_names: Names,
    /// Changes of names since they were last made durable.
    pending: Vec<Change>,
    /// How many calls are left until the power fails.
    calls_left: usize,
}

impl State {
    fn call(&mut self) -> io::Result<()> {
        let left = self.calls_left.checked_sub(1);
        self.calls_left = left.ok_or_else(|| io::Error::other("the power has failed"))?;
        Ok(())
    }

    fn change(&mut self, change: Change) {
        apply(&mut self.names, &change);
        self.pending.push(change);
    }

    fn find(&self, path: &Path) -> io::Result<usize> {
        let found = self.names.get(&name(path)).copied();
        found.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Every disk that may be found when the power is back.
    fn disks(&self) -> Vec<Self> {
        let mut disks = Vec::new();
        for chosen in 0..1_u32 << self.pending.len() {
            let mut names = self.durable_names.clone();
            for (index, change) in self.pending.iter().enumerate() {
                if chosen & (1 << index) != 0 {
                    apply(&mut names, change);
                }
            }
            for damage in 0..5 {
                let files: Vec<_> = self.files.iter().map(|file| damaged(file, damage)).collect();
                disks.push(Self {
                    files: files.into_iter().map(|file| (file.clone(), file)).collect(),
                    names: names.clone(),
                    durable_names: names.clone(),
                    pending: Vec::new(),
                    calls_left: usize::MAX,
                });
            }
        }
        disks
    }
}

fn damaged((content, durable): &(Vec<u8>, Vec<u8>), damage: usize) -> Vec<u8> {
    let half = content.len() / 2;
    match damage {
        _ if content == durable => content.clone(),
        0 => durable.clone(),
        1 => content[..half].to_vec(),
        2 => vec![0; content.len()],
        3 => [&content[..half], &vec![0; content.len() - half]].concat(),
        _ => content.clone(),
    }
}

fn apply(names: &mut Names, change: &Change) {
    match change {
        Change::Link(name, file) => {
            names.insert(name.clone(), *file);
        }
        Change::Unlink(name) => {
            names.remove(name);
        }
        Change::Rename(from, to, file) => {
            names.remove(from);
            names.insert(to.clone(), *file);
        }
    }
}

fn name(path: &Path) -> OsString {
    path.file_name().unwrap().to_owned()
}

#[derive(Clone, Debug, Default)]
struct Model(Arc<Mutex<State>>);

impl Model {
    fn of(state: State) -> Self {
        Self(Arc::new(Mutex::new(state)))
    }

    fn with<R>(&self, work: impl FnOnce(&mut State) -> io::Result<R>) -> io::Result<R> {
        let mut state = self.0.lock().unwrap();
        state.call()?;
        work(&mut state)
    }
}

impl Storage for Model {
    fn take(&self, _: &Path) -> io::Result<Lock> {
        self.with(|_| Ok(Box::new(()) as Lock))
    }

    fn names(&self, _: &Path) -> io::Result<Vec<OsString>> {
        self.with(|state| Ok(state.names.keys().cloned().collect()))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn Durable>> {
        let disk = self.clone();
        self.with(|state| {
            let file = state.files.len();
            state.files.push((Vec::new(), Vec::new()));
            state.change(Change::Link(name(path), file));
            Ok(Box::new(Written { disk, file }) as Box<dyn Durable>)
        })
    }

    fn open(&self, path: &Path) -> io::Result<(Box<dyn Read>, u64)> {
        self.with(|state| {
            let content = state.files[state.find(path)?].0.clone();
            let length = content.len() as u64;
            Ok((Box::new(Cursor::new(content)) as Box<dyn Read>, length))
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.with(|state| {
            let file = state.find(from)?;
            state.change(Change::Rename(name(from), name(to), file));
            Ok(())
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.with(|state| {
            state.find(path)?;
            state.change(Change::Unlink(name(path)));
            Ok(())
        })
    }

    fn sync_folder(&self, _: &Path) -> io::Result<()> {
        self.with(|state| {
            state.durable_names = state.names.clone();
            state.pending.clear();
            Ok(())
        })
    }
}

struct Written {
    disk: Model,
    file: usize,
}

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.disk.with(|state| {
            state.files[self.file].0.extend_from_slice(bytes);
            Ok(bytes.len())
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Durable for Written {
    fn sync(&mut self) -> io::Result<()> {
        self.disk.with(|state| {
            state.files[self.file].1 = state.files[self.file].0.clone();
            Ok(())
        })
    }
}

fn of_step(step: u64) -> Checkpoint {
    let mut checkpoint = Checkpoint::new(step);
    let values: Vec<f64> = (0..20).map(|n| (step * 100 + n) as f64).collect();
    let tensor = candle_core::Tensor::new(values, &candle_core::Device::Cpu).unwrap();
    let part = Part::of_tensors([("w".to_owned(), tensor)].into());
    checkpoint.insert("weights", part).unwrap();
    checkpoint
}

fn open(disk: &Model, keep: usize) -> crate::Result<Checkpoints> {
    Checkpoints::open_in(PathBuf::from("run"), Box::new(disk.clone()))?.keep(keep)
}

/// Saves until the power fails; returns the last step that was acknowledged.
fn save_until_the_power_fails(disk: &Model, keep: usize) -> Option<u64> {
    let mut checkpoints = open(disk, keep).ok()?;
    let mut acknowledged = None;
    for step in 1..=4 {
        match checkpoints.save(&of_step(step)) {
            Ok(_) => acknowledged = Some(step),
            Err(_) => break,
        }
    }
    acknowledged
}

#[test]
fn a_loss_of_power_at_any_call_loses_nothing_that_was_acknowledged() {
    let mut disks = 0;
    for keep in [1, 2] {
        for calls_left in 0.. {
            let disk = Model::of(State {
                calls_left,
                ..State::default()
            });
            let acknowledged = save_until_the_power_fails(&disk, keep);
            let state = disk.0.lock().unwrap().clone();
            for left in state.disks() {
                disks += 1;
                let mut after = open(&Model::of(left.clone()), keep).unwrap();
                let latest = after
                    .latest()
                    .unwrap_or_else(|error| panic!("{error}\n{state:?}"));
                let found = latest.as_ref().map(|latest| latest.checkpoint.step());
                assert!(
                    found >= acknowledged,
                    "found {found:?}, acknowledged {acknowledged:?}"
                );
                if let Some(latest) = latest {
                    let step = latest.checkpoint.step();
                    assert!(latest.skipped.is_empty());
                    assert_eq!(
                        latest.checkpoint.to_bytes().unwrap(),
                        of_step(step).to_bytes().unwrap()
                    );
                }
            }
            if acknowledged == Some(4) && state.calls_left > 0 {
                break;
            }
        }
    }
    assert!(disks > 500, "{disks}");
}
