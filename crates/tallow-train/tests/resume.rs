//! A run that was stopped and resumed is the run that was not, bit for bit.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod choices;

use choices::{AVERAGES, COUPLINGS, Choices, DATA, OBJECTIVES, OPTIMIZERS, with_files};
use tallow_train::{Checkpoint, Checkpoints};

/// The bytes of the checkpoint after `steps` steps, gone on with after each of `stops` in a run put together anew.
fn run(choices: Choices, stops: &[u64], steps: u64) -> Vec<u8> {
    let mut bytes: Option<Vec<u8>> = None;
    for stop in stops.iter().copied().chain([steps]) {
        bytes = Some(choices.with_run(steps, |mut trainer| {
            if let Some(bytes) = &bytes {
                let saved = Checkpoint::from_bytes(bytes).unwrap();
                assert!(trainer.restore(&saved).unwrap().warnings.is_empty());
            }
            trainer.run(stop).unwrap();
            trainer.checkpoint().unwrap().to_bytes().unwrap()
        }));
    }
    bytes.unwrap()
}

fn all() -> Vec<Choices> {
    let mut all = Vec::new();
    for objective in 0..OBJECTIVES.len() {
        for coupling in 0..COUPLINGS.len() {
            for average in 0..AVERAGES.len() {
                for optimizer in 0..OPTIMIZERS.len() {
                    all.push(Choices {
                        objective,
                        coupling,
                        average,
                        optimizer,
                        data: (objective + coupling + average + optimizer) % DATA.len(),
                    });
                }
            }
        }
    }
    all
}

#[test]
fn every_objective_coupling_average_and_optimiser_goes_on_bit_for_bit() {
    for choices in all() {
        let whole = run(choices, &[], 24);
        assert!(whole == run(choices, &[11], 24), "{}", choices.names());
    }
}

#[test]
fn two_hundred_steps_are_a_hundred_and_a_hundred_with_all_files() {
    let longest = [
        OBJECTIVES.len(),
        COUPLINGS.len(),
        AVERAGES.len(),
        OPTIMIZERS.len(),
    ];
    for index in 0..longest.into_iter().max().unwrap() {
        let choices = Choices {
            objective: index % OBJECTIVES.len(),
            coupling: index % COUPLINGS.len(),
            average: index % AVERAGES.len(),
            optimizer: index % OPTIMIZERS.len(),
            data: index % DATA.len(),
        };
        let files = |stops: &[u64]| {
            let folder = tempfile::tempdir().unwrap();
            for stop in stops {
                choices.with_run(200, |trainer| {
                    let checkpoints = Checkpoints::open(folder.path().join("checkpoints")).unwrap();
                    let mut trainer = with_files(trainer, folder.path())
                        .with_checkpoints(checkpoints, 100)
                        .unwrap();
                    let resumed = trainer.resume().unwrap();
                    assert!(resumed.is_none_or(|resumed| resumed.warnings.is_empty()));
                    trainer.run(*stop).unwrap();
                });
                // What a kill would leave: rows of steps that no checkpoint has.
                let path = folder.path().join("loss.csv");
                let mut text = std::fs::read_to_string(&path).unwrap();
                if *stop < 200 {
                    text.push_str("101,0.5,0.5,0.001,\n102,0.");
                    std::fs::write(&path, text).unwrap();
                }
            }
            let newest = folder.path().join("checkpoints/step-000000000200.safetensors");
            (
                std::fs::read(newest).unwrap(),
                std::fs::read_to_string(folder.path().join("loss.csv")).unwrap(),
            )
        };
        let (whole, parts) = (files(&[200]), files(&[100, 200]));
        assert_eq!(whole.1, parts.1, "{}", choices.names());
        assert_eq!(whole.1.lines().count(), 201);
        assert!(whole.0 == parts.0, "{}", choices.names());
    }
}

#[test]
fn a_validation_changes_nothing() {
    let choices = Choices {
        objective: 0,
        coupling: 0,
        average: 1,
        optimizer: 0,
        data: 0,
    };
    let folder = tempfile::tempdir().unwrap();
    let run = |validated: bool| {
        choices.with_run(60, |mut trainer| {
            if validated {
                trainer = with_files(trainer, folder.path());
            }
            trainer.run(60).unwrap();
            let checkpoint = trainer.checkpoint().unwrap();
            ["weights", "noise", "data"].map(|part| checkpoint.part(part).unwrap().clone())
        })
    };
    for (without, with) in run(false).iter().zip(&run(true)) {
        assert_eq!(without.counts, with.counts);
        for (name, tensor) in &without.tensors {
            assert!(choices::same(tensor, &with.tensors[name]), "{name}");
        }
    }
    let text = std::fs::read_to_string(folder.path().join("loss.csv")).unwrap();
    let validations: Vec<_> = text.lines().filter(|line| !line.ends_with(',')).collect();
    assert_eq!(validations.len(), 3, "{text}");
}
