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
    /// A sampling that has probabilities, asked for a density.
    #[error("{sampling} has no density: it visits its steps alone")]
    NoDensity {
        /// What was asked.
        sampling: &'static str,
    },
    /// A target or weight that is infinite, or not a number, at a level.
    #[error("{what} is not finite at t = {t}: keep to times where it is with TimeSampling::within")]
    Unbounded {
        /// What is infinite.
        what: &'static str,
        /// The time.
        t: f64,
    },
    /// Data without a dimension behind the channels where one is needed.
    #[error(
        "{what} needs data of shape (rows, channels, …), with at least one dimension behind the channels, got {shape:?}"
    )]
    NoPixels {
        /// Who needs it.
        what: &'static str,
        /// The shape there is.
        shape: candle_core::Shape,
    },
    /// Labels that are no integers.
    #[error(
        "labels must be of an integer type, got {dtype:?}: convert them, or wait with one-hot vectors until the network"
    )]
    Labels {
        /// The type they have.
        dtype: candle_core::DType,
    },
    /// A learned variance that a network does not have.
    #[error(
        "{what} needs a network with a learned variance: make its parameterization with Parameterization::with_learned_range"
    )]
    NoRange {
        /// Who needs it.
        what: &'static str,
    },
    /// A prediction that an objective cannot train.
    #[error("{what} trains {allowed} prediction, got {prediction:?}: use a parameterization of that")]
    Prediction {
        /// The objective or option.
        what: &'static str,
        /// What it can train.
        allowed: &'static str,
        /// What it was given.
        prediction: tallow_schedules::Prediction,
    },
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
