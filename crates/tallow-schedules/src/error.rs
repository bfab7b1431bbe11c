//! What can be wrong with a path, a time or a grid.

use crate::Prediction;

/// What this crate's fallible functions return.
pub type Result<T> = std::result::Result<T, Error>;

/// A value that a schedule, a prediction or a grid cannot work with; names it, what is allowed and the way out.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A parameter of a path or grid is outside of its range.
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
    /// Two parameters that should rise and do not.
    #[error("{owner} needs {low_name} at most {high_name}, got {low_name} = {low} and {high_name} = {high}")]
    Order {
        /// The type or constructor that was asked.
        owner: &'static str,
        /// Name of the parameter that should be the smaller one.
        low_name: &'static str,
        /// Its value.
        low: f64,
        /// Name of the other.
        high_name: &'static str,
        /// Its value.
        high: f64,
    },
    /// A time that the path does not have.
    #[error(
        "time {t} is outside of the path's range [0, {t_max}]: choose times between data (0) and noise ({t_max})"
    )]
    Time {
        /// The time.
        t: f64,
        /// The path's last time.
        t_max: f64,
    },
    /// A number of steps that makes no grid.
    #[error("a grid needs between 1 and {max} steps, got {steps}")]
    Steps {
        /// The number asked for.
        steps: usize,
        /// The largest number allowed.
        max: usize,
    },
    /// Too few times.
    #[error(
        "a grid needs at least 2 times, got {count}: the first is where sampling starts, the last where it ends"
    )]
    TooShort {
        /// The number of times given.
        count: usize,
    },
    /// Two neighbouring times that are equal or turn back.
    #[error("a grid must be strictly monotone: entry {index} is {to} after {from}")]
    NotMonotone {
        /// Index of the second of the two times.
        index: usize,
        /// The time before it.
        from: f64,
        /// The time itself.
        to: f64,
    },
    /// A noise level σ/α that the path does not have.
    #[error(
        "noise level sigma/alpha = {level} is not on the path, whose levels run from {lowest:.6e} to {highest:.6e}: choose \
         levels between them or a path that reaches further"
    )]
    OffPath {
        /// σ/α asked for.
        level: f64,
        /// The path's smallest σ/α.
        lowest: f64,
        /// Its largest.
        highest: f64,
    },
    /// An end of a λ-uniform grid at which λ is infinite.
    #[error(
        "steps cannot be equal in lambda up to t = {t}, where lambda = {lambda}: choose ends at which alpha and sigma are \
         positive, and add the clean end with then_clean()"
    )]
    InfiniteLambda {
        /// The time.
        t: f64,
        /// λ there.
        lambda: f64,
    },
    /// An index beyond the end of a table.
    #[error("the table has no entry {index}: its entries are 0 to {last}, from data to noise")]
    Index {
        /// The index asked for.
        index: usize,
        /// The table's last index.
        last: usize,
    },
    /// A table of β or ᾱ with an impossible entry.
    #[error("{what} {index} of the table is {value}: it must be {allowed}")]
    Table {
        /// Which sequence: "beta" or "alpha_bar".
        what: &'static str,
        /// Index of the entry.
        index: usize,
        /// The entry.
        value: f64,
        /// What would be allowed.
        allowed: &'static str,
    },
    /// A prediction that cannot see the data at a level.
    #[error(
        "{prediction:?} prediction cannot see the data at t = {t} (alpha = {alpha:.3e}, gain {gain:.3e} above 1e6): start the \
         grid at a smaller time, or predict velocity, v or the data"
    )]
    Blind {
        /// The prediction type.
        prediction: Prediction,
        /// The time.
        t: f64,
        /// α there.
        alpha: f64,
        /// How far a unit error of the network would move x̂_0.
        gain: f64,
    },
    /// A continuous path where a table is needed.
    #[error("{schedule} is a continuous path: rescaling and table steps need a table, for one linear_beta")]
    NoTable {
        /// The path.
        schedule: String,
    },
    /// A name that no schedule has.
    #[error("no schedule is named {name:?}; nearest is {nearest:?}, and the names are {known}")]
    UnknownName {
        /// The name asked for.
        name: String,
        /// The name that is spelled most like it.
        nearest: &'static str,
        /// All names, separated by commas.
        known: String,
    },
}

/// Passes when `ok`, else names the parameter, its value and what is allowed.
pub(crate) fn check(
    owner: &'static str,
    name: &'static str,
    value: f64,
    allowed: &'static str,
    ok: bool,
) -> Result<()> {
    if ok {
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

/// Passes when the first parameter is at most the second.
pub(crate) fn check_order(
    owner: &'static str,
    low: (&'static str, f64),
    high: (&'static str, f64),
) -> Result<()> {
    if low.1 <= high.1 {
        Ok(())
    } else {
        Err(Error::Order {
            owner,
            low_name: low.0,
            low: low.1,
            high_name: high.0,
            high: high.1,
        })
    }
}
