//! What can be wrong with clouds of points, and with the files that their features come from.

use std::path::{Path, PathBuf};

use crate::points::LARGEST;

/// What this crate's fallible functions return.
pub type Result<T> = std::result::Result<T, Error>;

/// Points that cannot be compared; names the value, what is allowed and the way out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No points at all.
    #[error("a distance needs at least one point on each side, got an empty cloud")]
    Empty,
    /// Numbers that do not make whole points.
    #[error(
        "{length} values do not make points of {dimension} coordinates: pass a multiple of a dimension of at least 1"
    )]
    Length {
        /// How many values there are.
        length: usize,
        /// The coordinates of a point.
        dimension: usize,
    },
    /// A coordinate that has no distance to others.
    #[error(
        "coordinate {coordinate} of point {point} is {value}, allowed are finite numbers of at most {LARGEST:e} in size: did \
         sampling diverge?"
    )]
    Value {
        /// Which point.
        point: usize,
        /// Which of its coordinates.
        coordinate: usize,
        /// Its value.
        value: f64,
    },
    /// Two clouds in different spaces.
    #[error("the clouds have {x} and {y} coordinates: both need the same dimension")]
    Dimension {
        /// Coordinates of the first.
        x: usize,
        /// Coordinates of the second.
        y: usize,
    },
    /// Two clouds of different size where points are paired.
    #[error(
        "the clouds have {x} and {y} points, exact transport pairs equally many: draw {least} of each, or use \
         sliced_wasserstein2 or energy_distance",
        least = x.min(y)
    )]
    Counts {
        /// Points of the first.
        x: usize,
        /// Points of the second.
        y: usize,
    },
    /// States and times that make no trajectory.
    #[error(
        "no trajectory: {problem}; pass at least two states, each with its time, and times that rise or fall throughout"
    )]
    Trajectory {
        /// What is wrong.
        problem: String,
    },
    /// Moments that no points have, or that cannot be read.
    #[error("these are no moments: {problem}")]
    Moments {
        /// What is wrong.
        problem: String,
    },
    /// A file that cannot be opened, read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file that is larger than what it could hold.
    #[error("{} has {bytes} bytes, allowed are {most}: is it the file that was meant?", path.display())]
    FileSize {
        /// Which file.
        path: PathBuf,
        /// Its length.
        bytes: u64,
        /// The most that is read.
        most: u64,
    },
    /// A file that holds no statistics.
    #[error(
        "{} holds no statistics of features: {problem}; pytorch-fid and clean-fid save them as numpy.savez(path, mu=mean, \
         sigma=covariance)",
        path.display()
    )]
    Statistics {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// An extractor's weights that are missing or of something else.
    #[error("{}: {problem}; {way_out}", path.display())]
    Weights {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
        /// Where to get the right file.
        way_out: &'static str,
    },
    /// A tensor that holds no images.
    #[error(
        "these are no images: {problem}; pass (N, 3, H, W) or (N, 1, H, W) with finite values in the range that is named, \
         clamped if a model oversteps it"
    )]
    Images {
        /// What is wrong.
        problem: String,
    },
    /// Captions that do not go with images, or with a model.
    #[error(
        "these captions cannot be used: {problem}; pass one for each image, and the tokenizer.json of the model"
    )]
    Captions {
        /// What is wrong.
        problem: String,
    },
    /// Features that were not made alike.
    #[error("these features cannot be judged together: {problem}; extract both sides by one extractor")]
    Protocol {
        /// What differs.
        problem: String,
    },
    /// Too few points for what is asked of them.
    #[error(
        "this needs at least 2 points on each side, got {count}: draw more, or use Statistic::V where there is one"
    )]
    TooFew {
        /// Points of the smaller cloud.
        count: usize,
    },
    /// More points than an exact assignment takes.
    #[error(
        "exact transport takes at most {most} points, got {count}: draw fewer, or use sliced_wasserstein2 or energy_distance"
    )]
    TooMany {
        /// Points of a cloud.
        count: usize,
        /// The largest number.
        most: usize,
    },
    /// A parameter outside of its range.
    #[error("{owner} needs {name} {allowed}, got {value}")]
    Parameter {
        /// The type or function that was asked.
        owner: &'static str,
        /// The parameter's name.
        name: &'static str,
        /// Its value.
        value: f64,
        /// What would be allowed, as words that follow the name.
        allowed: &'static str,
    },
    /// A tensor that is not a batch.
    #[error(
        "the tensor has shape {shape:?}: points are its rows, so it needs a batch dimension and at least one more"
    )]
    Shape {
        /// Its shape.
        shape: Vec<usize>,
    },
    /// A failure of the assignment.
    #[error(transparent)]
    Kernel(#[from] tallow_kernels::Error),
    /// A failure of the tensor library.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

impl Error {
    pub(crate) fn file(path: &Path, source: std::io::Error) -> Self {
        Self::File {
            path: path.to_owned(),
            source,
        }
    }
}

impl From<Error> for candle_core::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Candle(error) => error,
            other => Self::wrap(other),
        }
    }
}
