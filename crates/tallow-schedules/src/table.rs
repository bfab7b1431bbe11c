//! A trained table of T noise levels, made continuous.
//!
//! ```text
//! ᾱ_n = Π_{j≤n} (1 − β_j)      t_n = (n + 1)/T      (α, σ) = (1, 0) at t = 0
//! ln ᾱ is linear in t between nodes;  α is linear on an interval that ends at ᾱ = 0
//! ```
//!
//! The n-th entry (n from 0) is what DDPM's papers call step n + 1. A network trained on the table wants the number n:
//! that is a fact about the network, not about the path.

mod build;
mod zero_terminal_snr;

use std::fmt;

use crate::error::check;
use crate::{Error, MAX_STEPS, Result, Schedule, variance_preserving as vp};

/// A T-step table of β as a variance-preserving path on `[0, 1]`: exact at its entries, continuous between.
///
/// Source: Ho et al. 2020, arXiv:2006.11239 (tables); Lu et al. 2022, arXiv:2206.00927, appendix D.4 (ln α linear between).
#[derive(Clone, PartialEq)]
pub struct Table {
    betas: Vec<f64>,
    /// B_n = −ln ᾱ_n, strictly rising; +∞ at the last entry if ᾱ ends at 0.
    integrals: Vec<f64>,
}

impl Table {
    /// The table of β given, from data to noise.
    ///
    /// # Errors
    ///
    /// When there is none or more than 10⁷, or one is outside [1e-30, 1), except that the last may be 1 (ᾱ = 0); also when a β is
    /// so small that it changes nothing.
    pub fn from_betas(betas: Vec<f64>) -> Result<Self> {
        check_length(betas.len())?;
        let last = betas.len() - 1;
        for (index, &value) in betas.iter().enumerate() {
            let inside = value >= 1e-30 && (value < 1.0 || (value == 1.0 && index == last));
            if !inside {
                return Err(Error::Table {
                    what: "beta",
                    index,
                    value,
                    allowed: "in [1e-30, 1), or 1 at the last entry",
                });
            }
        }
        let integrals = betas
            .iter()
            .scan(0.0, |sum, beta| {
                *sum -= (-beta).ln_1p();
                Some(*sum)
            })
            .collect();
        Self::checked(betas, integrals)
    }

    /// The table whose products ᾱ are given, from data to noise.
    ///
    /// # Errors
    ///
    /// When there is none or more than 10⁷, one is outside (0, 1), or they do not fall strictly; the last may be 0.
    pub fn from_alpha_bars(alpha_bars: &[f64]) -> Result<Self> {
        check_length(alpha_bars.len())?;
        let last = alpha_bars.len() - 1;
        let mut before = 1.0;
        let mut betas = Vec::with_capacity(alpha_bars.len());
        for (index, &value) in alpha_bars.iter().enumerate() {
            let inside = value < before && (value > 0.0 || (value == 0.0 && index == last));
            if !inside {
                let allowed =
                    "below the entry before it (1 before the first) and positive, or 0 at the last entry";
                return Err(Error::Table {
                    what: "alpha_bar",
                    index,
                    value,
                    allowed,
                });
            }
            betas.push((before - value) / before);
            before = value;
        }
        Self::checked(
            betas,
            alpha_bars.iter().map(|alpha_bar| -alpha_bar.ln()).collect(),
        )
    }

    /// A table whose integrals were computed beside its β.
    fn checked(betas: Vec<f64>, integrals: Vec<f64>) -> Result<Self> {
        let mut before = 0.0;
        for (index, &integral) in integrals.iter().enumerate() {
            // Written so that a NaN fails, too.
            let rises = integral > before;
            if !rises {
                let allowed = "large enough that alpha_bar falls strictly in double precision";
                return Err(Error::Table {
                    what: "beta",
                    index,
                    value: betas[index],
                    allowed,
                });
            }
            before = integral;
        }
        Ok(Self { betas, integrals })
    }

    /// The number of entries T, at least 1.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a table is never empty")]
    pub fn len(&self) -> usize {
        self.betas.len()
    }

    /// All β, from data to noise.
    #[must_use]
    pub fn betas(&self) -> &[f64] {
        &self.betas
    }

    /// All ᾱ, from data to noise.
    #[must_use]
    pub fn alpha_bars(&self) -> Vec<f64> {
        self.integrals.iter().map(|integral| (-integral).exp()).collect()
    }

