//! The program, run in a folder of its own.

use std::path::Path;
use std::process::{Command, Output};

/// A run of a few seconds on the digits that the program carries.
pub(crate) fn configuration(steps: u64) -> String {
    format!(
        "steps = {steps}\nbatch = 64\nseed = 3\noutput = \"run\"\ncheckpoint_every = 100\nvalidate_every = 50\n\
         [data]\nname = \"digits\"\n[model]\nname = \"mlp\"\nwidth = 64\ndepth = 2\n[objective]\nname = \"flow\"\n\
         label_dropout = 0.1\n[optimizer]\nclip = 1.0\n"
    )
}

/// The program with arguments.
pub(crate) fn tallow(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tallow"));
    command.current_dir(folder).args(arguments);
    command
}

/// What it printed and how it ended.
pub(crate) fn output(folder: &Path, arguments: &[&str]) -> Output {
    tallow(folder, arguments).output().unwrap()
}

/// Standard output of a run that must end well.
pub(crate) fn well(folder: &Path, arguments: &[&str]) -> String {
    let output = output(folder, arguments);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

/// The message of a run that must end with status 2.
pub(crate) fn refused(folder: &Path, arguments: &[&str]) -> String {
    let output = output(folder, arguments);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {error}");
    assert!(!error.contains("panicked"), "{error}");
    error
}
