//! What Sinkhorn's iterations keep of the rows, and of the columns.

/// Scalings beyond e^±this are absorbed into the potentials.
const ABSORB: f64 = 50.0;

/// One side of the plan: its masses, absorbed potentials over ε, and the scaling since they were absorbed.
pub(super) struct Side {
    pub(super) log_mass: Vec<f64>,
    pub(super) log: Vec<f64>,
    pub(super) scaling: Vec<f64>,
}

impl Side {
    pub(super) fn new(masses: &[f64]) -> Self {
        Self {
            log_mass: masses.iter().map(|mass| mass.ln()).collect(),
            log: vec![0.0; masses.len()],
            scaling: vec![1.0; masses.len()],
        }
    }

    pub(super) fn absorb(&mut self) {
        for (log, scaling) in self.log.iter_mut().zip(&mut self.scaling) {
            *log += scaling.ln();
            *scaling = 1.0;
        }
    }

    /// The new scaling where the kernel, with the absorbed potentials in it, sums to `sums` with the other side's
    /// scaling. Returns the largest change of a logarithm, and whether all scalings are within range.
    pub(super) fn scale(&mut self, sums: &[f64], tau: f64) -> (f64, bool) {
        let (mut moved, mut tame) = (0.0_f64, true);
        for (((scaling, &log), &log_mass), &sum) in self
            .scaling
            .iter_mut()
            .zip(&self.log)
            .zip(&self.log_mass)
            .zip(sums)
        {
            if log_mass == f64::NEG_INFINITY {
                *scaling = 0.0;
                continue;
            }
            let to = tau * (log_mass + log - sum.ln()) - log;
            moved = moved.max((to - scaling.ln()).abs());
            tame &= to.abs() <= ABSORB;
            *scaling = to.exp();
        }
        (moved, tame)
    }
}
