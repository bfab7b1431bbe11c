//! Guidance rescale: the spread that a large scale takes away is put back.
//!
//! ```text
//! g = u + s (c − u)        g' = g std(c)/std(g)        ĝ = φ g' + (1 − φ) g
//! ```
//!
//! std is over all elements of a sample.
//!
//! Source: Lin et al. 2023, arXiv:2305.08891, section 3.4 (φ = 0.7).

use super::{Rule, Scale, rows};
use crate::{Error, Estimate, Result};

/// Classifier-free guidance with the spread of the conditional estimate.
///
/// Source: Lin et al. 2023, arXiv:2305.08891, section 3.4 (φ = 0.7).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rescaled {
    /// How far to go.
    pub scale: Scale,
    /// φ in [0, 1]: how much of the spread is put back; 0.7 in the paper.
    pub phi: f64,
    /// Whose spread.
    pub space: Space,
}

/// The form of the estimates that a rule acts on, where it matters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Space {
    /// x̂_0: the result does not depend on what the network predicts.
    #[default]
    Data,
    /// The network's own output, as the paper (with v) and most programs do.
    Output,
}

impl Rescaled {
    /// Rescales x̂_0.
    #[must_use]
    pub fn new(scale: Scale, phi: f64) -> Self {
        Self {
            scale,
            phi,
            space: Space::Data,
        }
    }
}

impl Rule for Rescaled {
    type Memory = ();

    fn guide(&self, main: &Estimate, other: &Estimate, _memory: &mut ()) -> Result<Estimate> {
        let guided = self.scale.apply(main, other)?;
        if self.phi == 0.0 {
            return Ok(guided);
        }
        let in_data = || {
            Ok::<_, Error>((
                main.x0()?,
                Estimate::from_x0(main.x(), guided.x0()?, main.levels())?,
            ))
        };
        let (of_main, guided) = match self.space {
            Space::Output if main.output().1 == guided.output().1 => {
                (main.output().0.clone(), guided.clone())
            }
            Space::Output | Space::Data => in_data()?,
        };
        let (output, prediction) = guided.output();
        let spread = rows::ratio(&rows::std(&of_main)?, &rows::std(output)?, 1.0)?;
        let factor = spread.affine(self.phi, 1.0 - self.phi)?;
        let output = rows::scaled(output, &factor)?;
        Ok(Estimate::new(main.x(), output, prediction, main.levels())?.with_range(main.range().cloned()))
    }

    fn needs_other(&self) -> bool {
        self.scale.needs_other()
    }

    fn check(&self) -> Result<()> {
        self.scale.check_finite("Rescaled")?;
        if (0.0..=1.0).contains(&self.phi) {
            return Ok(());
        }
        Err(Error::Parameter {
            owner: "Rescaled",
            name: "phi",
            value: self.phi,
            allowed: "in [0, 1]",
        })
    }
}
