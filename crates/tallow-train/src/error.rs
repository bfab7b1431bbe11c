//! What can be wrong with a training loop's parts.

/// What this crate's fallible functions return.
pub type Result<T> = std::result::Result<T, Error>;

/// A part of a training loop that cannot be; names the value, what is allowed and the way out.
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
}
