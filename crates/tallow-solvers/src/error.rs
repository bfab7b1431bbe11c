//! What can go wrong in a run.

/// What this crate's fallible functions return.
pub type Result<T> = std::result::Result<T, Error>;

/// A run or a solver that cannot go on; names the value, what is allowed and the way out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A failure in a step of a run.
    #[error("step {index} of {count} (t = {t}, {evaluations} evaluations so far): {source}")]
    Step {
        /// Number of the step, from 0.
        index: usize,
        /// How many steps the run has.
        count: usize,
        /// The time at which the step starts.
        t: f64,
        /// Evaluations of the model before the failure, the failing one included.
        evaluations: usize,
        /// What failed.
        #[source]
        source: Box<Error>,
    },
    /// A model that returned something that is not a finite number.
    #[error(
        "the model returned {count} values that are not finite ({value} first): look at its inputs and weights"
    )]
    NonFiniteModel {
        /// The first such value.
        value: f64,
        /// How many there are.
        count: usize,
    },
    /// A state that is not finite.
    #[error("{what} holds {count} values that are not finite ({value} first)")]
    NonFinite {
        /// Which state.
        what: &'static str,
        /// The first such value.
        value: f64,
        /// How many there are.
        count: usize,
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
    /// A solver that reads what the model does not have.
    #[error("{solver} needs {what}, which the model does not return: {way_out}")]
    Missing {
        /// The solver.
        solver: &'static str,
        /// What it reads.
        what: &'static str,
        /// What to do.
        way_out: &'static str,
    },
    /// A step that a method cannot take.
    #[error("{solver} cannot step from t = {from} to t = {to}: {why}")]
    Direction {
        /// The solver.
        solver: &'static str,
        /// Where the step starts.
        from: f64,
        /// Where it should end.
        to: f64,
        /// Why not, and the way out.
        why: &'static str,
    },
    /// An adaptive method that gets no further with a row of the batch.
    #[error("{solver} gets no further with row {row} at t = {t}: {why}")]
    Stuck {
        /// The method.
        solver: &'static str,
        /// The row, from 0.
        row: usize,
        /// How far it came.
        t: f64,
        /// What stops it, and the way out.
        why: String,
    },
    /// A grid with another number of steps than a solver's plan.
    #[error("{solver} takes {expected} steps, the grid has {got}: {way_out}")]
    StepCount {
        /// The solver.
        solver: &'static str,
        /// How many steps it takes.
        expected: usize,
        /// How many the grid has.
        got: usize,
        /// What to do.
        way_out: &'static str,
    },
    /// A name that no solver has.
    #[error("no solver is named {name:?}; did you mean {nearest:?}? The names are {known}")]
    UnknownName {
        /// The name asked for.
        name: String,
        /// The name most like it.
        nearest: &'static str,
        /// All names, separated by commas.
        known: String,
    },
    /// A path or grid that cannot be.
    #[error(transparent)]
    Schedule(#[from] tallow_schedules::Error),
    /// A model or noise that failed.
    #[error(transparent)]
    Denoiser(#[from] tallow_denoisers::Error),
    /// A failure of the tensor library.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
    /// A failure of a user's own solver or observer.
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

/// Refuses a parameter that does not fit.
pub(crate) fn check(
    owner: &'static str,
    name: &'static str,
    value: f64,
    allowed: &'static str,
    fits: bool,
) -> Result<()> {
    if fits {
        Ok(())
    } else {
        Err(Error::Parameter {
            owner,
            name,
            value,
            allowed,
        })
    }
}
