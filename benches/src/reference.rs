//! Reads reference cases, computes them anew and says which agree.
//!
//! A file holds the cases of one family. A family joins by one file with a [`Check`] and one line of [`FAMILIES`]:
//! its check reads a case through [`Fields`], computes, and hands every number to a [`Comparison`], which knows the case's
//! tolerance. What is missing, malformed or unknown is an [`Obstacle`], reported in words. Either is an [`Outcome`].

mod comparison;
mod couplings;
mod ema;
mod fields;
mod file;
mod grids;
pub mod guidance;
mod learning_rates;
pub mod likelihood;
mod metrics;
pub mod mixture;
mod nets;
mod objectives;
mod optim;
pub mod orders;
pub mod path;
mod rule;
mod schedules;
pub mod solvers;

use std::io::{self, Write};
use std::path::PathBuf;

pub use comparison::{Comparison, Obstacle, Outcome};
pub use fields::Fields;
pub use file::File;

/// Computes a case and compares every number that it expects.
pub type Check = fn(&Fields<'_>, &File) -> Outcome;

/// The families that are known, and what checks a case of each.
pub const FAMILIES: &[(&str, Check)] = &[
    ("ema", |case, _| ema::check(case).into()),
    ("optim", |case, _| optim::check(case).into()),
    ("schedules", |case, file| schedules::check(case, file).into()),
    ("grids", |case, file| grids::check(case, file).into()),
    ("solvers", |case, file| {
        solvers::check(case.value(), &file.tables).into()
    }),
    ("guidance", |case, file| {
        guidance::check(case.value(), &file.tables).into()
    }),
    ("likelihood", |case, file| {
        likelihood::check(case.value(), &file.tables).into()
    }),
    ("couplings", |case, _| couplings::check(case).into()),
    ("objectives", |case, _| objectives::check(case).into()),
    ("metrics", |case, _| metrics::check(case).into()),
    ("nets", |case, file| nets::check(case, file).into()),
    ("orders", |case, file| {
        orders::check(case.value(), &file.tables).into()
    }),
];

/// How many cases came out how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Every number within its tolerance.
    pub passed: usize,
    /// A number outside of its tolerance, or a case that cannot be read.
    pub failed: usize,
    /// Cases of a family, kind or name that is not known.
    pub unsupported: usize,
}

impl Count {
    fn add(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Passed => self.passed += 1,
            Outcome::Failed { .. } => self.failed += 1,
            Outcome::Unsupported { .. } => self.unsupported += 1,
        }
    }
}

/// The result of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Per family, in the order in which they were met.
    pub families: Vec<(String, Count)>,
    /// Files or folders that could not be read, and why.
    pub unreadable: Vec<String>,
}

impl Report {
    /// The sum over all families.
    #[must_use]
    pub fn total(&self) -> Count {
        self.families
            .iter()
            .fold(Count::default(), |sum, (_, count)| Count {
                passed: sum.passed + count.passed,
                failed: sum.failed + count.failed,
                unsupported: sum.unsupported + count.unsupported,
            })
    }

    /// The exit status: 0 if all that was read agrees, 1 if a case failed, 2 if something could not be read.
    #[must_use]
    pub fn status(&self) -> u8 {
        if !self.unreadable.is_empty() {
            2
        } else {
            u8::from(self.total().failed > 0)
        }
    }

    fn family(&mut self, name: &str) -> &mut Count {
        let at = self
            .families
            .iter()
            .position(|(known, _)| known == name)
            .unwrap_or_else(|| {
                self.families.push((name.to_owned(), Count::default()));
                self.families.len() - 1
            });
        &mut self.families[at].1
    }
}

/// Checks one case.
#[must_use]
pub fn check(case: &Fields<'_>, file: &File) -> Outcome {
    let Some((_, check)) = FAMILIES.iter().find(|(name, _)| *name == file.family) else {
        return Outcome::Unsupported {
            why: format!("the family {:?} is not known", file.family),
        };
    };
    check(case, file)
}

/// Checks all cases of files and folders; prints failing and unsupported cases, a line per family and the sum.
///
/// # Errors
///
/// When the output cannot be written to. What cannot be read is part of the report.
pub fn run(paths: &[PathBuf], out: &mut dyn Write) -> io::Result<Report> {
    let mut report = Report::default();
    for path in paths {
        match file::find(path) {
            Ok(found) => {
                for skipped in &found.skipped {
                    writeln!(out, "skipped      {}: not a reference file", skipped.display())?;
                }
                for file in &found.files {
                    check_file(file, &mut report, out)?;
                }
                for unreadable in found.unreadable {
                    note_unreadable(&unreadable, &mut report, out)?;
                }
            }
            Err(unreadable) => note_unreadable(&unreadable, &mut report, out)?,
        }
    }
    for (name, count) in &report.families {
        writeln!(
            out,
            "{name}: {} passed, {} failed, {} unsupported",
            count.passed, count.failed, count.unsupported
        )?;
    }
    let total = report.total();
    writeln!(
        out,
        "{} passed, {} failed, {} unsupported",
        total.passed, total.failed, total.unsupported
    )?;
    Ok(report)
}

fn check_file(file: &File, report: &mut Report, out: &mut dyn Write) -> io::Result<()> {
    // A family without a case is listed, too.
    let _ = report.family(&file.family);
    for (index, value) in file.cases.iter().enumerate() {
        let case = Fields::of_case(value, index);
        let outcome = check(&case, file);
        report.family(&file.family).add(&outcome);
        let name = format!("{} {}", file.path.display(), case.place());
        match outcome {
            Outcome::Passed => {}
            Outcome::Failed { message } => writeln!(out, "FAILED       {name}: {message}")?,
            Outcome::Unsupported { why } => writeln!(out, "unsupported  {name}: {why}")?,
        }
    }
    Ok(())
}

fn note_unreadable(
    unreadable: &file::Unreadable,
    report: &mut Report,
    out: &mut dyn Write,
) -> io::Result<()> {
    writeln!(out, "UNREADABLE   {unreadable}")?;
    report.unreadable.push(unreadable.to_string());
    Ok(())
}