    /// The time of an entry, (n + 1)/T; data is at time 0, before the first entry. Beyond the table it exceeds 1.
    #[must_use]
    pub fn time_of_index(&self, n: usize) -> f64 {
        (n as f64 + 1.0) / self.len() as f64
    }

    /// Variance of DDPM's posterior q(x_{n−1} | x_n, x_0) at an entry: β̃ = β_n (1 − ᾱ_{n−1})/(1 − ᾱ_n), 0 at the first.
    ///
    /// Source: Ho et al. 2020, arXiv:2006.11239, Eq. 7.
    ///
    /// # Errors
    ///
    /// When the table has no entry `n`.
    pub fn posterior_variance(&self, n: usize) -> Result<f64> {
        let last = self.len() - 1;
        let (Some(beta), Some(integral)) = (self.betas.get(n), self.integrals.get(n)) else {
            return Err(Error::Index { index: n, last });
        };
        let before = n.checked_sub(1).map_or(0.0, |before| self.integrals[before]);
        Ok(beta * (-before).exp_m1() / (-integral).exp_m1())
    }

    /// Where a time lies: number of the interval, position within it from 0 to 1.
    fn locate(&self, t: f64) -> (usize, f64) {
        let position = t * self.len() as f64;
        // A float outside of the range of an integer saturates, NaN becomes 0.
        let index = (position.floor() as usize).min(self.len() - 1);
        (index, position - index as f64)
    }

    /// B at the start of an interval.
    fn start(&self, index: usize) -> f64 {
        if index == 0 {
            0.0
        } else {
            self.integrals[index - 1]
        }
    }

    /// B and its slope β at a time, unless the time lies on an interval that ends at ᾱ = 0.
    fn integral(&self, t: f64) -> Place {
        let (index, within) = self.locate(t);
        let (start, end) = (self.start(index), self.integrals[index]);
        if end.is_finite() {
            Place::Log {
                integral: start + within * (end - start),
                beta: (end - start) * self.len() as f64,
            }
        } else {
            Place::Line {
                start: vp::alpha(start),
                lost: -(-0.5 * start).exp_m1(),
                within,
            }
        }
    }
}

/// The number of entries and the first and last β: a table of a thousand would drown a message.
impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ends = (
            self.betas.first().unwrap_or(&0.0),
            self.betas.last().unwrap_or(&0.0),
        );
        write!(
            f,
            "Table {{ {} entries, beta {:e} to {:e} }}",
            self.len(),
            ends.0,
            ends.1
        )
    }
}

/// What a table knows about a time.
enum Place {
    /// ln ᾱ is linear: the integral and its slope.
    Log { integral: f64, beta: f64 },
    /// α is linear: α at the interval's start, 1 − α there, and the position on the interval.
    Line { start: f64, lost: f64, within: f64 },
}

impl Schedule for Table {
    fn alpha(&self, t: f64) -> f64 {
        match self.integral(t) {
            Place::Log { integral, .. } => vp::alpha(integral),
            Place::Line { start, within, .. } => start * (1.0 - within),
        }
    }

    fn sigma(&self, t: f64) -> f64 {
        match self.integral(t) {
            Place::Log { integral, .. } => vp::sigma(integral),
            // √((1 − α)(1 + α))
            Place::Line { start, lost, within } => {
                ((lost + start * within) * (1.0 + start * (1.0 - within))).sqrt()
            }
        }
    }

    fn alpha_dot(&self, t: f64) -> f64 {
        match self.integral(t) {
            Place::Log { integral, beta } => vp::alpha_dot(integral, beta),
            Place::Line { start, .. } => -start * self.len() as f64,
        }
    }

    fn sigma_dot(&self, t: f64) -> f64 {
        match self.integral(t) {
            Place::Log { integral, beta } => vp::sigma_dot(integral, beta),
            Place::Line { .. } => -self.alpha(t) * self.alpha_dot(t) / self.sigma(t),
        }
    }

