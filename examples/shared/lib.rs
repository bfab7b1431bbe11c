//! What the examples share: where they compute, where they write, what they print.
#![forbid(unsafe_code)]

pub mod blurred;
pub mod choice;
pub mod classifier;
pub mod classifier_training;
pub mod demo;
pub mod device;
pub mod image_model;
pub mod journey;
pub mod nearest;
pub mod output;
pub mod points;
pub mod training;

/// What an example's `main` returns: any error, printed as it is.
pub type Outcome = Result<(), Failure>;

/// Any error, printed as a sentence instead of a structure.
pub struct Failure(Box<dyn std::error::Error + Send + Sync>);

impl<E: Into<Box<dyn std::error::Error + Send + Sync>>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl std::fmt::Debug for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}
