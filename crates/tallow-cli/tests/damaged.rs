//! Damaged checkpoints end with status 2, whichever command reads them, and are told by name.
#![allow(clippy::unwrap_used, reason = "a test ends where something is wrong")]

#[allow(dead_code, reason = "each test file uses a part")]
mod command;

use std::path::Path;

use command::{configuration, refused, well};

/// A name, the damage, and what the message must say of it.
type Damage = (&'static str, fn(Vec<u8>) -> Vec<u8>, &'static str);

const DAMAGES: &[Damage] = &[
    ("empty", |_| Vec::new(), "0 bytes are too few"),
    ("cut", |bytes| bytes[..bytes.len() / 2].to_vec(), "cut"),
    (
        "flipped in a tensor",
        |mut bytes| {
            let last = bytes.len() - 5;
            bytes[last] ^= 16;
            bytes
        },
        "the checksum of the tensor",
    ),
    (
        "flipped in the header",
        |mut bytes| {
            bytes[120] ^= 1;
            bytes
        },
        "damaged",
    ),
    (
        "a text",
        |_| b"these are no weights, but a letter to somebody".to_vec(),
        "or no checkpoint",
    ),
    (
        "longer",
        |mut bytes| {
            bytes.extend([0; 64]);
            bytes
        },
        "damaged or cut",
    ),
];

#[test]
fn every_command_names_a_damaged_file_and_ends_with_status_2() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::write(folder.join("run.toml"), configuration(4)).unwrap();
    well(folder, &["train", "run.toml"]);
    let file = folder.join("run/checkpoints/step-000000000004.safetensors");
    let whole = std::fs::read(&file).unwrap();
    for (name, damage, said) in DAMAGES {
        std::fs::write(&file, damage(whole.clone())).unwrap();
        let commands: &[&[&str]] = &[
            &["inspect", "run"],
            &["sample", "run", "-o", "a.png"],
            &["evaluate", "run"],
            &["train", "run.toml", "--resume"],
        ];
        for arguments in commands {
            let error = refused(folder, arguments);
            assert!(error.contains("step-000000000004.safetensors"), "{name}: {error}");
            let said = match arguments[0] {
                "train" => "none of the checkpoints of run/checkpoints is whole",
                _ => said,
            };
            assert!(error.contains(said), "{name}: no {said:?} in {error}");
        }
    }
    std::fs::write(&file, &whole).unwrap();
    well(folder, &["inspect", "run"]);
}

#[test]
fn other_checkpoints_of_the_run_are_named_beside_a_damaged_one() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let text = configuration(6).replace("checkpoint_every = 100", "checkpoint_every = 3");
    std::fs::write(folder.join("run.toml"), text).unwrap();
    well(folder, &["train", "run.toml"]);
    let newest = folder.join("run/checkpoints/step-000000000006.safetensors");
    std::fs::write(&newest, "gone").unwrap();
    let error = refused(folder, &["sample", "run", "-o", "a.png"]);
    assert!(
        error.contains("other checkpoints of the run: ") && error.contains("step-000000000003"),
        "{error}"
    );
    // A run goes on before the damage, and says so.
    let output = command::output(folder, &["train", "run.toml", "--resume"]);
    assert_eq!(output.status.code(), Some(0));
    let warning = String::from_utf8(output.stderr).unwrap();
    assert!(warning.contains("skipped the damaged checkpoint"), "{warning}");
}

#[test]
fn a_checkpoint_of_another_program_is_inspected_and_not_sampled() {
    let folder = tempfile::tempdir().unwrap();
    let foreign = tallow::train::Checkpoint::new(12);
    std::fs::write(
        folder.path().join("foreign.safetensors"),
        foreign.to_bytes().unwrap(),
    )
    .unwrap();
    assert!(
        well(folder.path(), &["inspect", "foreign.safetensors"]).contains("step 12, not of `tallow train`")
    );
    let error = refused(folder.path(), &["sample", "foreign.safetensors", "-o", "a.png"]);
    assert!(error.contains("not of `tallow train`"), "{error}");
}

#[test]
fn a_run_goes_on_under_its_own_configuration_only() {
    let folder = tempfile::tempdir().unwrap();
    let folder: &Path = folder.path();
    std::fs::write(folder.join("run.toml"), configuration(4)).unwrap();
    well(folder, &["train", "run.toml"]);
    std::fs::write(folder.join("run.toml"), configuration(8)).unwrap();
    let error = refused(folder, &["train", "run.toml", "--resume"]);
    assert!(error.contains("steps: 8, was 4"), "{error}");
}
