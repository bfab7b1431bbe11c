//! Checks tallow against numbers that other programs computed.

use std::env;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use tallow_benches::reference::{FAMILIES, run};

const HELP: &str = "\
Checks tallow against reference cases: files of inputs and the numbers that belong to them.

Usage: reference PATH...

PATH  a reference file (JSON, \"format\": \"diffusion-reference\"), or a folder, searched with all folders in it;
      MANIFEST.json, config.json and JSON of other formats are passed over

Prints a line for each failing case with its largest deviation and where it is, a line for each unsupported case, a line
per family, and last: N passed, M failed, K unsupported.

Exit status: 0 if nothing failed, 1 if a case failed, 2 if something could not be read.
";

fn main() -> ExitCode {
    // Output that nobody reads any more is the only error left: there is no one to tell.
    answer().unwrap_or(ExitCode::from(2))
}

fn answer() -> io::Result<ExitCode> {
    let mut out = io::stdout().lock();
    let paths: Vec<PathBuf> = env::args_os().skip(1).map(PathBuf::from).collect();
    if paths
        .iter()
        .any(|path| path.as_os_str() == "--help" || path.as_os_str() == "-h")
    {
        write!(out, "{HELP}\nFamilies:")?;
        for (name, _) in FAMILIES {
            write!(out, " {name}")?;
        }
        writeln!(out)?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(option) = paths
        .iter()
        .find(|path| path.as_os_str().as_encoded_bytes().starts_with(b"-"))
    {
        writeln!(
            io::stderr(),
            "there is no option {}: see --help",
            option.display()
        )?;
        return Ok(ExitCode::from(2));
    }
    if paths.is_empty() {
        writeln!(
            io::stderr(),
            "no path given: name a reference file or folder, or see --help"
        )?;
        return Ok(ExitCode::from(2));
    }
    let report = run(&paths, &mut out)?;
    out.flush()?;
    for unreadable in &report.unreadable {
        writeln!(io::stderr(), "cannot read {unreadable}")?;
    }
    Ok(ExitCode::from(report.status()))
}
