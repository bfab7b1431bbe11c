//! What can be wrong with a training run and its parts.

use std::path::{Path, PathBuf};

use candle_core::DType;

use crate::Unreadable;

/// What this crate's fallible functions return.
pub type Result<T> = std::result::Result<T, Error>;

/// A training run that cannot be, or cannot go on; names the value, what is allowed and the way out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A parameter outside of its range.
    #[error("{owner} needs {name} {allowed}, got {value}")]
    Parameter {
        /// The type or constructor that was asked.
        owner: &'static str,
        /// The parameter's name.
        name: &'static str,
        /// Its value.
        value: f64,
        /// What would be allowed, as words that follow the name.
        allowed: &'static str,
    },
    /// A call to the file system that failed.
    #[error("{action} {} failed: {source}", path.display())]
    Io {
        /// What was to be done.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why it could not be.
        source: std::io::Error,
    },
    /// Bytes that could not be written.
    #[error("writing failed: {0}")]
    Write(#[from] std::io::Error),
    /// A folder that another process writes to.
    #[error(
        "another process has the checkpoints of {}: wait until it ends, or take a folder of your own",
        folder.display()
    )]
    Locked {
        /// The folder.
        folder: PathBuf,
    },
    /// A file that is not a whole checkpoint.
    #[error("{}: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: Box<Unreadable>,
    },
    /// No checkpoint is whole.
    #[error(
        "none of the checkpoints of {} is whole: restore one from a backup, or start anew in another folder\n  {}",
        folder.display(),
        reasons.join("\n  ")
    )]
    AllDamaged {
        /// The folder.
        folder: PathBuf,
        /// What is wrong with each file.
        reasons: Vec<String>,
    },
    /// A file whose name tells another step than its content.
    #[error("{} holds step {found}: give it back its name", path.display())]
    StepOfFile {
        /// The file.
        path: PathBuf,
        /// The step of its content.
        found: u64,
    },
    /// A checkpoint that would not be the newest.
    #[error(
        "{} holds step {newest} already, which is newer than step {step}: resume from it, or take another folder",
        folder.display()
    )]
    Order {
        /// The step to be saved.
        step: u64,
        /// The newest step there.
        newest: u64,
        /// The folder.
        folder: PathBuf,
    },
    /// A name that a checkpoint cannot hold.
    #[error("{name:?} is no name in a checkpoint: names have 1 to 512 bytes, and those of parts no slash")]
    PartName {
        /// The name.
        name: String,
    },
    /// A part that a checkpoint does not have.
    #[error("the checkpoint has no part {name:?}, only {known}: make the run as the one that was saved")]
    NoPart {
        /// The part asked for.
        name: String,
        /// The parts there are.
        known: String,
    },
    /// A part that is not like the one that was saved.
    #[error("the checkpoint's part {part:?} {problem}: make the run as the one that was saved")]
    PartContent {
        /// The part.
        part: String,
        /// What is wrong with it.
        problem: String,
    },
    /// More names than a header may hold.
    #[error("the header of the checkpoint has {bytes} bytes, allowed are {allowed}: save fewer tensors")]
    HeaderSize {
        /// Its length.
        bytes: u64,
        /// The longest one allowed.
        allowed: u64,
    },
    /// A tensor that no training goes on from.
    #[error("the tensor {name:?} holds a number that is not finite: the checkpoint was not written")]
    NotFiniteTensor {
        /// Its name.
        name: String,
    },
    /// A tensor of a type that checkpoints do not hold.
    #[error(
        "the tensor {name:?} has the type {dtype:?}: checkpoints hold F64, F32, F16, BF16, I64, U32 and U8"
    )]
    TensorType {
        /// Its name.
        name: String,
        /// Its type.
        dtype: DType,
    },
    /// A configuration that is not JSON, or not that of the value asked for.
    #[error("the configuration is malformed: {problem}")]
    Configuration {
        /// What is wrong with it.
        problem: String,
    },
    /// A value that JSON has no form for.
    #[error("a value cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// A run that is to go on under another configuration than it was started with.
    #[error(
        "the checkpoint was saved under another configuration ({}): take up that one, or start anew in another folder",
        differences.join("; ")
    )]
    OtherConfiguration {
        /// What is now and was then, by path.
        differences: Vec<String>,
    },
    /// A run without a folder for checkpoints.
    #[error("the run has no checkpoints: give it a folder with `with_checkpoints`")]
    NoCheckpoints,
    /// A loss or gradient that is not finite; the run is as before the step.
    #[error(
        "in step {step} the loss is {loss} and the largest gradient that of `{parameter}`, with norm {gradient} ({skipped} \
         steps were skipped before): lower the learning rate, clip the gradients, or skip such steps"
    )]
    NotFiniteStep {
        /// The step, counted from 1.
        step: u64,
        /// Its loss.
        loss: f64,
        /// The parameter with the largest gradient.
        parameter: String,
        /// The norm of that gradient.
        gradient: f64,
        /// How many steps had been skipped before.
        skipped: u64,
    },
    /// Parameters that do not learn.
    #[error(
        "in the first ten steps only gradients of zeros reached {}: look for an operation that cuts the graph, freeze them, or \
         excuse them",
        names.join(", ")
    )]
    NoGradient {
        /// Their names.
        names: Vec<String>,
    },
    /// A step that failed after the weights had moved.
    #[error("the step after step {step} failed half-way: resume from a checkpoint")]
    Broken {
        /// The last whole step.
        step: u64,
    },
    /// A type that the network cannot compute in.
    #[error("mixed precision in {dtype:?} {problem}")]
    Precision {
        /// The type.
        dtype: DType,
        /// What is wrong with it, and the way out.
        problem: &'static str,
    },
    /// A failure of data or network.
    #[error(transparent)]
    Denoiser(#[from] tallow_denoisers::Error),
    /// A failure of the objective or coupling.
    #[error(transparent)]
    Objective(#[from] tallow_objectives::Error),
    /// A failure of optimiser, average or parameters.
    #[error(transparent)]
    Nn(#[from] tallow_nn::Error),
    /// A failure of the tensor library.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

impl Error {
    pub(crate) fn io(action: &'static str, path: &Path, source: std::io::Error) -> Self {
        Self::Io {
            action,
            path: path.to_owned(),
            source,
        }
    }
}
