//! What can be wrong with a model.

use std::path::PathBuf;

/// What this crate's fallible functions return.
pub type Result<T> = std::result::Result<T, Error>;

/// A model that cannot be built or called; names the value, what is allowed and the way out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A size outside of its range.
    #[error("{owner} needs {name} {allowed}, got {value}")]
    Size {
        /// The type that was asked.
        owner: &'static str,
        /// The parameter's name.
        name: &'static str,
        /// Its value.
        value: usize,
        /// What would be allowed, as words that follow the name.
        allowed: &'static str,
    },
    /// A class that the model does not have.
    #[error(
        "label {label} of row {row} is not a class: the model has classes 0 to {last}, the last of which may mean \"none\""
    )]
    Label {
        /// The label.
        label: u32,
        /// Its row.
        row: usize,
        /// The largest label.
        last: usize,
    },
    /// A number outside of its range.
    #[error("{owner} needs {name} {allowed}, got {value}")]
    Number {
        /// The type that was asked.
        owner: &'static str,
        /// The parameter's name.
        name: &'static str,
        /// Its value.
        value: f64,
        /// What would be allowed, as words that follow the name.
        allowed: &'static str,
    },
    /// Images whose sides the levels of a network cannot halve.
    #[error(
        "{owner} takes images whose sides are multiples of {divisor}, got {height} × {width}: pad or resize them, or use fewer \
         levels"
    )]
    ImageSize {
        /// The network.
        owner: &'static str,
        /// Rows of the image.
        height: usize,
        /// Columns of the image.
        width: usize,
        /// What must divide both.
        divisor: usize,
    },
    /// A configuration of another program that has no equivalent here.
    #[error("{class} with `{key}` = {value} cannot be built: allowed is {allowed}")]
    Configuration {
        /// The class it is for.
        class: &'static str,
        /// The key.
        key: String,
        /// Its value, as JSON.
        value: String,
        /// What would be allowed.
        allowed: String,
    },
    /// A network that another program's configuration cannot describe.
    #[error("diffusers' {class} cannot have {what}: {way_out}")]
    NotInDiffusers {
        /// The class of diffusers.
        class: &'static str,
        /// What it lacks.
        what: &'static str,
        /// What can be done.
        way_out: &'static str,
    },
    /// A folder that does not hold what is read from it.
    #[error("{} {problem}", path.display())]
    Folder {
        /// The folder or file.
        path: PathBuf,
        /// What is wrong with it, and the way out.
        problem: String,
    },
    /// A file that cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: std::io::Error,
    },
    /// A file that is not JSON.
    #[error("{} is not JSON: {source}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: serde_json::Error,
    },
    /// A file of a repository that could not be fetched.
    #[cfg(feature = "hub")]
    #[error(
        "`{file}` of {repository} could not be fetched: {source}; without a network, fetch the repository elsewhere and read its \
         folder"
    )]
    Hub {
        /// The file.
        file: String,
        /// The repository and its revision.
        repository: String,
        /// The reason.
        source: Box<hf_hub::api::sync::ApiError>,
    },
    /// A path that cannot be.
    #[error(transparent)]
    Schedule(#[from] tallow_schedules::Error),
    /// Patches that do not tile the images.
    #[error(
        "patches of {patch} x {patch} pixels do not tile images of {height} x {width}: choose a divisor of both sides"
    )]
    Patch {
        /// Side of a patch.
        patch: usize,
        /// Rows of an image.
        height: usize,
        /// Columns of an image.
        width: usize,
    },
    /// A layer that cannot be built or called.
    #[error(transparent)]
    Layer(#[from] tallow_nn::Error),
    /// A call that does not fit.
    #[error(transparent)]
    Call(#[from] tallow_denoisers::Error),
    /// A failure of the tensor library.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

impl From<Error> for candle_core::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Candle(error) => error,
            other => Self::wrap(other),
        }
    }
}
