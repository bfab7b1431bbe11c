//! Classifier-free guidance: the conditional estimate, moved away from the unconditional one.
//!
//! ```text
//! Ho & Salimans  ε̃ = (1 + w) c − w u        w = 0 is the conditional model, w = −1 the unconditional one
//! Imagen         ε̃ = u + s (c − u)          s = 1 is the conditional model, s = 0 the unconditional one; s = 1 + w
//! ```
//!
//! The rule is affine: it does not matter in which form the estimates are added.
//!
//! Source: Ho & Salimans 2022, arXiv:2207.12598, Eq. 6; Saharia et al. 2022 (Imagen), arXiv:2205.11487, Eq. 2.

use super::Rule;
use crate::{Error, Estimate, Result};

/// How far to go, in one of the two conventions; alone it is the rule of classifier-free guidance.
///
/// Source: Ho & Salimans 2022, arXiv:2207.12598, Eq. 6; Saharia et al. 2022 (Imagen), arXiv:2205.11487, Eq. 2.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scale {
    /// Weight w of Ho & Salimans: (1 + w) c − w u.
    Ho(f64),
    /// Scale s of Imagen and most programs: u + s (c − u).
    Imagen(f64),
}

impl Scale {
    /// s of u + s (c − u).
    #[must_use]
    pub fn imagen(self) -> f64 {
        match self {
            Self::Ho(weight) => 1.0 + weight,
            Self::Imagen(scale) => scale,
        }
    }

    /// Refuses a scale that is not finite.
    pub(super) fn check_finite(self, owner: &'static str) -> Result<()> {
        let value = self.imagen();
        if value.is_finite() {
            return Ok(());
        }
        Err(Error::Parameter {
            owner,
            name: "scale",
            value,
            allowed: "finite",
        })
    }

    /// u + s (c − u).
    pub(super) fn apply(self, main: &Estimate, other: &Estimate) -> Result<Estimate> {
        let scale = self.imagen();
        Estimate::blend((scale, main), &[(1.0 - scale, other)])
    }
}

impl Rule for Scale {
    type Memory = ();

    fn guide(&self, main: &Estimate, other: &Estimate, _memory: &mut ()) -> Result<Estimate> {
        self.apply(main, other)
    }

    fn needs_other(&self) -> bool {
        self.imagen() != 1.0
    }

    fn check(&self) -> Result<()> {
        self.check_finite("Scale")
    }
}
