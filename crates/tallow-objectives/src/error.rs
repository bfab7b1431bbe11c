//! What can be wrong with an objective or a batch.

/// What this crate's fallible functions return.
pub type Result<T> = std::result::Result<T, Error>;

/// An objective that cannot be computed; names the value, what is allowed and the way out.
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
    /// A saved state that does not fit the objective.
    #[error("the saved state {name:?} {problem}: restore into an objective made as the saved one was")]
    State {
        /// The name of the tensor.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A coupling that makes its own noise was given a source.
    #[error(
        "{coupling} draws the noise itself, and the batch has a source x1 already: pair them by OptimalTransport"
    )]
    OwnSource {
        /// The coupling.
        coupling: &'static str,
    },
    /// Rows that cannot be paired because a value is not a number or infinite.
    #[error("{what} holds {value}: pairing needs finite values")]
    NotFinite {
        /// The tensor.
        what: String,
        /// The value.
        value: f64,
    },
    /// A transport problem that has no plan.
    #[error(transparent)]
    Kernel(#[from] tallow_kernels::Error),
    /// A level at which a path or prediction is of no use.
    #[error(transparent)]
    Schedule(#[from] tallow_schedules::Error),
    /// A batch or network that does not fit.
    #[error(transparent)]
    Denoiser(#[from] tallow_denoisers::Error),
    /// A failure of the tensor library.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
    /// A failure of a user's own objective.
    #[error(transparent)]
    User(Box<dyn std::error::Error + Send + Sync>),
}

impl From<Error> for candle_core::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Candle(error) => error,
            other => Self::wrap(other),
        }
    }
}
