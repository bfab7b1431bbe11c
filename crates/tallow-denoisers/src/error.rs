//! What can go wrong between a network and an estimate.

use candle_core::{DType, DeviceLocation, Shape};

/// What this crate's fallible functions return.
pub type Result<T> = std::result::Result<T, Error>;

/// A call that cannot be answered; names the value, what is allowed and the way out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Two tensors that must have one shape.
    #[error("{what} has shape {got:?}, expected {expected:?}")]
    Shape {
        /// What was looked at.
        what: String,
        /// The shape it must have.
        expected: Shape,
        /// The shape it has.
        got: Shape,
    },
    /// Two tensors that must have one element type.
    #[error("{what} is {got:?}, expected {expected:?}: convert it with to_dtype")]
    DType {
        /// What was looked at.
        what: String,
        /// The type it must have.
        expected: DType,
        /// The type it has.
        got: DType,
    },
    /// Two tensors that must live on one device.
    #[error("{what} is on {got:?}, expected {expected:?}: move it with to_device")]
    Device {
        /// What was looked at.
        what: String,
        /// Where it must be.
        expected: DeviceLocation,
        /// Where it is.
        got: DeviceLocation,
    },
    /// Something that must have one entry for each row of the batch.
    #[error("{what} has {got} rows, the batch has {expected}: give one for each row")]
    Rows {
        /// What was looked at.
        what: String,
        /// The number of rows of the batch.
        expected: usize,
        /// The number of rows it has.
        got: usize,
    },
    /// A batch without rows where at least one is needed.
    #[error("{what} needs at least one row, got an empty batch")]
    EmptyBatch {
        /// Who needs it.
        what: &'static str,
    },
    /// A scalar where a batch is needed.
    #[error("{what} is a scalar: a batch has its rows in the first dimension")]
    NoRows {
        /// What was looked at.
        what: String,
    },
    /// A condition that the call does not carry.
    #[error(
        "the network asks for the condition {name:?}, but the call carries {known}: pass it with with_condition"
    )]
    MissingCondition {
        /// The name asked for.
        name: String,
        /// The names there are.
        known: String,
    },
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
    /// An estimate whose derivative was asked for, where there is none.
    #[error("{what} has no derivative in x: {way_out}")]
    NoDerivative {
        /// What was to be differentiated.
        what: &'static str,
        /// What to do.
        way_out: &'static str,
    },
    /// A place in other data than these.
    #[error(
        "the batches have {name} = {here:?}, the saved ones {saved:?}: go on with the data, batch and seed that were saved"
    )]
    Position {
        /// What differs.
        name: &'static str,
        /// What was saved.
        saved: Option<u128>,
        /// What is here.
        here: Option<u128>,
    },
    /// A level at which the path or prediction is of no use.
    #[error(transparent)]
    Schedule(#[from] tallow_schedules::Error),
    /// A failure of the tensor library, a network's own included.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
    /// A failure of a user's own denoiser or noise.
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
