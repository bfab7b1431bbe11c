use std::ffi::OsString;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::super::Part;
use super::super::faulty::{Fault, Faulty};
use super::*;

/// A checkpoint that can be told from those of other steps.
pub(super) fn of_step(step: u64) -> Checkpoint {
    let values: Vec<f32> = (0..40).map(|n| (step * 100 + n) as f32).collect();
    let tensor = candle_core::Tensor::new(values, &candle_core::Device::Cpu).unwrap();
    let mut checkpoint = Checkpoint::new(step);
    let part = Part::of_tensors([("w".to_owned(), tensor)].into());
    checkpoint.insert("weights", part.with_count("n", step)).unwrap();
    checkpoint
}

fn same(a: &Checkpoint, b: &Checkpoint) -> bool {
    a.to_bytes().unwrap() == b.to_bytes().unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Saves four checkpoints, trying each a second time; returns the steps that were acknowledged and what failed.
fn save_four(folder: &Path, storage: &Faulty) -> (Vec<u64>, Vec<Error>) {
    let (mut acknowledged, mut failures) = (Vec::new(), Vec::new());
    let open = || Checkpoints::open_in(folder.to_owned(), Box::new(storage.clone()));
    let opened = open().or_else(|error| {
        failures.push(error);
        open()
    });
    match opened.and_then(|checkpoints| checkpoints.keep(2)) {
        Err(error) => failures.push(error),
        Ok(mut checkpoints) => {
            for step in [10, 20, 30, 40, 50].into_iter().flat_map(|step| [step, step]) {
                match checkpoints.save(&of_step(step)) {
                    Ok(saved) => {
                        acknowledged.push(step);
                        failures.extend(saved.not_removed);
                    }
                    Err(error) => failures.push(error),
                }
            }
            failures.extend(checkpoints.latest().err());
        }
    }
    (acknowledged, failures)
}

#[test]
fn a_fault_at_any_call_loses_nothing_that_was_acknowledged() {
    const ENOSPC: i32 = 28;
    const EIO: i32 = 5;
    const EACCES: i32 = 13;
    let faults = [
        Fault::Error(ENOSPC),
        Fault::Error(EIO),
        Fault::Error(EACCES),
        Fault::Short,
        Fault::Garbled,
        Fault::Dead,
        Fault::DeadAfter,
    ];
    let mut tried = 0;
    for fault in faults {
        for at in 1.. {
            let parent = tempfile::tempdir().unwrap();
            let folder = parent.path().join("run");
            let calls = Arc::new(AtomicU64::new(0));
            let storage = Faulty { calls, at, fault };
            let (acknowledged, failures) = save_four(&folder, &storage);
            if storage.calls.load(Ordering::SeqCst) < at {
                assert!(failures.is_empty() && acknowledged.len() == 10);
                break;
            }
            tried += 1;
            let place = format!("{fault:?} at call {at}: {acknowledged:?}, {failures:?}");
            // An error that strikes once is told, and what is tried again works.
            if let Fault::Error(_) | Fault::Short = fault {
                assert!(!failures.is_empty(), "{place}");
                assert!(
                    failures.iter().all(|error| error.to_string().contains("run")),
                    "{place}"
                );
                assert_eq!(acknowledged.last(), Some(&50), "{place}");
                assert!(acknowledged.len() >= 9, "{place}");
            }
            let sound = Faulty {
                at: u64::MAX,
                ..storage
            };
            let mut after = Checkpoints::open_in(folder.clone(), Box::new(sound)).unwrap();
            assert!(
                names(&folder).iter().all(|name| !name.ends_with(UNFINISHED)),
                "{place}"
            );
            match (after.latest().unwrap(), acknowledged.last()) {
                (None, newest) => assert!(newest.is_none(), "{place}"),
                (Some(latest), newest) => {
                    assert!(
                        newest.is_none_or(|newest| latest.checkpoint.step() >= *newest),
                        "{place}"
                    );
                    assert!(latest.skipped.is_empty(), "{place}");
                    assert!(
                        same(&latest.checkpoint, &of_step(latest.checkpoint.step())),
                        "{place}"
                    );
                }
            }
            after.save(&of_step(60)).unwrap();
        }
    }
    // Seven faults, each at every one of more than a hundred calls.
    assert!(tried > 600, "{tried}");
}

#[test]
fn the_newest_are_kept_and_a_step_may_be_written_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut checkpoints = Checkpoints::open(folder.path()).unwrap().keep(2).unwrap();
    for step in [1, 2, 3, 3, 1_000_000_000_000_000] {
        checkpoints.save(&of_step(step)).unwrap();
    }
    assert_eq!(checkpoints.steps().unwrap(), [3, 1_000_000_000_000_000]);
    assert_eq!(names(folder.path()).len(), 3);
    let error = checkpoints.save(&of_step(2)).unwrap_err();
    assert!(matches!(
        error,
        Error::Order {
            step: 2,
            newest: 1_000_000_000_000_000,
            ..
        }
    ));
    assert!(
        Checkpoints::open(folder.path().join("other"))
            .unwrap()
            .keep(0)
            .is_err()
    );
}

