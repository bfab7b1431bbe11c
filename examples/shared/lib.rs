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

/// The code of the book's pages, which is compiled and run with the documentation's tests.
#[cfg(doctest)]
mod book {
    #[doc = include_str!("../../docs/start-here.md")]
    struct StartHere;
    #[doc = include_str!("../../docs/one-idea.md")]
    struct OneIdea;
    #[doc = include_str!("../../docs/which-schedule.md")]
    struct WhichSchedule;
    #[doc = include_str!("../../docs/which-objective.md")]
    struct WhichObjective;
    #[doc = include_str!("../../docs/which-solver.md")]
    struct WhichSolver;
    #[doc = include_str!("../../docs/training.md")]
    struct Training;
    #[doc = include_str!("../../docs/checkpoints.md")]
    struct Checkpoints;
    #[doc = include_str!("../../docs/images.md")]
    struct Images;
    #[doc = include_str!("../../docs/guidance.md")]
    struct Guidance;
    #[doc = include_str!("../../docs/command-line.md")]
    struct CommandLine;
    #[doc = include_str!("../../docs/one-crate.md")]
    struct OneCrate;
    #[doc = include_str!("../../docs/coming-from-pytorch.md")]
    struct ComingFromPytorch;
    #[doc = include_str!("../../docs/adding-a-solver.md")]
    struct AddingASolver;
    #[doc = include_str!("../../docs/notation.md")]
    struct Notation;
    #[doc = include_str!("../../docs/elsewhere.md")]
    struct Elsewhere;
    #[doc = include_str!("../../docs/performance.md")]
    struct Performance;
    #[doc = include_str!("../../docs/results.md")]
    struct Results;
    #[doc = include_str!("../../docs/reliability.md")]
    struct Reliability;
    #[doc = include_str!("../../docs/design.md")]
    struct Design;
}
