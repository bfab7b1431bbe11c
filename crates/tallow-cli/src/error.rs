//! How a command can end other than well, and the exit status that tells a script which it was.

use std::fmt::Display;

/// What this crate's fallible functions return.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// What it was given is wrong: an argument, a configuration, a file that is damaged or missing. Status 2.
    #[error("{0}")]
    Input(String),
    /// It was given nothing wrong, and failed: a loss that is not finite, a full disk, no memory. Status 1.
    #[error("{0}")]
    Run(String),
    /// Somebody stopped it; what was done is safe. Status 130.
    #[error("{0}")]
    Interrupted(String),
}

impl Error {
    /// The exit status.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Run(_) => 1,
            Self::Input(_) => 2,
            Self::Interrupted(_) => 130,
        }
    }

    /// The word that its message begins with.
    pub(crate) fn title(&self) -> &'static str {
        match self {
            Self::Interrupted(_) => "interrupted",
            Self::Run(_) | Self::Input(_) => "error",
        }
    }

    /// The same of a key of the configuration, whose line is told then.
    pub(crate) fn about(self, key: &str) -> Self {
        match self {
            Self::Input(message) => Self::Input(format!("`{key}`: {message}")),
            other => other,
        }
    }

    pub(crate) fn input(message: impl Display) -> Self {
        Self::Input(message.to_string())
    }
}

/// Whose fault an error of a library is; the place where it arises knows.
pub(crate) trait Blame<T> {
    /// The input's: status 2.
    fn input(self) -> Result<T>;
    /// The input's, of which `what` is a part.
    fn input_of(self, what: impl Display) -> Result<T>;
    /// Nobody's in particular: status 1.
    fn run(self) -> Result<T>;
}

impl<T, E: Display> Blame<T> for std::result::Result<T, E> {
    fn input(self) -> Result<T> {
        self.map_err(|error| Error::Input(error.to_string()))
    }

    fn input_of(self, what: impl Display) -> Result<T> {
        self.map_err(|error| Error::Input(format!("{what}: {error}")))
    }

    fn run(self) -> Result<T> {
        self.map_err(|error| Error::Run(error.to_string()))
    }
}

/// A step that fails is the run's fault; files that are damaged or of another run are the input's.
impl From<tallow::train::Error> for Error {
    fn from(error: tallow::train::Error) -> Self {
        use tallow::train::Error as Train;
        match error {
            Train::OtherConfiguration { differences } => Self::Input(format!(
                "the run was started with another configuration ({}): put that back, or start anew with another `output`",
                differences.join("; ")
            )),
            Train::Parameter { .. }
            | Train::Unreadable { .. }
            | Train::AllDamaged { .. }
            | Train::StepOfFile { .. }
            | Train::Order { .. }
            | Train::NoPart { .. }
            | Train::PartContent { .. }
            | Train::Configuration { .. } => Self::Input(error.to_string()),
            _ => Self::Run(error.to_string()),
        }
    }
}

/// Names, as an error lists them.
pub(crate) fn listed(names: &[impl AsRef<str>]) -> String {
    names.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(", ")
}

/// What other programs call some of the names.
const ALIASES: [(&str, &str); 7] = [
    ("eps", "noise"),
    ("epsilon", "noise"),
    ("sample", "data"),
    ("x0", "data"),
    ("v_prediction", "v"),
    ("velocity", "flow"),
    ("flow_matching", "flow"),
];

/// The name that another program calls so, or that is spelled most like it, if one is like it at all: half of its letters.
pub(crate) fn nearest<'n>(name: &str, known: &'n [impl AsRef<str>]) -> Option<&'n str> {
    let name = name.to_lowercase();
    let alias = ALIASES.iter().find(|(theirs, _)| *theirs == name);
    let alias = alias.and_then(|(_, ours)| known.iter().find(|known| known.as_ref() == *ours));
    let spelled = known
        .iter()
        .map(|known| (strsim::damerau_levenshtein(&name, known.as_ref()), known.as_ref()))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, known)| *distance <= known.chars().count().min(name.chars().count()) / 2)
        .map(|(_, known)| known);
    alias.map(AsRef::as_ref).or(spelled)
}

/// `did you mean "x"? Allowed are …`, or the second half alone.
pub(crate) fn advice(name: &str, known: &[impl AsRef<str>]) -> String {
    let allowed = format!("allowed are {}", listed(known));
    match nearest(name, known) {
        Some(nearest) => format!("did you mean {nearest:?}? ({allowed})"),
        None => allowed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_told_and_a_far_one_is_not() {
        let names = ["digits", "mnist", "cifar10"];
        assert_eq!(nearest("digit", &names), Some("digits"));
        assert_eq!(nearest("minst", &names), Some("mnist"));
        assert_eq!(nearest("imagenet-21k-p", &names), None);
        assert_eq!(nearest("ццццц", &names), None);
        assert_eq!(nearest("2", &["0", "1"]), None);
        assert_eq!(nearest("DIGITS", &names), Some("digits"));
        assert_eq!(nearest("x0", &["v", "data"]), Some("data"));
        assert_eq!(nearest("eps", &["noise", "edm"]), Some("noise"));
        assert_eq!(
            advice("zzzzzzzzzzzz", &names),
            "allowed are digits, mnist, cifar10"
        );
    }

    #[test]
    fn each_kind_has_its_own_status() {
        let of = |error: Error| error.exit_code();
        assert_eq!(of(Error::Run(String::new())), 1);
        assert_eq!(of(Error::Input(String::new())), 2);
        assert_eq!(of(Error::Interrupted(String::new())), 130);
    }
}