    fn inverse_lambda(&self, lambda: f64) -> f64 {
        let integral = vp::integral(lambda);
        let index = self
            .integrals
            .partition_point(|&end| end < integral)
            .min(self.len() - 1);
        let (start, end) = (self.start(index), self.integrals[index]);
        let within = if end.is_finite() {
            (integral - start) / (end - start)
        } else {
            // 1 − α/α_start
            -(0.5 * (start - integral)).exp_m1()
        };
        ((index as f64 + within.clamp(0.0, 1.0)) / self.len() as f64).min(1.0)
    }

    fn lambda(&self, t: f64) -> f64 {
        match self.integral(t) {
            Place::Log { integral, .. } => vp::lambda(integral),
            Place::Line { .. } => self.alpha(t).ln() - self.sigma(t).ln(),
        }
    }
}

/// Refuses a number of entries that makes no table.
fn check_length(length: usize) -> Result<()> {
    let allowed = "between 1 and 10000000";
    check(
        "Table",
        "a number of steps",
        length as f64,
        allowed,
        (1..=MAX_STEPS).contains(&length),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::laws;

    #[test]
    fn keeps_the_laws_of_a_variance_preserving_path() {
        for betas in [
            vec![0.3],
            vec![0.1, 0.2, 0.5],
            vec![1e-9, 0.999, 0.1],
            vec![0.2, 1.0],
            vec![1.0],
        ] {
            let path = Table::from_betas(betas).unwrap();
            laws::of_path(&path);
            laws::variance_is_preserved(&path);
            laws::starts_clean(&path);
        }
    }

    #[test]
    fn is_exact_at_its_entries_and_linear_in_ln_alpha_bar_between() {
        let table = Table::from_betas(vec![0.1, 0.2, 0.5]).unwrap();
        let alpha_bars = table.alpha_bars();
        for (n, want) in [0.9, 0.72, 0.36].into_iter().enumerate() {
            assert!((alpha_bars[n] - want).abs() < 1e-15);
            assert!((table.alpha(table.time_of_index(n)).powi(2) - want).abs() < 1e-15);
        }
        assert!((table.alpha(0.5).powi(2) - (0.9_f64 * 0.72).sqrt()).abs() < 1e-15);
    }

    #[test]
    fn a_table_of_products_is_the_table_of_its_betas() {
        let table = Table::from_alpha_bars(&[0.9, 0.72, 0.0]).unwrap();
        for (got, want) in table.betas().iter().zip([0.1, 0.2, 1.0]) {
            assert!((got - want).abs() < 1e-15);
        }
        laws::ends_in_noise(&table);
        // α is linear on the last interval: half of √0.72 in its middle.
        assert!((table.alpha(5.0 / 6.0) - 0.5 * 0.72_f64.sqrt()).abs() < 1e-15);
    }

    #[test]
    fn a_table_describes_itself_in_one_line() {
        let table = Table::linear_beta(1000, 1e-4, 0.02).unwrap();
        assert_eq!(format!("{table:?}"), "Table { 1000 entries, beta 1e-4 to 2e-2 }");
    }

    #[test]
    fn posterior_variance_lies_below_beta_and_vanishes_first() {
        let table = Table::from_betas(vec![0.1, 0.2, 0.5]).unwrap();
        assert_eq!(table.posterior_variance(0), Ok(0.0));
        assert!((table.posterior_variance(1).unwrap() - 0.2 * 0.1 / 0.28).abs() < 1e-15);
        assert_eq!(
            table.posterior_variance(3),
            Err(Error::Index { index: 3, last: 2 })
        );
    }

    #[test]
    fn refuses_entries_that_are_no_beta_and_names_them() {
        for betas in [
            vec![],
            vec![0.1, 0.0],
            vec![f64::NAN],
            vec![1.0, 0.5],
            vec![-0.1],
            vec![1e-20, 0.5, 1e-20],
        ] {
            assert!(Table::from_betas(betas.clone()).is_err(), "{betas:?}");
        }
        let message = Table::from_betas(vec![0.1, 1.5]).unwrap_err().to_string();
        assert_eq!(
            message,
            "beta 1 of the table is 1.5: it must be in [1e-30, 1), or 1 at the last entry"
        );
        for alpha_bars in [
            vec![1.0],
            vec![0.5, 0.5],
            vec![0.5, 0.0, 0.0],
            vec![0.5, f64::NAN],
            vec![0.5, -0.1],
        ] {
            assert!(Table::from_alpha_bars(&alpha_bars).is_err(), "{alpha_bars:?}");
        }
    }
}
