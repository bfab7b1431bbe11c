//! What can be wrong with a data set or its parameters.

use std::path::{Path, PathBuf};

/// What this crate's fallible functions return.
pub type Result<T> = std::result::Result<T, Error>;

/// A data set that cannot be made or read; names the value, what is allowed and the way out.
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
    /// A name that no data set has.
    #[error("no data set is named {name:?}: the names are {known}")]
    UnknownName {
        /// The name asked for.
        name: String,
        /// All names, separated by commas.
        known: String,
    },
    /// A tensor that holds no data.
    #[error(
        "the tensor has shape {shape:?}: data needs at least one row, and what follows the rows must not be empty"
    )]
    Empty {
        /// Its shape.
        shape: Vec<usize>,
    },
    /// More rows than an index of 32 bits can name.
    #[error("the data has {rows} rows, at most {most} can be drawn from: split it", most = u32::MAX)]
    TooManyRows {
        /// Its rows.
        rows: usize,
    },
    /// A value that no model can learn.
    #[error("element {index} of row {row} is {value}: clean the data before training on it")]
    NotFinite {
        /// The row.
        row: usize,
        /// The element within the row.
        index: usize,
        /// Its value.
        value: f32,
    },
    /// Class labels that are not one integer for each row.
    #[error(
        "labels are {dtype:?} of shape {shape:?}: pass one integer (u8, u32 or i64) for each of {rows} rows"
    )]
    Labels {
        /// Their element type.
        dtype: candle_core::DType,
        /// Their shape.
        shape: Vec<usize>,
        /// The rows of the data.
        rows: usize,
    },
    /// A place that an epoch does not have.
    #[error("position {row} is outside of an epoch of {rows} rows: use a position that this data set gave")]
    Position {
        /// The row within the epoch.
        row: usize,
        /// The rows of an epoch.
        rows: usize,
    },
    /// Pixels that are not those of whole images.
    #[error(
        "{bytes} bytes are no images of (channels, height, width) = {shape:?}: pass the product of these, which must not be 0, for each of at least one image"
    )]
    Pixels {
        /// How many there are.
        bytes: usize,
        /// What an image was to be.
        shape: [usize; 3],
    },
    /// Labels that are not one for each image.
    #[error("there are {count} labels for {rows} images: pass one for each")]
    LabelCount {
        /// How many labels there are.
        count: usize,
        /// How many images.
        rows: usize,
    },
    /// A label that has no class.
    #[error("image {row} has the label {label}: labels must be below {classes}, the number of class names")]
    Label {
        /// The image.
        row: usize,
        /// Its label.
        label: u32,
        /// How many classes there are.
        classes: usize,
    },
    /// A canvas that images do not fit on, or memory does not hold.
    #[error(
        "images of (channels, height, width) = {shape:?} cannot be put on a canvas of {canvas:?}: choose one that is not smaller and fits in memory"
    )]
    Canvas {
        /// What an image is.
        shape: [usize; 3],
        /// What it was to become.
        canvas: [usize; 3],
    },
    /// A file or folder that the system does not give, or whose compression is broken.
    #[error("cannot read {}: {source}; check the path, or fetch the file again", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A folder in which a data set's file is not.
    #[error("{} holds none of {names}: fetch the data set and name the folder of its files", folder.display())]
    Missing {
        /// The folder.
        folder: PathBuf,
        /// The names that were looked for.
        names: String,
    },
    /// A file that says what cannot be.
    #[error("{}: {what} is {value}, it must be {allowed}; {way_out}", path.display())]
    Malformed {
        /// Which.
        path: PathBuf,
        /// What was looked at.
        what: &'static str,
        /// What it is.
        value: String,
        /// What it may be.
        allowed: String,
        /// What to do.
        way_out: &'static str,
    },
    /// A file that ends before what it declares.
    #[error(
        "{}: {what} should have {declared} bytes, there can be {found} at most; fetch the file again", path.display()
    )]
    Truncated {
        /// Which.
        path: PathBuf,
        /// What was looked at.
        what: &'static str,
        /// The bytes that it declares.
        declared: u64,
        /// The bytes that there are, or can be in what is compressed.
        found: u64,
    },
    /// A file that declares more than the caller's limit.
    #[error(
        "{} declares {bytes} bytes of memory, the limit is {max_bytes}; raise Limits::max_bytes if the file is to be trusted", path.display()
    )]
    AboveLimit {
        /// Which.
        path: PathBuf,
        /// What it declares.
        bytes: u128,
        /// The limit.
        max_bytes: u64,
    },
    /// A picture that its decoder refuses.
    #[error("{}: {problem}; convert or remove the file, or skip it with Broken::Skip", path.display())]
    Picture {
        /// Which.
        path: PathBuf,
        /// What the decoder said.
        problem: String,
    },
    /// A failure of the traits' side.
    #[error(transparent)]
    Denoisers(#[from] tallow_denoisers::Error),
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

/// Refuses a parameter that is not finite and at least 0.
pub(crate) fn check_spread(owner: &'static str, name: &'static str, value: f64) -> Result<f64> {
    check(owner, name, value, (0.0..=1e6).contains(&value), "in [0, 1e6]")
}

/// Passes a parameter on, or refuses it.
pub(crate) fn check<T: Copy + Into<f64>>(
    owner: &'static str,
    name: &'static str,
    value: T,
    allowed: bool,
    range: &'static str,
) -> Result<T> {
    if allowed {
        Ok(value)
    } else {
        Err(Error::Parameter {
            owner,
            name,
            value: value.into(),
            allowed: range,
        })
    }
}
