#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod arguments;
mod artwork;
mod checkpoint_path;
mod data;
mod device;
mod error;
mod evaluate;
mod files;
mod init;
mod inspect;
mod interrupt;
mod model;
mod network;
mod objective;
mod output;
mod pipeline;
mod recipe;
mod sample;
mod schedules;
mod settings;
mod shell;
mod solvers;
mod template;
mod toml_file;
mod toml_value;
mod train;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use crate::arguments::{Arguments, Command};
pub use crate::error::{Error, Result};

/// Runs the command with its arguments, the program's name first, and tells how it went: 0 fine, 1 the run failed, 2 wrong
/// input, 130 interrupted.
pub fn run(arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Where nobody reads the message, there is nothing to be done about it.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match obey(&arguments.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Where nobody reads the message, there is nothing to be done about it.
            let _ = writeln!(std::io::stderr(), "{}: {error}", error.title());
            ExitCode::from(error.exit_code())
        }
    }
}

fn obey(command: &Command) -> Result<()> {
    match command {
        Command::Init(arguments) => init::run(arguments),
        Command::Train(arguments) => train::run(arguments),
        Command::Sample(arguments) => sample::run(arguments),
        Command::Evaluate(arguments) => evaluate::run(arguments),
        Command::Inspect(arguments) => inspect::run(arguments),
        Command::Schedules(arguments) => schedules::run(arguments),
        Command::Solvers(arguments) => solvers::run(arguments),
        Command::Completions(arguments) => shell::completions(arguments),
        Command::Man(arguments) => shell::man(arguments),
    }
}

/// The command as clap describes it: what completions and the man page are made of.
#[must_use]
pub fn command() -> clap::Command {
    Arguments::command()
}
