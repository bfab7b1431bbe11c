//! Completions and manual pages, made from the same description as the command line.

use clap_complete::Shell;

use crate::arguments::{Completions, Man, ShellName};
use crate::error::{Blame, Result};
use crate::files::unwritten;
use crate::{command, output};

pub(crate) fn completions(arguments: &Completions) -> Result<()> {
    let shell = match arguments.shell {
        ShellName::Bash => Shell::Bash,
        ShellName::Elvish => Shell::Elvish,
        ShellName::Fish => Shell::Fish,
        ShellName::PowerShell => Shell::PowerShell,
        ShellName::Zsh => Shell::Zsh,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command(), "tallow", &mut script);
    output::write(&String::from_utf8(script).run()?)
}

pub(crate) fn man(arguments: &Man) -> Result<()> {
    if let Some(folder) = &arguments.out {
        std::fs::create_dir_all(folder).map_err(|error| unwritten(folder, &error))?;
        return clap_mangen::generate_to(command(), folder).map_err(|error| unwritten(folder, &error));
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(command()).render(&mut page).run()?;
    output::write(&String::from_utf8(page).run()?)
}
