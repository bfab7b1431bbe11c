//! Numbers computed against numbers expected.

use super::Fields;

/// What became of a case.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Every number is within its tolerance.
    Passed,
    /// A number is not, or the case cannot be read or computed.
    Failed {
        /// The largest deviation and where it is, or what is wrong.
        message: String,
    },
    /// The case asks for something that is not known.
    Unsupported {
        /// What.
        why: String,
    },
}

/// Why a case has no numbers to compare.
#[derive(Clone, Debug, PartialEq)]
pub enum Obstacle {
    /// A field is missing or is not what it should be, or the library refuses the input: the case fails.
    Wrong(String),
    /// A kind, name or option that is not known: the case is unsupported.
    Unsupported(String),
}

impl From<Obstacle> for Outcome {
    fn from(obstacle: Obstacle) -> Self {
        match obstacle {
            Obstacle::Wrong(message) => Self::Failed { message },
            Obstacle::Unsupported(why) => Self::Unsupported { why },
        }
    }
}

impl From<Result<Comparison, Obstacle>> for Outcome {
    fn from(result: Result<Comparison, Obstacle>) -> Self {
        result.map_or_else(Self::from, Comparison::outcome)
    }
}

impl From<super::solvers::Verdict> for Outcome {
    fn from(verdict: super::solvers::Verdict) -> Self {
        use super::solvers::Verdict;

        match verdict {
            Verdict::Passed => Self::Passed,
            Verdict::Failed(message) => Self::Failed { message },
            Verdict::Unsupported(why) => Self::Unsupported { why },
        }
    }
}

impl From<tallow::schedules::Error> for Obstacle {
    fn from(error: tallow::schedules::Error) -> Self {
        Self::Wrong(format!("refused: {error}"))
    }
}

/// Collects the deviations of a case: right is |got − expected| ≤ abs + rel |expected|.
#[derive(Clone, Debug)]
pub struct Comparison {
    abs: f64,
    rel: f64,
    compared: usize,
    wrong: usize,
    worst: Option<Deviation>,
}

#[derive(Clone, Debug)]
struct Deviation {
    place: String,
    got: f64,
    expected: f64,
    allowed: f64,
    /// Deviation in units of what is allowed, infinite for NaN.
    excess: f64,
}

impl Comparison {
    /// With the tolerance of a case; 1e-10 relative if it states none.
    ///
    /// # Errors
    ///
    /// When the tolerance is not two numbers of at least 0.
    pub fn of(case: &Fields<'_>) -> Result<Self, Obstacle> {
        let (abs, rel) = match case.optional("tolerance")? {
            None => (0.0, 1e-10),
            Some(tolerance) => (tolerance.number_or("abs", 0.0)?, tolerance.number_or("rel", 0.0)?),
        };
        if !(abs >= 0.0 && rel >= 0.0) {
            return Err(Obstacle::Wrong(format!(
                "a tolerance must not be negative, got abs {abs}, rel {rel}"
            )));
        }
        Ok(Self {
            abs,
            rel,
            compared: 0,
            wrong: 0,
            worst: None,
        })
    }

    /// Compares one number.
    pub fn number(&mut self, place: &str, got: f64, expected: f64) {
        self.scaled(place, got, expected, 1.0);
    }

    /// Compares one number whose inputs were rounded and then multiplied by `scale`.
    pub fn scaled(&mut self, place: &str, got: f64, expected: f64, scale: f64) {
        let allowed = (self.abs + self.rel * expected.abs()) * scale.max(1.0);
        let off = (got - expected).abs();
        self.compared += 1;
        // Written so that a NaN is wrong.
        let right = off <= allowed;
        let excess = match off / allowed {
            _ if off == 0.0 => 0.0,
            ratio if ratio.is_nan() => f64::INFINITY,
            ratio => ratio,
        };
        if !right {
            self.wrong += 1;
            let worse = self.worst.as_ref().is_none_or(|worst| excess > worst.excess);
            if worse {
                self.worst = Some(Deviation {
                    place: place.to_owned(),
                    got,
                    expected,
                    allowed,
                    excess,
                });
            }
        }
    }

    /// Compares a sequence of numbers.
    ///
    /// # Errors
    ///
    /// When there are not as many as expected.
    pub fn numbers(&mut self, place: &str, got: &[f64], expected: &[f64]) -> Result<(), Obstacle> {
        if got.len() != expected.len() {
            let message = format!(
                "{place} has {} entries where {} are expected",
                got.len(),
                expected.len()
            );
            return Err(Obstacle::Wrong(message));
        }
        for (index, (got, expected)) in got.iter().zip(expected).enumerate() {
            self.number(&format!("{place}[{index}]"), *got, *expected);
        }
        Ok(())
    }

    /// Compares a sequence with the field of its name, nested lists read in row-major order.
    ///
    /// # Errors
    ///
    /// When the field is missing, holds something else, or not as many numbers.
    pub fn field(&mut self, expected: &Fields<'_>, name: &str, got: &[f64]) -> Result<(), Obstacle> {
        self.numbers(name, got, &expected.numbers(name)?)
    }

    /// What became of the case: a comparison of nothing has failed.
    #[must_use]
    pub fn outcome(self) -> Outcome {
        let Some(Deviation {
            place,
            got,
            expected,
            allowed,
            ..
        }) = self.worst
        else {
            return match self.compared {
                0 => Outcome::Failed {
                    message: "there is no number to compare".to_owned(),
                },
                _ => Outcome::Passed,
            };
        };
        let message = format!(
            "largest deviation {:.3e} at {place}: got {got:e}, expected {expected:e}, allowed {allowed:.1e} ({} of {} numbers off)",
            (got - expected).abs(),
            self.wrong,
            self.compared
        );
        Outcome::Failed { message }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn comparison(abs: f64, rel: f64) -> Comparison {
        let case = json!({"tolerance": {"abs": abs, "rel": rel}});
        Comparison::of(&Fields::of_case(&case, 0)).unwrap()
    }

    #[test]
    fn tolerances_add_and_equality_passes_without_any() {
        let mut near = comparison(0.1, 0.01);
        near.number("x", 10.19, 10.0);
        assert_eq!(near.outcome(), Outcome::Passed);
        let mut exact = comparison(0.0, 0.0);
        exact.number("n", 3.0, 3.0);
        assert_eq!(exact.outcome(), Outcome::Passed);
    }

    #[test]
    fn nan_fails_and_outranks_every_other_deviation() {
        let mut comparison = comparison(1.0, 1.0);
        comparison.numbers("x", &[f64::NAN, 9.0], &[1.0, 1.0]).unwrap();
        let Outcome::Failed { message } = comparison.outcome() else {
            panic!("passed")
        };
        assert!(
            message.contains("at x[0]: got NaN") && message.contains("2 of 2"),
            "{message}"
        );
    }

    #[test]
    fn the_default_tolerance_is_relative() {
        let mut comparison = Comparison::of(&Fields::of_case(&json!({}), 0)).unwrap();
        comparison.number("x", 1.0 + 2e-10, 1.0);
        assert!(matches!(comparison.outcome(), Outcome::Failed { .. }));
    }

    #[test]
    fn comparing_nothing_or_too_few_fails() {
        assert!(matches!(comparison(1.0, 1.0).outcome(), Outcome::Failed { .. }));
        assert!(comparison(1.0, 1.0).numbers("x", &[1.0], &[1.0, 2.0]).is_err());
        let case = json!({"tolerance": {"abs": -1.0}});
        assert!(Comparison::of(&Fields::of_case(&case, 0)).is_err());
    }
}
