//! The options of the demonstrations, which are small enough to have the same ones.

use std::path::PathBuf;

use crate::output::OutputFolder;

/// `--seed`, `--out` and `--quick`.
#[derive(Clone, Debug, clap::Args)]
pub struct Demo {
    /// Seed of everything random: the same seed gives the same files.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Folder for the pictures; by default one of the example's name under target.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Fewer points: seconds, to see that it works.
    #[arg(long)]
    pub quick: bool,
}

impl Demo {
    /// The folder that was asked for, or that of the example `name`.
    ///
    /// # Errors
    ///
    /// When it cannot be made or written to.
    pub fn folder(&self, name: &str) -> Result<OutputFolder, String> {
        let usual = || PathBuf::from("target").join(name);
        OutputFolder::create(&self.out.clone().unwrap_or_else(usual))
    }

    /// How many: `all`, or `few` under `--quick`.
    #[must_use]
    pub fn count(&self, all: usize, few: usize) -> usize {
        if self.quick { few } else { all }
    }
}
