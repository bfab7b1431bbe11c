//! What stands in the way of a command is refused before it is lost, and before time is spent.
#![allow(clippy::unwrap_used, reason = "a test ends where something is wrong")]

#[allow(dead_code, reason = "each test file uses a part")]
mod command;

use command::{configuration, output, refused, well};

#[test]
fn a_file_of_somebody_else_is_no_file_of_losses() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::write(folder.join("run.toml"), configuration(4)).unwrap();
    std::fs::create_dir(folder.join("run")).unwrap();
    std::fs::write(folder.join("run/loss.csv"), "my figures\n").unwrap();
    for arguments in [
        ["train", "run.toml"].as_slice(),
        &["train", "run.toml", "--resume"],
    ] {
        let error = refused(folder, arguments);
        assert!(
            error.contains("run.toml:4: `output`") && error.contains("loss.csv"),
            "{error}"
        );
    }
    assert_eq!(
        std::fs::read_to_string(folder.join("run/loss.csv")).unwrap(),
        "my figures\n"
    );
}

#[test]
fn what_cannot_be_written_is_refused_before_it_is_drawn() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::write(folder.join("run.toml"), configuration(4)).unwrap();
    well(folder, &["train", "run.toml"]);
    std::fs::create_dir(folder.join("taken.png")).unwrap();
    for (count, file, said) in [
        ("4", "taken.png", "this is a folder"),
        ("65", "way.gif", "room for 64"),
        ("1000000", "large.png", "their sheet would have"),
    ] {
        let error = refused(
            folder,
            &["sample", "run", "-n", count, "--steps", "1000", "-o", file],
        );
        assert!(error.contains(said), "{error}");
    }
}

#[test]
fn samples_do_not_depend_on_how_many_are_drawn_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::write(folder.join("run.toml"), configuration(4)).unwrap();
    well(folder, &["train", "run.toml"]);
    let draw = |batch: &str, file: &str| {
        let arguments = [
            "sample", "run", "-n", "5", "--steps", "3", "--batch", batch, "-o", file,
        ];
        well(folder, &arguments);
        std::fs::read(folder.join(file)).unwrap()
    };
    assert_eq!(draw("1", "one.npy"), draw("5", "five.npy"));
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_the_runs_fault_and_no_reader_of_errors_is_needed() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::write(folder.join("run.toml"), configuration(4)).unwrap();
    well(folder, &["train", "run.toml"]);
    std::os::unix::fs::symlink("/dev/full", folder.join("full.npy")).unwrap();
    let full = output(
        folder,
        &["sample", "run", "-n", "2", "--steps", "1", "-o", "full.npy"],
    );
    assert_eq!(
        full.status.code(),
        Some(1),
        "{}",
        String::from_utf8_lossy(&full.stderr)
    );
    let unread = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let status = command::tallow(folder, &["inspect", "nowhere"])
        .stderr(unread)
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(2));
}
