//! The command line, as clap reads it.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::device::DeviceName;

/// Diffusion and flow-matching models: train, sample, evaluate and inspect them.
///
/// A first run, with the digits that the program carries:
///
///   tallow init digits.toml
///   tallow train digits.toml
///   tallow sample runs/digits -n 100 -o digits.png
#[derive(Debug, Parser)]
#[command(name = "tallow", version, verbatim_doc_comment, after_help = STATUS, max_term_width = 100)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const STATUS: &str = "Exit status: 0 fine; 1 the run failed; 2 wrong input (arguments, a configuration, damaged or missing \
                      files); 130 interrupted, with a checkpoint saved.";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Write a commented configuration for a first run.
    Init(Init),
    /// Train a model as a configuration says, with checkpoints.
    Train(Train),
    /// Draw samples from a checkpoint, or from a folder of diffusers.
    Sample(Sample),
    /// Measure how good a model's samples or predictions are.
    Evaluate(Evaluate),
    /// Say what a checkpoint or a folder of diffusers is.
    Inspect(Inspect),
    /// List the noise schedules, or draw them.
    Schedules(Schedules),
    /// List the solvers with their measured orders and errors.
    Solvers(Solvers),
    /// Print a script that completes commands and options in a shell.
    Completions(Completions),
    /// Print the manual page, or write those of all commands to a folder.
    Man(Man),
}

#[derive(Debug, Args)]
pub(crate) struct Init {
    /// File to write.
    #[arg(value_name = "FILE", default_value = "tallow.toml")]
    pub(crate) file: PathBuf,
    /// Data: digits, mnist, fashion_mnist, cifar10, folder, or a set of points such as checkerboard, moons, swiss_roll,
    /// gaussians.
    #[arg(long, value_name = "NAME", default_value = "digits")]
    pub(crate) data: String,
    /// Network: mlp, unet or dit; by default the one that suits the data.
    #[arg(long, value_name = "NAME")]
    pub(crate) model: Option<String>,
    /// What the network is asked for: flow, noise, data, v or edm.
    #[arg(long, value_name = "NAME", default_value = "flow")]
    pub(crate) objective: String,
    /// Replace a file that is there.
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Train {
    /// Configuration; `tallow init` writes one.
    #[arg(value_name = "CONFIG.toml")]
    pub(crate) config: PathBuf,
    /// Go on after the newest checkpoint of the configuration's output; start where there is none.
    #[arg(long)]
    pub(crate) resume: bool,
    /// Print one JSON object a line instead of text.
    #[arg(long)]
    pub(crate) json: bool,
    /// Steps between the lines that are printed where standard error is no terminal, or with --json.
    #[arg(long, value_name = "STEPS", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) every: u64,
}

#[derive(Debug, Args)]
pub(crate) struct Sample {
    /// Checkpoint, a run's output folder (its newest checkpoint counts), or a folder of diffusers.
    #[arg(value_name = "CHECKPOINT")]
    pub(crate) model: PathBuf,
    /// Samples to draw.
    #[arg(short = 'n', long = "count", value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub(crate) count: u64,
    /// Solver, by its name in `tallow solvers`; by default the one that suits the model.
    #[arg(long, value_name = "NAME")]
    pub(crate) solver: Option<String>,
    /// Solver steps [default: 20]; not for solvers that follow a tolerance.
    #[arg(long, value_name = "N")]
    pub(crate) steps: Option<u64>,
    /// Guidance scale: 1 is none; larger ones follow the labels more closely.
    #[arg(
        long,
        value_name = "SCALE",
        default_value_t = 1.0,
        allow_negative_numbers = true
    )]
    pub(crate) guidance: f64,
    /// Class of all samples, by name or number; by default one after the other.
    #[arg(long, value_name = "CLASS")]
    pub(crate) class: Option<String>,
    /// Seed: sample i of a seed is the same however many are drawn.
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Samples that are drawn at once [default: by their size]; changes memory and speed, no sample.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub(crate) batch: Option<u64>,
    /// File for the samples: .png (a sheet or a plot), .gif (the way there), .npy, or .csv (points); points also .svg.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: PathBuf,
    /// Draw with the weights themselves instead of their average.
    #[arg(long)]
    pub(crate) raw_weights: bool,
    /// Where to compute.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) device: DeviceName,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Evaluate {
    /// Checkpoint, or a run's output folder.
    #[arg(value_name = "CHECKPOINT")]
    pub(crate) model: PathBuf,
    /// Data to compare with: for images, the folder of their files (not for digits, which the program carries); for points,
    /// the name of a set, by default that of the training.
    #[arg(long, value_name = "DIR or NAME")]
    pub(crate) data: Option<String>,
    /// Rows: samples and points that are compared, or images whose loss is taken [default: 2048, or all images held out].
    #[arg(short = 'n', long = "count", value_name = "N", value_parser = clap::value_parser!(u64).range(2..=1_000_000))]
    pub(crate) count: Option<u64>,
    /// Inception-v3's weights, as `scripts/convert_inception.py` of the repository writes them: compares samples of images
    /// with those held out by the Fréchet distance of its features.
    #[arg(long, value_name = "FILE")]
    pub(crate) inception: Option<PathBuf>,
    /// Guidance scale of the samples, for points and with --inception [default: 1, none].
    #[arg(long, value_name = "SCALE", allow_negative_numbers = true)]
    pub(crate) guidance: Option<f64>,
    /// Solver of the samples, for points and with --inception; by default the one that suits the model.
    #[arg(long, value_name = "NAME")]
    pub(crate) solver: Option<String>,
    /// Solver steps, for points and with --inception [default: 50].
    #[arg(long, value_name = "N")]
    pub(crate) steps: Option<u64>,
    /// Seed of samples, data, times and noise.
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Evaluate the weights themselves instead of their average.
    #[arg(long)]
    pub(crate) raw_weights: bool,
    /// Where to compute.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) device: DeviceName,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// Checkpoint, a run's output folder, or a folder of diffusers.
    #[arg(value_name = "CHECKPOINT or FOLDER")]
    pub(crate) model: PathBuf,
    /// List every parameter.
    #[arg(long)]
    pub(crate) parameters: bool,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Schedules {
    /// Schedules to show; all if none is named.
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// Draw λ = ln(α/σ) over time to a file, .png or .svg.
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "schedules.svg")]
    pub(crate) plot: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Solvers {
    /// Solvers to show; all if none is named.
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// Shell.
    #[arg(value_enum)]
    pub(crate) shell: ShellName,
}

/// A shell that completions can be written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "lower")]
pub(crate) enum ShellName {
    Bash,
    Elvish,
    Fish,
    PowerShell,
    Zsh,
}

#[derive(Debug, Args)]
pub(crate) struct Man {
    /// Write the pages of all commands to this folder.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
}
