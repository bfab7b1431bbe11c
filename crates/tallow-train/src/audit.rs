//! Does every parameter learn? The first steps tell.
//!
//! An absent or infinite gradient is an error in the first step. A gradient of zeros is not: behind a layer that starts at
//! zero (the output of a U-Net, the gates of a DiT) nothing flows until that layer has moved, and behind a second one not
//! for a step more. So a parameter has ten steps to see a gradient that is not zero.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Error, Result};

/// The steps in which each parameter must see a gradient that is not zero.
pub(crate) const STEPS: u64 = 10;

/// Watches the gradients of the first steps.
#[derive(Clone, Debug, Default)]
pub(crate) struct Audit {
    /// Parameters that may stay without a gradient.
    pub(crate) excused: BTreeSet<String>,
    /// Parameters that have not seen one yet.
    pub(crate) waiting: BTreeSet<String>,
}

impl Audit {
    /// Looks at the norms of the gradients in step `step`, counted from 0.
    pub(crate) fn look(&mut self, step: u64, norms: &BTreeMap<String, f64>) -> Result<()> {
        let zero = norms
            .iter()
            .filter(|(_, norm)| **norm == 0.0)
            .map(|(name, _)| name);
        let zero = zero.filter(|name| !self.excused.contains(*name));
        self.waiting = match step {
            0 => zero.cloned().collect(),
            _ => zero
                .filter(|name| self.waiting.contains(*name))
                .cloned()
                .collect(),
        };
        if step + 1 == STEPS && !self.waiting.is_empty() {
            return Err(Error::NoGradient {
                names: self.waiting.iter().cloned().collect(),
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn norms(a: f64, b: f64) -> BTreeMap<String, f64> {
        BTreeMap::from([("a".to_owned(), a), ("b".to_owned(), b)])
    }

    #[test]
    fn a_parameter_that_moves_late_passes_and_one_that_never_does_is_named() {
        let mut audit = Audit::default();
        audit.look(0, &norms(0.0, 0.0)).unwrap();
        for step in 1..STEPS - 1 {
            audit
                .look(step, &norms(if step == 4 { 0.1 } else { 0.0 }, 0.0))
                .unwrap();
        }
        let error = audit.look(STEPS - 1, &norms(0.0, 0.0)).unwrap_err();
        assert!(
            matches!(&error, Error::NoGradient { names } if names == &["b"]),
            "{error}"
        );
        audit.look(STEPS, &norms(0.0, 0.0)).unwrap();
    }

    #[test]
    fn an_excused_parameter_may_stay_as_it_is() {
        let mut audit = Audit {
            excused: ["b".to_owned()].into(),
            ..Audit::default()
        };
        for step in 0..STEPS {
            audit.look(step, &norms(1.0, 0.0)).unwrap();
        }
    }
}