#[test]
fn damage_is_told_and_stepped_over_and_never_starts_a_run_anew() {
    let folder = tempfile::tempdir().unwrap();
    let mut checkpoints = Checkpoints::open(folder.path()).unwrap();
    for step in [1, 2, 3] {
        checkpoints.save(&of_step(step)).unwrap();
    }
    let damage = |step| {
        let path = folder.path().join(name_of(step));
        let mut bytes = fs::read(&path).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 4;
        fs::write(&path, bytes).unwrap();
    };
    damage(3);
    let latest = checkpoints.latest().unwrap().unwrap();
    assert!(same(&latest.checkpoint, &of_step(2)));
    assert!(matches!(
        latest.skipped[..],
        [Skipped {
            reason: Unreadable::TensorChecksum { .. },
            ..
        }]
    ));
    assert!(latest.skipped[0].to_string().contains("step-000000000003"));

    // The run goes on from step 2 and passes by the damaged file, which is neither counted nor removed.
    let mut checkpoints = checkpoints.keep(1).unwrap();
    checkpoints.save(&of_step(2)).unwrap();
    assert_eq!(checkpoints.steps().unwrap(), [2, 3]);
    checkpoints.save(&of_step(3)).unwrap();
    assert_eq!(checkpoints.steps().unwrap(), [3]);
    assert!(checkpoints.latest().unwrap().unwrap().skipped.is_empty());

    damage(3);
    let error = checkpoints.latest().unwrap_err();
    assert!(
        matches!(&error, Error::AllDamaged { reasons, .. } if reasons.len() == 1),
        "{error}"
    );
}

#[test]
fn what_cannot_be_read_at_all_is_an_error_and_not_stepped_over() {
    let folder = tempfile::tempdir().unwrap();
    let mut checkpoints = Checkpoints::open(folder.path()).unwrap();
    checkpoints.save(&of_step(1)).unwrap();
    let newer = folder.path().join(name_of(2));
    fs::create_dir(&newer).unwrap();
    assert!(
        checkpoints
            .latest()
            .unwrap_err()
            .to_string()
            .contains("not a regular file")
    );
    fs::remove_dir(&newer).unwrap();
    fs::copy(folder.path().join(name_of(1)), &newer).unwrap();
    assert!(matches!(
        checkpoints.latest().unwrap_err(),
        Error::StepOfFile { found: 1, .. }
    ));
    #[cfg(unix)]
    {
        fs::remove_file(&newer).unwrap();
        std::os::unix::fs::symlink("/dev/zero", &newer).unwrap();
        assert!(
            checkpoints
                .latest()
                .unwrap_err()
                .to_string()
                .contains("not a regular file")
        );
        fs::remove_file(&newer).unwrap();
        std::os::unix::fs::symlink(&newer, &newer).unwrap();
        assert!(checkpoints.latest().is_err());
    }
}

#[test]
fn two_writers_in_one_folder_are_refused_until_the_first_has_ended() {
    let folder = tempfile::tempdir().unwrap();
    let first = Checkpoints::open(folder.path()).unwrap();
    assert!(matches!(
        Checkpoints::open(folder.path()),
        Err(Error::Locked { .. })
    ));
    drop(first);
    assert!(Checkpoints::open(folder.path()).is_ok());
}

#[test]
fn only_files_of_killed_writers_are_removed() {
    let folder = tempfile::tempdir().unwrap();
    let stale = "step-000000000007.safetensors.4242-0.unfinished";
    let others = [
        "notes.unfinished",
        "step-7.safetensors.1-0.unfinished",
        "step-7.safetensors",
        "loss.csv",
    ];
    for name in others.into_iter().chain([stale]) {
        fs::write(folder.path().join(name), "x").unwrap();
    }
    let checkpoints = Checkpoints::open(folder.path()).unwrap();
    assert!(checkpoints.steps().unwrap().is_empty());
    let left = names(folder.path());
    assert!(others.iter().all(|name| left.contains(&(*name).to_owned())));
    assert!(!left.contains(&stale.to_owned()));
}

#[test]
fn folders_that_cannot_be_made_are_errors_with_their_path() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    for path in [
        file.clone(),
        file.join("below"),
        folder.path().join("x".repeat(300)),
    ] {
        let error = Checkpoints::open(&path).unwrap_err();
        assert!(error.to_string().contains(&*path.to_string_lossy()), "{error}");
    }
}

#[cfg(unix)]
#[test]
fn a_checkpoint_has_the_permissions_of_any_new_file_and_any_path_will_do() {
    use std::os::unix::ffi::OsStringExt;
    use std::os::unix::fs::PermissionsExt;
    let parent = tempfile::tempdir().unwrap();
    let folder = parent
        .path()
        .join(OsString::from_vec(b"not \xff utf-8/".to_vec()));
    let mut checkpoints = Checkpoints::open(&folder).unwrap();
    let path = checkpoints.save(&of_step(1)).unwrap().path;
    fs::write(folder.join("plain"), "").unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(&path), mode(&folder.join("plain")));
    assert!(Checkpoint::read(path).is_ok());
}
